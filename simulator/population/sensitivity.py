"""Variance-based sensitivity: which source of error an outcome's variance comes from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 400


@dataclass(frozen=True)
class Share:
    """A Sobol' index with its 95 % interval."""

    value: float
    low: float
    high: float


def first_order(alone: np.ndarray, other: np.ndarray) -> Share:
    """Share of the variance that a source explains by itself.

    The correlation of outcomes that have this source alone in common, in the symmetric form of Janon et al. 2014
    (doi:10.1051/ps/2013040); interval by bootstrap over courses.

    Parameters
    ----------
    alone : (course,), outcome when this source is drawn as for `other` and all others anew.
    other : (course,), the outcome it shares this source with.
    """
    return _bootstrap(alone, other, _correlation)


def total(all_but: np.ndarray, base: np.ndarray) -> Share:
    """Share of the variance that vanishes with a source, its interactions with others included.

    Jansen 1999 (doi:10.1016/S0010-4655(98)00154-4): half the mean squared change when this source alone is drawn anew.

    Parameters
    ----------
    all_but : (course,), outcome when this source alone is drawn anew. base : (course,), the outcome before.
    """
    return _bootstrap(all_but, base, _half_squared_change)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    mean = (a.mean(axis=-1) + b.mean(axis=-1)) / 2
    variance = (np.square(a) + np.square(b)).mean(axis=-1) / 2 - mean**2
    return _ratio((a * b).mean(axis=-1) - mean**2, variance)


def _half_squared_change(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    mean = (a.mean(axis=-1) + b.mean(axis=-1)) / 2
    variance = (np.square(a) + np.square(b)).mean(axis=-1) / 2 - mean**2
    return _ratio(np.square(a - b).mean(axis=-1) / 2, variance)


def _ratio(part: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Zero where nothing varies."""
    return np.where(variance > 0, part / np.where(variance > 0, variance, 1.0), 0.0)


def _bootstrap(first: np.ndarray, second: np.ndarray, index: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Share:
    centre = second.mean()
    a, b = first - centre, second - centre
    pick = np.random.default_rng(0).integers(0, len(a), (_RESAMPLES, len(a)))
    low, high = np.quantile(index(a[pick], b[pick]), (0.025, 0.975))
    return Share(float(index(a, b)), float(low), float(high))
