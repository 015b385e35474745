"""From a study to a problem ready to simulate: what can be wrong is found here, before any long work."""

import difflib
import itertools
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from simulator.accumulation.maps import MapFrame
from simulator.accumulation.true_target import TrueTarget
from simulator.case.anatomy import Case
from simulator.case.cells import Patch
from simulator.case.structures import Structure, sample_structure, surface_points
from simulator.case.traces import Trace, breathing_signal, one_record, read_trace
from simulator.files import digest_of, printable
from simulator.metrics.biology import Biology
from simulator.metrics.contradictions import check_goals
from simulator.metrics.goals import Goal, parse_goal
from simulator.metrics.kinds import metrics_of_responses, parse_metric
from simulator.metrics.metric import Metric
from simulator.once import Once
from simulator.plan.agreement import check_agreement, contradictions, isocentre_of
from simulator.plan.targets import Expansion, TargetVolume, planning_target
from simulator.population.bands import DOSE_BINS
from simulator.population.intervals import clopper_pearson_interval, randomisation_interval, wilson_interval
from simulator.readable import Readable
from simulator.sampling.courses import Setting
from simulator.sampling.quasi import N_RANDOMISATIONS
from simulator.spec import CaseError, ConfigError
from simulator.strategy import Strategy
from simulator.strategy.margin import WATER_PENUMBRA_MM, Spread
from simulator.study_file.published import complete_biology, resolve_goals
from simulator.study_file.schema import StudyConfig, is_library_file
from simulator.uncertainty.respiration import Respiration

_TARGET_METRICS = ("D98%", "D95%", "D2%", "Dmean", "V95%")
_OAR_METRICS = ("D0.035cc", "Dmean")
_STRAIGHT_MM = 0.02
_MAP_BORDER_MM = 35.0
_LARGEST_MARGIN_MM = 100.0
_LEAST_RANGE_MM = 0.1
_MOST_OF_RANGE = 10.0

# Points of a sweep that share a case share its anatomy.
_cases: Once[Case] = Once(2)
_samples: Once[Patch] = Once(100)
_true_targets: Once[TrueTarget] = Once(4)


@dataclass(frozen=True)
class PlanRequest:
    """What a plan depends on: strategies that share a request share the plan.

    Parameters
    ----------
    margin_mm : towards right, left, anterior, posterior, inferior and superior.
    target_path_mm : positions whose union is the planning target.
    """

    margin_mm: tuple[float, float, float, float, float, float]
    target_path_mm: tuple[tuple[float, float, float], ...]

    @property
    def expansion(self) -> Expansion:
        """The margin as distances in the six directions."""
        negative, positive = np.array(self.margin_mm).reshape(3, 2).T
        return Expansion(negative, positive)


