"""How much of each goal's probability rests on approximations, in one strategy and on the same courses.

- Static dose cloud: the plan recomputed on moved anatomy (`simulator.simulation.static_cloud`), visit by visit.
- Dose grid: the planned dose linear between the nodes of its grid, in place of splines. Neither is known to be right; their
  difference is what a grid of that spacing leaves open.
- Cells and lattice, instants: every dose lower, or higher, by the bounds that are known of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import xarray as xr

from simulator.ground.once import cached_property
from simulator.ground.parallel import Executor, in_order
from simulator.metrics.goals import Goal
from simulator.plan.quality import Plan
from simulator.population.comparison import paired_difference
from simulator.problem.problem import Problem
from simulator.results.registry import group
from simulator.simulation.apart import DeliveryApart
from simulator.simulation.courses import course_draws
from simulator.simulation.remeasured import Remeasured
from simulator.simulation.static_cloud import DoseChange, Recomputing
from simulator.study_file.simulate import Simulate

_COURSES = 500
_INSTANTS_ERROR, _INSTANTS = 0.002, 20
APPROXIMATIONS: Final = ("static dose cloud", "dose grid", "cells and lattice", "instants")


@dataclass(frozen=True)
class Judges:
    """The goals of a study, and what coverage is judged by; values are in the units of the goals."""

    problem: Problem

    @cached_property
    def goals(self) -> list[Goal]:
        """Each once."""
        return list({g.text: g for g in (*self.problem.goals, *self.problem.wanted)}.values())

    def values(self, metrics: np.ndarray) -> np.ndarray:
        """Values (..., goal) of metrics (..., metric)."""
        return np.stack([g.in_goal_unit(self._of(metrics, g), self._rx_gy(g)) for g in self.goals], axis=-1)

    def met(self, metrics: np.ndarray) -> np.ndarray:
        """Which goals courses meet, boolean (course, goal), by their metrics (course, metric)."""
        return np.stack([g.is_met(self._of(metrics, g), self._rx_gy(g)) for g in self.goals], axis=-1)

    def _of(self, metrics: np.ndarray, goal: Goal) -> np.ndarray:
        return metrics[..., self.problem.column[goal.metric.label]].astype(np.float64)

    def _rx_gy(self, goal: Goal) -> float:
        return self.problem.prescription_of(goal.metric.structure).dose_gy


@dataclass(frozen=True)
class Change:
    """What an approximation is worth, by goal: of the probability, its interval or bound, and of the metric's mean."""

    change: np.ndarray
    change_low: np.ndarray
    change_high: np.ndarray
    value_change: np.ndarray

    @classmethod
    def alike(cls, value: float, n_goals: int) -> "Change":
        """The same for all goals: 0 where nothing is approximated, NaN where nobody knows."""
        return cls(*np.full((4, n_goals), value))

    @classmethod
    def compared(cls, judges: Judges, simulated: np.ndarray, without: np.ndarray) -> "Change":
        """From metrics (course, metric) as simulated and without the approximation."""
        met = np.stack([judges.met(simulated), judges.met(without)])
        ends = np.array([[end[1, 0] for end in paired_difference(of_goal)] for of_goal in np.moveaxis(met, 2, 0)])
        change, low, high = ends.T
        return cls(change, low, high, (judges.values(without) - judges.values(simulated)).mean(axis=0))

    @classmethod
    def bounded(cls, judges: Judges, simulated: np.ndarray, ends: tuple[np.ndarray, np.ndarray]) -> "Change":
        """From metrics as simulated and at the ends of a bound."""
        now = judges.met(simulated).mean(axis=0)
        changes = np.stack([judges.met(end).mean(axis=0) - now for end in ends])
        return replace(
            cls.alike(0.0, len(now)),
            change_low=changes.min(axis=0, initial=0),
            change_high=changes.max(axis=0, initial=0),
        )


