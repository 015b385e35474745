"""One strategy simulated: its plan, the courses it delivers, and the metrics of each course."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from simulator.accumulation.maps import BONE, VisitBox
from simulator.accumulation.structure import Reach, StructureDoses
from simulator.case.structures import Structure
from simulator.kernels.dvh import cumulative_dvh, without_empty_points
from simulator.metrics.evaluate import Dvhs, Extent, evaluate_biology, evaluate_metrics, values_without_target
from simulator.parallel import Executor, SerialExecutor, in_order
from simulator.plan.quality import Plan
from simulator.population.bands import DOSE_BINS, VOLUME_LEVELS, count_levels
from simulator.problem.preparation import PlanRequest, Problem
from simulator.sampling.courses import Delivery, TissueMotion, deliver, draw_courses
from simulator.sampling.quasi import SobolDraws
from simulator.sampling.streams import Draws
from simulator.simulation.deciding import DecidingPoints
from simulator.simulation.refinement import Deciding, positions
from simulator.spec import ConfigError
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers

COURSES_COMPARED, COURSES_SAMPLED, COURSES_FOLLOWED = 8, 512, 32
NOMINAL_FINEST_MM, NOMINAL_ERROR = 0.4, 0.001
_COURSES_AT_ONCE = 32
_FARTHEST_MM = 120.0


@dataclass(frozen=True)
class Work:
    """One strategy ready to be simulated, block by block.

    Parameters
    ----------
    error_gy : by structure, bound on the error of doses at volumes by cells and dose lattice.
    deciding : by structure, the points that do when only metrics are wanted; see `for_metrics`.
    """

    problem: Problem
    strategy: Strategy
    plan: Plan
    doses: dict[str, StructureDoses]
    boxes: dict[str, VisitBox]
    dose_step_gy: float
    error_gy: dict[str, float]
    deciding: dict[str, DecidingPoints] = field(default_factory=dict)

    @cached_property
    def _extents(self) -> dict[str, Extent]:
        """How the points of each structure stand for tissue."""
        return {name: Extent(doses.cells, doses.cell_reach_gy) for name, doses in self.doses.items()}

    def block(self, draws: RandomNumbers, delivery: Delivery) -> dict[str, np.ndarray]:
        """Metrics, DVH counts and visits of drawn courses and what the strategy makes of them."""
        counts = np.zeros((len(self.problem.structures), DOSE_BINS, VOLUME_LEVELS), np.uint32)
        is_lost = np.zeros(len(delivery.weight), bool)
        values = self.evaluate(delivery, draws, counts, is_lost)
        visits: dict[str, np.ndarray] = {}
        for i, (name, box) in enumerate(self.boxes.items()):
            visits |= {f"visits_{i}": box.count(delivery.motion(name)), f"visits_low_{i}": box.low_zyx}
        return {"values": values, "counts": counts, "n_lost": is_lost.sum(), **visits}

    def add_visits(self, block: dict[str, np.ndarray], visits: dict[str, np.ndarray]) -> None:
        """Add the visits of a block to those of other blocks, by tissue."""
        for i, (tissue, box) in enumerate(self.boxes.items()):
            box.add(visits[tissue], block[f"visits_{i}"], block[f"visits_low_{i}"])

    def for_metrics(self) -> "Work":
        """The same work for metrics alone, by the points that decide them."""
        deciding: dict[str, DecidingPoints] = {}
        for structure in self.problem.structures:
            if structure.role != "target" or self.problem.true_target is None:
                doses, metrics = self.doses[structure.name], self.problem.metrics[structure.name]
                extent = self._extents[structure.name]
                some = DecidingPoints.of(doses.parts, doses.volume_cc, metrics, self.problem.prescription_gy, extent)
                if some is not None:
                    deciding[structure.name] = some
        return replace(self, deciding=deciding)

    def metrics_of(self, draws: RandomNumbers) -> np.ndarray:
        """Metrics float32 (course, metric) of drawn courses."""
        return self.evaluate(deliver_courses(self.problem, self.strategy, draws), draws)

    def evaluate(
        self,
        delivery: Delivery,
        draws: RandomNumbers,
        counts: np.ndarray | None = None,
        is_lost: np.ndarray | None = None,
    ) -> np.ndarray:
        """Metrics float32 (course, metric).

        Parameters
        ----------
        counts : uint32 (structure, dose, level), to which DVH levels are added if given.
        is_lost : boolean (course,), set if given where delineation error leaves no true target.
        """
        true_target, surfaces = self.problem.true_target, None
        if true_target is not None:
            surfaces = true_target.delineation.draw(draws, true_target.n_terms)
        columns = []
        for s, structure in enumerate(self.problem.structures):
            doses = self.doses[structure.name]
            motion = delivery.motion(structure.name)
            n_courses = len(motion.weight)
            values = np.empty((n_courses, len(self.problem.metrics[structure.name])), np.float32)
            for start in range(0, n_courses, _COURSES_AT_ONCE):
                part = slice(start, start + _COURSES_AT_ONCE)
                some = motion.courses(part)
                if structure.name in self.deciding:
                    values[part] = self.deciding[structure.name].evaluate(some)
                    continue
                limits, volume_cc = None, doses.volume_cc
                extent: Extent | None = self._extents[structure.name]
                if true_target is not None and surfaces is not None and structure.role == "target":
                    volume_cc, extent = true_target.volume_cc(surfaces[part]), None
                    gy = doses.accumulate(some, volume_cc)
                else:
                    gy = doses.accumulate(some)
                    limits = doses.extremes(gy, some)
                numbers = draws.part(start, len(gy))
                counted = (gy, volume_cc) if volume_cc.ndim == 1 else without_empty_points(gy, volume_cc)
                dvhs = self._dvhs(*counted) if extent is not None or counts is not None else None
                values[part] = self._metrics(
                    structure.name, doses, some, gy, volume_cc, counted, limits, numbers, extent, dvhs
                )
                if volume_cc.ndim == 2:
                    lost = ~np.any(volume_cc > 0, axis=1)
                    values[part][lost] = values_without_target(
                        self.problem.metrics[structure.name], structure.volume_cc
                    )
                    if is_lost is not None:
                        is_lost[part] = lost
                if counts is not None and dvhs is not None:
                    count_levels(dvhs.percent, counts[s])
            columns.append(values)
        return np.concatenate(columns, axis=1)

    def nominal(self) -> tuple[np.ndarray, np.ndarray]:
        """Metrics (metric,) and DVHs (structure, dose) in percent of the planned dose without errors."""
        columns, dvhs = [], []
        for structure in self.problem.structures:
            offset_mm = self.strategy.motion.offset_mm(self.problem.setting.planned, structure.name)
            still = TissueMotion.still(offset_mm)
            doses = self._nominal_doses(structure, still)
            gy, limits = doses.planned(offset_mm)
            points, extent = (gy, doses.volume_cc), Extent(doses.cells, doses.cell_reach_gy)
            dvh = self._dvhs(*points)
            columns.append(self._metrics(structure.name, doses, still, *points, points, limits, None, extent, dvh)[0])
            dvhs.append(dvh.percent[0])
        return np.concatenate(columns).astype(np.float32), np.stack(dvhs).astype(np.float32)

    def _nominal_doses(self, structure: Structure, still: TissueMotion) -> StructureDoses:
        """Doses of a structure with its cells divided where its metrics are decided without errors."""
        name, reach, lattice_mm = structure.name, Reach.of(still), self.problem.config.numerics.oar_lattice_mm
        if structure.role == "target":
            return self.doses[name]
        metrics = self.problem.metrics[name], self.problem.prescription_gy
        deciding = Deciding(*metrics, self.plan.dose, reach, (still,), lattice_mm, NOMINAL_FINEST_MM, NOMINAL_ERROR)
        patches = deciding.divided(structure.region, *self.problem.patches[name])
        return StructureDoses(self.plan.dose, patches, reach, lattice_mm, self.problem.surfaces.get(name))

    def _dvhs(self, dose_gy: np.ndarray, volume_cc: np.ndarray) -> Dvhs:
        percent = cumulative_dvh(dose_gy, np.atleast_2d(volume_cc), self.dose_step_gy, DOSE_BINS)
        return Dvhs(percent, self.dose_step_gy)

    def _metrics(
        self,
        name: str,
        doses: StructureDoses,
        motion: TissueMotion,
        dose_gy: np.ndarray,
        volume_cc: np.ndarray,
        counted: tuple[np.ndarray, np.ndarray],
        extremes_gy: np.ndarray | None,
        draws: RandomNumbers | None,
        extent: Extent | None,
        dvhs: Dvhs | None,
    ) -> np.ndarray:
        """Metrics float64 (course, metric) of a structure; without draws, its response is that of mean parameters.

        `counted` holds doses and volumes, of the points with a volume alone where that is quicker.
        """
        metrics, rx = self.problem.metrics[name], self.problem.config.prescription
        is_biological = np.array([m.is_biological for m in metrics])
        if not is_biological.any():
            return evaluate_metrics(metrics, *counted, rx.dose_gy, extremes_gy, extent=extent, dvhs=dvhs)
        physical, biological = ([m for m in metrics if m.is_biological is kind] for kind in (False, True))
        points = doses.fraction_sums(dose_gy, motion, rx.fractions)
        edge = None
        if volume_cc.ndim == 1 and any(m.kind in ("minimum", "maximum") for m in biological):
            edge = doses.edge_sums(points, motion, rx.fractions)
        responses = self.problem.biology.responses(name, draws)
        values = np.empty((len(dose_gy), len(metrics)))
        values[:, ~is_biological] = evaluate_metrics(
            physical, *counted, rx.dose_gy, extremes_gy, extent=extent, dvhs=dvhs
        )
        values[:, is_biological] = evaluate_biology(biological, points, edge, volume_cc, responses, extent)
        return values


def make_plan(problem: Problem, request: PlanRequest) -> Plan:
    """Planned dose of one candidate margin."""
    return make_plans(problem, [request], SerialExecutor())[0]


def make_plans(problem: Problem, requests: Sequence[PlanRequest], executor: Executor) -> list[Plan]:
    """Planned doses of candidate margins, in their order; those of one planning target are made together."""
    plans: dict[PlanRequest, Plan] = {}
    for path in dict.fromkeys(r.target_path_mm for r in requests):
        some = [r for r in requests if r.target_path_mm == path]
        made = problem.config.plan.plans(
            problem.case,
            problem.planning_targets[path],
            [r.expansion for r in some],
            problem.config.prescription,
            functools.partial(in_order, executor),
        )
        plans |= zip(some, made, strict=True)
    return [plans[r] for r in requests]


def course_draws(problem: Problem, first: int, n_courses: int) -> RandomNumbers:
    """The random numbers of some courses of the study."""
    config = problem.config
    if config.sampling == "sobol":
        fractions = config.prescription.fractions
        return SobolDraws(config.seed, first, n_courses, config.courses, fractions, config.uncertainty)
    return Draws(config.seed, first, n_courses)


def deliver_courses(problem: Problem, strategy: Strategy, draws: RandomNumbers) -> Delivery:
    """What a strategy makes of drawn courses; its margin does not matter."""
    return deliver(draw_courses(problem.setting, draws), strategy, problem.setting)


def same_delivery(problem: Problem, strategy: Strategy, draws: RandomNumbers, other: RandomNumbers) -> bool:
    """Whether a strategy delivers the same whichever of two sets of random numbers is drawn."""
    return _are_alike(problem, *(deliver_courses(problem, strategy, d) for d in (draws, other)))


def twins(problem: Problem) -> list[tuple[str, str]]:
    """Pairs of strategies that deliver the same plan in the same way in this study."""
    draws = course_draws(problem, 0, COURSES_COMPARED)
    by_roles: dict[tuple[str, str], Delivery] = {}
    deliveries, found = [], []
    for strategy in problem.strategies:
        roles = strategy.motion.model_dump_json(), strategy.guidance.model_dump_json()
        if roles not in by_roles:
            by_roles[roles] = deliver_courses(problem, strategy, draws)
        deliveries.append(by_roles[roles])
    for i, strategy in enumerate(problem.strategies):
        same_plan = (j for j in range(i) if problem.requests[j] == problem.requests[i])
        twin = next((j for j in same_plan if _are_alike(problem, deliveries[i], deliveries[j])), None)
        if twin is not None:
            found.append((problem.strategies[twin].label(), strategy.label()))
    return found


def _are_alike(problem: Problem, first: Delivery, second: Delivery) -> bool:
    for name in (BONE, *(s.name for s in problem.structures)):
        one, two = first.motion(name), second.motion(name)
        pairs = ((one.shift_mm, two.shift_mm), (one.weight, two.weight), (one.linear, two.linear))
        if not all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None):
            return False
    return True


def prepare_work(
    problem: Problem, strategy: Strategy, plan: Plan, deliveries: Iterable[Delivery], executor: Executor
) -> Work:
    """Doses of a plan around every structure, as far as some deliveries move it."""
    is_limited = problem.config.sampling == "sobol"
    n_sampled = min(COURSES_SAMPLED, problem.config.courses) if is_limited else COURSES_SAMPLED
    sample = deliver_courses(problem, strategy, course_draws(problem, 0, n_sampled))
    reach = reach_of(problem, strategy, [sample, *deliveries])
    numerics = problem.config.numerics

    def around(structure: Structure) -> StructureDoses:
        name = structure.name
        finest_mm = numerics.target_lattice_mm if structure.role == "target" else numerics.oar_lattice_mm
        motion, patches = sample.motion(name), problem.patches[name]
        motions = (motion.courses(slice(0, COURSES_FOLLOWED)), positions(motion))
        metrics = problem.metrics[name], problem.prescription_gy
        limits = (NOMINAL_FINEST_MM, NOMINAL_ERROR) if reach[name].is_point else ()
        deciding = Deciding(*metrics, plan.dose, reach[name], motions, finest_mm, *limits)
        if structure.role != "target":
            patches = deciding.divided(structure.region, *patches)
        doses = StructureDoses(plan.dose, patches, reach[name], finest_mm, problem.surfaces.get(name))
        doses.narrow(motions)
        errors_gy[name] = deciding.error_gy(doses) + doses.interpolation_error_gy
        return doses

    errors_gy: dict[str, float] = {}
    doses = dict(zip((s.name for s in problem.structures), in_order(executor, around, problem.structures), strict=True))
    boxes = {name: VisitBox.covering(reach[name]) for name in (BONE, *problem.moving)}
    return Work(problem, strategy, plan, doses, boxes, problem.dose_step_gy, errors_gy)


def reach_of(problem: Problem, strategy: Strategy, deliveries: Iterable[Delivery]) -> dict[str, Reach]:
    """Displacements that occur over all courses: of each structure, and of bone at the isocentre."""
    names = (BONE, *(s.name for s in problem.structures))
    planned = strategy.motion.offset_mm
    reach = {name: Reach.of(TissueMotion.still(planned(problem.setting.planned, name))) for name in names}
    for delivery in deliveries:
        for name in names:
            motion = delivery.motion(name)
            turns = motion.linear is not None and name != BONE
            arm_mm = problem.arm_mm(name, motion.centre_mm) if turns else None
            reach[name] = reach[name].union(Reach.of(motion, arm_mm))
    for name, box in reach.items():
        farthest_mm = float(np.maximum(-box.lower_mm, box.upper_mm).max())
        if not farthest_mm <= _FARTHEST_MM:
            raise ConfigError(
                f"strategy {strategy.label()!r} displaces {name or 'the patient'} by {farthest_mm:.0f} mm in a course, at most "
                f"{_FARTHEST_MM:g} mm are simulated; lower the errors, motion or times of the study"
            )
    return reach


def check_reach(problem: Problem) -> None:
    """Refuse a study whose first courses displace anatomy farther than any treatment would go on.

    Raises
    ------
    ConfigError : the strategy, the structure and the distance.
    """
    draws = course_draws(problem, 0, min(_COURSES_AT_ONCE, problem.config.courses))
    roles = {(s.motion.model_dump_json(), s.guidance.model_dump_json()): s for s in problem.strategies}
    for strategy in roles.values():
        reach_of(problem, strategy, [deliver_courses(problem, strategy, draws)])
