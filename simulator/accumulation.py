"""Accumulation: from displacements relative to the beam to the dose of every structure point.

Static dose cloud: the planned dose d does not change when anatomy moves. A tissue point x of structure s receives

    D(x) = sum_f sum_k w_fk d(x + u_s,fk - b_f)        (total of the course, weights sum to 1)
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import laplace, map_coordinates

from simulator.case.geometry import Grid
from simulator.case.structures import Patch
from simulator.kernels.accumulate import accumulate_gather, accumulate_radial, accumulate_rows
from simulator.kernels.dvh import extremes
from simulator.plan.dose import PlannedDose
from simulator.plan.penumbra import RadialDose

_TABLE_STEP_MM = 0.005
_SPARSE_MM = 3.0
_VISITS_SAMPLED = 2000


@dataclass(frozen=True)
class Reach:
    """Box of displacements (x, y, z) in mm that a structure meets over all courses of a strategy."""

    lower_mm: np.ndarray
    upper_mm: np.ndarray

    @classmethod
    def of(cls, shift_mm: np.ndarray) -> "Reach":
        """The box around displacements (..., 3), the origin included."""
        flat = shift_mm.reshape(-1, 3)
        return cls(np.minimum(flat.min(axis=0), 0.0), np.maximum(flat.max(axis=0), 0.0))

    def union(self, other: "Reach") -> "Reach":
        """The smallest box around both."""
        return Reach(np.minimum(self.lower_mm, other.lower_mm), np.maximum(self.upper_mm, other.upper_mm))


class PointDoses(Protocol):
    """The points of one structure in one planned dose."""

    n_points: int

    def accumulate(self, shift_mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Course doses float32 (course, point) in Gy from shift (course, k, 3) and weight (course, k)."""
        ...


