"""The smallest margin that reaches a wanted coverage, interpolated over candidate margins on common courses."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import bdtrc

from simulator.population.intervals import quantile_interval

_STEP_MM = 0.02
_BEYOND_MM = (30.0, 60.0)
_CHANCE = 0.025


@dataclass(frozen=True)
class RequiredMargin:
    """A margin with its 95 % interval, in steps along a chain of candidate margins (see `margin_chains`).

    Infinite: more than the largest candidate. -inf: the smallest candidate suffices already.
    """

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Chain:
    """Candidate margins: sides (margin, 6) at places (margin,) along the chain, continued linearly beyond its ends."""

    size_mm: np.ndarray
    sides_mm: np.ndarray

    @property
    def growth(self) -> float:
        """By how much a margin grows per step along the chain, at most."""
        return float((np.diff(self.sides_mm, axis=0) / np.diff(self.size_mm)[:, None]).max())

    def sides_at(self, at: float) -> np.ndarray:
        """The six margins at a place; below 0 only where all directions are alike."""
        m = int(np.clip(np.searchsorted(self.size_mm, at) - 1, 0, len(self.size_mm) - 2))
        share = (at - self.size_mm[m]) / (self.size_mm[m + 1] - self.size_mm[m])
        return self.sides_mm[m] + share * (self.sides_mm[m + 1] - self.sides_mm[m])

    @classmethod
    def of(cls, sides_mm: np.ndarray) -> "Chain":
        """Placed by their largest side, or by the sum of all where that does not grow."""
        largest_mm = sides_mm.max(axis=1)
        return cls(largest_mm if (np.diff(largest_mm) > 0).all() else sides_mm.sum(axis=1), sides_mm)

    @property
    def is_isotropic(self) -> bool:
        """Whether all six margins are the place itself."""
        return bool(np.all(self.sides_mm == self.size_mm[:, None]))

    def places(self, directions: np.ndarray, reach_mm: np.ndarray) -> np.ndarray:
        """Places (..., direction) at which the margin reaches so far (..., direction) along each direction."""
        if self.is_isotropic:
            return reach_mm
        at = np.linspace(self.size_mm[0] - _BEYOND_MM[0], self.size_mm[-1] + _BEYOND_MM[1], 400)
        sides = np.maximum([self.sides_at(t) for t in at], 0).reshape(len(at), 3, 2)
        which = (directions > 0).astype(int)
        reached = np.sqrt(sum((sides[:, i, which[:, i]] * directions[:, i]) ** 2 for i in range(3)))
        return np.stack([np.interp(r, h, at) for r, h in zip(reach_mm.T, reached.T, strict=True)], axis=-1)


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


def falls_along(excesses: list[np.ndarray]) -> bool:
    """Whether a larger candidate margin meets the goals together less often than a smaller one, beyond chance.

    That is so where limits of organs cut the PTV of the larger one; nothing can be interpolated then. Chance is that of the
    courses in which the two differ (exact McNemar, Bonferroni over the pairs).

    Parameters
    ----------
    excesses : for each goal (margin, course), as for `margin_of_courses`.
    """
    met = np.all([excess >= 0 for excess in excesses], axis=0)
    pairs = [(i, j) for j in range(len(met)) for i in range(j)]
    lost = np.array([np.sum(met[i] & ~met[j]) for i, j in pairs])
    won = np.array([np.sum(~met[i] & met[j]) for i, j in pairs])
    p = bdtrc(lost - 1, np.maximum(lost + won, 1), 0.5)
    return bool(np.any((lost > won) & (p < _CHANCE / max(len(pairs), 1))))


def along_chain(margin_mm: np.ndarray, size_mm: np.ndarray, at: float) -> np.ndarray:
    """The six margins (direction,) at a place along a chain; infinite places give infinite margins in the varying ones."""
    if np.isfinite(at):
        return np.array([np.interp(at, size_mm, side) for side in margin_mm.T])
    varies = np.ptp(margin_mm, axis=0) > 0
    return np.where(varies, at, margin_mm[0])


def interpolation_error(excesses: list[np.ndarray], size_mm: np.ndarray, probability: float) -> float:
    """How far the required margin moves along its chain when an inner candidate next to it is left out, at most.

    NaN where there is none.

    Leaving a candidate out about doubles the step, and with it the interpolation error at least, so that the error of all
    candidates together is smaller.

    Parameters
    ----------
    excesses : for each goal (margin, course), as for `margin_of_courses`.
    """
    at = required_margin(margin_of_all(excesses, size_mm), probability).at
    if not np.isfinite(at):
        return float("nan")
    above = int(np.searchsorted(size_mm, at))
    moved = [float("nan")]
    for inner in {above - 1, above} - {-1, 0, len(size_mm) - 1, len(size_mm)}:
        kept = np.delete(np.arange(len(size_mm)), inner)
        moved.append(
            abs(required_margin(margin_of_all([e[kept] for e in excesses], size_mm[kept]), probability).at - at)
        )
    return float(np.fmax.reduce(moved))


def margin_of_all(excesses: list[np.ndarray], size_mm: np.ndarray) -> np.ndarray:
    """The margin from which each course meets all goals, (course,) in mm; see `margin_of_courses`."""
    return np.max([margin_of_courses(excess, size_mm) for excess in excesses], axis=0)
