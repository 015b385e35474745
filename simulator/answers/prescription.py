"""The prescription as a free variable: what the same plans, scaled, would do at other prescriptions."""

import numpy as np
import xarray as xr

from simulator.answers.goals import asked_of
from simulator.metrics.goals import Goal
from simulator.metrics.metric import SCALES
from simulator.population.prescriptions import crossing_scale, largest_scale, probability_at
from simulator.problem.problem import Problem
from simulator.results import group

_GRID = np.round(np.arange(0.4, 1.4005, 0.005), 3)


def prescription_group(problem: Problem, values: np.ndarray, labels: list[str]) -> xr.Dataset:
    """The group prescription of the results.

    Limits stay as they are in Gy, cc and percent of a volume; one in percent of the prescription stays the dose that it is at
    the study's own prescription.

    Parameters
    ----------
    values : (strategy, course, metric).
    """
    asked = asked_of(problem)
    limits = [
        (goal, p)
        for goal, p in zip(problem.goals, asked, strict=True)
        if not np.isnan(p) and problem.target_named(goal.metric.structure) is None
    ]
    rows = [_of_strategy(problem, values[i], limits) for i in range(len(values))]
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return group(
        "prescription",
        {"dose_gy": problem.config.prescription.dose_gy * _GRID, **arrays},
        {"strategy": labels, "goal": [g.text for g in problem.goals], "scale": _GRID},
    )


def _of_strategy(problem: Problem, values: np.ndarray, limits: list[tuple[Goal, float]]) -> dict[str, object]:
    """What the group says of one strategy, from its metrics (course, metric)."""
    crossings = {goal.text: _crossing(problem, goal, values) for goal in (*problem.goals, *problem.wanted)}
    rx = problem.config.prescription.dose_gy
    found = [largest_scale(crossings[goal.text], p, problem.interval) for goal, p in limits]
    largest, shown, most = (min((f[k] for f in found), default=np.inf) for k in range(3))
    covered_until = np.max([crossings[g.text] for g in problem.wanted], axis=0)
    met = covered_until <= shown
    low, high = problem.interval(met)
    spared_until = np.min([crossings[g.text] for g, _ in limits], axis=0) if limits else np.full(len(values), np.inf)
    return {
        "probability": [
            probability_at(_GRID, crossings[goal.text], rises=_is_met_above(goal)) for goal in problem.goals
        ],
        "coverage_of_dose": probability_at(_GRID, covered_until, rises=True),
        "organs": probability_at(_GRID, spared_until, rises=False),
        "largest_gy": rx * largest,
        "largest_low_gy": rx * shown,
        "largest_high_gy": rx * most,
        "first_limit": limits[int(np.argmin([f[1] for f in found]))][0].text if limits else "",
        "coverage_there": met.mean(),
        "coverage_there_low": low,
        "coverage_there_high": high,
    }


def _is_met_above(goal: Goal) -> bool:
    """Whether more dose helps."""
    return goal.is_upper == goal.metric.falls_with_dose


def _crossing(problem: Problem, goal: Goal, values: np.ndarray) -> np.ndarray:
    """Factor on the dose (course,) at which a goal's metric reaches its limit."""
    column, metric = problem.column, goal.metric
    rx = problem.prescription_of(metric.structure).dose_gy
    limit = goal.limit_with_slack * (rx / 100 if goal.unit == "%" and metric.unit == "Gy" else 1.0)
    here = values[:, column[metric.label]].astype(np.float64)
    if metric.at_scale(1.0) is None:
        return np.divide(limit, here, out=np.full_like(here, np.inf), where=here > 0)
    scaled = {1.0: here}
    for scale in SCALES:
        other, factor = metric.at_scale(scale) or (metric, scale)
        scaled[scale] = factor * values[:, column[other.label]].astype(np.float64)
    scales = np.array(sorted(scaled))
    return crossing_scale(scales, np.stack([scaled[s] for s in scales]), limit, rises=not metric.falls_with_dose)
