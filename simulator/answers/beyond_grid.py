"""Metrics that the dose beyond an imported grid would decide are unknown: nobody computed that dose.

Beyond its grid a dose lies between that of the nearest face and one that falls from there as steeply as a penumbra, by 1/e in
5 mm. A metric is known where both give the same, in the planned dose and in some courses. Where a structure lies beyond a face
that still has half of the prescription, the dose may as well rise there, and nothing is known of the structure.
"""

from dataclasses import dataclass, replace

import numpy as np

from simulator.accumulation.reach import Reach
from simulator.case.geometry import Grid
from simulator.case.structures import Structure
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import ConfigError
from simulator.metrics.metric import Metric
from simulator.plan.dose import DosePart, PlannedDose
from simulator.plan.quality import Plan
from simulator.plan.together import common_grid
from simulator.problem.problem import Problem
from simulator.problem.words import beyond_grid_in_words
from simulator.sampling.delivery import Delivery
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.displacements import reach_of
from simulator.simulation.measuring import measure_delivery
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.strategy import Strategy
from simulator.study_file.published import resolve_goals
from simulator.uncertainty.source import RandomNumbers

_COURSES = 100
_FALL_MM = 5.0
_HOT_FACE = 0.5
_SAME = 0.005


@dataclass(frozen=True)
class FallingBeyond(PlannedDose):
    """A planned dose that falls by 1/e in 5 mm beyond a grid."""

    dose: PlannedDose
    grid: Grid

    @property
    def parts(self) -> tuple[DosePart, ...]:
        """Those of the dose, each falling."""
        return tuple(replace(part, dose=FallingBeyond(part.dose, self.grid)) for part in self.dose.parts)

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        return self._falling(self.dose.on_grid(grid), grid)

    def unblurred_on_grid(self, grid: Grid) -> np.ndarray:
        """See `PlannedDose`."""
        return self._falling(self.dose.unblurred_on_grid(grid), grid)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        return self.dose.at(points_mm) * np.prod([self._share(points_mm[:, i], i) for i in range(3)], axis=0)

    def _falling(self, dose_gy: np.ndarray, grid: Grid) -> np.ndarray:
        x, y, z = (self._share(nodes, axis) for axis, nodes in enumerate(grid.axes_mm))
        return np.asarray(dose_gy * z[:, None, None] * y[:, None] * x, np.float32)

    def _share(self, place_mm: np.ndarray, axis: int) -> np.ndarray:
        beyond_mm = np.maximum(self.grid.origin_mm[axis] - place_mm, place_mm - self.grid.upper_mm[axis])
        return np.exp(-np.maximum(beyond_mm, 0) / _FALL_MM)


def without_unknown(problem: Problem) -> Problem:
    """The study without metrics that the dose beyond the imported grids would decide.

    Raises
    ------
    ConfigError : the study's own goals need them.
    """
    if not problem.config.plan.used(problem.case):
        return problem
    draws = course_draws(problem, 0, min(_COURSES, problem.config.courses))
    unknown: dict[str, Metric] = {}
    beyond: dict[str, None] = {}
    seen = set()
    for strategy, request in zip(problem.strategies, problem.requests, strict=True):
        doses = request.model.used(problem.case)
        roles = strategy.roles
        key = *((dose.label, dose.uid) for dose in doses), *roles
        if key in seen:
            continue
        seen.add(key)
        delivery, grid = deliver_courses(problem, strategy, draws), common_grid([dose.dose_gy.grid for dose in doses])
        reach = reach_of(problem, strategy, [delivery])
        leaving = [s for s in problem.structures if _leaves(s, grid, reach[s.name])]
        if leaving:
            beyond |= dict.fromkeys(s.name for s in leaving)
            plan = make_plan(problem, request)
            unknown |= {m.label: m for m in _unknown(problem, strategy, plan, leaving, delivery, draws)}
    return _reduced(problem, unknown, list(beyond)) if beyond else problem


def _leaves(structure: Structure, grid: Grid, reach: Reach) -> bool:
    lower, upper = structure.region.bounds_mm
    return not grid.contains(np.stack([lower + reach.lower_mm, upper + reach.upper_mm])).all()


def _unknown(
    problem: Problem,
    strategy: Strategy,
    plan: Plan,
    leaving: list[Structure],
    delivery: Delivery,
    draws: RandomNumbers,
) -> list[Metric]:
    """Metrics of structures that the dose beyond the grid decides."""
    targets = [target.structure for target in problem.targets]
    some = replace(problem, structures=(*(s for s in leaving if s not in targets), *targets))
    bounds = []
    for dose in (plan.dose, FallingBeyond(plan.dose, plan.grid)):
        work = prepare_work(some, strategy, replace(plan, dose=dose), [delivery], SerialExecutor())
        bounds.append(np.vstack([work.nominal()[0], measure_delivery(delivery, work.tissues, draws)]))
    differs = dict(zip(some.metric_labels, np.abs(bounds[0] - bounds[1]).max(axis=0), strict=True))
    return [
        m
        for s in some.structures
        for rx_gy in [problem.prescription_of(s.name).dose_gy]
        for is_hot in [_highest_beyond_gy(problem, s, plan) > _HOT_FACE * rx_gy]
        for m in problem.metrics[s.name]
        if is_hot or not differs[m.label] <= _allowed(m, s, rx_gy)
    ]


def _allowed(metric: Metric, structure: Structure, prescription_gy: float) -> float:
    """How much a metric may depend on the dose beyond the grid."""
    whole = {"Gy": prescription_gy, "%": 100.0, "cc": structure.volume_cc}
    return _SAME * whole.get(metric.unit, 1.0)


def _highest_beyond_gy(problem: Problem, structure: Structure, plan: Plan) -> float:
    """Highest dose on the faces nearest to the points of a structure at rest that lie beyond the grid, else 0."""
    points_mm = np.concatenate([p.points_mm for p in problem.patches[structure.name]])
    beyond = points_mm[~plan.grid.contains(points_mm)]
    return float(plan.dose.at(beyond).max()) if len(beyond) else 0.0


def _reduced(problem: Problem, unknown: dict[str, Metric], beyond: list[str]) -> Problem:
    """The study without unknown metrics, and with a remark on them and on what reaches beyond the grid."""
    own, _ = resolve_goals(problem.config)
    asked = dict.fromkeys(g.text for g in (*own, *problem.wanted) if g.metric.label in unknown)
    asked |= dict.fromkeys(label for label, metric in unknown.items() if metric.response)
    if asked:
        raise ConfigError(
            f"goals: {'; '.join(asked)}: decided by the dose outside the grid of the RTDOSE, which is unknown; export the "
            "dose on a larger grid, or leave the goal out"
        )
    lost = [g.text for g in problem.goals if g.metric.label in unknown]
    said = beyond_grid_in_words(beyond, [*unknown, *lost], _SAME)
    metrics = {name: [m for m in some if m.label not in unknown] for name, some in problem.metrics.items()}
    return replace(
        problem,
        case=replace(problem.case, provenance=problem.case.provenance | {"dose grid": said}),
        structures=tuple(s for s in problem.structures if metrics[s.name]),
        metrics={name: some for name, some in metrics.items() if some},
        goals=tuple(g for g in problem.goals if g.metric.label not in unknown),
        notes_on_plan=(*problem.notes_on_plan, said),
    )
