"""The prescription as a free variable: what the same plans, scaled, would do at other prescriptions."""

import numpy as np
import xarray as xr

from simulator.answers.decision import limits_of, numbers_of_limits, target_goals_of
from simulator.answers.knowledge import Knowledge
from simulator.metrics.goals import Goal
from simulator.metrics.metric import SCALES
from simulator.population.prescriptions import ScaledMetric, crossing_scale, largest_scale, met_at
from simulator.population.unequal import numbers_of_courses
from simulator.population.verdicts import YES, Decision, decide, holds, widened
from simulator.problem.problem import Problem
from simulator.results.registry import group

_GRID = np.round(np.arange(0.4, 1.4005, 0.005), 3)
_EVERY = 10
_ENDS = ("", "_low", "_high")


def prescription_group(problem: Problem, values: np.ndarray, ptv_cc: np.ndarray, labels: list[str]) -> xr.Dataset:
    """The group prescription of the results.

    Limits stay as they are in Gy, cc and percent of a volume; one in percent of the prescription stays the dose that it is at
    the study's own prescription.

    Parameters
    ----------
    values : (strategy, course, metric). ptv_cc : (strategy,).
    """
    rows = [_of_strategy(problem, own[:n]) for own, n in zip(values, numbers_of_courses(values), strict=True)]
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return group(
        "prescription",
        {
            "dose_gy": problem.config.prescription.dose_gy * _GRID,
            **arrays,
            **_order(problem, values, arrays, ptv_cc),
        },
        {"strategy": labels, "goal": [g.text for g in problem.goals], "scale": _GRID},
    )


def _of_strategy(problem: Problem, values: np.ndarray) -> dict[str, object]:
    """What the group says of one strategy, from its metrics (course, metric)."""
    limits = [(problem.goals[k], problem.asked[k]) for k in numbers_of_limits(problem)]
    crossings = {goal.text: _crossing(problem, goal, values) for goal in (*problem.goals, *problem.wanted)}
    rx = problem.config.prescription.dose_gy
    found = [largest_scale(crossings[goal.text], p, problem.interval) for goal, p in limits]
    largest, shown, most = (min((f[k] for f in found), default=np.inf) for k in range(3))
    covered_until = np.max([crossings[g.text] for g in problem.wanted], axis=0)
    spared_until = np.min([crossings[g.text] for g, _ in limits], axis=0) if limits else np.full(len(values), np.inf)
    curves = [_curve(problem, crossings[g.text], rises=_is_met_above(g)) for g in problem.goals]
    return {
        **dict(zip(("probability", "ci_low", "ci_high"), zip(*curves, strict=True), strict=True)),
        **_named("coverage_of_dose", _curve(problem, covered_until, rises=True)),
        **_named("organs", _curve(problem, spared_until, rises=False)),
        "largest_gy": rx * largest,
        "largest_low_gy": rx * shown,
        "largest_high_gy": rx * most,
        "first_limit": limits[int(np.argmin([f[1] for f in found]))][0].text if limits else "",
        **_named("coverage_there", _with_interval(problem, covered_until <= shown)),
    }


def _named(key: str, ends: tuple[np.ndarray, ...]) -> dict[str, object]:
    return {f"{key}{end}": value for end, value in zip(_ENDS, ends, strict=True)}


def _curve(problem: Problem, crossing: np.ndarray, *, rises: bool) -> tuple[np.ndarray, ...]:
    """A probability and the ends of its interval over the grid of scales."""
    return _with_interval(problem, met_at(_GRID, crossing, rises=rises))


def _with_interval(problem: Problem, met: np.ndarray) -> tuple[np.ndarray, ...]:
    return met.mean(axis=-1), *problem.interval(met)


def _order(
    problem: Problem, values: np.ndarray, curves: dict[str, np.ndarray], ptv_cc: np.ndarray
) -> dict[str, np.ndarray]:
    """Verdicts, limits that hold and ranks (strategy, scale), by the rule of the decision."""
    limits = numbers_of_limits(problem)
    asked = problem.asked[:, None]
    known_goals, known_coverage = _known_ends(problem, values)
    goals = np.where(np.isnan(asked), YES, holds(*widened(curves["ci_low"], curves["ci_high"], known_goals), asked))
    covered = holds(
        *widened(*_coverage_ends(problem, values, curves), known_coverage), problem.config.decision.probability
    )
    others = np.delete(goals, limits, axis=1)
    target = np.maximum(covered, others.max(axis=1, initial=YES))
    n_courses = numbers_of_courses(values)
    beyond, lacking = (
        [(goal, _scaled(problem, goal, values)) for goal in of] for of in (limits_of(problem), target_goals_of(problem))
    )

    def at_scale(s: int) -> Decision:
        excess, shortfall = (_excess(problem, some, _GRID[s], values.shape[:2]) for some in (beyond, lacking))
        return decide(target[:, s], goals[:, limits, s], excess, shortfall, ptv_cc, n_courses)

    at_scales = [at_scale(s) for s in range(len(_GRID))]
    return {
        "verdict": np.array([decision.verdicts for decision in at_scales]).T,
        "limits_held": (goals[:, limits] == YES).sum(axis=1),
        "rank": np.array([np.argsort(decision.order) + 1 for decision in at_scales]).T,
    }


