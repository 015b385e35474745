"""Study files: YAML in, a validated study out, with errors that name file, line and key."""

import copy
import difflib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import ValidationError

from simulator.case.phantoms import AbdominalPhantom, MediastinalPhantom, PelvicPhantom, SpherePhantom
from simulator.case.sources import ArchiveCase, DicomCase
from simulator.metrics.biology import Biology, Complication, PublishedTissue, TumourControl
from simulator.metrics.goals import Goal, parse_goal
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.imported import ImportedDoses
from simulator.plan.penumbra import Penumbra
from simulator.plan.prescription import Prescription
from simulator.sampling.quasi import allowed_courses
from simulator.spec import (
    ConfigError,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Spec,
    Tag,
    field_validator,
    model_validator,
)
from simulator.strategy import Strategy
from simulator.strategy.guidance import Guidance
from simulator.strategy.margin import Margin
from simulator.strategy.motion import Motion
from simulator.strategy.session import Session
from simulator.sweep import Axis, SweepValues, axis, combinations
from simulator.uncertainty import Uncertainty

Checked = TypeVar("Checked", bound=Spec)
_MOST_COURSES = 20_000
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _case_kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return value.get("phantom") or next((key for key in ("dicom", "file") if key in value), None)
    return getattr(value, "phantom", None) or ("dicom" if hasattr(value, "dicom") else "file")


CaseSource = Annotated[
    Annotated[SpherePhantom, Tag("sphere")]
    | Annotated[MediastinalPhantom, Tag("mediastinal")]
    | Annotated[AbdominalPhantom, Tag("abdominal")]
    | Annotated[PelvicPhantom, Tag("pelvic")]
    | Annotated[DicomCase, Tag("dicom")]
    | Annotated[ArchiveCase, Tag("file")],
    Discriminator(
        _case_kind,
        custom_error_type="case_kind",
        custom_error_message="one of `phantom: mediastinal | abdominal | pelvic | sphere`, `dicom: FOLDER` or "
        "`file: CASE` is wanted",
    ),
]
PlanModel = Annotated[ConformalArc | Penumbra | ImportedDoses, Field(discriminator="model")]


def _kind(value: Any) -> Any:
    """A kind by its name alone, with default parameters."""
    return {"kind": value} if isinstance(value, str) else value


def _margin(value: Any) -> Any:
    """A margin as a number, three numbers, a recipe's name or a mapping."""
    if isinstance(value, str):
        return {"recipe": value}
    if isinstance(value, int | float | list | tuple) and not isinstance(value, bool):
        return {"recipe": "fixed", "margin_mm": value}
    return value


class StrategyGrid(Spec):
    """Candidates: every margin with every motion management and every guidance protocol."""

    margins_mm: Annotated[tuple[Margin, ...], Field(min_length=1)] = Field(
        description="margins: a number of mm, three (LR, AP, SI), a recipe's name (van-herk) or a mapping"
    )
    motion: Annotated[tuple[Motion, ...], Field(min_length=1)] = Field(
        description="motion management: names or mappings with `kind`"
    )
    guidance: Annotated[tuple[Guidance, ...], Field(min_length=1)] = Field(
        description="image guidance: names or mappings with `kind`"
    )

    @field_validator("margins_mm", "motion", "guidance", mode="before")
    @classmethod
    def _accept_short_forms(cls, value: Any, info: Any) -> Any:
        items = value if isinstance(value, list | tuple) else [value]
        return [_margin(v) if info.field_name == "margins_mm" else _kind(v) for v in items]

    def candidates(self) -> list[Strategy]:
        """The grid multiplied out: motion slowest, guidance fastest."""
        return [
            Strategy(margin=margin, motion=motion, guidance=guidance)
            for motion in self.motion
            for margin in self.margins_mm
            for guidance in self.guidance
        ]


class Candidate(Spec):
    """One strategy written out."""

    margin_mm: Margin = Field(description="margin, as in `margins_mm`")
    motion: Motion = Field(description="motion management: a name or a mapping with `kind`")
    guidance: Guidance = Field(description="image guidance: a name or a mapping with `kind`")

    @field_validator("margin_mm", "motion", "guidance", mode="before")
    @classmethod
    def _accept_short_form(cls, value: Any, info: Any) -> Any:
        return _margin(value) if info.field_name == "margin_mm" else _kind(value)


