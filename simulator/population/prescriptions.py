"""What another prescription of the same plan would do, from the simulated courses: the dose scales, the errors stay."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.ground.once import cached_property

_ROUNDING = 1e-9

Interval = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class ScaledMetric:
    """A metric where all doses are scaled.

    Parameters
    ----------
    scales : (level,), ascending. values : (level, ...), the metric at each.
    in_proportion : whether it scales with the dose; one level, 1, is enough then.
    """

    scales: np.ndarray
    values: np.ndarray
    in_proportion: bool

    def at(self, scale: float) -> np.ndarray:
        """Values (...) at a scale: in proportion, or linear between levels, and the first's or the last's beyond them."""
        if len(self.scales) == 1:
            return (scale if self.in_proportion else 1.0) * self.values[0].astype(np.float64)
        upper = int(np.clip(np.searchsorted(self.scales, scale), 1, len(self.scales) - 1))
        low, high = (self.values[k].astype(np.float64) for k in (upper - 1, upper))
        share = (scale - self.scales[upper - 1]) / (self.scales[upper] - self.scales[upper - 1])
        return low + np.clip(share, 0, 1) * (high - low)

    @cached_property
    def extremes(self) -> "ScaledMetric":
        """The lowest and the highest value at each level, (level, 2)."""
        levels = self.values.reshape(len(self.scales), -1)
        return ScaledMetric(self.scales, np.stack([levels.min(axis=1), levels.max(axis=1)], axis=1), self.in_proportion)


def crossing_scale(scales: np.ndarray, values: np.ndarray, limit: float, *, rises: bool) -> np.ndarray:
    """Factor on the dose at which each course's metric reaches a limit, from its values at some factors.

    Linear between factors; beyond the first and the last, where only a bound is known, 0 and infinity.

    Parameters
    ----------
    scales : (scale,), ascending. values : (scale, course).
    rises : whether values rise with the dose.
    """
    beyond = values > limit if rises else values < limit
    first = np.where(beyond.any(axis=0), beyond.argmax(axis=0), len(scales))
    inner = np.clip(first, 1, len(scales) - 1)
    course = np.arange(values.shape[1])
    low, high = values[inner - 1, course], values[inner, course]
    gap = np.where(high == low, 1.0, high - low)
    at = scales[inner - 1] + (scales[inner] - scales[inner - 1]) * np.clip((limit - low) / gap, 0, 1)
    return np.where(first == 0, 0.0, np.where(first == len(scales), np.inf, at))


def met_at(scales: np.ndarray, crossing: np.ndarray, *, rises: bool) -> np.ndarray:
    """Whether each course (course,) is on the right side of a limit at each factor (scale,), given where it crosses it.

    Parameters
    ----------
    crossing : (course,).
    rises : whether the right side lies above the crossing.

    Returns
    -------
    Boolean (scale, course).
    """
    at = scales[:, None] * (1 + (_ROUNDING if rises else -_ROUNDING))
    return crossing <= at if rises else crossing >= at


def largest_scale(crossing: np.ndarray, wanted: float, interval: Interval) -> tuple[float, float, float]:
    """Largest factor on the dose at which a limit from above holds with a wanted probability.

    Parameters
    ----------
    crossing : factor (course,) at which each course reaches the limit.
    interval : of a probability, from boolean (course,).

    Returns
    -------
    The factor at which the share of courses is the wanted one; that at which the lower end of its 95 % interval still is, which
    is where the limit is shown to hold; that at which the upper end still is. Nan below the smallest crossing.
    """
    ordered = np.sort(crossing)

    def last(enough: Callable[[np.ndarray], bool]) -> float:
        """The largest crossing at which enough courses have not crossed yet."""
        first, beyond = 0, len(ordered)
        while first < beyond:
            middle = (first + beyond) // 2
            if enough(crossing >= ordered[middle]):
                first = middle + 1
            else:
                beyond = middle
        return float(ordered[first - 1]) if first else float("nan")

    return (
        last(lambda met: bool(met.mean() >= wanted - _ROUNDING)),
        last(lambda met: bool(interval(met)[0] >= wanted - _ROUNDING)),
        last(lambda met: bool(interval(met)[1] >= wanted - _ROUNDING)),
    )