class LatticeRows:
    """Points on a lattice: trilinear sums over a dose refined by cubic splines, row by row.

    Trilinear interpolation blurs by h^2 / 6 per axis on average over positions in a cell. Where displacements are
    random, the lattice therefore holds d - (h^2 / 12) laplacian(d), whose trilinear sums are right on average.

    Parameters
    ----------
    dose : planned dose.
    patch : the points; their lattice spacing is `stride` times that of the refined dose.
    reach : displacements that can occur; outside it the sum is not defined.
    stride : dose-lattice steps between neighbouring points.
    unblur : take the average blur off; without it, undisplaced points receive the planned dose itself.

    Attributes
    ----------
    interpolation_error_gy : largest error over a fixed sample of displaced points.
    """

    def __init__(self, dose: PlannedDose, patch: Patch, reach: Reach, stride: int, *, unblur: bool = True) -> None:
        point_step = patch.lattice.spacing_mm[0]
        self.step_mm = point_step / stride
        self.n_points = len(patch.volume_cc)
        points = patch.points_mm
        coarse = Grid.covering(points.min(axis=0) + reach.lower_mm, points.max(axis=0) + reach.upper_mm, point_step)
        shape = tuple(stride * (n + 1) for n in coarse.shape)
        self.grid = Grid(coarse.origin_mm, (self.step_mm,) * 3, (shape[0], shape[1], shape[2]))
        values = _refined(dose, self.grid, unblur)
        self.interpolation_error_gy = _worst_error_gy(dose, values, self.grid, points, reach)
        nz, ny, nx = (n + 1 for n in coarse.shape)
        split = values.reshape(nz, stride, ny, stride, nx, stride).transpose(1, 3, 5, 0, 2, 4)
        self._dose = np.ascontiguousarray(split).reshape(stride**3, nz, ny, nx)
        self._stride = stride
        first = np.rint(coarse.index_zyx(np.asarray(patch.lattice.origin_mm))).astype(np.int64)
        self._run_zyx, self._run_length = _runs(patch.index_zyx + first)

    def accumulate(self, shift_mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Course doses float32 (course, point) in Gy."""
        total = np.empty((len(shift_mm), self.n_points), np.float32)
        shift = np.ascontiguousarray(shift_mm[..., ::-1] / self.step_mm)
        accumulate_rows(self._dose, self._stride, self._run_zyx, self._run_length, shift, weight, total)
        return total


class RadialPoints:
    """Points in a spherical dose, evaluated from its closed form (tabulated every 0.005 mm, error below 1e-6)."""

    def __init__(self, dose: RadialDose, points_mm: np.ndarray) -> None:
        self.n_points = len(points_mm)
        self._points_mm = np.ascontiguousarray(points_mm - dose.centre_mm)
        farthest = dose.radius50_mm + 8 * dose.sd_mm
        radii = np.arange(0.0, farthest + 2 * _TABLE_STEP_MM, _TABLE_STEP_MM)
        self._table_gy = dose.at(np.asarray(dose.centre_mm) + np.outer(radii, [1.0, 0.0, 0.0]))

    def accumulate(self, shift_mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Course doses float32 (course, point) in Gy."""
        total = np.empty((len(shift_mm), self.n_points), np.float32)
        accumulate_radial(
            self._table_gy, _TABLE_STEP_MM, self._points_mm, np.ascontiguousarray(shift_mm), weight, total
        )
        return total


class ScatteredPoints:
    """Points anywhere: trilinear look-up in a dose refined by cubic splines."""

    def __init__(self, dose: PlannedDose, points_mm: np.ndarray, reach: Reach, step_mm: float) -> None:
        self.n_points = len(points_mm)
        lower, upper = points_mm.min(axis=0) + reach.lower_mm, points_mm.max(axis=0) + reach.upper_mm
        grid = Grid.covering(lower - step_mm, upper + step_mm, step_mm)
        self._step_mm = step_mm
        self._dose = _refined(dose, grid, unblur=True)
        self._node_zyx = np.ascontiguousarray(grid.index_zyx(points_mm))

    def accumulate(self, shift_mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Course doses float32 (course, point) in Gy."""
        total = np.empty((len(shift_mm), self.n_points), np.float32)
        shift = np.ascontiguousarray(shift_mm[..., ::-1] / self._step_mm)
        accumulate_gather(self._dose, self._node_zyx, shift, weight, total)
        return total


class StructureDoses:
    """All points of one structure: patches one after the other, with their volumes.

    Parameters
    ----------
    surface_mm : points (n, 3) on the surface, where true extremes lie; None when no metric needs them.

    Attributes
    ----------
    volume_cc : float64 (point,).
    interpolation_error_gy : largest difference between trilinear sums and the planned dose over a fixed sample of
        displaced points (0 for a closed-form dose).
    """

    def __init__(
        self,
        dose: PlannedDose,
        patches: list[Patch],
        reach: Reach,
        finest_mm: float,
        surface_mm: np.ndarray | None = None,
    ) -> None:
        self._inside = np.concatenate([p.volume_cc >= (1 - 1e-6) * p.lattice.voxel_cc for p in patches])
        self._surface: PointDoses | None = None
        self.volume_cc = np.concatenate([p.volume_cc for p in patches])
        self.spacing_mm = patches[0].lattice.spacing_mm[0]
        self.interpolation_error_gy = 0.0
        self._parts: list[PointDoses]
        if isinstance(dose, RadialDose):
            self._parts = [RadialPoints(dose, p.points_mm) for p in patches]
            if surface_mm is not None:
                self._surface = RadialPoints(dose, surface_mm)
            return
        if surface_mm is not None:
            self._surface = ScatteredPoints(dose, surface_mm, reach, min(finest_mm, self.spacing_mm))
        rows = [LatticeRows(dose, p, reach, _stride(p, finest_mm)) for p in patches]
        self._parts = list(rows)
        self.interpolation_error_gy = max(r.interpolation_error_gy for r in rows)

    @property
    def n_points(self) -> int:
        """Number of points."""
        return len(self.volume_cc)

    def accumulate(self, shift_mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Course doses float32 (course, point) in Gy."""
        parts = [part.accumulate(shift_mm, weight) for part in self._parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def extremes(self, dose_gy: np.ndarray, shift_mm: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
        """Smallest and largest dose (course, 2) in Gy over the surface and the cells wholly inside.

        `dose_gy` is what `accumulate` gave for the same courses; None without surface points.
        """
        if self._surface is None:
            return None
        surface = self._surface.accumulate(shift_mm, weight)
        return extremes(np.concatenate([surface, dose_gy[:, self._inside]], axis=1))


def _stride(patch: Patch, finest_mm: float) -> int:
    """Dose-lattice steps per point step: at most `finest_mm`, and two per point where points are 3 mm apart or more."""
    spacing = patch.lattice.spacing_mm[0]
    return 2 if spacing >= _SPARSE_MM else max(1, int(np.ceil(spacing / finest_mm - 1e-9)))


def _runs(index_zyx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First node (r, 3) and length (r,) of every run of nodes that follow each other along x."""
    index = index_zyx.astype(np.int64)
    follows = np.all(np.diff(index, axis=0) == (0, 0, 1), axis=1)
    first = np.flatnonzero(np.concatenate([[True], ~follows]))
    return np.ascontiguousarray(index[first]), np.diff(np.concatenate([first, [len(index)]]))


def _refined(dose: PlannedDose, grid: Grid, unblur: bool) -> np.ndarray:
    """Dose on a fine lattice, float32 (z, y, x) in Gy, with the average blur of trilinear sums taken off if asked."""
    if not unblur:
        return np.asarray(dose.on_grid(grid), np.float32)
    x, y, z = (o - s for o, s in zip(grid.origin_mm, grid.spacing_mm, strict=True))
    nz, ny, nx = (n + 2 for n in grid.shape)
    values = np.asarray(dose.on_grid(Grid((x, y, z), grid.spacing_mm, (nz, ny, nx))), np.float32)
    return np.ascontiguousarray((values - laplace(values) / 12)[1:-1, 1:-1, 1:-1])


def _worst_error_gy(dose: PlannedDose, values: np.ndarray, grid: Grid, points_mm: np.ndarray, reach: Reach) -> float:
    """Largest difference in Gy between trilinear look-up and the planned dose over a fixed sample of visits."""
    visits = np.random.default_rng(0)
    points = points_mm[visits.integers(0, len(points_mm), _VISITS_SAMPLED)]
    points = points + visits.uniform(reach.lower_mm, reach.upper_mm, points.shape)
    trilinear = map_coordinates(values, grid.index_zyx(points).T, order=1, mode="nearest")
    return float(np.abs(trilinear - dose.at(points)).max())