class Numerics(Spec):
    """How finely the simulation resolves time and space."""

    instants: PositiveInt = Field(20, description="moments of beam-on time per fraction")
    target_lattice_mm: PositiveFloat = Field(1.0, description="largest step of the refined dose lattice in the target")
    oar_lattice_mm: PositiveFloat = Field(1.0, description="largest step of the refined dose lattice in organs at risk")
    max_points: Annotated[int, Field(ge=1000)] = Field(
        12_000,
        description="points of an organ at risk before it is thinned far from the target; a target gets 3 x as many",
    )
    block_courses: PositiveInt = Field(250, description="courses per unit of work and per checkpoint file")


class DecisionRule(Spec):
    """Which strategies are good enough: feasible ones reach the wanted coverage at the lower end of its interval."""

    target_goals: tuple[str, ...] = Field(
        (), description="goals that have to be met together; by default D98% of the target >= 95% of the prescription"
    )
    probability: Annotated[float, Field(gt=0, lt=1)] = Field(0.9, description="wanted probability of meeting them")


class DoseMaps(Spec):
    """Voxel-wise spread and percentiles of the dose over courses, beside its mean."""

    percentiles: Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(min_length=1)] = Field(
        (5.0, 95.0),
        description="percentiles over courses: the 5th shows what a target may miss, the 95th what an organ may get",
    )
    courses: Annotated[int, Field(ge=20)] = Field(
        500, description="courses that enter: the first ones of the study, at most so many"
    )
    strategies: tuple[str, ...] = Field((), description="names of strategies as in the results; by default all")


class Budget(Spec):
    """Which source of error the variance of each goal's metric comes from, and what the coverage would be without it."""

    courses: Annotated[int, Field(ge=50)] = Field(500, description="courses for each source, twice")
    strategies: tuple[str, ...] = Field(
        (), description="names of strategies as in the results; by default the recommended one or the nearest miss"
    )


