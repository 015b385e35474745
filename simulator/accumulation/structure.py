"""Accumulation: from displacements relative to the beam to the dose of every structure point.

Static dose cloud: the planned dose d does not change when anatomy moves. A tissue point x of structure s receives

    D(x) = sum_f sum_k w_fk d(x + u_s,fk - b_fk + (R_f - 1) (x - x_iso))        (total of the course, weights sum to 1)

Where rotation or filling makes points of a structure move differently, its points are grouped in cells that are small
enough to move alike (`Reach.cell_mm`).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import map_coordinates, maximum_filter1d, minimum_filter1d

from simulator.case.cells import Cells, Patch
from simulator.case.geometry import Grid
from simulator.kernels.accumulate import (
    accumulate_gather,
    accumulate_radial,
    accumulate_tiles,
    cover_with_tiles,
    quads_of,
    weighted_sums,
)
from simulator.kernels.cells import follow, most_spread, steepest
from simulator.kernels.dvh import extremes
from simulator.kernels.splines import less_laplacian
from simulator.kernels.vectors import LANES
from simulator.metrics.fraction_sums import FractionSums
from simulator.plan.dose import PlannedDose, RadialProfile
from simulator.sampling.courses import TissueMotion

_SPARSE_MM, _FINEST_MM, _BLOCK_MM = 1.5, 0.5, 2.25
_LATTICE_ERROR, _MOST_NODES = 0.005, 5e7
_SAFETY = np.float32(1.5)
_VISITS_SAMPLED = 2000
_CELL_TOLERANCE_MM = 0.2
SMALLEST_CELL_POINTS = 4


@dataclass(frozen=True)
class Reach:
    """Displacements that a structure meets over all courses of a strategy.

    Parameters
    ----------
    lower_mm, upper_mm : box (3,) of displacements of any of its points, the origin included.
    turn : largest norm of the linear part (rotation in radians, relative growth); 0 when all points move alike.
    """

    lower_mm: np.ndarray
    upper_mm: np.ndarray
    turn: float = 0.0

    @classmethod
    def of(cls, motion: TissueMotion, arm_mm: np.ndarray | None = None) -> "Reach":
        """The reach of a motion.

        Parameters
        ----------
        arm_mm : (3,), largest distance of a point from the motion's centre along each axis.
        """
        lower = upper = motion.shift_mm
        turn = 0.0
        if motion.linear is not None and arm_mm is not None:
            lever = np.abs(motion.linear) @ arm_mm
            lower, upper = lower - lever, upper + lever
            turn = float(np.sqrt(np.square(motion.linear).sum(axis=(-2, -1)).max()))
        return cls(
            np.minimum(lower.reshape(-1, 3).min(axis=0), 0.0), np.maximum(upper.reshape(-1, 3).max(axis=0), 0.0), turn
        )

    def union(self, other: "Reach") -> "Reach":
        """The smallest reach that contains both."""
        return Reach(
            np.minimum(self.lower_mm, other.lower_mm),
            np.maximum(self.upper_mm, other.upper_mm),
            max(self.turn, other.turn),
        )

    @property
    def is_point(self) -> bool:
        """Whether nothing but one displacement occurs."""
        return self.turn == 0 and bool(np.all(self.upper_mm - self.lower_mm == np.abs(self.lower_mm + self.upper_mm)))

    @property
    def cell_mm(self) -> float:
        """Edge of cells of points that move alike: over it, a third of the largest turn displaces by 0.2 mm."""
        return _CELL_TOLERANCE_MM / (self.turn / 3) if self.turn else np.inf


class PointDoses(Protocol):
    """The points of one structure in one planned dose."""

    n_points: int

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """Course doses float32 (course, point) in Gy; where a volume (course, point) is 0, the dose need not be right."""
        ...


class LatticePoints:
    """Points on a lattice: trilinear sums over a dose refined by cubic splines, in tiles of neighbouring points.

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
    cell_reach_gy : float32 (point,), bound on the difference in dose between a point and the cell around it.
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
        self.highest_gy = float(values.max())
        self.cell_reach_gy = _cell_reach_gy(values, stride, self.grid, points, reach)
        first = np.rint(coarse.index_zyx(np.asarray(patch.lattice.origin_mm))).astype(np.int64)
        self._reach, self._node_zyx = reach, patch.index_zyx + first
        self._tiles = _Tiles.of(self._node_zyx, reach.cell_mm / point_step)
        axes = self._tiles.axes
        self._shape = tuple(coarse.shape[a] + 1 for a in axes)
        self._stride = stride
        parts = values.transpose(axes).reshape([n for size in self._shape for n in (size, stride)])
        split = parts.transpose(1, 3, 5, 0, 2, 4).reshape(-1)
        self._dose = np.concatenate([split, np.zeros(LANES, np.float32)])
        self._start = np.ravel_multi_index(self._tiles.start.T, self._shape)
        self._cell_mm = coarse.points_mm(self._tiles.cell_zyx)
        self._axes = 2 - np.array(axes)

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.empty((len(motion.shift_mm), self.n_points), np.float32)
        linear = np.empty((len(total), 0, 3, 3)) if motion.linear is None else motion.linear
        volume = np.empty((0, self.n_points)) if volume_cc is None else volume_cc
        accumulate_tiles(
            self._dose, self._shape, self._stride, self._start, self._tiles.place, self._tiles.order,
            self._tiles.cell_tile, self._cell_mm - motion.centre_mm, self._axes, self.step_mm,
            motion.shift_mm, linear, motion.weight, volume, total,
        )  # fmt: skip
        return total

    @property
    def moves_alike(self) -> bool:
        """Whether all points have the same displacement."""
        return self._reach.turn == 0

    def some(self, kept: np.ndarray) -> "LatticePoints":
        """Those of the points, boolean (point,), that are kept, in the same dose; for points that move alike."""
        points = copy.copy(self)
        points.n_points = int(kept.sum())
        points._node_zyx = self._node_zyx[kept]
        points._tiles = _Tiles._along(
            self._tiles.axes, points._node_zyx, np.zeros(points.n_points, np.int64), self._tiles.cell_zyx
        )
        points._start = np.ravel_multi_index(points._tiles.start.T, self._shape)
        return points

    def limits_gy(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest dose float32 (point,) that each point can receive; for points that move alike."""
        low, high = self._reached_nodes()
        lowest = highest = self._dose_axes()
        every: list[slice] = [slice(None)] * 3
        for axis in range(3):
            size = int(high[axis] - low[axis]) + 1
            window = {"size": size, "axis": axis, "origin": int(-low[axis]) - size // 2, "mode": "nearest"}
            points = (*every[:axis], slice(None, None, self._stride), *every[axis + 1 :])
            lowest = minimum_filter1d(lowest, **window)[points]
            highest = maximum_filter1d(highest, **window)[points]
        node = tuple(self._node_zyx[:, self._tiles.axes].T)
        return lowest[node], highest[node]

    def mean(self, weight: np.ndarray) -> "MeanDose":
        """The weighted sum over the points, for weights (point,), of points that move alike."""
        low, high = self._reached_nodes()
        low, high = low // self._stride, high // self._stride
        size = high - low + 1
        rows = np.arange(0, size[2], LANES)
        part = np.arange(self._stride**3) * np.prod(self._shape)
        corner = np.ravel_multi_index((self._node_zyx[:, self._tiles.axes] + low).T, self._shape)
        start = (
            part[:, None, None, None]
            + np.arange(size[0])[:, None, None] * (self._shape[1] * self._shape[2])
            + np.arange(size[1])[:, None] * self._shape[2]
            + rows
        )
        total = np.empty((start.size, LANES))
        weighted_sums(self._dose, start.reshape(-1), corner, weight.astype(np.float32), total)
        found = total.reshape(*start.shape[:3], -1)[..., : size[2]].astype(np.float32)
        values = _interleaved(found.reshape(-1), tuple(size), self._stride)
        back = np.argsort(self._tiles.axes)
        return MeanDose(np.ascontiguousarray(values.transpose(back)), (low * self._stride)[back], self.step_mm)

    def _reached_nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last dose node (3,), relative to a point and along the lattice's axes, of which it receives dose."""
        lower, upper = (mm[self._axes] / self.step_mm for mm in (self._reach.lower_mm, self._reach.upper_mm))
        return np.floor(lower).astype(np.int64), np.floor(upper).astype(np.int64) + 1

    def _dose_axes(self) -> np.ndarray:
        """The dose along the lattice's axes."""
        return _interleaved(self._dose[:-LANES], self._shape, self._stride)


def _interleaved(split: np.ndarray, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """The lattice, one step after the other, whose nodes were split by their position modulo `stride`."""
    parts = split.reshape(stride, stride, stride, *shape)
    return parts.transpose(3, 0, 4, 1, 5, 2).reshape([stride * n for n in shape])


class MeanDose:
    """A weighted sum of the doses of points that move alike, as a function of their displacement.

    Parameters
    ----------
    values : float32 (z, y, x) in Gy on displacements of whole lattice steps.
    first_zyx : the first of them, in steps. step_mm : of the lattice.
    """

    n_points = 1

    def __init__(self, values: np.ndarray, first_zyx: np.ndarray, step_mm: float) -> None:
        self._quads, self._shape, self._step_mm = quads_of(values), values.shape, step_mm
        self._origin = -first_zyx[None].astype(float)

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.empty((len(motion.shift_mm), 1), np.float32)
        shift = np.ascontiguousarray(motion.shift_mm[..., ::-1] / self._step_mm)
        linear, arm = np.empty((len(shift), 0, 3, 3)), np.zeros((1, 3))
        accumulate_gather(self._quads, self._shape, self._origin, arm, shift, linear, motion.weight, total)
        return total


class RadialPoints:
    """Points in a dose that depends on the distance from its centre alone, looked up in its profile."""

    def __init__(self, profile: RadialProfile, points_mm: np.ndarray) -> None:
        self.n_points = len(points_mm)
        self._profile = profile
        self._points_mm = np.ascontiguousarray(points_mm - profile.centre_mm)
        self.steepest_gy_per_mm = float(np.abs(np.diff(profile.dose_gy)).max()) / profile.step_mm

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.empty((len(motion.shift_mm), self.n_points), np.float32)
        profile = self._profile
        arm = self._points_mm + profile.centre_mm - motion.centre_mm
        linear = np.ascontiguousarray(_linear_zyx(motion)[..., ::-1, ::-1])
        shift = np.ascontiguousarray(motion.shift_mm)
        accumulate_radial(profile.dose_gy, profile.step_mm, self._points_mm, arm, shift, linear, motion.weight, total)
        return total


class ScatteredPoints:
    """Points anywhere: each point's own trilinear look-up in a dose refined by cubic splines.

    Parameters and attributes are those of `LatticePoints`; `step_mm` is the spacing of the refined dose.
    """

    def __init__(
        self,
        dose: PlannedDose,
        points_mm: np.ndarray,
        reach: Reach,
        step_mm: float,
        stride: int = 1,
        *,
        unblur: bool = True,
    ) -> None:
        self.n_points = len(points_mm)
        lower, upper = points_mm.min(axis=0) + reach.lower_mm, points_mm.max(axis=0) + reach.upper_mm
        self.grid = Grid.covering(lower - step_mm, upper + step_mm, step_mm)
        self.step_mm = step_mm
        values = _refined(dose, self.grid, unblur)
        self.interpolation_error_gy = _worst_error_gy(dose, values, self.grid, points_mm, reach)
        self.highest_gy = float(values.max())
        self.cell_reach_gy = _cell_reach_gy(values, stride, self.grid, points_mm, reach)
        self._quads = quads_of(values)
        self._points_mm = points_mm
        self._node_zyx = np.ascontiguousarray(self.grid.index_zyx(points_mm))

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.empty((len(motion.shift_mm), self.n_points), np.float32)
        shift = np.ascontiguousarray(motion.shift_mm[..., ::-1] / self.step_mm)
        arm = np.ascontiguousarray((self._points_mm - motion.centre_mm)[:, ::-1] / self.step_mm)
        accumulate_gather(
            self._quads, self.grid.shape, self._node_zyx, arm, shift, _linear_zyx(motion), motion.weight, total
        )
        return total


class RestingPoints:
    """Points that stay at one displacement (3,): they receive the planned dose itself."""

    interpolation_error_gy = 0.0

    def __init__(self, dose: PlannedDose, points_mm: np.ndarray, offset_mm: np.ndarray) -> None:
        self.n_points = len(points_mm)
        self.cell_reach_gy = np.full(self.n_points, np.inf, np.float32)
        self._gy = dose.at(points_mm + offset_mm).astype(np.float32)

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        return motion.weight.sum(axis=1).astype(np.float32)[:, None] * self._gy


def patch_points(
    dose: PlannedDose, patch: Patch, reach: Reach, stride: int, *, unblur: bool = True
) -> LatticePoints | ScatteredPoints:
    """Points of a patch: each on its own where too few of them move alike for cells to pay."""
    if reach.cell_mm >= SMALLEST_CELL_POINTS * patch.spacing_mm:
        return LatticePoints(dose, patch, reach, stride, unblur=unblur)
    return ScatteredPoints(dose, patch.points_mm, reach, patch.spacing_mm / stride, stride, unblur=unblur)


def _fine_points(dose: PlannedDose, patch: Patch, reach: Reach, finest_mm: float) -> LatticePoints | ScatteredPoints:
    """Points of a patch on a lattice whose step is halved until its error is small, or the lattice too large."""
    stride = 1 if patch.spacing_mm >= _SPARSE_MM else max(1, int(np.ceil(patch.spacing_mm / finest_mm - 1e-9)))
    while True:
        points = patch_points(dose, patch, reach, stride)
        is_fine = points.interpolation_error_gy <= _LATTICE_ERROR * points.highest_gy
        if is_fine or points.step_mm <= _FINEST_MM or 8 * np.prod(points.grid.shape) > _MOST_NODES:
            return points
        stride *= 2


def doses_of_cells(parts: Sequence[PointDoses], cells: Cells, motion: TissueMotion) -> np.ndarray:
    """Course doses float32 (course, node) in Gy of all nodes of some cells; `parts` are those that follow from no others."""
    total = np.empty((len(motion.weight), cells.n_all_nodes), np.float32)
    first = 0
    for part in parts:
        total[:, first : first + part.n_points] = part.accumulate(motion)
        first += part.n_points
    follow(total, cells.sources)
    return total


class StructureDoses:
    """All cells of one structure: patches one after the other, and the nodes whose doses they need.

    Parameters
    ----------
    surface_mm : points (n, 3) on the surface, where true extremes lie; None when no metric needs them.

    Attributes
    ----------
    cells : see `Cells`. parts : the nodes, patch by patch, but for those that follow from others.
    points_mm : theirs, float64 (n, 3). volume_cc : of all nodes, float64 (node,).
    cell_reach_gy : float32 (cell,), bound on the difference in dose between its node and any part of it.
    interpolation_error_gy : largest difference between trilinear sums and the planned dose over a fixed sample of
        displaced points of the finest patch (0 for a closed-form dose).
    """

    def __init__(
        self,
        dose: PlannedDose,
        patches: Sequence[Patch],
        reach: Reach,
        finest_mm: float,
        surface_mm: np.ndarray | None = None,
    ) -> None:
        self.cells, nodes = Cells.of(patches)
        self._dose, self.points_mm = dose, np.concatenate([p.points_mm for p in nodes])
        none = np.zeros(len(self.cells.sources))
        self.volume_cc = np.concatenate([*(p.volume_cc for p in nodes), none])
        self._inside = np.concatenate([*(p.volume_cc >= (1 - 1e-6) * p.lattice.voxel_cc for p in nodes), none > 0])
        self._surface: PointDoses | None = None
        self._surface_mm = surface_mm
        self.spacing_mm = patches[0].spacing_mm
        self.interpolation_error_gy = 0.0
        self.parts: list[PointDoses]
        if (profile := dose.profile()) is not None:
            radial = [RadialPoints(profile, p.points_mm) for p in nodes]
            self.parts = list(radial)
            steepest_gy = [r.steepest_gy_per_mm * p.spacing_mm for r, p in zip(radial, nodes, strict=True)]
            self.cell_reach_gy = np.repeat(np.array(steepest_gy, np.float32), np.diff(self.cells.start))
            if surface_mm is not None:
                self._surface = RadialPoints(profile, surface_mm)
            return
        points: Sequence[LatticePoints | ScatteredPoints | RestingPoints]
        if reach.is_point:
            offset_mm = reach.lower_mm + reach.upper_mm
            points = [RestingPoints(dose, p.points_mm, offset_mm) for p in nodes]
            self._surface = None if surface_mm is None else RestingPoints(dose, surface_mm, offset_mm)
        else:
            points = [_fine_points(dose, p, reach, finest_mm) for p in nodes]
            if surface_mm is not None:
                self._surface = ScatteredPoints(dose, surface_mm, reach, min(finest_mm, self.spacing_mm))
        self.parts = list(points)
        self.cell_reach_gy = np.concatenate([p.cell_reach_gy for p in points])[self.cells.node]
        self.interpolation_error_gy = points[0].interpolation_error_gy

    @property
    def n_points(self) -> int:
        """Number of nodes."""
        return len(self.volume_cc)

    def accumulate(self, motion: TissueMotion, volume_cc: np.ndarray | None = None) -> np.ndarray:
        """Course doses float32 (course, node) in Gy; where a volume (course, node) is 0, the dose need not be right."""
        if volume_cc is not None and len(self.parts) == 1:
            return self.parts[0].accumulate(motion, volume_cc)
        return doses_of_cells(self.parts, self.cells, motion)

    def narrow(self, motions: Sequence[TissueMotion]) -> None:
        """Take `cell_reach_gy` down to what doses differ by within each cell in some courses, and half as much again."""
        c, spread_gy = self.cells, np.zeros(len(self.cells.node), np.float32)
        for motion in motions:
            most_spread(self.accumulate(motion), c.node, c.around, c.part, c.shape, spread_gy)
        self.cell_reach_gy = np.minimum(self.cell_reach_gy, _SAFETY * spread_gy)

    def planned(self, offset_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The planned dose itself where the structure is displaced by an offset (3,) and nothing else moves.

        Returns
        -------
        dose_gy : float32 (1, node). limits_gy : smallest and largest dose (1, 2); None without surface points.
        """
        dose_gy = np.empty((1, self.n_points), np.float32)
        dose_gy[0, : self.cells.n_nodes] = self._dose.at(self.points_mm + offset_mm)
        follow(dose_gy, self.cells.sources)
        if self._surface_mm is None:
            return dose_gy, None
        return dose_gy, self._limits(dose_gy, self._dose.at(self._surface_mm + offset_mm)[None].astype(np.float32))

    def extremes(self, dose_gy: np.ndarray, motion: TissueMotion) -> np.ndarray | None:
        """Smallest and largest dose (course, 2) in Gy over the surface and the cells wholly inside.

        `dose_gy` is what `accumulate` gave for the same courses; None without surface points.
        """
        return None if self._surface is None else self._limits(dose_gy, self._surface.accumulate(motion))

    def _limits(self, dose_gy: np.ndarray, surface_gy: np.ndarray) -> np.ndarray:
        outer = extremes(surface_gy, np.ones((1, surface_gy.shape[1])))
        inner = extremes(dose_gy, np.where(self._inside, self.volume_cc, 0.0)[None])
        return np.stack([np.minimum(outer[:, 0], inner[:, 0]), np.maximum(outer[:, 1], inner[:, 1])], axis=1)

    def fraction_sums(self, dose_gy: np.ndarray, motion: TissueMotion, n_fractions: int) -> FractionSums:
        """D and S2 of every point; `dose_gy` is what `accumulate` gave for the same courses."""
        return FractionSums(dose_gy, _sum_of_squares(self.accumulate, dose_gy, motion, n_fractions))

    def edge_sums(self, points: FractionSums, motion: TissueMotion, n_fractions: int) -> FractionSums | None:
        """D and S2 over the surface and the cells wholly inside, where extremes lie; None without surface points."""
        if self._surface is None:
            return None
        surface = self._surface.accumulate(motion)
        squares = _sum_of_squares(self._surface.accumulate, surface, motion, n_fractions)
        return FractionSums(
            np.concatenate([surface, points.dose_gy[:, self._inside]], axis=1),
            np.concatenate([squares, points.squares_gy2[:, self._inside]], axis=1),
        )


def _sum_of_squares(
    accumulate: Callable[[TissueMotion], np.ndarray], dose_gy: np.ndarray, motion: TissueMotion, n_fractions: int
) -> np.ndarray:
    """S2 = sum_f d_f^2, float32 (course, point); a motion of a single visit is n equal fractions."""
    if motion.weight.shape[1] == 1:
        return np.square(dose_gy) / np.float32(n_fractions)
    squares = np.zeros_like(dose_gy)
    for fraction in motion.fractions(n_fractions):
        squares += np.square(accumulate(fraction))
    return squares


def _linear_zyx(motion: TissueMotion) -> np.ndarray:
    """The linear part (course, k, 3, 3) in (z, y, x) order; (course, 0, 3, 3) when every point moves alike."""
    if motion.linear is None:
        return np.empty((len(motion.shift_mm), 0, 3, 3))
    return np.ascontiguousarray(motion.linear[..., ::-1, ::-1])


@dataclass(frozen=True)
class _Tiles:
    """Points in tiles of up to 8 neighbours along one axis, cell by cell.

    Parameters
    ----------
    axes : order of (z, y, x) in which the tiles run along the last axis.
    start : int64 (tile, 3), first node in that order. place : int64 (tile + 1,), first point, then their number.
    order : int64 (point,), indices of the points in the order of the tiles; empty when that is their own.
    cell_tile : int64 (cell + 1,), first tile of each cell. cell_zyx : (cell, 3), mean node.
    """

    axes: tuple[int, ...]
    start: np.ndarray
    place: np.ndarray
    order: np.ndarray
    cell_tile: np.ndarray
    cell_zyx: np.ndarray

    @classmethod
    def of(cls, index_zyx: np.ndarray, cell_steps: float) -> "_Tiles":
        """The fewest tiles over the three axes, within cells of `cell_steps` nodes."""
        index = index_zyx.astype(np.int64)
        cell = np.zeros(len(index), np.int64)
        if np.isfinite(cell_steps):
            _, cell = np.unique(index // int(cell_steps), axis=0, return_inverse=True)
            cell = cell.reshape(-1)
        centre = np.stack([np.bincount(cell, index[:, a]) / np.bincount(cell) for a in range(3)], axis=1)
        ways = [cls._along(axes, index, cell, centre) for axes in ((0, 1, 2), (0, 2, 1), (1, 2, 0))]
        return min(ways, key=lambda tiles: len(tiles.start))

    @classmethod
    def _along(cls, axes: tuple[int, ...], index: np.ndarray, cell: np.ndarray, centre: np.ndarray) -> "_Tiles":
        turned = index[:, axes]
        order = np.lexsort((*turned.T[::-1], cell))
        node, start, place = (
            np.ascontiguousarray(turned[order]),
            np.empty(index.shape, np.int64),
            np.empty(len(index), np.int64),
        )
        n_tiles = cover_with_tiles(node, cell[order], start, place)
        start, place = start[:n_tiles], place[:n_tiles]
        cell_tile = np.searchsorted(cell[order][place], np.arange(len(centre) + 1))
        in_order = np.array_equal(order, np.arange(len(order)))
        ends = np.append(place, len(order))
        return cls(axes, start, ends, order[:0] if in_order else order, cell_tile, centre)


def _refined(dose: PlannedDose, grid: Grid, unblur: bool) -> np.ndarray:
    """Dose on a fine lattice, float32 (z, y, x) in Gy, with the average blur of trilinear sums taken off if asked."""
    if not unblur:
        return np.asarray(dose.on_grid(grid), np.float32)
    x, y, z = (o - s for o, s in zip(grid.origin_mm, grid.spacing_mm, strict=True))
    nz, ny, nx = (n + 2 for n in grid.shape)
    values = np.asarray(dose.on_grid(Grid((x, y, z), grid.spacing_mm, (nz, ny, nx))), np.float32)
    return less_laplacian(values, np.float32(1 / 12))


def _worst_error_gy(dose: PlannedDose, values: np.ndarray, grid: Grid, points_mm: np.ndarray, reach: Reach) -> float:
    """Largest difference in Gy between trilinear look-up and the planned dose over a fixed sample of visits."""
    visits = np.random.default_rng(0)
    points = points_mm[visits.integers(0, len(points_mm), _VISITS_SAMPLED)]
    points = points + visits.uniform(reach.lower_mm, reach.upper_mm, points.shape)
    trilinear = map_coordinates(values, grid.index_zyx(points).T, order=1, mode="nearest")
    return float(np.abs(trilinear - dose.at(points)).max())


def _cell_reach_gy(values: np.ndarray, stride: int, grid: Grid, points_mm: np.ndarray, reach: Reach) -> np.ndarray:
    """Bound float32 (point,) on the difference in dose between a point and the cell of `stride` nodes around it."""
    block = max(1, round(_BLOCK_MM / grid.spacing_mm[0]))
    most = steepest(values, stride, block)
    node = np.floor(grid.index_zyx(points_mm)).astype(np.int64)
    steps = np.stack([reach.lower_mm, reach.upper_mm])[:, ::-1] / (grid.spacing_mm[0] * block)
    low, high = np.floor(steps[0]).astype(int) - -(-stride // block), np.floor(steps[1]).astype(int) + 1
    for axis in range(3):
        size = int(high[axis] - low[axis]) + 1
        most = maximum_filter1d(most, size, axis, origin=int(-low[axis]) - size // 2, mode="nearest")
    return most[tuple((node // block).T)]
