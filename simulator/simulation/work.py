"""One strategy simulated: its plan, the courses it delivers, and the metrics of each course."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from simulator.accumulation.maps import BONE, VisitBox
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.case.structures import Structure
from simulator.ground.parallel import Executor, in_order
from simulator.plan.quality import Plan
from simulator.problem.problem import Problem
from simulator.sampling.delivery import Delivery
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.courses import COURSES_FOLLOWED, deliver_courses, sampled_draws
from simulator.simulation.deciding import fewest
from simulator.simulation.displacements import reach_of
from simulator.simulation.interplay import in_parts, parts_of
from simulator.simulation.measuring import Tally, measure_delivery, simulate_courses
from simulator.simulation.refinement import Deciding, positions
from simulator.simulation.tissue import DrawnTissue, Ruler, Tissue, TrueTissue
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers

NOMINAL_FINEST_MM, NOMINAL_ERROR, LARGEST_TARGET_CELL_MM = 0.4, 0.001, 1.0

AtRest = tuple[np.ndarray, np.ndarray]
"""Metrics (metric,) and DVH (dose,) in percent of a structure where nothing moves."""

Kept = Callable[[str, np.ndarray, Callable[[], AtRest]], AtRest]


@dataclass(frozen=True)
class Work:
    """One strategy ready to be simulated, block by block.

    Parameters
    ----------
    error_gy : by structure, bound on the error of doses at volumes by cells and dose lattice.
    tissues : by structure, in the order of the results. reach : of each structure, and of bone.
    """

    problem: Problem
    strategy: Strategy
    plan: Plan
    doses: dict[str, StructureDoses]
    boxes: dict[str, VisitBox]
    error_gy: dict[str, float]
    tissues: Mapping[str, Tissue]
    reach: Mapping[str, Reach]

    def block(self, draws: RandomNumbers, delivery: Delivery) -> dict[str, np.ndarray]:
        """Metrics, DVH counts and visits of drawn courses and what the strategy makes of them."""
        tally = Tally.of(self.tissues, len(delivery.weight))
        values = measure_delivery(delivery, self.tissues, draws, tally)
        visits: dict[str, np.ndarray] = {}
        for i, (name, box) in enumerate(self.boxes.items()):
            visits |= {
                f"visits_{i}": box.count(delivery.motion(name), self.plan.dose.parts),
                f"visits_low_{i}": box.low_zyx,
            }
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
        return simulate_courses(self.problem, self.strategy, self.tissues, draws)

    def nominal(self, kept: Kept = lambda structure, offset_mm, make: make()) -> tuple[np.ndarray, np.ndarray]:
        """Metrics (metric,) and DVHs (structure, dose) in percent of the planned dose without errors.

        Parameters
        ----------
        kept : what was found before of an organ in this plan at an offset (3,), or what is found now.
        """
        found = []
        for structure in self.problem.structures:
            offset_mm = self.strategy.motion.offset_mm(self.problem.setting.planned, structure.name)
            if structure.role == "target":
                found.append(self._at_rest(structure.name, self.doses[structure.name], offset_mm))
            else:
                found.append(kept(structure.name, offset_mm, partial(self._nominal_organ, structure, offset_mm)))
        values, dvhs = zip(*found, strict=True)
        return np.concatenate(values).astype(np.float32), np.stack(dvhs).astype(np.float32)

    def _at_rest(self, name: str, doses: StructureDoses, offset_mm: np.ndarray) -> AtRest:
        found = DrawnTissue(doses, ruler_of(self.problem, name)).planned(offset_mm)
        assert found.dvhs is not None
        return found.values[0], found.dvhs.percent[0]

    def _nominal_organ(self, structure: Structure, offset_mm: np.ndarray) -> AtRest:
        """An organ with its cells divided where its metrics are decided without errors."""
        name, still, lattice_mm = (
            structure.name,
            TissueMotion.still(offset_mm),
            self.problem.config.numerics.oar_lattice_mm,
        )
        reach = Reach.of(still)
        metrics = self.problem.metrics[name], self.problem.prescription_of(name).dose_gy
        deciding = Deciding(*metrics, self.plan.dose, reach, (still,), lattice_mm, NOMINAL_FINEST_MM, NOMINAL_ERROR)
        patches = deciding.divided(structure.region, *self.problem.patches[name])
        doses = StructureDoses(self.plan.dose, patches, reach, lattice_mm, self.problem.surfaces.get(name))
        return self._at_rest(name, doses, offset_mm)


def ruler_of(problem: Problem, structure: str) -> Ruler:
    """How the doses of a structure become metrics."""
    metrics, rx = problem.metrics[structure], problem.prescription_of(structure)
    return Ruler(structure, metrics, rx, problem.biology, problem.dose_step_gy)


def tissue_of(problem: Problem, structure: Structure, doses: StructureDoses) -> Tissue:
    """The points of a structure that are measured: those of a true target under delineation error, else as drawn."""
    ruler, target = ruler_of(problem, structure.name), problem.target_named(structure.name)
    if target is not None and target.true_target is not None:
        return TrueTissue(doses, ruler, target.number, target.true_target, structure.volume_cc)
    return DrawnTissue(doses, ruler)


def _may_be_divided(problem: Problem, structure: Structure) -> bool:
    """Whether cells that decide are divided: those of organs, and of large targets where all of them count alike."""
    if structure.role != "target":
        return True
    target = problem.target_named(structure.name)
    is_as_drawn = target is None or target.true_target is None
    return is_as_drawn and problem.patches[structure.name][0].spacing_mm > LARGEST_TARGET_CELL_MM


def prepare_work(
    problem: Problem, strategy: Strategy, plan: Plan, deliveries: Iterable[Delivery], executor: Executor
) -> Work:
    """Doses of a plan around every structure, as far as some deliveries move it."""
    sample = deliver_courses(problem, strategy, sampled_draws(problem))
    reach = reach_of(problem, strategy, [sample, *deliveries])
    numerics = problem.config.numerics

    def around(structure: Structure) -> StructureDoses:
        name = structure.name
        finest_mm = numerics.target_lattice_mm if structure.role == "target" else numerics.oar_lattice_mm
        motion, patches = sample.motion(name), problem.patches[name]
        motions = (motion.courses(slice(0, COURSES_FOLLOWED)), positions(motion))
        metrics = problem.metrics[name], problem.prescription_of(name).dose_gy
        limits = (NOMINAL_FINEST_MM, NOMINAL_ERROR) if reach[name].is_point else ()
        deciding = Deciding(*metrics, plan.dose, reach[name], motions, finest_mm, *limits)
        if _may_be_divided(problem, structure):
            patches = deciding.divided(structure.region, *patches)
        doses = StructureDoses(plan.dose, patches, reach[name], finest_mm, problem.surfaces.get(name))
        deciding.narrow(doses)
        errors_gy[name] = deciding.error_gy(doses) + doses.interpolation_error_gy
        return doses

    errors_gy: dict[str, float] = {}
    doses = dict(zip((s.name for s in problem.structures), in_order(executor, around, problem.structures), strict=True))
    if problem.interplay is True:
        doses = in_parts(problem, doses, parts_of(problem, plan, reach))
    boxes = {name: VisitBox.covering(reach[name]) for name in (BONE, *problem.moving)}
    tissues = {s.name: tissue_of(problem, s, doses[s.name]) for s in problem.structures}
    return Work(problem, strategy, plan, doses, boxes, errors_gy, tissues, reach)
