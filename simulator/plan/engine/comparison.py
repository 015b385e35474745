"""How closely an engine's dose agrees with that of the planning system, and whether that is close enough."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from simulator.case.geometry import Volume

WITHIN_PERCENT: Final = 3.0
WITHIN_MM: Final = 2.0
LEAST_POINTS_PERCENT: Final = 95.0
MOST_RMS_PERCENT: Final = 3.0
_LOWEST_SHARE: Final = 0.1
_HALF: Final = 0.5
_STEPS: Final = 4


@dataclass(frozen=True)
class Comparison:
    """A dose against a reference on the same grid, once it is scaled.

    Parameters
    ----------
    factor : that the dose was multiplied by, least squares above half of the highest reference dose.
    points_percent : share of the points above a tenth of the highest reference dose that have the reference dose, to 3 % of the
        highest, within 2 mm, the two counted together (gamma of at most 1; Low 1998, doi:10.1118/1.598248).
    rms_percent : root mean square of the difference above half of the highest reference dose, in percent of that highest.
    """

    factor: float
    points_percent: float
    rms_percent: float

    @property
    def is_close(self) -> bool:
        """Whether the dose may stand for the reference."""
        return self.points_percent >= LEAST_POINTS_PERCENT and self.rms_percent <= MOST_RMS_PERCENT

    def __str__(self) -> str:
        return (
            f"{self.points_percent:.1f} % of points within {WITHIN_PERCENT:g} % / {WITHIN_MM:g} mm, {self.rms_percent:.1f} % "
            f"RMS above half of the highest dose, factor {self.factor:.3f}"
        )


def compare(dose_gy: np.ndarray, reference: Volume) -> Comparison:
    """Compare a dose (z, y, x) in Gy with the reference at whose nodes it is known; neither may be zero."""
    wanted = reference.values.astype(np.float64)
    highest = float(wanted.max())
    high = wanted > _HALF * highest
    factor = float((dose_gy[high] * wanted[high]).sum() / (dose_gy[high].astype(np.float64) ** 2).sum())
    scaled = factor * dose_gy.astype(np.float64)
    rms = float(np.sqrt(np.mean((scaled[high] - wanted[high]) ** 2)))
    points = np.argwhere(wanted > _LOWEST_SHARE * highest)
    agree = _agrees(scaled, wanted[tuple(points.T)], points, highest, np.array(reference.grid.spacing_mm[::-1]))
    return Comparison(factor, 100 * float(agree.mean()), 100 * rms / highest)


def _agrees(
    dose_gy: np.ndarray, wanted_gy: np.ndarray, index: np.ndarray, highest_gy: float, step_mm: np.ndarray
) -> np.ndarray:
    """Whether a dose has, near each of some points (n, 3), the dose that is wanted there."""
    spline = spline_filter(dose_gy, order=3, mode="mirror")
    allowed_gy = WITHIN_PERCENT / 100 * highest_gy
    axis = np.arange(-_STEPS, _STEPS + 1) / _STEPS
    shifts = np.array(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1).T
    away2 = (shifts**2).sum(axis=1)
    shifts = shifts[np.argsort(away2, kind="stable")][: np.count_nonzero(away2 <= 1)]
    missing = np.arange(len(index))
    for shift in shifts:
        there = (index[missing] + shift * WITHIN_MM / step_mm).T
        off = map_coordinates(spline, there, order=3, mode="mirror", prefilter=False) - wanted_gy[missing]
        missing = missing[(off / allowed_gy) ** 2 + (shift**2).sum() > 1]
    agree = np.ones(len(index), bool)
    agree[missing] = False
    return agree