class StudyConfig(Spec):
    """A study: what can go wrong, what is done about it, and what counts as success."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] = Field(description="name of the study and of its results folder")
    case: CaseSource = Field(description="the anatomy: a phantom, a DICOM-RT folder or a case file")
    prescription: Prescription = Field(description="dose, fractions and prescription isodose")
    plan: PlanModel = Field(description="where each candidate margin's planned dose comes from")
    uncertainty: Uncertainty = Field(default_factory=Uncertainty, description="sources of geometric error")
    session: Session = Field(default_factory=Session, description="times of a fraction: image, wait, beam")
    strategies: StrategyGrid | tuple[Candidate, ...] = Field(description="candidates: a grid or a list")
    goals: tuple[str, ...] = Field(
        description="goals, names of published libraries (mediastinal-5fx) and files of one's own"
    )
    biology: Biology = Field(
        default_factory=Biology, description="parameters of tumour control and complication probabilities"
    )
    decision: DecisionRule = Field(
        default_factory=DecisionRule, description="what the recommended strategy has to reach"
    )
    maps: DoseMaps | None = Field(None, description="dose maps of spread and percentiles; none when absent")
    budget: Budget | None = Field(None, description="uncertainty budget; none when absent")
    courses: PositiveInt = Field(
        1000, description="simulated treatment courses per strategy; with `precision`, at most so many (default 20000)"
    )
    precision: Annotated[float, Field(ge=0.001, le=0.25)] | None = Field(
        None, description="simulate until the 95 % interval of every goal's probability is no wider than twice this"
    )
    sampling: Literal["pseudo-random", "sobol"] = Field(
        "pseudo-random",
        description="how courses are drawn: independently, or as 16 scrambled Sobol' nets (16 x 2^m courses)",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(1, description="seed of every random stream")
    numerics: Numerics = Field(default_factory=Numerics, description="resolution of the simulation")
    sweep: dict[str, SweepValues] = Field(
        default_factory=dict,
        description="a list of values or a range by dotted key (`uncertainty.setup.systematic_mm`), or keys that change "
        "together by a name of one's own; every entry becomes a dimension of the results, all combinations are simulated",
    )

    @field_validator("strategies", mode="before")
    @classmethod
    def _choose_form(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return StrategyGrid.model_validate(value)
        if isinstance(value, list):
            return tuple(Candidate.model_validate(v) for v in value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _cap_courses(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("precision") is not None and "courses" not in raw:
            return raw | {"courses": _MOST_COURSES}
        return raw

    @model_validator(mode="after")
    def _labels_differ(self) -> "StudyConfig":
        labels = [s.label() for s in self.candidates()]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"strategies: {', '.join(twice)} is listed twice; remove one")
        return self

    @model_validator(mode="after")
    def _sobol_nets_are_whole(self) -> "StudyConfig":
        if self.sampling == "sobol":
            if self.precision is not None:
                raise ValueError(
                    "sampling: Sobol' nets cannot grow until they are precise; give courses, not precision"
                )
            below, above = allowed_courses(self.courses)
            if self.courses not in (below, above):
                raise ValueError(
                    f"courses: {self.courses} do not fill 16 Sobol' nets of 2^m courses; write {below} or {above}"
                )
        return self

    @model_validator(mode="after")
    def _named_strategies_exist(self) -> "StudyConfig":
        labels = [s.label() for s in self.candidates()]
        asked = {
            "budget": self.budget.strategies if self.budget else (),
            "maps": self.maps.strategies if self.maps else (),
        }
        for key, names in asked.items():
            for name in names:
                if name not in labels:
                    near = difflib.get_close_matches(name, labels, 1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ValueError(f"{key}.strategies: {name!r} is not a strategy of this study{hint}")
        return self

    @model_validator(mode="after")
    def _sweep_points_are_valid(self) -> "StudyConfig":
        self.points()
        return self

    def axes(self) -> list[Axis]:
        """The dimensions of the sweep; none without one."""
        return [axis(name, values) for name, values in self.sweep.items()]

    def points(self) -> list["StudyConfig"]:
        """The study of every point of the sweep, the last axis fastest; the study itself without a sweep.

        Raises
        ------
        ValueError : every problem of every point.
        """
        if not self.sweep:
            return [self]
        found: list[StudyConfig] = []
        problems: dict[str, None] = {}
        plain = self.model_dump(mode="json", exclude={"sweep"})
        for changes in combinations(self.axes()):
            raw = copy.deepcopy(plain)
            for key, value in changes.items():
                if key.split(".")[0] in ("name", "sweep"):
                    raise ValueError(f"sweep.{key}: {key.split('.')[0]} cannot be swept")
                _override(raw, key, copy.deepcopy(value))
            try:
                found.append(StudyConfig.model_validate(raw))
            except ValidationError as error:
                problems |= dict.fromkeys(_messages(error, raw, {}, "sweep"))
        if problems:
            raise ValueError("; ".join(problems))
        return found

    def candidates(self) -> list[Strategy]:
        """Every candidate strategy."""
        if isinstance(self.strategies, StrategyGrid):
            return self.strategies.candidates()
        return [Strategy(margin=c.margin_mm, motion=c.motion, guidance=c.guidance) for c in self.strategies]


class ClusterSpec(Spec):
    """Workers from a job queue: a class of dask-jobqueue and its options."""

    class_: Annotated[str, Field(alias="class", pattern=r"^\w+Cluster$")] = Field(
        description="SLURMCluster, PBSCluster, SGECluster, LSFCluster ... of dask-jobqueue, or LocalCluster"
    )
    jobs: PositiveInt = Field(description="jobs to keep in the queue or running")
    options: dict[str, Any] = Field(default_factory=dict, description="options of that class")


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
    fractions: PositiveInt
    goals: tuple[PublishedGoal, ...]


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
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give the path of a study file") from None
    raw, lines = _parse_yaml(text, str(file))
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: a study file is a mapping of keys such as name, case and prescription")
    for key, value in (overrides or {}).items():
        _override(raw, key, value)
    _resolve_paths(raw, file.parent)
    if isinstance(raw.get("sweep"), dict):
        raw["sweep"] = {key: _resolved_sweep(key, values, file.parent) for key, values in raw["sweep"].items()}
    return _validated(StudyConfig, raw, lines, str(file))


def load_cluster(path: str | Path) -> ClusterSpec:
    """Read and validate a cluster file.

    Raises
    ------
    ConfigError : every problem at once, each with file, line and key.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--cluster {file}: cannot be read ({error.strerror}); see configs/clusters") from None
    raw, lines = _parse_yaml(text, str(file))
    return _validated(ClusterSpec, raw, lines, str(file))


