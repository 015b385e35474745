"""Doses that are delivered in parts: each part meets the visits of its own time.

D(x) = sum_p sum_k w_pk d_p(x + u_k)        (w_pk: weights of the visits k while part p is on, which sum to 1 for each p)
"""

from collections.abc import Callable

import numpy as np

from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.points import ScatteredPoints
from simulator.plan.dose import DosePart, PlannedDose
from simulator.sampling.courses import TissueMotion

Points = LatticePoints | ScatteredPoints


class SummedPoints:
    """Points in a sum of parts, taken one after the other: memory is that of one of them, made anew for each sum.

    Parameters
    ----------
    points_in : the points in the dose of a part.
    """

    def __init__(self, parts: tuple[DosePart, ...], points_in: Callable[[PlannedDose], Points]) -> None:
        self._parts, self._points_in = parts, points_in
        self.n_points, self.interpolation_error_gy = 0, 0.0
        self.cell_reach_gy = np.zeros(1, np.float32)
        for part in parts:
            points = points_in(part.dose)
            self.n_points = points.n_points
            self.interpolation_error_gy += points.interpolation_error_gy
            self.cell_reach_gy = self.cell_reach_gy + points.cell_reach_gy

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.zeros((len(motion.shift_mm), self.n_points), np.float32)
        for part in self._parts:
            total += self._points_in(part.dose).accumulate(motion.during(part.begin, part.end), volume_cc)
        return total


def points_of_parts(dose: PlannedDose, points_in: Callable[[PlannedDose], Points]) -> Points | SummedPoints:
    """Points in a dose, part by part where it has several."""
    parts = dose.parts
    return points_in(dose) if len(parts) == 1 else SummedPoints(parts, points_in)
