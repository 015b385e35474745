"""The probability that several goals hold together, in the same course."""

import numpy as np
import xarray as xr

from simulator.metrics.goals import Goal
from simulator.problem.problem import Problem
from simulator.results.registry import group

JOINT = ("wanted coverage", "all target goals", "all organ goals", "all goals")


COVERAGE, ORGANS = JOINT.index("wanted coverage"), JOINT.index("all organ goals")


def goals_of(problem: Problem, joint: str) -> list[Goal]:
    """The goals that a joint probability is about; optimal goals of a library do not count, unless wanted by name."""
    binding = [g for g in problem.goals if g.level != "optimal"]
    targets = [g for g in binding if problem.target_named(g.metric.structure)]
    return {
        "wanted coverage": list(problem.wanted),
        "all target goals": targets,
        "all organ goals": [g for g in binding if g not in targets],
        "all goals": binding,
    }[joint]


def all_met(problem: Problem, values: np.ndarray, goals: list[Goal]) -> np.ndarray:
    """Whether all of some goals are met, boolean (strategy, course)."""
    column = problem.column
    met = np.ones(values.shape[:2], bool)
    for goal in goals:
        rx_gy = problem.prescription_of(goal.metric.structure).dose_gy
        for i, drawn in enumerate(values):
            met[i] &= goal.is_met(drawn[:, column[goal.metric.label]].astype(np.float64), rx_gy)
    return met


def joint_met(problem: Problem, values: np.ndarray) -> np.ndarray:
    """boolean (strategy, joint, course)."""
    return np.stack([all_met(problem, values, goals_of(problem, name)) for name in JOINT], axis=1)


def joint_group(problem: Problem, joint: np.ndarray, n_courses: np.ndarray, labels: list[str]) -> xr.Dataset:
    n = n_courses[:, None]
    low, high = problem.interval(joint, n)
    members = ["; ".join(g.text for g in goals_of(problem, name)) for name in JOINT]
    return group(
        "joint",
        {"probability": joint.sum(axis=2) / n, "ci_low": low, "ci_high": high, "members": np.array(members)},
        {"strategy": labels, "joint": list(JOINT)},
    )
