"""Doses that change with the displacement: what a static dose cloud leaves out.

D(x) = sum_k w_k [d(x + u_k) + sum_j c_j(x) f_j(k)], where the numbers f_j(k) describe the anatomy of visit k: it is linear
in their weighted sums over the visits of a course.
"""

from collections.abc import Callable

import numpy as np

from simulator.accumulation.points import PointDoses
from simulator.sampling.tissue_motion import TissueMotion

Describe = Callable[[TissueMotion], np.ndarray]
"""Weighted sums over visits (course, feature) of what describes them."""


class ChangedPoints:
    """Points whose dose changes by coefficients float32 (feature, point) in Gy times what describes the visits of a course."""

    def __init__(self, points: PointDoses, coefficients: np.ndarray, describe: Describe) -> None:
        self.n_points = points.n_points
        self._points, self._coefficients, self._describe = points, coefficients, describe

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        change_gy = self._describe(motion).astype(np.float32) @ self._coefficients
        return np.maximum(self._points.accumulate(motion, counted) + change_gy, 0)


def of_weight(motion: TissueMotion) -> np.ndarray:
    """One for every course, in parts of the weight: what describes a change that is the same in every visit."""
    return motion.weight.sum(axis=1, keepdims=True)
