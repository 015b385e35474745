"""Study files: YAML in, a validated study out, with errors that name file, line and key."""

import copy
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationError

from simulator.case.phantoms import AbdominalPhantom, MediastinalPhantom, PelvicPhantom, SpherePhantom
from simulator.case.sources import ArchiveCase, DicomCase
from simulator.ground.readable import Readable
from simulator.ground.spec import (
    ConfigError,
    Discriminator,
    Field,
    Spec,
    Tag,
    did_you_mean,
    field_validator,
    model_validator,
)
from simulator.metrics.biology import Biology
from simulator.metrics.goals import is_goal, parse_goal
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.delivered import DeliveredDoses
from simulator.plan.imported import ImportedDoses
from simulator.plan.inverse_arc import InverseArc
from simulator.plan.penumbra import Penumbra
from simulator.plan.prescription import Prescription
from simulator.results.registry import VARIABLES
from simulator.sampling.quasi import allowed_courses
from simulator.strategy import Strategy
from simulator.strategy.observed import Observed
from simulator.strategy.session import Session
from simulator.study_file.candidates import Candidates, StrategyGrid
from simulator.study_file.checked_yaml import messages, override
from simulator.study_file.simulate import Simulate
from simulator.study_file.sweep import MOST_POINTS, Axis, SweepValues, axis, combinations
from simulator.study_file.targets import TargetOfStudy, check_first, first_is_that_of_the_case
from simulator.uncertainty import Uncertainty
from simulator.uncertainty.shifts import Shifts

_MOST_COURSES = 20_000
_MOST_STRATEGIES = 300
_LONGEST_BEAM_S = 7200.0
_COURSES_AT_ONCE, _MOST_MOMENTS = 4000, 5_000_000


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
PlanModel = Annotated[
    ConformalArc | InverseArc | Penumbra | ImportedDoses | DeliveredDoses, Field(discriminator="model")
]


def _readable(text: str) -> str:
    """A goal, once it could be read."""
    try:
        parse_goal(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return text


_TargetGoal = Annotated[str, AfterValidator(_readable)]
_Goal = Annotated[str, AfterValidator(lambda text: _readable(text) if is_goal(text) else text)]


class Numerics(Spec):
    """How finely the simulation resolves time and space."""

    instants: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="moments of beam-on time per fraction")
    target_lattice_mm: Annotated[float, Field(ge=0.25, le=10)] = Field(
        1.0, description="largest step of the refined dose lattice in the target"
    )
    oar_lattice_mm: Annotated[float, Field(ge=0.25, le=10)] = Field(
        1.0, description="largest step of the refined dose lattice in organs at risk"
    )
    max_points: Annotated[int, Field(ge=1000, le=1000000)] = Field(
        6_000,
        description="cells of an organ at risk before those that decide its metrics are divided; a target gets 6 x as many",
    )
    block_courses: Annotated[int, Field(ge=1, le=10000)] = Field(
        250, description="courses per unit of work and per checkpoint file"
    )


class DecisionRule(Spec):
    """What a strategy has to reach in order to suit, at the conservative ends of 95 % intervals."""

    target_goals: tuple[_TargetGoal, ...] = Field(
        (), description="goals that have to be met together; by default D98% of the target >= 95% of the prescription"
    )
    probability: Annotated[float, Field(gt=0, lt=1)] = Field(0.9, description="wanted probability of meeting them")
    coverage: Literal["together", "each"] = Field(
        "together",
        description="of several targets: whether they have to be covered in the same course, or each of them by itself, with "
        "`probability`; both are shown",
    )
    organ_probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="wanted probability of each mandatory goal on an organ (those not marked optimal)"
    )
    goal_probability: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict, description="a wanted probability of their own for some goals, by the goal as written"
    )
    indifference: Annotated[float, Field(ge=0.0005, le=0.2)] = Field(
        0.01, description="zone about a wanted probability within which no courses are asked for to tell the difference"
    )

    weights: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = Field(
        default_factory=dict,
        description="how much harms count, by the goal as written (each Gy beyond it, or point or cc) or as `GTV TCP`, "
        "`Esophagus NTCP` (each point): the report says at which weights the choice would change; the verdict knows none",
    )

    @field_validator("weights")
    @classmethod
    def _weigh_something(cls, value: dict[str, float]) -> dict[str, float]:
        if value and sum(weight > 0 for weight in value.values()) < 2:
            raise ValueError("a weight says something beside another one; give two harms or more a weight above 0")
        return value

    @field_validator("goal_probability", "weights", mode="before")
    @classmethod
    def _as_goals_are_named(cls, value: Any) -> Any:
        return {" ".join(str(k).split()): v for k, v in value.items()} if isinstance(value, dict) else value


