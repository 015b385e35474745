"""What a plan is penalised for: sums of squares of the doses that points have too much, or too little, of.

Each penalty is a function of the doses d_i of some points with volumes v_i (ICRU 83; one-sided squares and those at dose-volume
points as Wu & Mohan 2000, doi:10.1118/1.1288258), in units of the prescription squared, with its slope by each dose.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Penalty(ABC):
    """Weight times a mean over the points, which are a part of all.

    Parameters
    ----------
    points : which of all points. volume_cc : theirs, (n,). gy : the dose wanted, or (n,) at each point.
    per_cc : volume that the sum of squares is divided by.
    """

    points: slice
    volume_cc: np.ndarray
    gy: float | np.ndarray
    weight: float
    per_cc: float

    @abstractmethod
    def excess_gy(self, dose_gy: np.ndarray) -> np.ndarray:
        """By how much each dose (n,) is wrong, signed; 0 where it is not."""

    def add(self, dose_gy: np.ndarray, rx_gy: float, slope: np.ndarray) -> float:
        """Its value, weight sum_i v_i excess_i^2 / (per_cc rx^2), its slope added by all doses (point,)."""
        excess = self.excess_gy(dose_gy[self.points])
        scale = self.weight / (self.per_cc * rx_gy**2)
        slope[self.points] += 2 * scale * self.volume_cc * excess
        return scale * float(np.sum(self.volume_cc * excess**2))

    def heavier(self, factor: float) -> Self:
        """The same with a weight so many times larger."""
        return replace(self, weight=factor * self.weight)


class AtLeast(Penalty):
    """min(d - gy, 0)."""

    def excess_gy(self, dose_gy: np.ndarray) -> np.ndarray:
        """Too little dose."""
        return np.minimum(dose_gy - self.gy, 0)


class AtMost(Penalty):
    """max(d - gy, 0)."""

    def excess_gy(self, dose_gy: np.ndarray) -> np.ndarray:
        """Too much dose."""
        return np.maximum(dose_gy - self.gy, 0)


@dataclass(frozen=True)
class AtMostBeyond(AtMost):
    """max(d - gy, 0) but for the hottest `free_cc`, which may have more: D_free_cc <= gy."""

    free_cc: float

    def excess_gy(self, dose_gy: np.ndarray) -> np.ndarray:
        """Too much dose of all but the hottest part."""
        excess = super().excess_gy(dose_gy)
        hottest = np.argsort(-dose_gy, kind="stable")
        excess[hottest[: np.searchsorted(np.cumsum(self.volume_cc[hottest]), self.free_cc)]] = 0
        return excess


@dataclass(frozen=True)
class AtLeastBut(AtLeast):
    """min(d - gy, 0) but for the coldest `cold_cc`, which may have less: the volume without it gets gy."""

    cold_cc: float

    def excess_gy(self, dose_gy: np.ndarray) -> np.ndarray:
        """Too little dose of all but the coldest part."""
        excess = super().excess_gy(dose_gy)
        coldest = np.argsort(dose_gy, kind="stable")
        excess[coldest[: np.searchsorted(np.cumsum(self.volume_cc[coldest]), self.cold_cc)]] = 0
        return excess


class MeanAtMost(Penalty):
    """max(mean - gy, 0), the same for every point."""

    def excess_gy(self, dose_gy: np.ndarray) -> np.ndarray:
        """Too much mean dose."""
        return np.full_like(dose_gy, max(float(np.average(dose_gy, weights=self.volume_cc)) - float(self.gy), 0.0))


def sum_of(penalties: Sequence[Penalty], dose_gy: np.ndarray, rx_gy: float) -> tuple[float, np.ndarray]:
    """Value of all penalties together, and its slope by each dose (point,)."""
    slope = np.zeros_like(dose_gy)
    return sum(penalty.add(dose_gy, rx_gy, slope) for penalty in penalties), slope
