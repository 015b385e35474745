"""A study split into tasks, each some courses of one strategy."""

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from simulator.problem.inputs import case_key
from simulator.problem.margins import PlanRequest, planned_alike
from simulator.problem.problem import Problem

_LEAST_TASKS, _LEAST_COURSES, _MOST_COURSES = 4, 500, 4000


PLANS_AT_ONCE, PORTIONS_AT_ONCE = 4, 2


@dataclass(frozen=True)
class Task:
    """Some courses of one strategy of the study in a run folder."""

    folder: Path
    strategy: int
    first: int
    n_courses: int

    @property
    def key(self) -> str:
        """Name of what is kept of the task as a whole."""
        return f"s{self.strategy:03d}-part-{self.first:08d}-{self.n_courses}"

    def blocks(self, size: int) -> dict[str, tuple[int, int]]:
        """First course and number of courses by block, and each block's name."""
        end = self.first + self.n_courses
        runs = [(first, min(size, end - first)) for first in range(self.first, end, size)]
        return {f"s{self.strategy:03d}-c{first:08d}-{n}": (first, n) for first, n in runs}


@dataclass(frozen=True)
class Run:
    """Courses `first` to `end` of some strategies of a study."""

    first: int
    end: int
    strategies: tuple[int, ...]

    @classmethod
    def of_all(cls, n_strategies: int, first: int, end: int) -> "Run":
        """Courses of every strategy."""
        return cls(first, end, tuple(range(n_strategies)))


@dataclass(frozen=True)
class Planned:
    """What names the plan of a strategy: in its run folder, among the plans of all points, and those made at once with it;
    and how the plan is delivered."""

    name: str
    key: str
    portion: str
    delivery: str

    @classmethod
    def of(cls, problem: Problem, strategy: int) -> "Planned":
        """Of a strategy; keys are digests, which travel and are kept more cheaply than what they stand for."""
        key = _planning_key(problem), problem.requests[strategy]
        roles = problem.strategies[strategy].roles
        return cls(plan_name(problem, strategy), _digest(key), _digest(plans_key(problem, strategy)), _digest(roles))


@dataclass(frozen=True)
class PlanTask:
    """A plan that is optimised once, for every run folder that asks for it.

    Parameters
    ----------
    places : run folders, and the name under which each keeps the plan.
    strategy : one of the first folder that has the plan.
    """

    places: tuple[tuple[Path, str], ...]
    strategy: int


def plan_name(problem: Problem, strategy: int) -> str:
    """Under which a run folder keeps the plan of a strategy: its place among those that differ."""
    return f"plan-{list(dict.fromkeys(problem.requests)).index(problem.requests[strategy]):03d}"


def plan_tasks_of(plans: Mapping[Path, Sequence[Planned]]) -> list[PlanTask]:
    """Plans of strategies that have to be optimised before courses are simulated, each once for all points that share it."""
    places: dict[str, dict[tuple[Path, str], int]] = {}
    for folder, some in plans.items():
        for strategy, planned in enumerate(some):
            places.setdefault(planned.key, {}).setdefault((folder, planned.name), strategy)
    return [PlanTask(tuple(found), next(iter(found.values()))) for found in places.values()]


def _digest(key: Hashable) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()


def _planning_key(problem: Problem) -> Hashable:
    """What plans depend on beside what is requested of them."""
    config = problem.config
    prescriptions = tuple((target.name, target.prescription) for target in problem.targets)
    return case_key(config), config.plan.model_dump_json(), prescriptions, config.session.isocentres


def planned_together(problem: Problem, strategy: int) -> tuple[PlanRequest, ...]:
    """The plans that are made at once: some margins of one planning target, in at least two portions for two workers."""
    wanted, requests = problem.requests[strategy], list(dict.fromkeys(problem.requests))
    (alike,) = (group for group in planned_alike(requests) if wanted in group)
    n = max(1, min(PLANS_AT_ONCE, len(requests) // 2))
    first = alike.index(wanted) // n * n
    return tuple(alike[first : first + n])


def plans_key(problem: Problem, strategy: int) -> Hashable:
    """What the plans of a portion depend on."""
    return _planning_key(problem), planned_together(problem, strategy)


def tasks_of(plans: Mapping[Path, Sequence[Planned]], runs: dict[Path, Run]) -> list[Task]:
    """Tasks that simulate the courses of a run in each folder.

    How courses are split depends on the study alone. Strategies whose plans are made at once follow each other, interleaved
    with another portion, so that a worker finds its plan made, several workers make different ones, and few are held. Margins
    follow each other, so that it finds their courses delivered.
    """
    n_groups = sum(len(run.strategies) for run in runs.values())
    by_plan: dict[str, dict[Hashable, list[Task]]] = {}
    for folder, run in runs.items():
        size = _courses_per_task(run.end - run.first, n_groups)
        for strategy in run.strategies:
            planned = plans[folder][strategy]
            by_delivery = by_plan.setdefault(planned.portion, {})
            for at in range(run.first, run.end, size):
                key = folder, planned.delivery, at
                by_delivery.setdefault(key, []).append(Task(folder, strategy, at, min(size, run.end - at)))
    return list(_interleaved([list(chain(*by_delivery.values())) for by_delivery in by_plan.values()]))


def _courses_per_task(n_courses: int, n_groups: int) -> int:
    wanted = -(-n_courses // -(-_LEAST_TASKS // n_groups))
    return min(max(wanted, _LEAST_COURSES), _MOST_COURSES)


def _interleaved(groups: list[list[Task]]) -> Iterator[Task]:
    for first in range(0, len(groups), PORTIONS_AT_ONCE):
        for row in zip_longest(*groups[first : first + PORTIONS_AT_ONCE]):
            yield from (task for task in row if task is not None)
