"""What comes with the simulator from publications: goal libraries, and parameters of tissues."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from simulator.ground.reading import read_text
from simulator.ground.spec import ConfigError, Field, Spec, did_you_mean
from simulator.metrics.biology import MODELS, Biology, PublishedTissue, ResponseModel
from simulator.metrics.goals import Goal, is_goal, parse_goal
from simulator.study_file.checked_yaml import parse_yaml, validated
from simulator.study_file.schema import StudyConfig


class PublishedGoal(Spec):
    """One row of a goal library."""

    goal: str
    level: Literal["mandatory", "optimal"] = "mandatory"
    source: str
    checked: bool = False
    endpoint: str = ""
    reference: str = ""
    note: str = ""


class GoalLibrary(Spec):
    """Published constraints for one site and number of fractions."""

    name: str
    site: str = ""
    fractions: Annotated[int, Field(ge=1, le=100)]
    goals: tuple[PublishedGoal, ...]


def resolve_goals(config: StudyConfig) -> tuple[list[Goal], list[Goal]]:
    """Goals written in the study, and those of its libraries.

    Raises
    ------
    ConfigError : an unreadable goal, an unknown library, or a library for another number of fractions.
    """
    own: list[Goal] = []
    published: list[Goal] = []
    twice = [entry for i, entry in enumerate(config.goals) if entry in config.goals[:i]]
    if twice:
        raise ConfigError(f"goals: {twice[0]!r} is given twice; remove one")
    for entry in config.goals:
        if is_goal(entry):
            own.append(parse_goal(entry))
            continue
        library, goals = _load_library(entry)
        if library.fractions != config.prescription.fractions:
            raise ConfigError(
                f"goals: library {library.name!r} is for {library.fractions} fractions, the study has "
                f"{config.prescription.fractions}; limits are never converted between fractionations: "
                "choose another library or write the goals out"
            )
        published += goals
    return own, published


def library_names() -> list[str]:
    """Names of the goal libraries that come with the simulator."""
    folder = resources.files("simulator.metrics") / "libraries"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


@cache
def published_tissues() -> dict[str, PublishedTissue]:
    """Published parameters of tumour control and complications, by tissue."""
    text = (resources.files("simulator.metrics") / "tissues.yaml").read_text(encoding="utf-8")
    rows = [PublishedTissue.model_validate(row) for row in parse_yaml(text, "tissues.yaml")[0]]
    return {row.tissue: row for row in rows}


def complete_biology(biology: Biology, goals: Sequence[Goal]) -> Biology:
    """The biology of a study with the keys that it leaves out filled from the publications.

    Parameters
    ----------
    goals : those on TCP and NTCP want parameters even where the study has none for the structure.

    Raises
    ------
    ConfigError : an unknown tissue, or keys that neither the study nor its publication gives.
    """
    completed = {}
    for section, models in biology.sections.items():
        wanted = dict.fromkeys((g.metric.structure for g in goals if g.metric.response == section), MODELS[section]())
        completed[section] = {
            name: model.model_copy(update=_published(section, name, model)) for name, model in (wanted | models).items()
        }
    return Biology.model_validate(completed)


def _published(section: str, name: str, model: ResponseModel) -> dict[str, Any]:
    """Values of the keys that a section of `biology` leaves out, and the tissue that they come from."""
    tissues = published_tissues()
    if model.tissue is not None and model.tissue not in tissues:
        raise ConfigError(
            f"biology.{section}.{name}.tissue: {model.tissue!r} is not known; known are {', '.join(tissues)}"
            f"{did_you_mean(model.tissue, tissues)}"
        )
    usual = next((t for t in tissues.values() if model.has_usual_tissue and name in t.structures), None)
    row = tissues[model.tissue] if model.tissue else usual
    absent = [key for key in model.example if getattr(model, key) is None]
    found = {key: value for key, value in (row.parameters if row else {}).items() if key in absent}
    missing = [key for key in absent if key not in found]
    if missing:
        shown = ", ".join(f"{key}: {value}" for key, value in model.example.items() if key in missing)
        raise ConfigError(
            f"biology.{section}.{name}: {', '.join(missing)} wanted, as no publication that comes with the simulator gives "
            f"{'it' if len(missing) == 1 else 'them'}; write biology: {{{section}: {{{name}: {{{shown}}}}}}} with the "
            "numbers of your source (these only show the form)"
        )
    return found | ({"tissue": row.tissue} if row and found else {})


def _load_library(entry: str) -> tuple[GoalLibrary, list[Goal]]:
    """A library and its goals; messages name the line of its file."""
    if entry.endswith((".yaml", ".yml")):
        text, where = read_text(entry, "goals names a goal, a library or a file of goals", ConfigError), entry
    else:
        if entry not in library_names():
            raise ConfigError(
                f"goals: {entry!r} is neither a goal nor a library; libraries are {', '.join(library_names())}"
                f"{did_you_mean(entry, library_names())}"
            )
        text = (resources.files("simulator.metrics") / "libraries" / f"{entry}.yaml").read_text(encoding="utf-8")
        where = entry
    raw, lines = parse_yaml(text, where)
    library = validated(GoalLibrary, raw, lines, where)
    goals = []
    for i, g in enumerate(library.goals):
        try:
            goals.append(parse_goal(g.goal, level=g.level, source=g.source, checked=g.checked, note=g.note))
        except ConfigError as error:
            raise ConfigError(f"{where}:{lines.get(('goals', i, 'goal'), 1)}: {error}") from None
    return library, goals
