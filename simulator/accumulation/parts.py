"""Doses that are delivered in parts: each part meets the visits of its own time.

D(x) = sum_p sum_k w_pk d_p(x + u_k)        (w_pk: weights of the visits k while part p is on, which sum to 1 for each p)
"""

from collections.abc import Callable

import numpy as np

from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.points import ScatteredPoints
from simulator.plan.dose import DosePart, PlannedDose
from simulator.sampling.tissue_motion import TissueMotion

Points = LatticePoints | ScatteredPoints
_MOST_KEPT = 2


class SummedPoints:
    """Points in a sum of parts: two are kept, more are taken one after the other, made anew for each sum, to save memory.

    Parameters
    ----------
    points_in : the points in the dose of a part.
    """

    def __init__(self, parts: tuple[DosePart, ...], points_in: Callable[[PlannedDose], Points]) -> None:
        self._parts, self._points_in = parts, points_in
        self.n_points, self.interpolation_error_gy = 0, 0.0
        self.cell_reach_gy = np.zeros(1, np.float32)
        self._kept: list[Points] = []
        for part in parts:
            points = points_in(part.dose)
            self.n_points = points.n_points
            self.interpolation_error_gy += points.interpolation_error_gy
            self.cell_reach_gy = self.cell_reach_gy + points.cell_reach_gy
            if len(parts) <= _MOST_KEPT:
                self._kept.append(points)

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.zeros((len(motion.shift_mm), self.n_points), np.float32)
        for i, part in enumerate(self._parts):
            met = part.meets(motion)
            if met.weight.shape[1]:
                points = self._kept[i] if self._kept else self._points_in(part.dose)
                total += points.accumulate(met, volume_cc)
        return total


class MetInParts:
    """Points of a whole dose that meet it part by part: one part's doses are at hand at a time."""

    def __init__(self, whole: Points, parts: tuple[DosePart, ...]) -> None:
        self._whole, self._parts = whole, parts
        self.n_points = whole.n_points

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.zeros((len(motion.shift_mm), self.n_points), np.float32)
        for part in self._parts:
            met = part.meets(motion)
            if met.weight.shape[1]:
                total += self._whole.in_dose(part.dose).accumulate(met, volume_cc)
        return total


def points_of_parts(dose: PlannedDose, points_in: Callable[[PlannedDose], Points]) -> Points | SummedPoints:
    """Points in a dose, part by part where it has several."""
    parts = dose.parts
    return points_in(dose) if len(parts) == 1 else SummedPoints(parts, points_in)
