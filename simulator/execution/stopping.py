"""How many courses are simulated next, for a study that asks for a precision."""

from pathlib import Path

import numpy as np

from simulator.execution.checkpoint import BLOCKS, BlockStore
from simulator.execution.gathering import values_of
from simulator.execution.splitting import Task
from simulator.population.intervals import FixedWidthRule
from simulator.problem.problem import Problem
from simulator.study_file.schema import StudyConfig


def next_run(
    problems: dict[Path, Problem],
    rules: dict[Path, FixedWidthRule | None],
    finished: dict[Path, list[Task]],
    folder: Path,
    n_courses: int,
) -> tuple[int, int] | None:
    """Courses to simulate next; None when there are enough."""
    rule, problem = rules[folder], problems[folder]
    if rule is None:
        return None
    values = values_of(problem, BlockStore(folder / BLOCKS), finished[folder])
    following = rule.next_look(_count_met(problem, values), n_courses)
    return None if following is None else (n_courses, following)


def stopping_rule(config: StudyConfig) -> FixedWidthRule | None:
    """When to stop, for a study that asks for a precision instead of a number of courses."""
    if config.precision is None:
        return None
    return FixedWidthRule(config.precision, config.courses, config.numerics.block_courses)


def _count_met(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Number of courses that meet each goal, (strategy, goal)."""
    column = problem.column
    counts = [
        [goal.is_met(drawn[:, column[goal.metric.label]].astype(float), rx_gy).sum() for drawn in values]
        for goal in problem.goals
        for rx_gy in [problem.prescription_of(goal.metric.structure).dose_gy]
    ]
    return np.array(counts).T
