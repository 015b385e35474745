"""From a few strategies with few courses to all of W5: stages of a run as straight lines."""

from collections.abc import Sequence
from dataclasses import dataclass

STAGES = ("courses of", "required margins")  # words with which a run begins its courses, and its results


@dataclass(frozen=True)
class Stages:
    """What a run of some strategies with some courses each takes: for its case, its courses with plans, and its results.

    Times in s; `results` holds the report.
    """

    strategies: int
    n_courses: int
    case: float
    courses: float
    results: float

    @classmethod
    def between(cls, strategies: int, n_courses: int, at: Sequence[float]) -> "Stages":
        """From the times at which a run began, came to its courses, came to its results, and ended."""
        start, courses, results, end = at
        return cls(strategies, n_courses, courses - start, results - courses, end - results)

    @property
    def total(self) -> float:
        """Of the whole run."""
        return self.case + self.courses + self.results


@dataclass(frozen=True)
class Lines:
    """Time of courses: strategies x (preparing + courses x per_course); of results: a constant and as much again.

    Parameters
    ----------
    case : s. preparing : s of a strategy, its share of the plans included. per_course : s of a course of a strategy.
    results, results_per_strategy, results_per_course : s.
    """

    case: float
    preparing: float
    per_course: float
    results: float
    results_per_strategy: float
    results_per_course: float

    @classmethod
    def through(cls, few: Stages, many: Stages, fewer_strategies: Stages) -> "Lines":
        """Through two numbers of courses of the same strategies, and a run of fewer strategies with the first of them."""
        more = few.strategies * (many.n_courses - few.n_courses)
        per_course, results_per_course = (many.courses - few.courses) / more, (many.results - few.results) / more
        more = few.strategies - fewer_strategies.strategies
        per_strategy = (few.results - fewer_strategies.results) / more - few.n_courses * results_per_course
        return cls(
            case=few.case,
            preparing=few.courses / few.strategies - few.n_courses * per_course,
            per_course=per_course,
            results=few.results - few.strategies * (per_strategy + few.n_courses * results_per_course),
            results_per_strategy=per_strategy,
            results_per_course=results_per_course,
        )

    def at(self, strategies: int, n_courses: int, plans: float = 0.0, tasks: float = 1.0) -> Stages:
        """What so many strategies and courses take.

        Parameters
        ----------
        plans : s of a strategy, left out. tasks : of each strategy; each of them prepares it anew.
        """
        courses = strategies * (tasks * (self.preparing - plans) + n_courses * self.per_course)
        results = self.results + strategies * (self.results_per_strategy + n_courses * self.results_per_course)
        return Stages(strategies, n_courses, self.case, courses, results)
