"""Each goal by itself: its probability, by how much it is missed, and how much hangs on the exact limit."""

from dataclasses import replace

import numpy as np
import xarray as xr

from simulator.metrics.goals import Goal
from simulator.population.intervals import mean_interval, quantile_interval
from simulator.population.unequal import numbers_of_courses
from simulator.population.verdicts import HOLDS, holds, widened
from simulator.problem.problem import Problem
from simulator.results.registry import group

_SHIFT = 1.0


def goals_group(
    problem: Problem, nominal: np.ndarray, values: np.ndarray, labels: list[str], doubt: xr.Dataset | None = None
) -> xr.Dataset:
    """The group goals of the results.

    Parameters
    ----------
    nominal : metrics of the planned doses, (strategy, metric). values : (strategy, course, metric).
    doubt : what is not known of the errors; None where they are exact.
    """
    goals, column = problem.goals, [problem.column[g.metric.label] for g in problem.goals]
    found = [
        [_of_goal(problem, goal, values[i, :n, c].astype(np.float64)) for goal, c in zip(goals, column, strict=True)]
        for i, n in enumerate(numbers_of_courses(values))
    ]
    numbers = {key: np.array([[one[key] for one in row] for row in found]) for key in found[0][0]}
    planned = [g.in_goal_unit(nominal[:, c], _rx_gy(problem, g)) for g, c in zip(goals, column, strict=True)]
    asked = problem.asked
    ends = None if doubt is None else (doubt["low"].values, doubt["high"].values)
    known = holds(*widened(numbers["ci_low"], numbers["ci_high"], ends), asked)
    return group(
        "goals",
        {
            **numbers,
            "nominal": np.stack(planned, axis=1).astype(np.float64),
            "holds": np.where(np.isnan(asked), "", np.array(HOLDS)[known]),
            "wanted_probability": asked,
            "metric": np.array([g.metric.label for g in goals]),
            "structure": np.array([g.metric.structure for g in goals]),
            "operator": np.array([g.operator for g in goals]),
            "limit": np.array([g.limit for g in goals]),
            "unit": np.array([g.unit for g in goals]),
            "role": np.array(["target" if problem.target_named(g.metric.structure) else "oar" for g in goals]),
            "level": np.array([g.level for g in goals]),
            "source": np.array([g.source for g in goals]),
            "checked": np.array([g.checked for g in goals]),
            "note": np.array([g.note for g in goals]),
        },
        {"strategy": labels, "goal": [g.text for g in goals]},
    )


def _rx_gy(problem: Problem, goal: Goal) -> float:
    return problem.prescription_of(goal.metric.structure).dose_gy


def _of_goal(problem: Problem, goal: Goal, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of one goal from its metric in each course (course,)."""
    rx = _rx_gy(problem, goal)
    met, shown = goal.is_met(drawn, rx), goal.in_goal_unit(drawn, rx)
    low, high = problem.interval(met)
    beyond = goal.excess(drawn, rx)
    numbers = {"probability": met.mean(), "ci_low": low, "ci_high": high}
    numbers |= _spread("", shown, {"p05": 0.05, "median": 0.5, "p95": 0.95})
    numbers |= _spread("excess_", beyond, {"median": 0.5, "p95": 0.95})
    for key, sign in (("stricter", -1.0), ("looser", 1.0)):
        shifted = goal.limit + sign * _SHIFT * (1.0 if goal.is_upper else -1.0)
        numbers[f"probability_{key}"] = replace(goal, limit=shifted).is_met(drawn, rx).mean()
    return numbers


def _spread(prefix: str, values: np.ndarray, quantiles: dict[str, float]) -> dict[str, np.ndarray]:
    """Mean and quantiles of values (course,) with their 95 % intervals."""
    at, (low, high) = tuple(quantiles.values()), quantile_interval(values, tuple(quantiles.values()))
    found = dict(zip((f"{prefix}mean{end}" for end in ("", "_low", "_high")), mean_interval(values), strict=True))
    for key, q, a, b in zip(quantiles, np.quantile(values, at), low, high, strict=True):
        found |= {f"{prefix}{key}": q, f"{prefix}{key}_low": a, f"{prefix}{key}_high": b}
    return found
