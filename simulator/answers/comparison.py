"""Strategies compared on common courses."""

import numpy as np
import xarray as xr

from simulator.answers.joint import JOINT
from simulator.population.comparison import compare_metric, distinguishable, paired_difference
from simulator.problem.problem import Problem
from simulator.results.registry import group


def comparison_group(problem: Problem, values: np.ndarray, joint: np.ndarray, labels: list[str]) -> xr.Dataset:
    column = problem.column
    metrics = list({g.metric.label: g for g in (*problem.goals, *problem.wanted)}.values())
    by_metric = [
        compare_metric(values[:, :, column[g.metric.label]], larger_is_better=g.operator in (">=", ">"))
        for g in metrics
    ]
    by_joint = [paired_difference(joint[:, j]) for j in range(len(JOINT))]
    arrays = {
        "p_better": np.stack([c.p_better for c in by_metric]),
        "difference": np.stack([c.difference for c in by_metric]),
        "difference_low": np.stack([c.low for c in by_metric]),
        "difference_high": np.stack([c.high for c in by_metric]),
        "joint_difference": np.stack([difference for difference, _, _ in by_joint]),
        "joint_low": np.stack([low for _, low, _ in by_joint]),
        "joint_high": np.stack([high for _, _, high in by_joint]),
    }
    told_apart = np.stack([distinguishable(joint[:, j]) for j in range(len(JOINT))])
    return group(
        "comparison",
        {key: array.astype(np.float32) for key, array in arrays.items()} | {"distinguishable": told_apart},
        {"metric": [g.metric.label for g in metrics], "joint": list(JOINT), "strategy": labels, "other": labels},
    )
