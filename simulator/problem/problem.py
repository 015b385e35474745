"""A study with its anatomy: what is simulated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.accumulation.maps import MapFrame
from simulator.case.anatomy import Case
from simulator.case.cells import Patch
from simulator.case.structures import Structure
from simulator.case.traces import Trace
from simulator.ground.once import cached_property
from simulator.ground.readable import Readable
from simulator.ground.spec import ConfigError
from simulator.metrics.biology import Biology
from simulator.metrics.goals import Goal
from simulator.metrics.metric import Metric
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.targets import TargetVolume
from simulator.population.bands import DOSE_BINS
from simulator.population.intervals import clopper_pearson_interval, randomisation_interval, wilson_interval
from simulator.population.looks import Looks
from simulator.problem.margins import PlanRequest, planned_alike
from simulator.problem.nearest import nearest_organs
from simulator.problem.record import notes_on_record
from simulator.problem.subject import notes_on_subject
from simulator.problem.target import Target
from simulator.sampling.courses import Setting
from simulator.sampling.observed import Law, law_of
from simulator.sampling.quasi import N_RANDOMISATIONS
from simulator.strategy import Strategy
from simulator.study_file.schema import StudyConfig

_MAP_BORDER_MM = 35.0
_COURSES_SCREENED = 1000
_FIRST_LOOK = 250


@dataclass(frozen=True, repr=False)
class Problem(Readable):
    """A study with its anatomy: what `check` prints and `run` simulates.

    Parameters
    ----------
    targets : in the order of their numbers.
    structures : those with points, in the order of the results.
    surfaces : surface points (n, 3) in mm of the structures whose extremes are asked for.
    metrics : for each structure, in the order of `structures`.
    skipped_goals : published goals on structures that the case does not have.
    biology : parameters of TCP and NTCP, completed from the publications.
    record : of the breathing; None without.
    inputs : what each file was to the study, with the SHA-256 of its content, by key and name.
    notes_on_plan : how the study and the patient's own plan go together.
    """

    config: StudyConfig
    case: Case
    targets: tuple[Target, ...]
    structures: tuple[Structure, ...]
    patches: dict[str, list[Patch]]
    surfaces: dict[str, np.ndarray]
    metrics: dict[str, list[Metric]]
    goals: tuple[Goal, ...]
    skipped_goals: tuple[Goal, ...]
    strategies: tuple[Strategy, ...]
    requests: tuple[PlanRequest, ...]
    setting: Setting
    biology: Biology
    record: Trace | None
    inputs: dict[str, str]
    notes_on_plan: tuple[str, ...] = ()

    def summary(self) -> dict[str, str]:
        """What is simulated of whom."""
        points = (f"{s.name} {sum(len(p.volume_cc) for p in self.patches[s.name])}" for s in self.structures)
        return {
            "study": self.config.name,
            "case": f"{self.case.name}, target {', '.join(target.name for target in self.targets)}",
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

    @cached_property
    def law(self) -> Law | None:
        """What the fractions that lie behind say of the random numbers; None where a course begins with its first one."""
        return law_of(self.setting)

    @property
    def delivered(self) -> int | None:
        """Place of the strategy that delivered the fractions that lie behind; None where a course begins with its first one."""
        return None if self.setting.treated is None else self.strategies.index(self.setting.treated.strategy)

    @cached_property
    def interplay(self) -> bool | Literal["screen"]:
        """Whether interplay is simulated or screened; `auto` where it costs little beside the study and parts are known."""
        config = self.config
        if config.simulate.interplay != "auto":
            return config.simulate.interplay
        breathing = config.uncertainty.respiration
        is_worth_it = config.courses >= _COURSES_SCREENED and breathing is not None and breathing.moves
        is_possible = config.plan.has_parts and config.observed is None and config.session.isocentres == "one"
        if not (is_worth_it and is_possible):
            return False
        try:
            for same in planned_alike(self.requests):
                for target in self.targets:
                    same[0].model.check_parts(self.orders(same, target))
        except ConfigError:
            return False
        return "screen"

    @cached_property
    def met_in_parts(self) -> frozenset[str]:
        """Structures that meet the parts of a plan where interplay is simulated: the targets and the organs nearest to them."""
        organs = nearest_organs(self.targets, self.structures, self.patches, self.config.simulate.organs)
        return frozenset([*(target.name for target in self.targets), *organs])

    @property
    def wanted(self) -> tuple[Goal, ...]:
        """The goals on all targets that a strategy has to meet together."""
        return tuple(goal for target in self.targets for goal in target.wanted)

    @property
    def wanted_together(self) -> list[tuple[Goal, ...]]:
        """Those that have to be met in the same course with the wanted probability: all, or those on each target."""
        if self.config.decision.coverage == "together":
            return [self.wanted]
        return [target.wanted for target in self.targets if target.wanted]

    @cached_property
    def asked(self) -> np.ndarray:
        """Probability (goal,) with which each goal has to hold for a strategy to suit; NaN for goals that are not asked for.

        Asked for are goals on organs, unless a library marks them optimal, and those that the study gives a probability of
        their own.
        """
        rule = self.config.decision
        mandatory = [g.level != "optimal" and self.target_named(g.metric.structure) is None for g in self.goals]
        usual = [rule.organ_probability if is_mandatory else np.nan for is_mandatory in mandatory]
        return np.array([rule.goal_probability.get(g.text, p) for g, p in zip(self.goals, usual, strict=True)])

    @cached_property
    def looks(self) -> Looks | None:
        """When strategies are looked at whose verdicts are wanted alone; None for a study that simulates all of them alike."""
        config = self.config
        if not config.decide:
            return None
        asked = [self.goals[k] for k in np.flatnonzero(np.isfinite(self.asked))]
        is_target = [self.target_named(goal.metric.structure) is not None for goal in asked]
        n_conditions = max(len(self.wanted_together) + sum(is_target), len(is_target) - sum(is_target))
        first = -(-_FIRST_LOOK // config.numerics.block_courses) * config.numerics.block_courses
        return Looks(min(first, config.courses), config.courses, len(self.strategies), n_conditions)

    def target_named(self, structure: str) -> Target | None:
        """The target that a structure is; None for organs."""
        return next((target for target in self.targets if target.name == structure), None)

    def prescription_of(self, structure: str) -> Prescription:
        """What a percentage of the prescription refers to: a target's own; for an organ the study's."""
        target = self.target_named(structure)
        return self.config.prescription if target is None else target.prescription

    @property
    def dose_step_gy(self) -> float:
        """Width of a DVH bin: the axis reaches 25 % beyond the highest dose that the prescription isodose implies."""
        prescribed = (target.prescription for target in self.targets)
        highest = [1.25 * rx.dose_gy / (rx.isodose_percent / 100) for rx in prescribed]
        highest += [float(dose.dose_gy.values.max()) for dose in self.case.doses]
        return float(np.ceil(max(highest) / DOSE_BINS * 20) / 20)

    @property
    def interval_name(self) -> str:
        """How intervals of probabilities are made, in words."""
        if self.config.sampling == "sobol":
            return "Student t over 16 randomisations, or Wilson where few courses meet or miss a goal"
        if self.looks is not None:
            return "exact binomial, wide enough for all looks and strategies: in 95 % of studies all verdicts are right"
        return (
            "Wilson"
            if self.config.precision is None
            else "Clopper-Pearson, after a rule that stops when all are narrow"
        )

    def interval(self, met: np.ndarray, n_courses: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % interval of a probability, for boolean (..., course), fit for how the courses were drawn.

        Parameters
        ----------
        n_courses : that were simulated where these are not all, of a shape that fits (...); the others do not meet.
        """
        if self.config.sampling == "sobol":
            return randomisation_interval(met, N_RANDOMISATIONS)
        n_met, n = met.sum(axis=-1), met.shape[-1] if n_courses is None else n_courses
        if self.looks is not None:
            return self.looks.interval(n_met, n)
        interval = wilson_interval if self.config.precision is None else clopper_pearson_interval
        return interval(n_met, n)

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
        found += [*notes_on_record(self.record), *self._notes_on_images()]
        breathing = self.config.uncertainty.respiration
        found += notes_on_subject(self.config)
        if breathing is not None and not breathing.moves:
            found.append("uncertainty.respiration moves nothing: amplitude_mm is 0")
        for target in self.targets:
            if not self.case.holds(self.case.structure(target.name).centroid_mm):
                found.append(f"the centre of {target.name} lies outside of the body: is one of them drawn elsewhere?")
            if target.name.upper().startswith("PTV") and not self.config.plan.used(self.case):
                found.append(f"margins are added to {target.name}, which by its name holds a margin already")
        if not self.config.decision.target_goals:
            texts = [goal.text for goal in self.goals]
            found += [
                f"strategies are judged by {goal.text!r}, which is not among the goals; decision.target_goals changes that"
                for goal in self.wanted
                if goal.text not in texts
            ]
        every = np.ones(self.config.courses, bool)
        if self.config.sampling != "sobol" and self.interval(every)[0] < self.config.decision.probability:
            found.append(
                f"{self.config.courses} courses cannot show a coverage of {100 * self.config.decision.probability:g} %: "
                "even if all of them reach it, the 95 % interval begins below; simulate more"
            )
        return found

    def _notes_on_images(self) -> list[str]:
        return [self.law.warning] if self.law is not None and self.law.warning else []

    @property
    def n_points(self) -> int:
        """Points of all structures."""
        return sum(len(p.volume_cc) for patches in self.patches.values() for p in patches)

    @property
    def moving(self) -> list[str]:
        """Structures that may move within the patient, targets last."""
        named = [target.uncertainty.moving(target.name) for target in self.targets]
        named += [strategy.motion.moving() for strategy in self.strategies]
        names = {name for by_key in named for some in by_key.values() for name in some}
        targets = [target.name for target in self.targets]
        return [s.name for s in self.structures if s.name in names and s.name not in targets] + targets

    def arm_mm(self, structure: str, centre_mm: np.ndarray) -> np.ndarray:
        """Largest distance (3,) of a structure's points from a centre along each axis."""
        points = [p.points_mm for p in self.patches[structure]]
        return np.max([np.abs(p - centre_mm).max(axis=0) for p in points], axis=0)

    def orders(self, requests: Sequence[PlanRequest], target: Target) -> list[Order]:
        """What the plans of some requests are made for, by one of the targets."""
        case, volumes = self.case.for_target(target.name), [self.planning_targets[r][target.number] for r in requests]
        return [
            Order(case, volume, r.ptvs[target.number].expansion, target.prescription, r.sparing)
            for r, volume in zip(requests, volumes, strict=True)
        ]

    @cached_property
    def planning_targets(self) -> dict[PlanRequest, tuple[TargetVolume, ...]]:
        """What margins are added to, by target: it along its path, or what was drawn in its place."""
        found: dict[PlanRequest, tuple[TargetVolume, ...]] = {}
        for same in planned_alike(self.requests):
            volumes = [
                same[0].model.planning_target(self.case, target.structure, np.array(ptv.target_path_mm))
                for target, ptv in zip(self.targets, same[0].ptvs, strict=True)
            ]
            found |= dict.fromkeys(same, tuple(volumes))
        return found

    @cached_property
    def map_frame(self) -> MapFrame:
        """The grid of the dose maps: around the targets, their motion and their largest margin."""
        ptvs = [ptv for request in self.requests for ptv in request.ptvs]
        bounds = np.array([target.structure.region.bounds_mm for target in self.targets])
        lower, upper = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
        path = np.concatenate([np.array(ptv.target_path_mm) for ptv in ptvs])
        border = max(max(ptv.margin_mm) for ptv in ptvs) + _MAP_BORDER_MM
        return MapFrame(self.case, lower + path.min(axis=0) - border, upper + path.max(axis=0) + border, self.moving)
