"""Strategies with unequal numbers of courses: each has the first ones of all, and NaN after its own."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from simulator.population.intervals import mean_interval


def numbers_of_courses(values: np.ndarray) -> np.ndarray:
    """Courses of each strategy, from metrics (strategy, course, metric)."""
    ends = range(values.shape[1])
    return np.array([bisect_left(ends, True, key=lambda at: bool(np.isnan(own[at]).all())) for own in values])


def by_pairs(values: np.ndarray, n_courses: np.ndarray, compare: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Comparisons (..., strategy, strategy) of each pair of strategies on the courses that both have.

    Parameters
    ----------
    values : (strategy, course). n_courses : (strategy,).
    compare : from (strategy, course) to (..., strategy, strategy), each pair by itself.
    """
    found = compare(values[:, : n_courses.min()])
    for n in np.unique(n_courses)[1:]:
        at = np.flatnonzero(n_courses >= n)
        found[..., at[:, None], at] = compare(values[at, :n])
    return found


def mean_intervals(values: np.ndarray, n_courses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (strategy, ...) of values (strategy, course, ...) with its Student-t interval, over the courses of each strategy."""
    if n_courses.min() == values.shape[1]:
        return mean_interval(values, axis=1)
    each = [mean_interval(own[:n], axis=0) for own, n in zip(values, n_courses, strict=True)]
    mean, low, high = (np.stack(ends) for ends in zip(*each, strict=True))
    return mean, low, high
