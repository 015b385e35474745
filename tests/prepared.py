"""Studies prepared and checked as `check` and `run` do it."""

from pathlib import Path

from simulator.execution.points import prepare_points
from simulator.execution.problems import problem_of
from simulator.ground.parallel import SerialExecutor
from simulator.problem.problem import Problem
from simulator.study_file.schema import StudyConfig


def problems_of(study: StudyConfig) -> list[Problem]:
    """The problem at every point of a sweep; the only one without."""
    points = prepare_points(study, Path(study.name), SerialExecutor(), fresh=True)
    return [problem_of(point.config) for point in points.values()]