@dataclass(frozen=True, repr=False)
class Problem(Readable):
    """A study with its anatomy: what `check` prints and `run` simulates.

    Parameters
    ----------
    structures : those with points, in the order of the results.
    surfaces : surface points (n, 3) in mm of the structures whose extremes are asked for.
    metrics : for each structure, in the order of `structures`.
    wanted : the goals on the target that a strategy has to meet together.
    skipped_goals : published goals on structures that the case does not have.
    true_target : the target under delineation error; None without.
    biology : parameters of TCP and NTCP, completed from the publications.
    record : of the breathing; None without.
    inputs : what each file was to the study, with the SHA-256 of its content, by key and name.
    notes_on_plan : how the study and the patient's own plan go together.
    """

    config: StudyConfig
    case: Case
    structures: tuple[Structure, ...]
    patches: dict[str, list[Patch]]
    surfaces: dict[str, np.ndarray]
    metrics: dict[str, list[Metric]]
    goals: tuple[Goal, ...]
    wanted: tuple[Goal, ...]
    skipped_goals: tuple[Goal, ...]
    strategies: tuple[Strategy, ...]
    requests: tuple[PlanRequest, ...]
    setting: Setting
    true_target: TrueTarget | None
    biology: Biology
    record: Trace | None
    inputs: dict[str, str]
    notes_on_plan: tuple[str, ...] = ()

    def summary(self) -> dict[str, str]:
        """What is simulated of whom."""
        points = (f"{s.name} {sum(len(p.volume_cc) for p in self.patches[s.name])}" for s in self.structures)
        return {
            "study": self.config.name,
            "case": f"{self.case.name}, target {self.case.target}",
            "points": ", ".join(points),
            "strategies": f"{len(self.strategies)}: {'; '.join(s.label() for s in self.strategies)}",
            "goals": "; ".join(g.text for g in self.goals),
        }

    @property
    def metric_labels(self) -> list[str]:
        """Labels of all metrics, structure by structure."""
        return [m.label for s in self.structures for m in self.metrics[s.name]]

    @cached_property
    def column(self) -> dict[str, int]:
        """Place of each metric among `metric_labels`."""
        return {label: i for i, label in enumerate(self.metric_labels)}

    @property
    def prescription_gy(self) -> float:
        """Prescription in Gy."""
        return self.config.prescription.dose_gy

    @property
    def dose_step_gy(self) -> float:
        """Width of a DVH bin: the axis reaches 25 % beyond the highest dose that the prescription isodose implies."""
        prescription = self.config.prescription
        highest = 1.25 * prescription.dose_gy / (prescription.isodose_percent / 100)
        highest = max([highest, *(float(d.dose_gy.values.max()) for d in self.case.doses)])
        return float(np.ceil(highest / DOSE_BINS * 20) / 20)

    @property
    def interval_name(self) -> str:
        """How intervals of probabilities are made, in words."""
        if self.config.sampling == "sobol":
            return "Student t over 16 randomisations, or Wilson where few courses meet or miss a goal"
        return (
            "Wilson"
            if self.config.precision is None
            else "Clopper-Pearson, after a rule that stops when all are narrow"
        )

    def interval(self, met: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % interval of a probability, for boolean (..., course), fit for how the courses were drawn."""
        if self.config.sampling == "sobol":
            return randomisation_interval(met, N_RANDOMISATIONS)
        interval = wilson_interval if self.config.precision is None else clopper_pearson_interval
        return interval(met.sum(axis=-1), met.shape[-1])

    @property
    def notes(self) -> list[str]:
        """What the user should know of the study before it runs."""
        found = list(self.notes_on_plan)
        lacking = [goal.metric.structure for goal in self.skipped_goals]
        for name in sorted(set(lacking) & set(self.case.left_out)):
            found.append(f"published goals on {name} are left out: {self.case.left_out[name]}")
        missing = [name for name in lacking if name not in self.case.left_out]
        if missing:
            found.append(
                f"{len(missing)} published goals are left out, the case has no {', '.join(sorted(set(missing)))}; "
                "case.aliases maps a clinic's own names"
            )
        for goal in self.goals:
            if goal.unit == "Gy" and not goal.text.endswith("Gy") and goal.limit > self.config.prescription.highest_gy:
                found.append(
                    f"goal {goal.text!r} is read in Gy and lies above the maximum dose; write % if that is meant"
                )
            is_organ = self.case.structures[goal.metric.structure].role != "target"
            if is_organ and goal.operator.startswith(">") and not goal.metric.falls_with_dose:
                found.append(
                    f"goal {goal.text!r} asks for more dose to an organ; {goal.text.replace('>', '<')!r} limits it"
                )
        found += _record_notes(self.record)
        breathing = self.config.uncertainty.respiration
        if breathing is not None and breathing.course_cv and not hasattr(self.config.case, "phantom"):
            found.append(
                "uncertainty.respiration.course_cv is the spread between patients, and the case is one patient whose amplitude "
                "was measured: set it to 0 unless that measurement is uncertain"
            )
        if breathing is not None and not breathing.moves:
            found.append("uncertainty.respiration moves nothing: amplitude_mm is 0")
        if self.case.target.upper().startswith("PTV") and not self.config.plan.used(self.case):
            found.append(f"margins are added to {self.case.target}, which by its name holds a margin already")
        if not self.config.decision.target_goals:
            text = self.wanted[0].text
            if text not in [goal.text for goal in self.goals]:
                found.append(
                    f"strategies are judged by {text!r}, which is not among the goals; decision.target_goals changes that"
                )
        every = np.ones(self.config.courses, bool)
        if self.config.sampling != "sobol" and self.interval(every)[0] < self.config.decision.probability:
            found.append(
                f"{self.config.courses} courses cannot show a coverage of {100 * self.config.decision.probability:g} %: "
                "even if all of them reach it, the 95 % interval begins below; simulate more"
            )
        return found

    @property
    def n_points(self) -> int:
        """Points of all structures."""
        return sum(len(p.volume_cc) for patches in self.patches.values() for p in patches)

    @property
    def moving(self) -> list[str]:
        """Structures that may move within the patient, the target last."""
        named = [self.config.uncertainty.moving(self.case.target)]
        named += [strategy.motion.moving() for strategy in self.strategies]
        names = {name for by_key in named for some in by_key.values() for name in some}
        return [s.name for s in self.structures if s.name in names and s.name != self.case.target] + [self.case.target]

    def arm_mm(self, structure: str, centre_mm: np.ndarray) -> np.ndarray:
        """Largest distance (3,) of a structure's points from a centre along each axis."""
        points = [p.points_mm for p in self.patches[structure]]
        return np.max([np.abs(p - centre_mm).max(axis=0) for p in points], axis=0)

    @cached_property
    def planning_targets(self) -> dict[tuple[tuple[float, float, float], ...], TargetVolume]:
        """What margins are added to, by the path that it covers."""
        paths = dict.fromkeys(r.target_path_mm for r in self.requests)
        return {path: planning_target(self.case.gtv.region, np.array(path)) for path in paths}

    @cached_property
    def map_frame(self) -> MapFrame:
        """The grid of the dose maps: around the target, its motion and its largest margin."""
        lower, upper = self.case.gtv.region.bounds_mm
        margin = max(max(r.margin_mm) for r in self.requests)
        path = np.concatenate([np.array(r.target_path_mm) for r in self.requests])
        border = margin + _MAP_BORDER_MM
        return MapFrame(self.case, lower + path.min(axis=0) - border, upper + path.max(axis=0) + border, self.moving)


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
    """Breathing record and goal libraries of one's own, by key."""
    respiration = config.uncertainty.respiration
    traces = {"uncertainty.respiration.trace": respiration.trace} if respiration and respiration.trace else {}
    libraries = {f"goals.{i}": goal for i, goal in enumerate(config.goals) if is_library_file(goal)}
    return {key: Path(path) for key, path in (traces | libraries).items()}


def _inputs(config: StudyConfig, case: Case) -> dict[str, str]:
    """Digest of every file that the study is made of."""
    of_case = {f"case: {name}": what for name, what in case.inputs.items()}
    beside = {f"{key}: {path.name}": f"{key} {digest_of(path)}" for key, path in _files_beside_the_case(config).items()}
    return {printable(name): printable(what) for name, what in (of_case | beside).items()}


def prepare(config: StudyConfig) -> Problem:
    """Load the case and resolve goals, structures, strategies and plans.

    Raises
    ------
    ConfigError, CaseError : what is wrong with the study or with the patient data.
    """
    own, published = resolve_goals(config)
    source, max_points = case_key(config), config.numerics.max_points
    case = _cases.get(source, config.case.build)
    if not own and not published:
        raise ConfigError("goals: none given; name a library such as mediastinal-5fx or write goals")
    for goal in own:
        _require(case, goal)
    known = [g for g in published if g.metric.structure in case.structures]
    goals = tuple({g.text: g for g in (*own, *known)}.values())
    check_goals(own, config.prescription.dose_gy)
    named = {*(g.metric.structure for g in goals), *itertools.chain(*config.biology.sections.values())}
    wanted = _wanted(config, case)
    structures = tuple(s for s in case.structures.values() if s.role != "external" or s.name in named)
    for structure in structures:
        if structure.volume_cc <= 0:
            raise CaseError(f"structure {structure.name!r} of case {case.name!r} is empty; leave it out or contour it")
    _check_sources(config, case)
    notes_on_plan = _notes_on_plan(config, case)
    biology = complete_biology(config.biology, (*goals, *wanted))
    for goal in (*goals, *wanted):
        goal.metric.check_volume(case.structures[goal.metric.structure].volume_cc)
    strategies = tuple(config.candidates())
    record = _record(config.uncertainty.respiration)
    setting = _setting(config, case, record)
    true_target, delineation = None, config.uncertainty.delineation
    patches = {
        s.name: [
            _samples.get((source, max_points, s.name), partial(sample_structure, s, case.gtv, max_points=max_points))
        ]
        for s in structures
    }
    if delineation is not None:
        true_target = _true_targets.get(
            (source, max_points, delineation), lambda: TrueTarget.around(case.gtv, delineation, max_points)
        )
        patches[case.target] = [true_target.patch]
    extreme = {g.metric.structure for g in (*goals, *wanted) if g.metric.needs_surface}
    return Problem(
        config=config,
        case=case,
        structures=structures,
        patches=patches,
        surfaces={s.name: surface_points(s) for s in structures if s.name in extreme},
        metrics={s.name: _metrics_of(s, (*goals, *wanted), biology) for s in structures},
        goals=goals,
        wanted=wanted,
        skipped_goals=tuple(g for g in published if g.metric.structure not in case.structures),
        strategies=strategies,
        requests=tuple(_plan_request(setting, s) for s in strategies),
        setting=setting,
        true_target=true_target,
        biology=biology,
        record=record,
        inputs=_inputs(config, case),
        notes_on_plan=tuple(notes_on_plan),
    )


def check_plans(problem: Problem) -> None:
    """Refuse plans that cannot be made, before any is.

    Raises
    ------
    ConfigError, CaseError : see the plan's model.
    """
    requests = dict.fromkeys(problem.requests)
    for path, target in problem.planning_targets.items():
        expansions = [r.expansion for r in requests if r.target_path_mm == path]
        problem.config.plan.check(problem.case, target, expansions, problem.config.prescription)


def _require(case: Case, goal: Goal) -> None:
    name = goal.metric.structure
    if name in case.left_out:
        raise ConfigError(f"goal {goal.text!r}: {case.left_out[name]}")
    if name not in case.structures:
        near = difflib.get_close_matches(name, case.structures, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(
            f"goal {goal.text!r}: structure {name!r} is not in case {case.name!r}{hint}; it has: "
            f"{', '.join(case.structures)} (names are case-sensitive; case.aliases maps a clinic's own names)"
        )


def _wanted(config: StudyConfig, case: Case) -> tuple[Goal, ...]:
    """The goals that decide what is feasible."""
    wanted = tuple(parse_goal(text) for text in config.decision.target_goals or (f"{case.target} D98% >= 95%",))
    check_goals(wanted, config.prescription.dose_gy)
    for goal in wanted:
        if goal.metric.structure != case.target:
            raise ConfigError(
                f"decision.target_goals: {goal.text!r} is not about the target {case.target}; goals on organs count as "
                "risk, write them under goals"
            )
    return wanted


def _check_sources(config: StudyConfig, case: Case) -> None:
    """Refuse structures that the case does not have, and motion management that has nothing to manage."""
    uncertainty = config.uncertainty
    named = {"uncertainty.organs": tuple(uncertainty.organs)}
    named |= {f"biology.{section}": tuple(models) for section, models in config.biology.sections.items()}
    named |= {f"uncertainty.{key}": names for key, names in uncertainty.moving(case.target).items()}
    for strategy in config.candidates():
        motion = strategy.motion
        named |= {f"strategies.motion.{motion.label()}.{key}": names for key, names in motion.moving().items()}
        if motion.needs_breathing_to is not None and uncertainty.respiration is None:
            raise ConfigError(
                f"strategies.motion.{motion.kind}: there is no breathing to {motion.needs_breathing_to}; add "
                "uncertainty.respiration"
            )
        guidance, n_fractions = strategy.guidance, config.prescription.fractions
        if guidance.fractions_before_correction() >= n_fractions:
            raise ConfigError(
                f"strategies.guidance.{guidance.label()}: would correct from fraction "
                f"{guidance.fractions_before_correction() + 1} on, but prescription.fractions is {n_fractions}; measure fewer "
                "fractions (measured_fractions), or choose another guidance"
            )
    for key, names in named.items():
        unknown = [name for name in names if name not in case.structures]
        if unknown and unknown[0] in case.left_out:
            raise ConfigError(f"{key}: {case.left_out[unknown[0]]}")
        if unknown:
            raise ConfigError(
                f"{key}: {', '.join(unknown)} not in case {case.name!r}; it has: {', '.join(case.structures)}"
            )
    if case.target in uncertainty.organs:
        raise ConfigError(
            f"uncertainty.organs: {case.target} is the target; describe its shifts under uncertainty.baseline"
        )
    phases = uncertainty.respiration.phases_mm if uncertainty.respiration else None
    if phases is not None and case.target not in phases:
        raise ConfigError(f"uncertainty.respiration.phases_mm: the target {case.target} has no phases; add them")


def _setting(config: StudyConfig, case: Case, record: Trace | None) -> Setting:
    """What draws need to know of the anatomy."""
    uncertainty = config.uncertainty
    setup = uncertainty.setup
    isocentre, _ = _isocentre(config, case)
    turns = setup is not None and setup.rotates
    centred = (
        case.structures if turns else {case.target: case.gtv} | {n: case.structures[n] for n in uncertainty.organs}
    )
    waveform = None
    if uncertainty.respiration is not None:
        samples = None if record is None else (breathing_signal(record), record.duration_s)
        waveform = uncertainty.respiration.waveform(case.target, samples)
    return Setting(
        uncertainty=uncertainty,
        session=config.session,
        target=case.target,
        n_fractions=config.prescription.fractions,
        n_instants=config.numerics.instants,
        fraction_gy=config.prescription.dose_gy / config.prescription.fractions,
        centre_mm={name: s.centroid_mm for name, s in centred.items()},
        volume_cc={name: case.structures[name].volume_cc for name in uncertainty.organs},
        isocentre_mm=isocentre,
        waveform=waveform,
        penumbra_sd_mm=WATER_PENUMBRA_MM if config.plan.edge_sd_mm is None else config.plan.edge_sd_mm,
    )


def _isocentre(config: StudyConfig, case: Case) -> tuple[np.ndarray, list[str]]:
    """What rotations turn about: the study's own point, the isocentre of an imported plan, or the target's centre; notes."""
    setup = config.uncertainty.setup
    if setup is not None and setup.isocentre_mm is not None:
        return np.array(setup.isocentre_mm), []
    of_plan, notes = isocentre_of(case, config.plan.used(case))
    return case.gtv.centroid_mm if of_plan is None else of_plan, notes


def _notes_on_plan(config: StudyConfig, case: Case) -> list[str]:
    """How the study and the patient's plan go together.

    Raises
    ------
    ConfigError : they contradict each other, and the plan's dose is used.
    """
    used = config.plan.used(case)
    if not used:
        found = contradictions(case.plan, config.prescription) if case.plan else []
        return [f"{text}; the plans of this study are its own" for text in found]
    setup = config.uncertainty.setup
    _, turning = _isocentre(config, case) if setup is not None and setup.rotates else (None, [])
    return [*check_agreement(case, used, config.prescription), *turning]


def _record(respiration: Respiration | None) -> Trace | None:
    """The measured record of a study; None without."""
    if respiration is None or respiration.trace is None:
        return None
    key = "uncertainty.respiration.trace"
    if not Path(respiration.trace).is_file():
        raise ConfigError(f"{key}: no file {respiration.trace}; give the path of a record")
    try:
        trace = read_trace(respiration.trace)
    except CaseError as error:
        raise ConfigError(f"{key}: {error}") from None
    if trace is None:
        raise ConfigError(
            f"{key}: {respiration.trace} is no motion trace; a CSV with the columns time_s and displacement_mm is wanted, "
            "or an IEC text file"
        )
    record = one_record(trace)
    low, high = _range_mm(record)
    if high - low < _LEAST_RANGE_MM:
        raise ConfigError(f"{key}: {respiration.trace} moves by {high - low:.2g} mm only; give a record of breathing")
    if np.ptp(breathing_signal(record)) > _MOST_OF_RANGE * (high - low):
        raise ConfigError(f"{key}: {respiration.trace} has spikes far beyond its usual range; cut them off")
    if record.duration_s < respiration.period_s:
        raise ConfigError(
            f"{key}: {respiration.trace} lasts {record.duration_s:.3g} s, less than one breath (period_s) of "
            f"{respiration.period_s:g} s"
        )
    return record


def _range_mm(record: Trace) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the breathing signal in mm."""
    low, high = np.percentile(breathing_signal(record), (2.5, 97.5))
    return float(low), float(high)


def _record_notes(record: Trace | None) -> list[str]:
    """What of a measured record is used, and what is not."""
    if record is None:
        return []
    low, high = _range_mm(record)
    unused = "its direction and rotations are" if "rotations" in record.note else "its direction is"
    projected = f", along its main direction; {unused} not used" if record.position_mm.shape[1] > 1 else ""
    return [
        f"the breathing record gives the shape alone{projected}: its {high - low:.1f} mm (2.5-97.5 %) become amplitude_mm "
        "along inhale_direction"
    ]


def _metrics_of(structure: Structure, goals: tuple[Goal, ...], biology: Biology) -> list[Metric]:
    usual = _TARGET_METRICS if structure.role == "target" else _OAR_METRICS
    metrics = [g.metric for g in goals if g.metric.structure == structure.name]
    metrics += [parse_metric(structure.name, m) for m in usual]
    metrics += metrics_of_responses(structure.name, biology.responses(structure.name))
    return list({m.label: m for m in metrics if m.fits(structure.volume_cc)}.values())


def margin_spread(setting: Setting, strategy: Strategy) -> Spread:
    """The errors that a margin recipe has to cover under a strategy's motion management and guidance."""
    n = setting.n_fractions
    patient = Spread(*setting.uncertainty.patient_sd_mm(), n)
    internal = Spread(*setting.uncertainty.target_sd_mm(), n)
    managed = strategy.motion.spread(setting.planned, setting.target)
    unseen = Spread(*setting.uncertainty.unseen_sd_mm(), n)
    left = strategy.guidance.residual(patient, internal)
    spread = left.plus(Spread(managed.systematic_mm, managed.random_mm, n)).plus(unseen)
    return replace(spread, penumbra_sd_mm=setting.penumbra_sd_mm)


def _plan_request(setting: Setting, strategy: Strategy) -> PlanRequest:
    margin = strategy.margin.directions(margin_spread(setting, strategy))
    if not np.all((margin >= 0) & (margin <= _LARGEST_MARGIN_MM)):
        raise ConfigError(
            f"strategy {strategy.label()!r}: margins of {np.round(margin, 1).tolist()} mm (LR, AP, SI, both ways) do not lie "
            f"within 0-{_LARGEST_MARGIN_MM:g} mm; correct the errors or write the margin out"
        )
    right, left_mm, anterior, posterior, inferior, superior = (float(m) for m in np.round(margin, 3).ravel())
    path = _ends(strategy.motion.path_mm(setting.planned, setting.target))
    return PlanRequest(
        (right, left_mm, anterior, posterior, inferior, superior),
        tuple((float(x), float(y), float(z)) for x, y, z in path),
    )


def _ends(path_mm: np.ndarray) -> np.ndarray:
    """A path without the inner points of a straight line, to a hundredth of a mm."""
    path = np.round(path_mm, 2) + 0.0
    along = path - path.mean(axis=0)
    _, size, axes = np.linalg.svd(along, full_matrices=False)
    if len(size) > 1 and size[1] > _STRAIGHT_MM * np.sqrt(len(path)):
        return np.concatenate([path, path[:1]])
    place = along @ axes[0]
    return np.unique(path[[int(np.argmin(place)), int(np.argmax(place))]], axis=0)
