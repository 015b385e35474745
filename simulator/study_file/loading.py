"""A study file read, its paths made absolute, and written again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.ground.reading import read_text, reading
from simulator.ground.spec import ConfigError
from simulator.study_file.checked_yaml import override, parse_yaml, to_yaml, validated
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty.knowledge import KNOWN


def load_study(path: str | Path, overrides: dict[str, Any] | None = None) -> StudyConfig:
    """Read and validate a study file.

    Parameters
    ----------
    path : the YAML file; relative paths inside it start from its folder.
    overrides : values that replace those of the file, by dotted key ("uncertainty.setup.random_mm").

    Raises
    ------
    ConfigError : every problem at once, each with file, line and key.
    """
    file = Path(path)
    raw, lines = parse_yaml(read_text(file, "give the path of a study file", ConfigError), str(file))
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: a study file is a mapping of keys such as name, case and prescription")
    for key, value in (overrides or {}).items():
        override(raw, key, value)
        given = tuple(key.split("."))
        lines = {path: line for path, line in lines.items() if path[: len(given)] != given} | {given: 0}
    _resolve_paths(raw, file.parent)
    if isinstance(raw.get("sweep"), dict):
        raw["sweep"] = {key: _resolved_sweep(key, values, file.parent) for key, values in raw["sweep"].items()}
    return validated(StudyConfig, raw, lines, str(file))


def dump_study(config: StudyConfig) -> str:
    """The resolved study as YAML text, enough to repeat it."""
    return to_yaml(config.model_dump(mode="json"))


def parse_study(text: str, origin: str) -> StudyConfig:
    """The study of `dump_study`; `origin` says in messages where the text comes from."""
    raw, lines = parse_yaml(text, origin)
    return validated(StudyConfig, raw, lines, origin)


def map_paths(raw: dict[str, Any], change: Callable[[str], str]) -> None:
    """Change the path of every file and folder that a study names, outside its sweep."""

    def replace(place: Any, *keys: str | int) -> None:
        for key in keys:
            place[key] = change(place[key]) if isinstance(place[key], str) else place[key]

    case, plan, uncertainty, goals = (raw.get(key) for key in ("case", "plan", "uncertainty", "goals"))
    if isinstance(case, dict):
        replace(case, *(key for key in ("dicom", "file") if key in case))
    if isinstance(plan, dict) and is_machine_file(plan.get("machine")):
        replace(plan, "machine")
    respiration = uncertainty.get("respiration") if isinstance(uncertainty, dict) else None
    if isinstance(respiration, dict) and "trace" in respiration:
        replace(respiration, "trace")
    targets = raw.get("targets")
    for errors in (uncertainty, *(targets.values() if isinstance(targets, dict) else ())):
        for source in errors.values() if isinstance(errors, dict) else ():
            known = (
                [source[key] for key in KNOWN if isinstance(source.get(key), dict)] if isinstance(source, dict) else []
            )
            for some in known:
                replace(some, *(["posterior"] if "posterior" in some else []))
    if isinstance(goals, list):
        replace(goals, *(i for i, goal in enumerate(goals) if is_library_file(goal)))


def is_library_file(goal: Any) -> bool:
    """Whether an entry of `goals` is the path of a library of one's own."""
    return isinstance(goal, str) and goal.endswith((".yaml", ".yml"))


def is_machine_file(machine: Any) -> bool:
    """Whether the `machine` of a plan is the path of a file rather than a preset of an engine."""
    return isinstance(machine, str) and machine.endswith(".json")


def _resolve_paths(raw: dict[str, Any], folder: Path) -> None:
    """Make the paths inside a study absolute, starting from its folder."""
    map_paths(raw, lambda path: _absolute(folder, path))


def _absolute(folder: Path, text: str) -> str:
    with reading(text, "give the path of a file or folder, relative to the study file", ConfigError):
        path = (folder / text).resolve()
        path.exists()
        return str(path)


def _resolved_sweep(key: str, values: Any, folder: Path) -> Any:
    """Values of a sweep with the paths inside them made absolute."""
    if isinstance(values, dict) and isinstance(values.get("together"), dict):
        together = {inner: _resolved_sweep(inner, some, folder) for inner, some in values["together"].items()}
        return values | {"together": together}
    if not isinstance(values, list):
        return values
    return [_resolved_value(key, value, folder) for value in values]


def _resolved_value(key: str, value: Any, folder: Path) -> Any:
    raw: dict[str, Any] = {}
    override(raw, key, value)
    _resolve_paths(raw, folder)
    for step in key.split("."):
        raw = raw[step]
    return raw
