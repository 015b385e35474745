"""The smallest margin that reaches a wanted coverage, interpolated over candidate margins on common courses."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from simulator.population.intervals import quantile_interval

_STEP_MM = 0.02


@dataclass(frozen=True)
class RequiredMargin:
    """A margin with its 95 % interval, in steps along a chain of candidate margins (see `margin_chains`).

    Infinite: more than the largest candidate. -inf: the smallest candidate suffices already.
    """

    at: float
    low: float
    high: float


def margin_chains(margin_mm: np.ndarray) -> list[list[int]]:
    """Candidates ordered so that each margin contains the one before: in all directions, else axis by axis.

    Parameters
    ----------
    margin_mm : (candidate, direction), six directions.

    Returns
    -------
    One chain if all candidates are nested; otherwise, for each axis, the chains that differ along it alone.
    """
    _, first = np.unique(margin_mm, axis=0, return_index=True)
    order = sorted((int(i) for i in first), key=lambda i: (margin_mm[i].sum(), i))
    if _nested(margin_mm[order]):
        return [order] if len(order) > 1 else []
    chains = []
    for axis in range(3):
        others = np.delete(margin_mm, (2 * axis, 2 * axis + 1), axis=1)
        for row in np.unique(others, axis=0):
            chain = [i for i in order if np.array_equal(others[i], row)]
            if len(chain) > 1 and _nested(margin_mm[chain]):
                chains.append(chain)
    return chains


def _nested(margin_mm: np.ndarray) -> bool:
    return bool((np.diff(margin_mm, axis=0) >= 0).all())


def margin_of_courses(excess: np.ndarray, size_mm: np.ndarray) -> np.ndarray:
    """The margin above which each course meets its goal.

    A course's metric is interpolated over the margins monotonically (PCHIP: Fritsch & Carlson 1980,
    doi:10.1137/0717021); the margin asked for is the largest at which it crosses the limit.

    Parameters
    ----------
    excess : (margin, course), metric minus limit, signed so that 0 or more meets the goal.
    size_mm : (margin,), increasing.

    Returns
    -------
    (course,) in mm; inf where the largest margin fails, -inf where every margin suffices.
    """
    n = max(2, round((size_mm[-1] - size_mm[0]) / _STEP_MM) + 1)
    fine_mm = np.linspace(size_mm[0], size_mm[-1], n)
    margin = np.empty(excess.shape[1])
    for first in range(0, excess.shape[1], 1000):
        part = slice(first, first + 1000)
        curve = PchipInterpolator(size_mm, excess[:, part])(fine_mm)
        fails = curve < 0
        last = n - 1 - np.argmax(fails[::-1], axis=0)
        margin[part] = np.where(last == n - 1, np.inf, _crossing(curve, fine_mm, np.minimum(last, n - 2)))
        margin[part] = np.where(fails.any(axis=0), margin[part], -np.inf)
    return margin


def _crossing(curve: np.ndarray, at_mm: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Where the curve rises through zero after its last failing point, by linear interpolation."""
    course = np.arange(curve.shape[1])
    below, above = curve[last, course], curve[last + 1, course]
    rise = np.where(above > below, above - below, 1.0)
    return at_mm[last] + (at_mm[last + 1] - at_mm[last]) * np.clip(-below / rise, 0.0, 1.0)


def required_margin(margin_of_course: np.ndarray, probability: float) -> RequiredMargin:
    """The margin that suffices for a wanted share of courses, with its order-statistic interval.

    Parameters
    ----------
    margin_of_course : (course,) from `margin_of_courses`; for several goals, the largest of each course.
    """
    ordered = np.sort(margin_of_course)
    at = ordered[min(len(ordered), max(1, int(np.ceil(probability * len(ordered))))) - 1]
    low, high = quantile_interval(margin_of_course, (probability,))
    return RequiredMargin(float(at), float(low[0]), float(high[0]))


def along_chain(margin_mm: np.ndarray, size_mm: np.ndarray, at: float) -> np.ndarray:
    """The six margins (direction,) at a place along a chain; infinite places give infinite margins in the varying ones."""
    if np.isfinite(at):
        return np.array([np.interp(at, size_mm, side) for side in margin_mm.T])
    varies = np.ptp(margin_mm, axis=0) > 0
    return np.where(varies, at, margin_mm[0])
