"""Metrics of all doses of a structure: their mean, their ends, and the generalised mean."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulator.kernels.dvh import generalised_mean
from simulator.metrics.metric import CourseDoses, Metric

_LEAST_EXPONENT = 0.001


@dataclass(frozen=True, kw_only=True)
class MeanDose(Metric):
    """Mean dose of the volume."""

    spelling = example = "Dmean"
    is_mean = True

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """Between the maximum and the minimum."""
        return {"mean": 1.0}

    def of(self, doses: CourseDoses) -> np.ndarray:
        """The sum of dose and volume over the volume."""
        return doses.mean_gy()


@dataclass(frozen=True, kw_only=True)
class ExtremeDose(Metric):
    """Smallest or largest dose of the points and the surface."""

    needs_surface = True
    end: ClassVar[int]

    def of(self, doses: CourseDoses) -> np.ndarray:
        """One of the ends."""
        if doses.extremes_gy is None:
            raise ValueError(f"{self.label} needs the doses of the surface")
        return doses.extremes_gy[:, self.end]


@dataclass(frozen=True, kw_only=True)
class MinimumDose(ExtremeDose):
    """Dose of the coldest point, the surface included."""

    spelling = example = "Dmin"
    end = 0
    part_percent = 100.0

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """At most the dose at any volume."""
        return {"dose at percent": 100.0, "dose outside cold cc": 0.0, "mean": 2.0}


@dataclass(frozen=True, kw_only=True)
class MaximumDose(ExtremeDose):
    """Dose of the hottest point, the surface included."""

    spelling = example = "Dmax"
    end = 1

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """At least the dose at any volume."""
        return {"dose at percent": 0.0, "dose at cc": 0.0, "dose outside cold cc": -np.inf, "mean": 0.0}


@dataclass(frozen=True, kw_only=True)
class GeneralisedMeanDose(Metric):
    """Generalised equivalent uniform dose (mean of dose^a)^(1/a), see Niemierko 1997, doi:10.1118/1.598063."""

    spelling = "gEUD(a={exponent:g})"
    example = "gEUD(a=8)"
    number = r"-?\d+(?:\.\d+)?"
    exponent: float

    def fault(self) -> str:
        """The power mean has no exponent of zero."""
        if abs(self.exponent) >= _LEAST_EXPONENT:
            return ""
        return (
            f"the exponent a has to be {_LEAST_EXPONENT} or more, or {-_LEAST_EXPONENT} or less; "
            f"at a = 0 the gEUD is the geometric mean, which gEUD(a={_LEAST_EXPONENT}) comes close to"
        )

    def of(self, doses: CourseDoses) -> np.ndarray:
        """Of the mean doses of cells."""
        return generalised_mean(*doses.cell_doses(), self.exponent)
