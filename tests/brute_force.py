"""Doses of a body at small volumes by brute force: very fine cells, cubic splines of the dose, numpy and scipy alone."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, map_coordinates, spline_filter

_POINTS_AT_ONCE = 1_000_000
_CORNERS = tuple(itertools.product((0, 1), repeat=3))


class LimitedSpline:
    """The cubic spline through a dose array, kept within what the nodes around allow.

    That is the range of the eight nodes, and along each axis a quarter of the smaller second difference of two neighbours that
    bend the same way.
    """

    def __init__(self, dose: np.ndarray) -> None:
        dose = dose.astype(np.float64)
        self._coefficients = spline_filter(dose, order=3, mode="mirror")
        corners = [dose[tuple(slice(k, n - 1 + k) for k, n in zip(at, dose.shape, strict=True))] for at in _CORNERS]
        self._low, self._high = np.min(corners, axis=0), np.max(corners, axis=0)
        for axis in range(3):
            bend = np.zeros_like(dose)
            inner = np.moveaxis(bend, axis, 0)
            inner[1:-1] = np.diff(np.moveaxis(dose, axis, 0), n=2, axis=0)
            for limit, sign in ((self._low, 1), (self._high, -1)):
                both = np.minimum(sign * inner[:-1], sign * inner[1:])
                edges = np.moveaxis(np.maximum(both, 0), 0, axis)
                limit -= sign * 0.25 * self._most_of_edges(edges, axis)

    @staticmethod
    def _most_of_edges(edges: np.ndarray, axis: int) -> np.ndarray:
        """The largest over the four edges of each cell along an axis."""
        for other in {0, 1, 2} - {axis}:
            moved = np.moveaxis(edges, other, 0)
            edges = np.moveaxis(np.maximum(moved[:-1], moved[1:]), 0, other)
        return edges

    def at(self, index: np.ndarray) -> np.ndarray:
        """Dose at indices (n, 3) of the array, whole or not."""
        found = []
        for first in range(0, len(index), _POINTS_AT_ONCE):
            part = index[first : first + _POINTS_AT_ONCE]
            gy = map_coordinates(self._coefficients, part.T, order=3, prefilter=False, mode="mirror")
            cell = tuple(np.clip(np.floor(part).astype(int), 0, np.array(self._low.shape) - 1).T)
            found.append(np.clip(gy, self._low[cell], self._high[cell]))
        return np.concatenate(found)


@dataclass(frozen=True)
class FineCells:
    """A body of whole voxels of the dose's own grid, in indices of its array.

    Parameters
    ----------
    centre : (n, 3), of cells of `cell_cc` each. face : (m, 3), on the faces of the voxels, where extremes lie.
    """

    centre: np.ndarray
    cell_cc: float
    face: np.ndarray

    @classmethod
    def of_voxels(cls, mask: np.ndarray, edges_mm: np.ndarray, largest_mm: float) -> "FineCells":
        """Voxels of a mask, each divided into cells of at most `largest_mm`."""
        n = np.ceil(np.asarray(edges_mm) / largest_mm).astype(int)
        centres = np.stack(np.meshgrid(*((np.arange(k) + 0.5) / k - 0.5 for k in n), indexing="ij"), axis=-1)
        corners = np.stack(np.meshgrid(*(np.arange(k + 1) / k - 0.5 for k in n), indexing="ij"), axis=-1)
        on_face = corners.reshape(-1, 3)[np.abs(corners.reshape(-1, 3)).max(axis=1) > 0.5 - 1e-9]
        outer = mask & ~binary_erosion(mask)
        parts = ((np.argwhere(mask), centres.reshape(-1, 3)), (np.argwhere(outer), on_face))
        centre, face = ((voxels[:, None] + offsets).reshape(-1, 3) for voxels, offsets in parts)
        return cls(centre, float(np.prod(np.asarray(edges_mm) / n)) / 1000, face)

    def metrics(self, dose: LimitedSpline, displaced: np.ndarray, volumes_cc: Mapping[str, float]) -> dict[str, float]:
        """Metrics of the body displaced by (3,) indices; see `metrics_of`."""
        gy, extreme = (dose.at(points + displaced) for points in (self.centre, self.face))
        found = metrics_of(gy, self.cell_cc, volumes_cc)
        return found | {
            "Dmax": max(found["Dmax"], float(extreme.max())),
            "Dmin": min(found["Dmin"], float(extreme.min())),
        }


def metrics_of(gy: np.ndarray, cell_cc: float, volumes_cc: Mapping[str, float]) -> dict[str, float]:
    """Dmean, Dmin, Dmax, D98% and D95% of equal cells, and the dose at each of the volumes, halfway through a cell."""
    hottest = np.sort(gy)[::-1]
    middle_cc = (np.arange(len(gy)) + 0.5) * cell_cc
    at = {"D98%": 0.98, "D95%": 0.95}
    wanted = {name: share * len(gy) * cell_cc for name, share in at.items()} | dict(volumes_cc)
    found = {name: float(np.interp(cc, middle_cc, hottest)) for name, cc in wanted.items()}
    return found | {"Dmean": float(gy.mean()), "Dmin": float(gy.min()), "Dmax": float(gy.max())}
