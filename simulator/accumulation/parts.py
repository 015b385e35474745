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


class SummedPoints:
    """Points in a sum of a few parts.

    Parameters
    ----------
    points_in : the points in the dose of a part.
    """

    def __init__(self, parts: tuple[DosePart, ...], points_in: Callable[[PlannedDose], Points]) -> None:
        self._parts = [(part, points_in(part.dose)) for part in parts]
        of_parts = [points for _, points in self._parts]
        self.n_points = of_parts[0].n_points
        self.interpolation_error_gy = sum(points.interpolation_error_gy for points in of_parts)
        self.highest_gy = sum(points.highest_gy for points in of_parts)
        self.cell_reach_gy = np.sum([points.cell_reach_gy for points in of_parts], axis=0)

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.zeros((len(motion.shift_mm), self.n_points), np.float32)
        for part, points in self._parts:
            met = part.meets(motion)
            if met.weight.shape[1]:
                total += points.accumulate(met, counted)
        return total


class MetInParts:
    """Points of a whole dose that meet it part by part: one part's doses are at hand at a time."""

    def __init__(self, whole: Points, parts: tuple[DosePart, ...]) -> None:
        self._whole, self._parts = whole, parts
        self.n_points = whole.n_points

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.zeros((len(motion.shift_mm), self.n_points), np.float32)
        for part in self._parts:
            met = part.meets(motion)
            if met.weight.shape[1]:
                total += self._whole.in_dose(part.dose).accumulate(met, counted)
        return total


def points_of_parts(dose: PlannedDose, points_in: Callable[[PlannedDose], Points]) -> Points | SummedPoints:
    """Points in a dose, part by part where it has several."""
    parts = dose.parts
    return points_in(dose) if len(parts) == 1 else SummedPoints(parts, points_in)