def parse_value(text: str) -> Any:
    """A value given on the command line, read as YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set: {text!r} is not a YAML value") from None


def dump_study(config: StudyConfig) -> str:
    """The resolved study as YAML text, enough to repeat it."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def resolve_goals(config: StudyConfig) -> tuple[list[Goal], list[Goal]]:
    """Goals written in the study, and those of its libraries.

    Raises
    ------
    ConfigError : an unreadable goal, an unknown library, or a library for another number of fractions.
    """
    own: list[Goal] = []
    published: list[Goal] = []
    for entry in config.goals:
        if any(c.isspace() for c in entry.strip()) and not entry.endswith((".yaml", ".yml")):
            own.append(parse_goal(entry))
            continue
        library = _load_library(entry)
        if library.fractions != config.prescription.fractions:
            raise ConfigError(
                f"goals: library {library.name!r} is for {library.fractions} fractions, the study has "
                f"{config.prescription.fractions}; limits are never converted between fractionations: "
                "choose another library or write the goals out"
            )
        published += [
            parse_goal(g.goal, level=g.level, source=g.source, checked=g.checked, note=g.note) for g in library.goals
        ]
    return own, published


def library_names() -> list[str]:
    """Names of the goal libraries that come with the simulator."""
    folder = resources.files("simulator.metrics") / "libraries"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


@cache
def published_tissues() -> dict[str, PublishedTissue]:
    """Published parameters of tumour control and complications, by tissue."""
    text = (resources.files("simulator.metrics") / "tissues.yaml").read_text(encoding="utf-8")
    rows = [PublishedTissue.model_validate(row) for row in yaml.safe_load(text)]
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
    wanted = {kind: [g.metric.structure for g in goals if g.metric.kind == kind] for kind in ("tcp", "ntcp")}
    tcp = dict.fromkeys(wanted["tcp"], TumourControl()) | biology.tcp
    ntcp = dict.fromkeys(wanted["ntcp"], Complication()) | biology.ntcp
    return Biology(
        tcp={name: spec.model_copy(update=_published("tcp", name, spec)) for name, spec in tcp.items()},
        ntcp={name: spec.model_copy(update=_published("ntcp", name, spec)) for name, spec in ntcp.items()},
    )


_BIOLOGY_EXAMPLES: dict[str, dict[str, float | str]] = {
    "tcp": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": "1.0e+7"},
    "ntcp": {"td50_gy": 60, "m": 0.2, "n": 0.1, "alpha_beta_gy": 3},
}


def _published(kind: str, name: str, spec: TumourControl | Complication) -> dict[str, Any]:
    """Values of the keys that a section of `biology` leaves out, and the tissue that they come from."""
    tissues = published_tissues()
    if spec.tissue is not None and spec.tissue not in tissues:
        near = difflib.get_close_matches(spec.tissue, tissues, 1)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise ConfigError(
            f"biology.{kind}.{name}.tissue: {spec.tissue!r} is not known{hint}; known are {', '.join(tissues)}"
        )
    by_name = next((t for t in tissues.values() if kind == "ntcp" and name in t.structures), None)
    row = tissues[spec.tissue] if spec.tissue else by_name
    example = _BIOLOGY_EXAMPLES[kind]
    absent = [key for key in example if getattr(spec, key) is None]
    found = {key: value for key, value in (row.parameters if row else {}).items() if key in absent}
    missing = [key for key in absent if key not in found]
    if missing:
        shown = ", ".join(f"{key}: {value}" for key, value in example.items() if key in missing)
        raise ConfigError(
            f"biology.{kind}.{name}: {', '.join(missing)} wanted, as no publication that comes with the simulator gives "
            f"{'it' if len(missing) == 1 else 'them'}; write biology: {{{kind}: {{{name}: {{{shown}}}}}}} with the "
            "numbers of your source (these only show the form)"
        )
    return found | ({"tissue": row.tissue} if row and found else {})


