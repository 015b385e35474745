"""Probabilities under other errors than courses were drawn with: by weights, with the courses' own noise taken out.

Courses come from a mixture over what errors may be. Course c counts under errors k with w = p(c | k) / p(c), self-normalised
(Owen 2013, Monte Carlo theory, methods and examples, chapter 9.2). The means of K possible errors scatter by what one does not
know and by the noise of finitely many courses, whose variance the same courses tell.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

LEAST_EFFECTIVE = 400.0
_COURSES_AT_ONCE = 500
TOO_FEW = 0.05
_RARE = 1e-5

Weights = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Weighted:
    """Means of some columns under each draw of errors.

    Parameters
    ----------
    mean : (draw, column).
    noise : (column,), variance over draws of the means that is due to finitely many courses, on average.
    """

    mean: np.ndarray
    noise: np.ndarray

    def without_noise(self) -> np.ndarray:
        """The means (draw, column) as probabilities, their scatter over draws narrowed by what of it is noise."""
        centre, variance = self.mean.mean(axis=0), self.mean.var(axis=0)
        kept = np.sqrt(np.maximum(1 - self.noise / np.where(variance > 0, variance, np.inf), 0.0))
        return np.clip(centre + kept * (self.mean - centre), 0, 1)


def is_enough(effective: np.ndarray) -> bool:
    """Whether at most 5 % of the draws (draw,) stand on fewer than 400 effective courses."""
    return bool(np.mean(effective < LEAST_EFFECTIVE) <= TOO_FEW)


def together(parts: list[np.ndarray]) -> np.ndarray:
    """Probabilities (draw, column) under several parts of the errors from those under each alone, which add up in log odds.

    Exact for one part; of several, that a part matters the more or the less for another one is left out.
    """
    if len(parts) == 1:
        return parts[0]
    share = np.clip(np.mean([part.mean(axis=0) for part in parts], axis=0), _RARE, 1 - _RARE)
    odds = logit(share) + sum(logit(np.clip(part, _RARE, 1 - _RARE)) - logit(share) for part in parts)
    return expit(odds)


def effective_courses(weights: Weights, n_courses: int) -> np.ndarray:
    """Courses of equal weight (draw,) that would know as much under each draw of errors."""
    total, squares = np.zeros(1), np.zeros(1)
    for part in _parts_of(n_courses):
        w = weights(part.start, part.stop - part.start)
        total, squares = total + w.sum(axis=0, dtype=float), squares + np.square(w).sum(axis=0, dtype=float)
    return np.square(total) / squares


def weighted_means(values: np.ndarray, weights: Weights) -> np.ndarray:
    """Means (draw, column) of values (course, column) under each draw of errors; see `weighted`."""
    v, total, sums = values.astype(np.float32), np.zeros(1), np.zeros(1)
    for part in _parts_of(len(v)):
        w = weights(part.start, part.stop - part.start)
        total, sums = total + w.sum(axis=0, dtype=float), sums + w.T @ v[part]
    return sums / total[:, None]


def weighted(values: np.ndarray, weights: Weights) -> Weighted:
    """Means of values (course, column) under each draw of errors.

    Parameters
    ----------
    weights : of the courses from a first one on, (course, draw), up to a factor of each draw.
    """
    v = values.astype(np.float32)
    total, squares, sums, square_sums, square_squares = (np.zeros(1) for _ in range(5))
    for part in _parts_of(len(v)):
        w = weights(part.start, part.stop - part.start)
        w2 = np.square(w)
        total, squares = total + w.sum(axis=0, dtype=float), squares + w2.sum(axis=0, dtype=float)
        sums = sums + w.T @ v[part]
        square_sums, square_squares = square_sums + w2.T @ v[part], square_squares + w2.T @ np.square(v[part])
    mean = sums / total[:, None]
    own = (square_squares - 2 * mean * square_sums + np.square(mean) * squares[:, None]) / np.square(total)[:, None]
    common = np.zeros(v.shape[1])
    for part in _parts_of(len(v)):
        share = weights(part.start, part.stop - part.start) / total
        influence = v[part] * share.mean(axis=1)[:, None] - share @ mean / len(mean)
        common += np.square(influence).sum(axis=0)
    return Weighted(mean, np.maximum(own.mean(axis=0) - common, 0.0))


def _parts_of(n: int) -> list[slice]:
    return [slice(at, min(at + _COURSES_AT_ONCE, n)) for at in range(0, n, _COURSES_AT_ONCE)]