class DoseMaps(Spec):
    """Voxel-wise spread and percentiles of the dose over courses, beside its mean."""

    percentiles: Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(min_length=1, max_length=20)] = (
        Field(
            (5.0, 95.0),
            description="percentiles over courses: the 5th shows what a target may miss, the 95th what an organ may get",
        )
    )
    courses: Annotated[int, Field(ge=20, le=20_000)] = Field(
        500, description="courses that enter: the first ones of the study, at most so many"
    )
    strategies: tuple[str, ...] = Field((), description="names of strategies as in the results; by default all")


class Budget(Spec):
    """Which source of error the variance of each goal's metric comes from, and what the coverage would be without it."""

    courses: Annotated[int, Field(ge=50, le=100_000)] = Field(500, description="courses for each source, twice")
    strategies: tuple[str, ...] = Field(
        (), description="names of strategies as in the results; by default the recommended one or the nearest miss"
    )


class StudyConfig(Readable, Spec):
    """A study: what can go wrong, what is done about it, and what counts as success."""

    name: Annotated[str, Field(pattern=r"^[\w-][\w.-]{0,79}$")] = Field(
        description="name of the study and of its results folder"
    )
    subject: Literal["population", "patient"] = Field(
        "population",
        description="whom the study is about: patients in general who have this anatomy, or one patient, of whom what was "
        "measured is known; it says what spreads mean (docs/how-to/motion.md), and changes no number",
    )
    case: CaseSource = Field(description="the anatomy: a phantom, a DICOM-RT folder or a case file")
    targets: dict[str, TargetOfStudy] = Field(
        default_factory=dict,
        description="several targets in one session, by structure; the first is what images are matched on, motion management "
        "acts on and organs follow. Absent: the one target of the case",
    )
    prescription: Prescription = Field(description="dose, fractions and prescription isodose")
    plan: PlanModel = Field(description="where each candidate margin's planned dose comes from")
    uncertainty: Uncertainty = Field(default_factory=Uncertainty, description="sources of geometric error")
    session: Session = Field(default_factory=Session, description="times of a fraction: image, wait, beam")
    strategies: Candidates = Field(description="candidates: a grid or a list")
    observed: Observed | None = Field(
        None, description="what the images of this patient's first fractions showed; none when absent"
    )
    goals: tuple[_Goal, ...] = Field(
        description="goals, names of published libraries (mediastinal-5fx) and files of one's own"
    )
    biology: Biology = Field(
        default_factory=Biology, description="parameters of tumour control and complication probabilities"
    )
    decision: DecisionRule = Field(
        default_factory=DecisionRule, description="what the recommended strategy has to reach"
    )
    simulate: Simulate = Field(default_factory=Simulate, description="what of a delivery in time is simulated")
    maps: DoseMaps | None = Field(None, description="dose maps of spread and percentiles; none when absent")
    budget: Budget | None = Field(None, description="uncertainty budget; none when absent")
    courses: Annotated[int, Field(ge=1, le=10000000)] = Field(
        1000, description="simulated treatment courses per strategy; with `precision`, at most so many (default 20000)"
    )
    precision: Annotated[float, Field(ge=0.001, le=0.25)] | None = Field(
        None, description="simulate until the 95 % interval of every goal's probability is no wider than twice this"
    )
    decide: bool = Field(
        False,
        description="stop simulating a strategy once its verdict is settled; at most `courses` are simulated of each",
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

    @model_validator(mode="before")
    @classmethod
    def _cap_courses(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("precision") is not None and "courses" not in raw:
            return raw | {"courses": _MOST_COURSES}
        return raw

    @model_validator(mode="before")
    @classmethod
    def _case_has_the_first_target(cls, raw: Any) -> Any:
        return first_is_that_of_the_case(raw)

    @model_validator(mode="after")
    def _first_target_is_that_of_the_study(self) -> "StudyConfig":
        check_first(self.targets)
        return self

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
    def _settles_verdicts_alone(self) -> "StudyConfig":
        if not self.decide:
            return self
        if self.precision is not None:
            raise ValueError(
                "decide: it stops strategies whose verdict is settled, and precision goes on until every probability is known; "
                "take one of them out"
            )
        if self.sampling == "sobol":
            raise ValueError("decide: Sobol' nets cannot grow until verdicts are settled; take one of them out")
        if doubted := list(self.not_exact()):
            raise ValueError(
                f"decide: more courses do not settle a verdict that what is not known of the errors leaves open "
                f"({doubted[0]}); take decide, or what is known of them, out"
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
                    hint = did_you_mean(name, labels)
                    raise ValueError(f"{key}.strategies: {name!r} is not a strategy of this study{hint}")
        return self

    @model_validator(mode="after")
    def _observed_fractions_fit(self) -> "StudyConfig":
        if self.observed is None or (treated := self.observed.treated(self.candidates())) is None:
            return self
        if treated.n_fractions > self.prescription.fractions:
            raise ValueError(
                f"observed.fractions: {treated.n_fractions} fractions lie behind, but prescription.fractions is "
                f"{self.prescription.fractions}; correct one of them"
            )
        if self.subject != "patient":
            raise ValueError(
                "observed: images are those of one patient; write `subject: patient`, or take observed out"
            )
        if doubted := list(self.not_exact()):
            raise ValueError(
                f"{doubted[0]}: beside observed images, errors of which only so much is known are not simulated; "
                "take what is known of them, or observed, out"
            )
        if self.budget is not None:
            raise ValueError(
                "budget: once fractions were observed, errors depend on each other and have no shares of their own; take "
                "budget out, or study the population without observed"
            )
        return self

    @model_validator(mode="after")
    def _interplay_has_parts(self) -> "StudyConfig":
        if self.simulate.interplay in (False, "auto"):
            return self
        if not self.plan.has_parts:
            raise ValueError(
                f"simulate.interplay: of a plan by {self.plan.model} it is not known when which part of its dose is delivered; "
                "plan by conformal-arc, inverse-arc, rtplan, or rtdose with a dose for each beam, or take interplay out"
            )
        if self.observed is not None:
            raise ValueError("simulate.interplay: it is not simulated beside observed fractions; take one of them out")
        if self.session.isocentres == "each":
            raise ValueError(
                "simulate.interplay: it is not simulated about several isocentres; take it, or `isocentres: each`, out"
            )
        return self

    @model_validator(mode="after")
    def _sweep_points_are_valid(self) -> "StudyConfig":
        taken = {name for group in VARIABLES.values() for key, v in group.items() for name in (key, *v.dims)}
        axes = self.axes()
        if name := next((a.name for a in axes if a.name in taken), None):
            raise ValueError(f"sweep.{name}: the results have a {name} of their own; choose another name")
        if (n := self.n_points) > MOST_POINTS:
            raise ValueError(f"sweep: {n} points, at most {MOST_POINTS} are simulated; split the study")
        self.points()
        return self

    @model_validator(mode="after")
    def _has_room(self) -> "StudyConfig":
        n = len(self.candidates())
        if n > _MOST_STRATEGIES:
            raise ValueError(f"strategies: {n} candidates, at most {_MOST_STRATEGIES} are compared; split the study")
        fractions, instants = self.prescription.fractions, self.numerics.instants
        beam_on_s = self.session.beam_on_s(self.prescription.dose_gy / fractions)
        if beam_on_s > _LONGEST_BEAM_S:
            raise ValueError(
                f"session.dose_rate_gy_per_min: {beam_on_s / 60:.3g} min of beam in a fraction, at most "
                f"{_LONGEST_BEAM_S / 60:g} are simulated; correct the dose rate, dose or fractions"
            )
        noise = max(s.motion.n_noise(beam_on_s) for s in self.candidates())
        moments = min(self.courses, _COURSES_AT_ONCE) * fractions * (instants + noise)
        if moments > _MOST_MOMENTS:
            raise ValueError(
                f"numerics.instants: {moments} moments of {fractions} fractions are kept at a time, at most {_MOST_MOMENTS}; "
                "lower the number of instants, of holds or of courses"
            )
        return self

    def summary(self) -> dict[str, str]:
        """Anatomy, plan, errors, candidates, goals and courses."""
        candidates, anatomy = self.candidates(), self.case.model_dump(include={"phantom", "dicom", "file"})
        lines = {
            "name": self.name,
            "case": " ".join(f"{kind} {which}" for kind, which in anatomy.items()),
            "prescription": self.prescription.describe(),
            "plan": self.plan.model,
            "uncertainty": ", ".join(self.uncertainty.model_dump(exclude_defaults=True)) or "none",
            "strategies": f"{len(candidates)}: {'; '.join(s.label() for s in candidates)}",
            "goals": "; ".join(self.goals),
            "courses": f"{self.courses} per strategy, seed {self.seed}",
        }
        return lines | ({"sweep": ", ".join(self.sweep)} if self.sweep else {})

    def axes(self) -> list[Axis]:
        """The dimensions of the sweep; none without one."""
        return [axis(name, values) for name, values in self.sweep.items()]

    @property
    def n_points(self) -> int:
        """Points of the sweep; one without it."""
        return math.prod(len(axis.labels) for axis in self.axes())

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
        plain["simulate"]["interplay"] = False if self.simulate.interplay == "auto" else self.simulate.interplay
        for changes in combinations(self.axes()):
            raw = copy.deepcopy(plain)
            for key, value in changes.items():
                if key.split(".")[0] in ("name", "sweep"):
                    raise ValueError(f"sweep.{key}: {key.split('.')[0]} cannot be swept")
                override(raw, key, copy.deepcopy(value))
            try:
                found.append(StudyConfig.model_validate(raw))
            except ValidationError as error:
                problems |= dict.fromkeys(messages(error, raw, {}, "sweep"))
        if problems:
            raise ValueError("; ".join(problems))
        return found

    def not_exact(self) -> dict[str, tuple[Shifts, ...]]:
        """Errors of which only so much is known, by key; those that a target has for itself among them."""
        found = {f"uncertainty.{key}": shifts for key, shifts in self.uncertainty.not_exact_by_key().items()}
        of_targets = {
            f"targets.{name}.{key}": source.not_exact()
            for name, target in self.targets.items()
            for key, source in target.sources.items()
        }
        return found | {key: shifts for key, shifts in of_targets.items() if shifts}

    def candidates(self) -> list[Strategy]:
        """Every candidate strategy."""
        if isinstance(self.strategies, StrategyGrid):
            return self.strategies.candidates()
        return [
            Strategy(margin=c.margin_mm, motion=c.motion, guidance=c.guidance, prv_mm=c.prv_mm) for c in self.strategies
        ]
