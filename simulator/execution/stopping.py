"""How many courses are simulated: as many as asked, until probabilities are precise, until they tell what is not known, or
until verdicts are settled."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.answers.decision import undecided
from simulator.answers.knowledge import Knowledge
from simulator.execution.checkpoint import BLOCKS, BlockStore
from simulator.execution.gathering import values_of
from simulator.execution.problems import problem_in
from simulator.execution.splitting import Run, Task
from simulator.population.intervals import FixedWidthRule
from simulator.problem.problem import Problem
from simulator.study_file.schema import StudyConfig

_MOST_PER_PART, _MOST_PARTS = 2, 2


def first_run(problem: Problem) -> int:
    """Courses to simulate first."""
    rule = stopping_rule(problem.config)
    if problem.looks is not None:
        return problem.looks.courses[0]
    return rule.first_look if rule else most_courses(problem)


def most_courses(problem: Problem) -> int:
    """Courses that are simulated at most."""
    config = problem.config
    return config.courses if config.precision is not None else courses_that_tell(problem, config.courses)


def courses_that_tell(problem: Problem, n_courses: int) -> int:
    """Courses, at least those given, that also tell what the doubt about the errors does to probabilities.

    All errors at once, or where that costs too much each part of them alone. As many as given where Sobol' nets cannot grow,
    where the courses of a precise study would be more than its most, or those of another one more than twice (one uncertain
    error) or four times (several) as many.
    """
    knowledge, config = Knowledge.of(problem), problem.config
    if knowledge is None or config.sampling == "sobol":
        return n_courses
    dearer = _MOST_PER_PART ** min(len(knowledge.parts), _MOST_PARTS)
    most = dearer * config.courses if config.precision is None else config.courses
    for at_once, affordable in ((True, min(most, dearer * n_courses)), (False, most)):
        wanted, found = 0, n_courses
        while wanted < found <= affordable:
            wanted, found = found, knowledge.courses_wanted(found, at_once=at_once)
        if wanted == found:
            return wanted
    return n_courses


def notes_on_courses(problem: Problem) -> list[str]:
    """Whether more courses are simulated than were asked for, and why."""
    asked, n = problem.config.courses, most_courses(problem)
    return [f"{n} courses are simulated, not {asked}: so many tell what the doubt about the errors does"] * (n > asked)


@dataclass(frozen=True)
class Look:
    """A run folder in which a run is finished, as some tasks are."""

    folder: Path
    finished: tuple[Task, ...]
    run: Run


def look_at(look: Look) -> tuple[Path, Run | None]:
    """What to simulate next in a run folder; None when there are enough courses."""
    problem = problem_in(look.folder)
    return look.folder, next_run(problem, stopping_rule(problem.config), list(look.finished), look.run)


def next_run(problem: Problem, rule: FixedWidthRule | None, finished: list[Task], run: Run) -> Run | None:
    """What to simulate after a run, when some tasks are finished; None when there are enough courses."""
    if rule is None and problem.looks is None:
        return None
    values, n_courses = values_of(problem, BlockStore(finished[0].folder / BLOCKS), finished), run.end
    if problem.looks is not None:
        following, going_on = problem.looks.after(n_courses), undecided(problem, values[list(run.strategies)])
        some = tuple(i for i, goes_on in zip(run.strategies, going_on, strict=True) if goes_on)
        return Run(n_courses, following, some) if following and some else None
    assert rule is not None
    wanted = rule.next_look(_count_met(problem, values), n_courses) or courses_that_tell(problem, n_courses)
    return Run.of_all(len(problem.strategies), n_courses, wanted) if wanted > n_courses else None


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
