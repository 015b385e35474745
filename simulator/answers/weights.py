"""What weights of a study's own would choose, and how far they may move before the choice changes."""

import numpy as np
import xarray as xr

from simulator.metrics.goals import Goal
from simulator.population.break_even import break_even
from simulator.population.unequal import mean_intervals, numbers_of_courses
from simulator.problem.problem import Problem
from simulator.problem.weighed import weighed_goals
from simulator.results.registry import group

_ENDS = ("", "_low", "_high")


def weights_group(problem: Problem, values: np.ndarray, first: int, labels: list[str]) -> xr.Dataset:
    """The group weights of the results.

    Parameters
    ----------
    values : (strategy, course, metric). first : the strategy that the others are compared with.
    """
    weighed = weighed_goals(problem.config, tuple(problem.goals), problem.biology)
    weight = np.array(list(weighed.values()))
    harm = np.stack([_harm(problem, goal, values) for goal in weighed], axis=1)
    gaps = harm - harm[first]
    n_courses = numbers_of_courses(values)
    both = np.minimum(n_courses, n_courses[first])
    turns = np.array([break_even(gap[:, :n], weight) for gap, n in zip(gaps, both, strict=True)])
    losses = mean_intervals(np.einsum("k,skc->sc", weight, gaps), both)
    return group(
        "weights",
        {
            "weight": weight,
            "counts": np.array([_counted(goal) for goal in weighed]),
            "expected": mean_intervals(np.moveaxis(harm, 1, 2), n_courses)[0],
            "first": np.array(labels[first]),
            **{f"loss_difference{end}": loss for end, loss in zip(_ENDS, losses, strict=True)},
            **{f"break_even{end}": turns[:, i] for i, end in enumerate(_ENDS)},
        },
        {"strategy": labels, "harm": [goal.text for goal in weighed]},
    )


def _harm(problem: Problem, goal: Goal, values: np.ndarray) -> np.ndarray:
    """Excess beyond a goal (strategy, course), that of a dose in Gy."""
    rx_gy = problem.prescription_of(goal.metric.structure).dose_gy
    excess = goal.excess(values[:, :, problem.column[goal.metric.label]].astype(np.float64), rx_gy)
    return excess * (rx_gy / 100 if _is_share_of_dose(goal) else 1.0)


def _is_share_of_dose(goal: Goal) -> bool:
    return goal.unit == "%" and goal.metric.unit == "Gy"


def _counted(goal: Goal) -> str:
    """What one unit of a harm is, in words."""
    if goal.text == goal.metric.label:
        return f"a point of {goal.text}" if goal.is_upper else f"a point of {goal.text} lost"
    unit = {"%": "point", "cc": "cc"}.get(goal.metric.unit, "Gy")
    return f"a {unit} {'beyond' if goal.is_upper else 'short of'} {goal.text}"
