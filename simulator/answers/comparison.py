"""Strategies compared on common courses."""

from functools import partial

import numpy as np
import xarray as xr

from simulator.answers.joint import JOINT
from simulator.population.comparison import compare_metric, distinguishable, paired_difference
from simulator.population.unequal import by_pairs
from simulator.problem.problem import Problem
from simulator.results.registry import group


def comparison_group(
    problem: Problem, values: np.ndarray, joint: np.ndarray, n_courses: np.ndarray, labels: list[str]
) -> xr.Dataset:
    """The group comparison of the results, each pair on the courses that both have.

    Parameters
    ----------
    values : (strategy, course, metric). joint : boolean (strategy, joint, course). n_courses : (strategy,).
    """
    column = problem.column
    metrics = list({g.metric.label: g for g in (*problem.goals, *problem.wanted)}.values())
    by_metric = np.stack([
        by_pairs(values[:, :, column[g.metric.label]], n_courses, partial(_compared, is_better_above=g.operator in (">=", ">")))
        for g in metrics
    ], axis=1)  # fmt: skip
    by_joint = np.stack([by_pairs(joint[:, j], n_courses, _differences) for j in range(len(JOINT))], axis=1)
    arrays = dict(zip(("p_better", "difference", "difference_low", "difference_high"), by_metric, strict=True))
    arrays |= dict(zip(("joint_difference", "joint_low", "joint_high"), by_joint, strict=True))
    apart = partial(distinguishable, n_strategies=len(labels))
    told_apart = np.stack([by_pairs(joint[:, j], n_courses, apart) for j in range(len(JOINT))])
    return group(
        "comparison",
        {key: array.astype(np.float32) for key, array in arrays.items()} | {"distinguishable": told_apart},
        {"metric": [g.metric.label for g in metrics], "joint": list(JOINT), "strategy": labels, "other": labels},
    )


def _compared(values: np.ndarray, is_better_above: bool) -> np.ndarray:
    """How often one is better, and the difference with its interval, (4, strategy, strategy)."""
    found = compare_metric(values, larger_is_better=is_better_above)
    return np.stack([found.p_better, found.difference, found.low, found.high])


def _differences(met: np.ndarray) -> np.ndarray:
    """Differences of probabilities with their intervals, (3, strategy, strategy)."""
    return np.stack(paired_difference(met))
