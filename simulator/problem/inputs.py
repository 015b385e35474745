"""The files that a study is made of."""

from collections.abc import Hashable
from pathlib import Path

from simulator.case.anatomy import Case
from simulator.ground.files import digest_of, printable
from simulator.study_file.loading import is_library_file, is_machine_file
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty.knowledge import KNOWN


def case_key(config: StudyConfig) -> Hashable:
    """What the anatomy depends on: the case as the study names it, and the state of its files."""
    place = getattr(config.case, "dicom", None) or getattr(config.case, "file", None)
    files = [] if place is None else [Path(place), *Path(place).rglob("*")]
    states = [file.stat() for file in sorted(files) if file.exists()]
    return config.case.model_dump_json(), tuple((state.st_size, state.st_mtime_ns) for state in states)


def input_states(config: StudyConfig) -> Hashable:
    """The state of every file that a study is made of."""
    states = [file.stat() for file in _files_beside_the_case(config).values() if file.exists()]
    return case_key(config), tuple((state.st_size, state.st_mtime_ns) for state in states)


def _files_beside_the_case(config: StudyConfig) -> dict[str, Path]:
    """Breathing record, posteriors of errors, goal libraries and machine of one's own, by key."""
    respiration = config.uncertainty.respiration
    traces = {"uncertainty.respiration.trace": respiration.trace} if respiration and respiration.trace else {}
    sources = {f"uncertainty.{name}": source for name, source in config.uncertainty.named_sources().items()}
    for target, stated in config.targets.items():
        sources |= {f"targets.{target}.{name}": source for name, source in stated.sources.items()}
    posteriors = {
        f"{name}.{key}.posterior": known.posterior
        for name, source in sources.items()
        for key in KNOWN
        if (known := getattr(source, key, None)) is not None and known.posterior
    }
    libraries = {f"goals.{i}": goal for i, goal in enumerate(config.goals) if is_library_file(goal)}
    machine = getattr(config.plan, "machine", None)
    machines = {"plan.machine": machine} if is_machine_file(machine) else {}
    return {key: Path(path) for key, path in (traces | posteriors | libraries | machines).items()}


def digests_of_inputs(config: StudyConfig, case: Case) -> dict[str, str]:
    """Digest of every file that the study is made of."""
    of_case = {f"case: {name}": what for name, what in case.inputs.items()}
    beside = {f"{key}: {path.name}": f"{key} {digest_of(path)}" for key, path in _files_beside_the_case(config).items()}
    return {printable(name): printable(what) for name, what in (of_case | beside).items()}