def _load_library(entry: str) -> GoalLibrary:
    if entry.endswith((".yaml", ".yml")):
        try:
            text, where = Path(entry).read_text(encoding="utf-8"), entry
        except OSError as error:
            raise ConfigError(f"goals: {entry}: cannot be read ({error.strerror})") from None
    else:
        if entry not in library_names():
            near = difflib.get_close_matches(entry, library_names(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"goals: {entry!r} is neither a goal nor a library{hint} Libraries: {', '.join(library_names())}"
            )
        text = (resources.files("simulator.metrics") / "libraries" / f"{entry}.yaml").read_text(encoding="utf-8")
        where = entry
    raw, lines = _parse_yaml(text, where)
    return _validated(GoalLibrary, raw, lines, where)


def _parse_yaml(text: str, where: str) -> tuple[Any, dict[tuple, int]]:
    """The parsed document, and the line of each key path."""
    try:
        loader = _YAML(text)
        root = loader.get_single_node()
        raw = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(
            f"{where}:{line}: YAML syntax: {error.problem}; check indentation, colons and brackets"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: YAML syntax: {error}") from None
    lines: dict[tuple, int] = {}
    if root is not None:
        _collect_lines(root, (), lines, where)
    return raw, lines


def _collect_lines(node: yaml.Node, path: tuple, lines: dict[tuple, int], where: str) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            if inner in lines:
                raise ConfigError(f"{where}:{key.start_mark.line + 1}: {'.'.join(map(str, inner))} is given twice")
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines, where)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _collect_lines(value, (*path, i), lines, where)


def _override(raw: dict, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            place[parent] = {}
        place = place[parent]
    place[last] = value


def _resolve_paths(raw: dict, folder: Path) -> None:
    """Make the paths inside a study absolute, starting from its folder."""
    case = raw.get("case")
    if isinstance(case, dict):
        for key in ("dicom", "file"):
            if isinstance(case.get(key), str):
                case[key] = str((folder / case[key]).resolve())
    respiration = (
        (raw.get("uncertainty") or {}).get("respiration") if isinstance(raw.get("uncertainty"), dict) else None
    )
    if isinstance(respiration, dict) and isinstance(respiration.get("trace"), str):
        respiration["trace"] = str((folder / respiration["trace"]).resolve())
    if isinstance(raw.get("goals"), list):
        raw["goals"] = [
            str((folder / g).resolve()) if isinstance(g, str) and g.endswith((".yaml", ".yml")) else g
            for g in raw["goals"]
        ]


def _resolved_sweep(key: str, values: Any, folder: Path) -> Any:
    """Values of a sweep with the paths inside them made absolute."""
    if isinstance(values, dict) and isinstance(values.get("together"), dict):
        together = {inner: _resolved_sweep(inner, some, folder) for inner, some in values["together"].items()}
        return values | {"together": together}
    if not isinstance(values, list):
        return values
    return [_resolved_value(key, value, folder) for value in values]


def _resolved_value(key: str, value: Any, folder: Path) -> Any:
    raw: dict = {}
    _override(raw, key, value)
    _resolve_paths(raw, folder)
    for step in key.split("."):
        raw = raw[step]
    return raw


def _validated(spec: type[Checked], raw: Any, lines: dict[tuple, int], where: str) -> Checked:
    """What a file describes; `ConfigError` with every problem at once."""
    try:
        return spec.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_messages(error, raw, lines, where))) from None


def _messages(error: ValidationError, raw: Any, lines: dict[tuple, int], where: str) -> list[str]:
    """One line per problem: file:line: key: what is wrong and what is allowed."""
    found = []
    for problem in error.errors():
        path = _path_in_file(problem["loc"], raw, problem["type"])
        line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), None)
        place = f"{where}:{line}" if line else where
        key = ".".join(str(p) for p in path)
        found.append(f"{place}: {key + ': ' if key else ''}{_explain(problem, path)}")
    return list(dict.fromkeys(found))


def _path_in_file(location: tuple, raw: Any, kind: str) -> tuple:
    """The part of a validation path that exists in the file: union tags are left out."""
    path: list = []
    place = raw
    for i, step in enumerate(location):
        inside = (isinstance(place, dict) and step in place) or (
            isinstance(place, list) and isinstance(step, int) and step < len(place)
        )
        if inside:
            path.append(step)
            place = place[step]
        elif kind == "missing" and i == len(location) - 1:
            path.append(step)
    return tuple(path)


def _explain(problem: Any, path: tuple) -> str:
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "extra_forbidden":
        others = [key for key in _every_key() if key != path[-1]]
        near = difflib.get_close_matches(str(path[-1]), others, 1, 0.5)
        return "unknown key" + (f"; did you mean {near[0]!r}?" if near else "; see docs/configuration.md")
    if kind == "missing":
        return "this key is missing"
    if kind == "tuple_type":
        return f"a list is wanted, got {given!r}"
    if kind == "value_error":
        return str(context.get("error", problem["msg"]))
    if kind == "union_tag_invalid":
        return f"{context['tag']!r} is not known here; known are {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"a name or a mapping with {context['discriminator']} is wanted, got {given!r}"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        return f"{problem['msg'].removeprefix('Input ').replace('should be', 'has to be')}, got {given!r}"
    return f"{problem['msg'].removeprefix('Input ').replace('should be', 'has to be')}, got {given!r}"


def _every_key() -> list[str]:
    """Every key that a study file can have."""
    pending, keys = [Spec], set[str]()
    while pending:
        spec = pending.pop()
        keys.update(spec.model_fields)
        pending += spec.__subclasses__()
    return sorted(keys)
