"""What biological metrics need to know of the doses of a course."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FractionSums:
    """What the linear-quadratic model needs to know of a course at each point.

    Parameters
    ----------
    dose_gy : D = sum_f d_f, float32 (course, point) in Gy, with d_f the dose of fraction f.
    squares_gy2 : S2 = sum_f d_f^2, float32 (course, point) in Gy^2.
    """

    dose_gy: np.ndarray
    squares_gy2: np.ndarray

    def scaled(self, factor: float) -> "FractionSums":
        """Of doses times a factor."""
        if factor == 1:
            return self
        return FractionSums(np.float32(factor) * self.dose_gy, np.float32(factor**2) * self.squares_gy2)