def _coverage_ends(
    problem: Problem, values: np.ndarray, curves: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (strategy, scale) of the interval of the wanted coverage; of that target's which has the lowest, where each is asked
    by itself."""
    if len(problem.wanted_together) == 1:
        return curves["coverage_of_dose_low"], curves["coverage_of_dose_high"]
    each = [
        [
            _curve(problem, np.max([_crossing(problem, g, one[:n]) for g in goals], axis=0), rises=True)[1:]
            for one, n in zip(values, numbers_of_courses(values), strict=True)
        ]
        for goals in problem.wanted_together
    ]
    low, high = np.moveaxis(np.array(each), 2, 0).min(axis=1)
    return low, high


_Ends = tuple[np.ndarray, np.ndarray] | None


def _known_ends(problem: Problem, values: np.ndarray) -> tuple[_Ends, _Ends]:
    """Ends of what is known of the goals (strategy, goal, scale) and of the coverage (strategy, scale), linear between every
    tenth scale; None where errors are exact."""
    knowledge = Knowledge.of(problem)
    if knowledge is None:
        return None, None
    met = np.array([_met_at_scales(problem, _GRID[::_EVERY], one) for one in values])
    found = knowledge.interval(met)
    low, high = (_between(end) for end in (found.low, found.high))
    return (low[:, :-1], high[:, :-1]), (low[:, -1], high[:, -1])


def _met_at_scales(problem: Problem, scales: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether the goals, and then the wanted coverage, are met at some scales, boolean (goal + 1, scale, course)."""
    goals = [met_at(scales, _crossing(problem, g, values), rises=_is_met_above(g)) for g in problem.goals]
    covered_until = np.max([_crossing(problem, g, values) for g in problem.wanted], axis=0)
    return np.array([*goals, met_at(scales, covered_until, rises=True)])


def _between(ends: np.ndarray) -> np.ndarray:
    """Values (..., scale) of the whole grid from those at every tenth scale."""
    return np.apply_along_axis(lambda end: np.interp(_GRID, _GRID[::_EVERY], end), -1, ends)


def _excess(
    problem: Problem, goals: list[tuple[Goal, ScaledMetric]], scale: float, shape: tuple[int, int]
) -> np.ndarray:
    """Sum over goals of how far each is missed at a scale, relative to its limit, (strategy, course)."""
    total = np.zeros(shape)
    for goal, metric in goals:
        rx = problem.prescription_of(goal.metric.structure).dose_gy
        if goal.excess(metric.extremes.at(scale), rx).any():
            total += goal.excess(metric.at(scale), rx) / (goal.limit or 1.0)
    return total


def _scaled(problem: Problem, goal: Goal, values: np.ndarray) -> ScaledMetric:
    """A goal's metric where doses are scaled, from values (..., metric); of scales where it is unknown, bounds alone follow."""
    column, metric = problem.column, goal.metric
    levels = {1.0: values[..., column[metric.label]]}
    for scale in SCALES:
        other = metric.at_scale(scale)
        if other and other[0].label in column:
            levels[scale] = other[1] * values[..., column[other[0].label]]
    scales = sorted(levels)
    return ScaledMetric(np.array(scales), np.stack([levels[s] for s in scales]), metric.at_scale(1.0) is None)


def _is_met_above(goal: Goal) -> bool:
    """Whether more dose helps."""
    return goal.is_upper == goal.metric.falls_with_dose


def _crossing(problem: Problem, goal: Goal, values: np.ndarray) -> np.ndarray:
    """Factor on the dose (course,) at which a goal's metric reaches its limit."""
    rx = problem.prescription_of(goal.metric.structure).dose_gy
    limit = goal.limit_with_slack * (rx / 100 if goal.unit == "%" and goal.metric.unit == "Gy" else 1.0)
    metric = _scaled(problem, goal, values)
    if metric.in_proportion:
        here = metric.at(1.0)
        return np.divide(limit, here, out=np.full_like(here, np.inf), where=here > 0)
    rises = not goal.metric.falls_with_dose
    return crossing_scale(metric.scales, metric.values.astype(np.float64), limit, rises=rises)
