"""Strategies compared on the same courses: who is better how often, and by how much."""

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtri


@dataclass(frozen=True)
class Comparison:
    """Every strategy (first axis) against every other (second axis) in one metric or goal.

    Parameters
    ----------
    p_better : probability that the first is better in a course, ties counted half.
    difference, low, high : mean over courses of the first minus the second, with its 95 % interval.
    """

    p_better: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray


def compare_metric(values: np.ndarray, *, larger_is_better: bool) -> Comparison:
    """Compare a metric course by course.

    Parameters
    ----------
    values : (strategy, course), the same courses for every strategy.
    """
    n, n_courses = values.shape
    better, mean, se = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        gap = values[i].astype(np.float64) - values
        won = gap > 0 if larger_is_better else gap < 0
        better[i] = won.mean(axis=1) + 0.5 * (gap == 0).mean(axis=1)
        mean[i] = gap.mean(axis=1)
        se[i] = gap.std(axis=1, ddof=1) / np.sqrt(n_courses) if n_courses > 1 else np.inf
    half = ndtri(0.975) * se
    return Comparison(better, mean, mean - half, mean + half)


def paired_difference(met: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences between probabilities that were estimated on the same courses.

    Wald interval after adding half a course to each of the four outcomes of a pair.
    Source: Agresti & Min 2005, doi:10.1002/sim.1781.

    Parameters
    ----------
    met : boolean (strategy, course).

    Returns
    -------
    Difference, lower and upper bound of its 95 % interval, (strategy, strategy) each.
    """
    first, second = _discordant(met)
    n = met.shape[1]
    shifted = n + 2
    b, c = (first + 0.5) / shifted, (second + 0.5) / shifted
    half = ndtri(0.975) * np.sqrt((b + c - (b - c) ** 2) / shifted)
    return (first - second) / n, np.maximum(b - c - half, -1), np.minimum(b - c + half, 1)


def distinguishable(met: np.ndarray, error: float = 0.05, n_strategies: int | None = None) -> np.ndarray:
    """Which pairs of strategies differ in their probability, beyond doubt at this number of courses.

    Exact McNemar test on the courses that the two strategies judge differently (McNemar 1947,
    doi:10.1007/BF02295996), at a level divided by the number of pairs (Bonferroni): with probability 1 - `error` no pair
    is called different that is not.

    Parameters
    ----------
    met : boolean (strategy, course).
    n_strategies : that are compared, where these are not all.

    Returns
    -------
    boolean (strategy, strategy), symmetric.
    """
    first, second = _discordant(met)
    n = n_strategies or len(met)
    n_pairs = max(1, n * (n - 1) // 2)
    p_value = 2 * bdtr(np.minimum(first, second), (first + second).astype(int), 0.5)
    return (p_value <= error / n_pairs) & (first != second)


def _discordant(met: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Courses in which only the first of a pair meets the goal, and only the second."""
    won = met.astype(np.float64)
    both = won @ won.T
    only_first = won.sum(axis=1)[:, None] - both
    return only_first, only_first.T
