"""Which strategy to choose: a stated rule, its outcome and the nearest miss."""

from dataclasses import dataclass

import numpy as np

from simulator.population.comparison import paired_difference

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Decision:
    """Outcome of the rule.

    Parameters
    ----------
    feasible, on_front : boolean (strategy,).
    recommended : index; None when nothing is feasible.
    nearest_miss : index of the strategy with the best coverage when nothing is feasible, else None.
    tied : feasible strategies whose organ risk cannot be told from the least, in the order of their PTVs.
    """

    feasible: np.ndarray
    on_front: np.ndarray
    recommended: int | None
    nearest_miss: int | None
    tied: tuple[int, ...]


def decide(
    coverage: np.ndarray, coverage_low: np.ndarray, wanted: float, organs_spared: np.ndarray, ptv_cc: np.ndarray
) -> Decision:
    """Choose a strategy.

    Feasible is a strategy whose coverage is at least `wanted` at the lower end of its 95 % interval. Of these the one with
    the least risk to organs is sought; strategies whose risk cannot be told from the least (the 95 % interval of the
    paired difference contains 0) tie, and the smallest PTV wins, then the better coverage.

    Parameters
    ----------
    coverage, coverage_low : (strategy,), probability that the target goals are met together.
    organs_spared : boolean (strategy, course), whether every goal on an organ is met.
    ptv_cc : (strategy,).
    """
    feasible = coverage_low >= wanted - _ROUNDING
    spared = organs_spared.mean(axis=1)
    on_front = pareto_front(coverage, spared)
    if not feasible.any():
        miss = int(np.lexsort((ptv_cc, -spared, -coverage))[0])
        return Decision(feasible, on_front, None, miss, ())
    candidates = np.flatnonzero(feasible)
    least = candidates[np.lexsort((ptv_cc[candidates], -spared[candidates]))[0]]
    _, low, _ = paired_difference(organs_spared[[least, *candidates]])
    tied = candidates[(low[0, 1:] <= 0) | (candidates == least)]
    tied = tied[np.lexsort((-coverage[tied], np.round(ptv_cc[tied], 3)))]
    return Decision(feasible, on_front, int(tied[0]), None, tuple(int(i) for i in tied))


def pareto_front(*scores: np.ndarray) -> np.ndarray:
    """Which strategies no other one beats in one score without losing in another; boolean (strategy,)."""
    score = np.stack(scores)
    gain = score[:, None, :] - score[:, :, None]
    beaten = np.all(gain >= -_ROUNDING, axis=0) & np.any(gain > _ROUNDING, axis=0)
    return ~beaten.any(axis=1)
