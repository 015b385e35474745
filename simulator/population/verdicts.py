"""What is known of a strategy's probabilities, the verdict that follows, and the order of strategies: stated rules."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from simulator.population.unequal import mean_intervals

YES, NOT_KNOWN, NO = 0, 1, 2
HOLDS: Final = ("yes", "not known", "no")

# Verdict by whether the target is covered (row: yes, not known, no) and whether the organs' limits hold (column).
VERDICTS: Final = (
    ("suits", "undecided", "covers, but"),
    ("undecided", "undecided", "undecided"),
    ("spares, but", "undecided", "neither"),
)
# The order of those nine: what suits, what still may, then what covers, what spares, what does neither.
_STANDING: Final = np.array([[0, 1, 4], [2, 3, 5], [6, 7, 8]])

_ROUNDING = 1e-9
_CONFIDENCE, _POWER = 0.95, 0.9
_MOST_COURSES = 1_000_000


def holds(low: np.ndarray, high: np.ndarray, wanted: np.ndarray | float) -> np.ndarray:
    """Whether probabilities are at least the wanted ones: known from the conservative end of their intervals, or not known.

    Returns
    -------
    `YES` where the lower end reaches the wanted probability, `NO` where the upper end does not, else `NOT_KNOWN`; to ask
    whether several hold, take the largest.
    """
    return np.where(low >= wanted - _ROUNDING, YES, np.where(high < wanted - _ROUNDING, NO, NOT_KNOWN))


def widened(
    low: np.ndarray, high: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of intervals of the simulation, carried out to those of what is known, where these are known themselves."""
    return (low, high) if known is None else (np.fmin(low, known[0]), np.fmax(high, known[1]))


def courses_to_decide(probability: np.ndarray, wanted: np.ndarray | float, indifference: float) -> np.ndarray:
    """Courses after which a new run's 95 % interval excludes the wanted probability, in nine runs of ten.

    n = ((z(0.975) sqrt(w (1 - w)) + z(0.9) sqrt(p (1 - p))) / (p - w))^2 for a wanted probability w and a true one p: the
    sample size of a score test, to which Wilson's interval belongs (Fleiss, Levin & Paik 2003, Statistical Methods for Rates
    and Proportions, section 2.2). The truth is taken to be the estimate, or as far from the wanted one as the zone of
    indifference reaches where the estimate lies within it; infinite above a million.
    """
    p, w = np.asarray(probability, float), np.asarray(wanted, float)
    above = (p >= w) & (w + indifference < 1) | (w - indifference <= 0)
    p = np.where(np.abs(p - w) < indifference, np.where(above, w + indifference, w - indifference), p)
    spread = ndtri(0.5 + _CONFIDENCE / 2) * np.sqrt(w * (1 - w)) + ndtri(_POWER) * np.sqrt(
        np.clip(p * (1 - p), 0, None)
    )
    n = np.ceil((spread / (p - w)) ** 2)
    return np.where(n > _MOST_COURSES, np.inf, n)


@dataclass(frozen=True)
class Decision:
    """Verdicts on strategies, and their order.

    Parameters
    ----------
    target, organs : `YES`, `NOT_KNOWN` or `NO` (strategy,).
    order : strategies from the best on. tied : those that cannot be told from the first, itself included.
    """

    target: np.ndarray
    organs: np.ndarray
    order: np.ndarray
    tied: tuple[int, ...]

    @property
    def verdicts(self) -> list[str]:
        """In words, for each strategy."""
        return [VERDICTS[t][o] for t, o in zip(self.target, self.organs, strict=True)]

    @property
    def recommended(self) -> int | None:
        """The first strategy in the order, if it suits."""
        first = int(self.order[0])
        return first if self.target[first] == YES and self.organs[first] == YES else None


def decide(
    target: np.ndarray,
    limits: np.ndarray,
    excess: np.ndarray,
    shortfall: np.ndarray,
    ptv_cc: np.ndarray,
    n_courses: np.ndarray | None = None,
) -> Decision:
    """Order strategies by what is known of them.

    By the verdict; then by how many limits on organs hold; then by the mean over courses of the excess beyond the limits,
    relative to them, and where the target is not covered of what it falls short of its goals by; strategies whose excess
    cannot be told from the least (the 95 % interval of the paired difference contains 0) tie, and the smaller PTV comes first.

    Parameters
    ----------
    target : whether the target is covered, as `holds` says, (strategy,). limits : the same of limits, (strategy, limit).
    excess : sum over limits of the excess beyond each, relative to it, (strategy, course). shortfall : the same of what
        the target lacks.
    ptv_cc : (strategy,).
    n_courses : of each strategy where they are not equal; two are compared on those that both have.
    """
    n = np.full(len(excess), excess.shape[1]) if n_courses is None else n_courses
    organs = limits.max(axis=1, initial=YES)
    excess = np.where(target[:, None] == NO, excess + shortfall, excess)
    standing, n_held = _STANDING[target, organs], (limits == YES).sum(axis=1)
    order: list[int] = []
    first: tuple[int, ...] = ()
    for group in sorted(set(zip(standing, -n_held, strict=True))):
        left = np.flatnonzero((standing == group[0]) & (-n_held == group[1]))
        while len(left):
            tied = left[_tied_with_least(excess[left], ptv_cc[left], n[left])]
            tied = tied[np.lexsort((tied, np.round(ptv_cc[tied], 3)))]
            first = first or tuple(int(i) for i in tied)
            order += tied.tolist()
            left = np.setdiff1d(left, tied)
    return Decision(target, organs, np.array(order), first)


def _tied_with_least(excess: np.ndarray, ptv_cc: np.ndarray, n_courses: np.ndarray) -> np.ndarray:
    """Which strategies cannot be told from the one with the least mean excess; boolean (strategy,)."""
    mean, _, _ = mean_intervals(excess, n_courses)
    least = int(np.lexsort((ptv_cc, mean))[0])
    _, low, _ = mean_intervals(excess - excess[least], np.minimum(n_courses, n_courses[least]))
    return (low <= 0) | (np.arange(len(excess)) == least)


def pareto_front(*scores: np.ndarray) -> np.ndarray:
    """Which strategies no other one beats in one score without losing in another; boolean (strategy,)."""
    score = np.stack(scores)
    gain = score[:, None, :] - score[:, :, None]
    beaten = np.all(gain >= -_ROUNDING, axis=0) & np.any(gain > _ROUNDING, axis=0)
    return ~beaten.any(axis=1)
