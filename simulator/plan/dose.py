"""Planned doses: totals of the course in Gy, known everywhere."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from simulator.case.geometry import Grid, Volume
from simulator.ground.once import cached_property
from simulator.kernels.splines import combine_four, less_laplacian, limit_to_cells, limits_of_cells
from simulator.sampling.tissue_motion import TissueMotion


@dataclass(frozen=True)
class RadialProfile:
    """Doses dose_gy (n,) at distances of 0, 1, 2... steps of step_mm from centre_mm (3,), and none farther out."""

    centre_mm: np.ndarray
    step_mm: float
    dose_gy: np.ndarray


@dataclass(frozen=True)
class DosePart:
    """What is delivered between two shares (0-1) of the beam-on time of every fraction, total of the course in Gy.

    Parameters
    ----------
    fractions : the first of those that it is delivered in and the one after the last, from 0 on, and how many a course has; all
        by default.
    """

    dose: "PlannedDose"
    begin: float = 0.0
    end: float = 1.0
    fractions: tuple[int, int, int] | None = None

    def meets(self, motion: TissueMotion) -> TissueMotion:
        """The visits of its own time."""
        met = motion.during(self.begin, self.end)
        return met if self.fractions is None else met.in_fractions(*self.fractions)


class PlannedDose(ABC):
    """The dose of one plan, total of the course in Gy, in the frame of the beam."""

    @property
    def parts(self) -> tuple[DosePart, ...]:
        """What it is the sum of, one after the other in every fraction: itself, all of the time."""
        return (DosePart(self),)

    @abstractmethod
    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""

    @abstractmethod
    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""

    def unblurred_on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy less the blur that interpolation between the nodes adds on average over positions.

        Trilinear interpolation adds (h^2 / 12) laplacian(d) for an edge h.
        """
        x, y, z = (o - s for o, s in zip(grid.origin_mm, grid.spacing_mm, strict=True))
        nz, ny, nx = (n + 2 for n in grid.shape)
        gy = np.asarray(self.on_grid(Grid((x, y, z), grid.spacing_mm, (nz, ny, nx))), np.float32)
        return less_laplacian(gy, np.float32(1 / 12))

    def profile(self) -> RadialProfile | None:
        """The dose against the distance from a centre where that is all it depends on, which needs no lattice; else None."""
        return None

    def scaled(self, factor: float) -> "PlannedDose":
        """The dose times a factor."""
        return self if factor == 1 else ScaledDose(self, factor)


@dataclass(frozen=True)
class ScaledDose(PlannedDose):
    """A dose times a factor."""

    dose: PlannedDose
    factor: float

    @property
    def parts(self) -> tuple[DosePart, ...]:
        """Those of the dose, scaled."""
        if len(self.dose.parts) == 1:
            return super().parts
        return tuple(replace(part, dose=part.dose.scaled(self.factor)) for part in self.dose.parts)

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        return np.float32(self.factor) * self.dose.on_grid(grid)

    def unblurred_on_grid(self, grid: Grid) -> np.ndarray:
        """See `PlannedDose`."""
        return np.float32(self.factor) * self.dose.unblurred_on_grid(grid)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        return self.factor * self.dose.at(points_mm)

    def profile(self) -> RadialProfile | None:
        """That of the dose, scaled."""
        known = self.dose.profile()
        return None if known is None else replace(known, dose_gy=self.factor * known.dose_gy)


@dataclass(frozen=True)
class SumOfDoses(PlannedDose):
    """Plans that are delivered together, in every fraction.

    Parameters
    ----------
    in_turn : one after the other in equal shares of the time, so that each meets its own visits; else all meet all visits.
    """

    doses: tuple[PlannedDose, ...]
    in_turn: bool = False

    @property
    def parts(self) -> tuple[DosePart, ...]:
        """Each dose in its own time, where they are delivered one after the other."""
        n = len(self.doses)
        return (
            tuple(DosePart(d, i / n, (i + 1) / n) for i, d in enumerate(self.doses)) if self.in_turn else super().parts
        )

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        return np.asarray(sum(dose.on_grid(grid) for dose in self.doses))

    def unblurred_on_grid(self, grid: Grid) -> np.ndarray:
        """See `PlannedDose`."""
        return np.asarray(sum(dose.unblurred_on_grid(grid) for dose in self.doses))

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        return np.sum([dose.at(points_mm) for dose in self.doses], axis=0)


@dataclass(frozen=True)
class DosesInTurn(PlannedDose):
    """One plan in the first fractions of a course, another one in the others.

    Parameters
    ----------
    n_first : fractions of the first, of `n_fractions`.
    """

    first: PlannedDose
    then: PlannedDose
    n_first: int
    n_fractions: int

    @property
    def parts(self) -> tuple[DosePart, ...]:
        """Those of both, each in its fractions."""
        first, then = (0, self.n_first, self.n_fractions), (self.n_first, self.n_fractions, self.n_fractions)
        return (
            *(replace(part, fractions=first) for part in self.first.parts),
            *(replace(part, fractions=then) for part in self.then.parts),
        )

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        share = np.float32(self.n_first / self.n_fractions)
        return share * self.first.on_grid(grid) + (1 - share) * self.then.on_grid(grid)

    def unblurred_on_grid(self, grid: Grid) -> np.ndarray:
        """See `PlannedDose`."""
        share = np.float32(self.n_first / self.n_fractions)
        return share * self.first.unblurred_on_grid(grid) + (1 - share) * self.then.unblurred_on_grid(grid)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        share = self.n_first / self.n_fractions
        return share * self.first.at(points_mm) + (1 - share) * self.then.at(points_mm)


