"""Planned doses: totals of the course in Gy, known everywhere."""

from typing import Protocol

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from simulator.case.geometry import Grid, Volume


class PlannedDose(Protocol):
    """The dose of one plan, total of the course in Gy, in the frame of the beam."""

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        ...

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        ...


class SplineDose:
    """A gridded dose interpolated by cubic B-splines (Unser 1999, doi:10.1109/79.799930).

    Exact at the nodes and for cubic polynomials away from the faces. Points outside the grid take the value on the
    nearest face; overshoot below zero is cut off.

    Parameters
    ----------
    volume : dose in Gy, total of the course.
    """

    def __init__(self, volume: Volume) -> None:
        self.grid = volume.grid
        values = np.asarray(volume.values, np.float64)
        for axis in range(3):
            if values.shape[axis] == 1:
                values = np.repeat(values, 2, axis)
        self._coefficients = spline_filter(values, order=3, mode="mirror")

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid.

        The tensor-product spline is evaluated one axis at a time: three matrix products with the banded bases.
        """
        first, bases = [], []
        for axis in range(3):
            nodes = grid.axes_mm[2 - axis]
            index = (nodes - self.grid.origin_mm[2 - axis]) / self.grid.spacing_mm[2 - axis]
            start, basis = _cubic_basis(np.clip(index, 0, self.grid.shape[axis] - 1), self._coefficients.shape[axis])
            first.append(start)
            bases.append(basis)
        part = tuple(slice(s, s + b.shape[1]) for s, b in zip(first, bases, strict=True))
        along_x = self._coefficients[part].astype(np.float32) @ bases[2].T
        along_yx = bases[1] @ along_x
        dose = bases[0] @ along_yx.reshape(along_yx.shape[0], -1)
        return np.maximum(dose, 0, out=dose).reshape(grid.shape)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        index = np.clip(self.grid.index_zyx(points_mm), 0, np.asarray(self.grid.shape) - 1)
        dose = map_coordinates(self._coefficients, index.T, order=3, mode="mirror", prefilter=False)
        return np.maximum(dose, 0)


def _cubic_basis(index: np.ndarray, n_coefficients: int) -> tuple[int, np.ndarray]:
    """Cubic B-spline weights at fractional indices.

    Returns
    -------
    start : first coefficient used.
    basis : float32 (index, coefficient from start on), four entries per row, mirrored about the end nodes.
    """
    cell = np.clip(np.floor(index).astype(int), 0, n_coefficients - 2)
    t = index - cell
    weights = np.stack([(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3], axis=1) / 6
    taps = np.abs(cell[:, None] + np.arange(-1, 3))
    last = n_coefficients - 1
    taps = np.where(taps > last, 2 * last - taps, taps)
    start = int(taps.min())
    basis = np.zeros((len(index), int(taps.max()) - start + 1), np.float32)
    np.add.at(basis, (np.arange(len(index))[:, None], taps - start), weights)
    return start, basis
