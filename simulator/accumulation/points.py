"""Points anywhere: each on its own."""

import copy
from collections.abc import Hashable
from typing import Protocol

import numpy as np

from simulator.accumulation.dose_lattice import dose_lattice
from simulator.accumulation.reach import Reach
from simulator.case.geometry import Grid
from simulator.ground.once import cached_property
from simulator.kernels.points import accumulate_gather, accumulate_radial, quads_of
from simulator.plan.dose import PlannedDose, RadialProfile
from simulator.sampling.tissue_motion import TissueMotion


class PointDoses(Protocol):
    """The points of one structure in one planned dose."""

    n_points: int

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """Course doses float32 (course, point) in Gy; right where points count, boolean (course, point), all by default."""
        ...


def counted_or_all(counted: np.ndarray | None, n_points: int) -> np.ndarray:
    """Which points count in each course, boolean (course, point), as kernels want it: no course where all of them do."""
    return np.empty((0, n_points), bool) if counted is None else counted


def numbers_of(node_zyx: np.ndarray, grid: Grid) -> np.ndarray:
    """A number int64 (n,) for each of some nodes int64 (n, 3) of a grid."""
    return np.asarray(np.ravel_multi_index(node_zyx.T, grid.shape))


class RadialPoints:
    """Points in a dose that depends on the distance from its centre alone, looked up in its profile."""

    def __init__(self, profile: RadialProfile, points_mm: np.ndarray) -> None:
        self.n_points = len(points_mm)
        self._profile = profile
        self._points_mm = np.ascontiguousarray(points_mm - profile.centre_mm)
        self.steepest_gy_per_mm = float(np.abs(np.diff(profile.dose_gy)).max()) / profile.step_mm

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
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
        self._unblur = unblur
        lattice = dose_lattice(dose, self.grid, unblur)
        self.interpolation_error_gy = lattice.worst_error_gy(points_mm, reach)
        self.highest_gy = lattice.highest_gy
        self.cell_reach_gy = lattice.reach_of_cells_gy(stride, points_mm, reach)
        self._dose = dose
        self._points_mm = points_mm
        self._node_zyx = np.ascontiguousarray(self.grid.index_zyx(points_mm))

    def in_dose(self, dose: PlannedDose) -> "ScatteredPoints":
        """The same points in another dose; errors and reach of cells stay those of this one."""
        points = copy.copy(self)
        points._dose = dose
        points.__dict__.pop("_quads", None)
        return points

    def some(self, kept: np.ndarray) -> "ScatteredPoints":
        """Those of the points, boolean (point,), that are kept, in the same dose."""
        points = copy.copy(self)
        points.n_points = int(kept.sum())
        points._points_mm, points._node_zyx = self._points_mm[kept], self._node_zyx[kept]
        return points

    @cached_property
    def _quads(self) -> np.ndarray:
        """Made when doses are asked for: of cells that are divided on, most are known."""
        return quads_of(dose_lattice(self._dose, self.grid, self._unblur).values)

    @property
    def summed_like(self) -> Hashable:
        """Points at the same place receive the same doses where this is the same, and the motion."""
        return self.grid

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """A number int64 (point,) for the place of each point, and the place itself (point, 3)."""
        return numbers_of(np.rint(self._node_zyx).astype(np.int64), self.grid), self._points_mm

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        total = np.empty((len(motion.shift_mm), self.n_points), np.float32)
        shift = np.ascontiguousarray(motion.shift_mm[..., ::-1] / self.step_mm)
        arm = np.ascontiguousarray((self._points_mm - motion.centre_mm)[:, ::-1] / self.step_mm)
        accumulate_gather(
            self._quads, self.grid.shape, self._node_zyx, arm, shift, _linear_zyx(motion), motion.weight,
            counted_or_all(counted, self.n_points), total,
        )  # fmt: skip
        return total


class RestingPoints:
    """Points that stay at one displacement (3,): they receive the planned dose itself."""

    interpolation_error_gy = 0.0

    def __init__(self, dose: PlannedDose, points_mm: np.ndarray, offset_mm: np.ndarray) -> None:
        self.n_points = len(points_mm)
        self.cell_reach_gy = np.full(self.n_points, np.inf, np.float32)
        self._gy = dose.at(points_mm + offset_mm).astype(np.float32)

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        return motion.weight.sum(axis=1).astype(np.float32)[:, None] * self._gy


def _linear_zyx(motion: TissueMotion) -> np.ndarray:
    """The linear part (course, k, 3, 3) in (z, y, x) order; (course, 0, 3, 3) when every point moves alike."""
    if motion.linear is None:
        return np.empty((len(motion.shift_mm), 0, 3, 3))
    return np.ascontiguousarray(motion.linear[..., ::-1, ::-1])