class SplineDose(PlannedDose):
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

    def scaled(self, factor: float) -> "SplineDose":
        """The dose times a factor."""
        other = copy.copy(self)
        other._coefficients = self._coefficients * factor
        return other

    def compact(self) -> "SplineDose":
        """The same in half of the memory, to single precision."""
        other = copy.copy(self)
        other._coefficients = self._coefficients.astype(np.float32)
        return other

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid.

        The tensor-product spline is evaluated one axis at a time.
        """
        bases = []
        for axis in range(3):
            nodes = grid.axes_mm[2 - axis]
            index = (nodes - self.grid.origin_mm[2 - axis]) / self.grid.spacing_mm[2 - axis]
            bases.append(_cubic_basis(np.clip(index, 0, self.grid.shape[axis] - 1), self._coefficients.shape[axis]))
        part = tuple(slice(start, taps.max() + start + 1) for start, taps, _ in bases)
        dose = self._coefficients[part].astype(np.float32)
        for axis in (2, 1, 0):
            _, taps, weights = bases[axis]
            before, after = dose.shape[:axis], dose.shape[axis + 1 :]
            flat = dose.reshape(int(np.prod(before)), dose.shape[axis], int(np.prod(after)))
            dose = combine_four(flat, taps, weights).reshape(*before, len(taps), *after)
        return np.maximum(dose, 0, out=dose)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        index = np.clip(self.grid.index_zyx(points_mm), 0, np.asarray(self.grid.shape) - 1)
        dose = map_coordinates(self._coefficients, index.T, order=3, mode="mirror", prefilter=False)
        return np.maximum(dose, 0)


class LimitedSplineDose(SplineDose):
    """A gridded dose interpolated by cubic B-splines that do not overshoot where it has an edge, such as the skin.

    Between nodes the spline is cut off beyond what the nodes around allow (`simulator.kernels.splines.limits_of_cells`).
    """

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume)
        values = np.asarray(volume.values, np.float32)
        self._values = np.pad(values, [(0, 1 if n == 1 else 0) for n in values.shape], mode="edge")

    def scaled(self, factor: float) -> "LimitedSplineDose":
        """The dose times a factor, with limits that follow it."""
        other = copy.copy(self)
        other.__dict__.pop("_limits", None)
        other._coefficients, other._values = self._coefficients * factor, self._values * np.float32(factor)
        return other

    @cached_property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        return limits_of_cells(self._values)

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        return self._within_limits(super().on_grid(grid), grid)

    def unblurred_on_grid(self, grid: Grid) -> np.ndarray:
        """See `PlannedDose`; beyond what the nodes around allow it is cut off too."""
        return self._within_limits(super().unblurred_on_grid(grid), grid)

    def _within_limits(self, dose_gy: np.ndarray, grid: Grid) -> np.ndarray:
        limit_to_cells(dose_gy, *self._limits, *(self._cell(grid.axes_mm[2 - axis], axis) for axis in range(3)))
        return dose_gy

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        cells = tuple(self._cell(points_mm[:, 2 - axis], axis) for axis in range(3))
        low, high = (limit[cells] for limit in self._limits)
        return np.clip(super().at(points_mm), low, high)

    def _cell(self, mm: np.ndarray, axis: int) -> np.ndarray:
        """Cell of each coordinate along an axis of (z, y, x)."""
        index = (mm - self.grid.origin_mm[2 - axis]) / self.grid.spacing_mm[2 - axis]
        return np.clip(np.floor(index + 1e-9).astype(np.int64), 0, self._values.shape[axis] - 2)


def _cubic_basis(index: np.ndarray, n_coefficients: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Cubic B-spline weights at fractional indices, mirrored about the end nodes.

    Returns
    -------
    start : first coefficient used.
    taps : int64 (index, 4), coefficients counted from there. weights : float32 (index, 4).
    """
    cell = np.clip(np.floor(index).astype(np.int64), 0, n_coefficients - 2)
    t = index - cell
    weights = np.stack([(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3], axis=1) / 6
    taps = np.abs(cell[:, None] + np.arange(-1, 3))
    last = n_coefficients - 1
    taps = np.where(taps > last, 2 * last - taps, taps)
    start = int(taps.min())
    return start, taps - start, weights.astype(np.float32)


class TrilinearDose(PlannedDose):
    """A dose that is linear along each axis between the nodes of a grid, as many systems take it between the nodes of theirs.

    Points outside the grid take the value on the nearest face.
    """

    def __init__(self, dose: PlannedDose, grid: Grid) -> None:
        self._dose, self._grid = dose, grid

    @property
    def parts(self) -> tuple[DosePart, ...]:
        """Those of the dose, each linear."""
        if len(self._dose.parts) == 1:
            return super().parts
        return tuple(replace(part, dose=TrilinearDose(part.dose, self._grid)) for part in self._dose.parts)

    @cached_property
    def _values(self) -> np.ndarray:
        return self._dose.on_grid(self._grid).astype(np.float64)

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        return self.at(grid.nodes_mm().reshape(-1, 3)).reshape(grid.shape).astype(np.float32)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        return map_coordinates(self._values, self._grid.index_zyx(points_mm).T, order=1, mode="nearest")
