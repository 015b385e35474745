"""Points on a lattice: sums over shifted, contiguous rows of a dose lattice."""

import copy
from collections.abc import Hashable

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from simulator.accumulation.dose_lattice import dose_lattice, refined_dose
from simulator.accumulation.points import counted_or_all, numbers_of
from simulator.accumulation.reach import Reach
from simulator.accumulation.tiles import Tiles
from simulator.case.cells import Patch
from simulator.case.geometry import Grid
from simulator.kernels.points import accumulate_gather, quads_of
from simulator.kernels.tiles import accumulate_tiles, weighted_sums
from simulator.kernels.vectors import LANES
from simulator.plan.dose import PlannedDose
from simulator.sampling.tissue_motion import TissueMotion


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
        self._unblur = unblur
        lattice = dose_lattice(dose, self.grid, unblur)
        self.interpolation_error_gy = lattice.worst_error_gy(points, reach)
        self.highest_gy = lattice.highest_gy
        self.cell_reach_gy = lattice.reach_of_cells_gy(stride, points, reach)
        first = np.rint(coarse.index_zyx(np.asarray(patch.lattice.origin_mm))).astype(np.int64)
        self._reach, self._node_zyx = reach, patch.index_zyx + first
        self._tiles = Tiles.of(self._node_zyx, reach.cell_mm / point_step)
        axes = self._tiles.axes
        self._shape = tuple(coarse.shape[a] + 1 for a in axes)
        self._stride = stride
        self._dose = self._split(lattice.values)
        self._start = np.ravel_multi_index(self._tiles.start.T, self._shape)
        self._cell_mm = coarse.points_mm(self._tiles.cell_zyx)
        self._axes = 2 - np.array(axes)

    def _split(self, values: np.ndarray) -> np.ndarray:
        """The lattice's doses (z, y, x) in one row, split by their position modulo the stride."""
        parts = values.transpose(self._tiles.axes).reshape([n for size in self._shape for n in (size, self._stride)])
        return np.concatenate([parts.transpose(1, 3, 5, 0, 2, 4).reshape(-1), np.zeros(LANES, np.float32)])

    def in_dose(self, dose: PlannedDose) -> "LatticePoints":
        """The same points in another dose; errors, limits and reach of cells stay those of this one."""
        points = copy.copy(self)
        points._dose = self._split(refined_dose(dose, self.grid, self._unblur))
        return points

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.empty((len(motion.shift_mm), self.n_points), np.float32)
        linear = np.empty((len(total), 0, 3, 3)) if motion.linear is None else motion.linear
        accumulate_tiles(
            self._dose, self._shape, self._stride, self._start, self._tiles.place, self._tiles.order,
            self._tiles.cell_tile, self._cell_mm - motion.centre_mm, self._axes, self.step_mm,
            motion.shift_mm, linear, motion.weight, counted_or_all(counted, self.n_points), total,
        )  # fmt: skip
        return total

    @property
    def summed_like(self) -> Hashable:
        """Points at the same place receive the same doses where this is the same, and the motion."""
        return self.grid, self._tiles.axes, b"" if self.moves_alike else self._node_zyx.tobytes()

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """A number int64 (point,) for the place of each point, and the place itself (point, 3)."""
        return numbers_of(self._node_zyx * self._stride, self.grid), self._node_zyx

    @property
    def moves_alike(self) -> bool:
        """Whether all points have the same displacement."""
        return self._reach.turn == 0

    def some(self, kept: np.ndarray) -> "LatticePoints":
        """Those of the points, boolean (point,), that are kept, in the same dose; for points that move alike."""
        points = copy.copy(self)
        points.n_points = int(kept.sum())
        points._node_zyx = self._node_zyx[kept]
        points._tiles = Tiles._along(
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

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.empty((len(motion.shift_mm), 1), np.float32)
        shift = np.ascontiguousarray(motion.shift_mm[..., ::-1] / self._step_mm)
        linear, arm = np.empty((len(shift), 0, 3, 3)), np.zeros((1, 3))
        accumulate_gather(
            self._quads, self._shape, self._origin, arm, shift, linear, motion.weight, counted_or_all(None, 1), total
        )
        return total