def model_error_group(problem: Problem, place: int, values: np.ndarray, plan: Plan, executor: Executor) -> xr.Dataset:
    """The group model_error of the results, for one strategy; changes are those without interplay.

    Parameters
    ----------
    place : of the strategy. values : its metrics (course, metric). plan : its plan.
    """
    every, n = Judges(problem), min(_COURSES, len(values))
    names = {g.metric.structure for g in every.goals} | {target.name for target in problem.targets}
    some = replace(
        problem,
        config=problem.config.model_copy(update={"simulate": Simulate()}),
        structures=tuple(s for s in problem.structures if s.name in names),
    )
    courses = Remeasured(some, problem.strategies[place], plan, course_draws(problem, 0, n), executor)
    judges, simulated, n_goals = Judges(some), courses.simulated, len(every.goals)
    n_recomputed = min(problem.config.simulate.recomputed_courses, n)
    static, held_out, said = _static_cloud(courses, judges, n_recomputed)
    grid, nominal = Change.alike(0.0, n_goals), np.zeros(n_goals)
    if plan.dose.profile() is None:
        linear, off = courses.linear_between_nodes()
        grid, nominal = Change.compared(judges, simulated, linear), judges.values(off)
    cells, instants = (
        Change.bounded(judges, simulated, courses.shifted(error_gy))
        for error_gy in (courses.work.error_gy, _error_of_instants_gy(some, courses.delivery))
    )
    changes = (static, grid, cells, instants)
    known = np.nan_to_num(static.change)
    return group(
        "model_error",
        {
            **{field.name: np.stack([getattr(one, field.name) for one in changes]) for field in fields(Change)},
            **held_out,
            "probability": every.met(values).mean(axis=0),
            "together_low": known + np.minimum(grid.change, 0) + cells.change_low + instants.change_low,
            "together_high": known + np.maximum(grid.change, 0) + cells.change_high + instants.change_high,
            "nominal_grid_change": nominal,
            "grid_mm": np.array(max(plan.grid.spacing_mm)),
            "of_strategy": np.array(problem.strategies[place].label()),
        },
        {"approximation": APPROXIMATIONS, "goal": [g.text for g in every.goals]},
    ).assign_attrs(said, n_courses=n)


def _static_cloud(
    courses: Remeasured, judges: Judges, n_recomputed: int
) -> tuple[Change, dict[str, np.ndarray], dict[str, int | str]]:
    """What recomputing changes, what whole recomputed courses say of the fit, and how it was done.

    Nothing is known where nobody can recompute the plan, where another one has delivered a part of the course, or where targets
    have isocentres of their own.
    """
    problem, n_goals = courses.problem, len(judges.goals)
    unknown = {key: np.full(n_goals, np.nan) for key in ("fit_error", "fit_error_probability", "recomputed_change")}
    cloud = None
    if problem.delivered is None and not problem.setting.isocentres:
        cloud = Recomputing.of(problem, courses.strategy, courses.plan, courses.points_mm)
    if cloud is None:
        return Change.alike(np.nan, n_goals), unknown, {}
    fit = DoseChange.fitted(cloud, courses.delivery, courses.executor)
    change = Change.compared(judges, courses.simulated, courses.changed(fit.coefficients, fit.describe))
    said: dict[str, int | str] = {
        "n_controls": fit.n_controls,
        "n_recomputed": n_recomputed,
        "target_density": _in_words(cloud.anatomy.own_density),
        "left_behind": _in_words(cloud.anatomy.left_behind),
    }
    return change, _held_out(courses, judges, cloud, fit, n_recomputed) if n_recomputed else unknown, said


def _held_out(
    courses: Remeasured, judges: Judges, cloud: Recomputing, fit: DoseChange, n_courses: int
) -> dict[str, np.ndarray]:
    """What is wrong with the fit, by goal, in whole courses whose plan is recomputed at the mean of every fraction."""
    mm = courses.delivery.fractions_mm[:n_courses]
    recomputed, fitted = (
        np.stack([courses.changed_alone(i, one) for i, one in enumerate(changes)])
        for changes in (in_order(courses.executor, cloud.of_fractions, mm), map(fit.of_fractions, mm))
    )
    values = judges.values(recomputed)
    return {
        "fit_error": np.abs(judges.values(fitted) - values).max(axis=0),
        "fit_error_probability": judges.met(fitted).mean(axis=0) - judges.met(recomputed).mean(axis=0),
        "recomputed_change": np.abs(values - judges.values(courses.simulated[:n_courses])).max(axis=0),
    }


def _error_of_instants_gy(problem: Problem, delivery: DeliveryApart) -> dict[str, float]:
    """Bound on the error of doses by few instants, for each structure; none where nothing moves within a fraction."""
    coarser = max(1.0, _INSTANTS / problem.config.numerics.instants)
    found = {}
    for name in (s.name for s in problem.structures):
        motion = delivery.motion(name)
        by_fraction = motion.shift_mm.reshape(len(motion.weight), motion.n_fractions, -1, 3)
        moves = bool(np.ptp(by_fraction, axis=2).max() > 0)
        found[name] = moves * _INSTANTS_ERROR * coarser * problem.prescription_of(name).dose_gy
    return found


def _in_words(by_target: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {value:.2f}" for name, value in by_target.items())
