"""One strategy simulated: its plan, the courses it delivers, and the metrics of each course."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.accumulation.maps import BONE, VisitBox
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.case.structures import Structure
from simulator.parallel import Executor, SerialExecutor, in_order
from simulator.plan.quality import Plan
from simulator.problem.margins import PlanRequest
from simulator.problem.problem import Problem
from simulator.sampling.courses import Delivery, TissueMotion, deliver, draw_courses
from simulator.sampling.quasi import SobolDraws
from simulator.sampling.streams import Draws
from simulator.simulation.deciding import fewest
from simulator.simulation.measuring import Tally, measure_delivery, simulate_courses
from simulator.simulation.refinement import Deciding, positions
from simulator.simulation.tissue import DrawnTissue, Ruler, Tissue, TrueTissue
from simulator.spec import ConfigError
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers

COURSES_COMPARED, COURSES_SAMPLED, COURSES_FOLLOWED = 8, 512, 32
NOMINAL_FINEST_MM, NOMINAL_ERROR = 0.4, 0.001
_FARTHEST_MM = 120.0


@dataclass(frozen=True)
class Work:
    """One strategy ready to be simulated, block by block.

    Parameters
    ----------
    error_gy : by structure, bound on the error of doses at volumes by cells and dose lattice.
    tissues : by structure, in the order of the results.
    """

    problem: Problem
    strategy: Strategy
    plan: Plan
    doses: dict[str, StructureDoses]
    boxes: dict[str, VisitBox]
    error_gy: dict[str, float]
    tissues: Mapping[str, Tissue]

    def block(self, draws: RandomNumbers, delivery: Delivery) -> dict[str, np.ndarray]:
        """Metrics, DVH counts and visits of drawn courses and what the strategy makes of them."""
        tally = Tally.of(self.tissues, len(delivery.weight))
        values = measure_delivery(delivery, self.tissues, draws, tally)
        visits: dict[str, np.ndarray] = {}
        for i, (name, box) in enumerate(self.boxes.items()):
            visits |= {f"visits_{i}": box.count(delivery.motion(name)), f"visits_low_{i}": box.low_zyx}
        counts = np.stack(list(tally.levels.values()))
        return {"values": values, "counts": counts, "n_lost": tally.is_lost.sum(), **visits}

    def add_visits(self, block: dict[str, np.ndarray], visits: dict[str, np.ndarray]) -> None:
        """Add the visits of a block to those of other blocks, by tissue."""
        for i, (tissue, box) in enumerate(self.boxes.items()):
            box.add(visits[tissue], block[f"visits_{i}"], block[f"visits_low_{i}"])

    def for_metrics(self) -> "Work":
        """The same work for metrics alone, by the points that decide them."""
        return replace(self, tissues={name: fewest(tissue) for name, tissue in self.tissues.items()})

    def metrics_of(self, draws: RandomNumbers) -> np.ndarray:
        """Metrics float32 (course, metric) of drawn courses."""
        return simulate_courses(self.problem.setting, self.strategy, self.tissues, draws)

    def nominal(self) -> tuple[np.ndarray, np.ndarray]:
        """Metrics (metric,) and DVHs (structure, dose) in percent of the planned dose without errors."""
        values, dvhs = [], []
        for structure in self.problem.structures:
            offset_mm = self.strategy.motion.offset_mm(self.problem.setting.planned, structure.name)
            doses = self._nominal_doses(structure, TissueMotion.still(offset_mm))
            found = DrawnTissue(doses, ruler_of(self.problem, structure.name)).planned(offset_mm)
            assert found.dvhs is not None
            values.append(found.values[0])
            dvhs.append(found.dvhs.percent[0])
        return np.concatenate(values).astype(np.float32), np.stack(dvhs).astype(np.float32)

    def _nominal_doses(self, structure: Structure, still: TissueMotion) -> StructureDoses:
        """Doses of a structure with its cells divided where its metrics are decided without errors."""
        name, reach, lattice_mm = structure.name, Reach.of(still), self.problem.config.numerics.oar_lattice_mm
        if structure.role == "target":
            return self.doses[name]
        metrics = self.problem.metrics[name], self.problem.prescription_gy
        deciding = Deciding(*metrics, self.plan.dose, reach, (still,), lattice_mm, NOMINAL_FINEST_MM, NOMINAL_ERROR)
        patches = deciding.divided(structure.region, *self.problem.patches[name])
        return StructureDoses(self.plan.dose, patches, reach, lattice_mm, self.problem.surfaces.get(name))


def ruler_of(problem: Problem, structure: str) -> Ruler:
    """How the doses of a structure become metrics."""
    metrics, rx = problem.metrics[structure], problem.config.prescription
    return Ruler(structure, metrics, rx, problem.biology, problem.dose_step_gy)


def tissue_of(problem: Problem, structure: Structure, doses: StructureDoses) -> Tissue:
    """The points of a structure that are measured: those of the true target under delineation error, else as drawn."""
    ruler = ruler_of(problem, structure.name)
    if structure.role == "target" and problem.true_target is not None:
        return TrueTissue(doses, ruler, problem.true_target, structure.volume_cc)
    return DrawnTissue(doses, ruler)


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
    tissues = {s.name: tissue_of(problem, s, doses[s.name]) for s in problem.structures}
    return Work(problem, strategy, plan, doses, boxes, errors_gy, tissues)


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
    draws = course_draws(problem, 0, min(COURSES_FOLLOWED, problem.config.courses))
    roles = {(s.motion.model_dump_json(), s.guidance.model_dump_json()): s for s in problem.strategies}
    for strategy in roles.values():
        reach_of(problem, strategy, [deliver_courses(problem, strategy, draws)])
