"""Accumulation: from displacements relative to the beam to the dose of every structure point.

Static dose cloud: the planned dose d does not change when anatomy moves. A tissue point x of structure s receives

    D(x) = sum_f sum_k w_fk d(x + u_s,fk - b_fk + (R_f - 1) (x - x_iso))        (total of the course, weights sum to 1)

Where rotation or filling makes points of a structure move differently, its points are grouped in cells that are small
enough to move alike (`Reach.cell_mm`).
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from simulator.accumulation.changed import ChangedPoints, Describe
from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.parts import MetInParts, SummedPoints, points_of_parts
from simulator.accumulation.points import PointDoses, RadialPoints, RestingPoints, ScatteredPoints
from simulator.accumulation.reach import Reach
from simulator.case.cells import Cells, Patch
from simulator.kernels.cells import follow, most_spread
from simulator.kernels.dvh import extremes
from simulator.metrics.fraction_sums import FractionSums
from simulator.plan.dose import DosePart, PlannedDose
from simulator.sampling.tissue_motion import COURSES_AT_ONCE, TissueMotion

_SPARSE_MM, _FINEST_MM, _LATTICE_ERROR, _MOST_NODES = 1.5, 0.5, 0.005, 5e7
_SAFETY = np.float32(1.5)
SMALLEST_CELL_POINTS = 4
COURSES_IN_PARTS = 250


def patch_points(
    dose: PlannedDose, patch: Patch, reach: Reach, stride: int, *, unblur: bool = True
) -> LatticePoints | ScatteredPoints:
    """Points of a patch: each on its own where too few of them move alike for cells to pay."""
    if reach.cell_mm >= SMALLEST_CELL_POINTS * patch.spacing_mm:
        return LatticePoints(dose, patch, reach, stride, unblur=unblur)
    return ScatteredPoints(dose, patch.points_mm, reach, patch.spacing_mm / stride, stride, unblur=unblur)


def lattice_bytes(patch: Patch, reach: Reach, finest_mm: float) -> float:
    """Memory that the dose lattice of a patch asks for at least, so far may its points move."""
    step_mm = patch.spacing_mm / _stride(patch, finest_mm)
    size_mm = np.ptp(patch.points_mm, axis=0) + reach.upper_mm - reach.lower_mm
    return float(np.prod(size_mm / step_mm + 1)) * np.dtype(np.float32).itemsize


def _stride(patch: Patch, finest_mm: float) -> int:
    """Lattice steps between the points of a patch, to begin with."""
    return 1 if patch.spacing_mm >= _SPARSE_MM else max(1, int(np.ceil(patch.spacing_mm / finest_mm - 1e-9)))


def _fine_points(dose: PlannedDose, patch: Patch, reach: Reach, finest_mm: float) -> LatticePoints | ScatteredPoints:
    """Points of a patch on a lattice whose step is halved until its error is small, or the lattice too large."""
    stride = _stride(patch, finest_mm)
    while True:
        points = patch_points(dose, patch, reach, stride)
        if _is_fine(points) or points.step_mm <= _FINEST_MM or 8 * np.prod(points.grid.shape) > _MOST_NODES:
            return points
        stride *= 2


def _is_fine(points: LatticePoints | ScatteredPoints | SummedPoints) -> bool:
    """Whether the dose is smooth on the scale of its lattice."""
    return points.interpolation_error_gy <= _LATTICE_ERROR * points.highest_gy


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
    courses_at_once : how many are best taken together: parts are made anew for each lot.
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
        self._dose, self._surface_mm = dose, surface_mm
        self._surface: PointDoses | None = None
        self.spacing_mm = patches[0].spacing_mm
        self.interpolation_error_gy = 0.0
        self.courses_at_once = COURSES_AT_ONCE
        self.parts: list[PointDoses]
        if (profile := dose.profile()) is not None:
            nodes = self._hold(patches, smooth=not reach.is_point)
            radial = [RadialPoints(profile, p.points_mm) for p in nodes]
            self.parts = list(radial)
            steepest_gy = [r.steepest_gy_per_mm * p.spacing_mm for r, p in zip(radial, nodes, strict=True)]
            self.cell_reach_gy = np.repeat(np.array(steepest_gy, np.float32), np.diff(self.cells.start))
            if surface_mm is not None:
                self._surface = RadialPoints(profile, surface_mm)
            return
        points: Sequence[LatticePoints | ScatteredPoints | SummedPoints | RestingPoints]
        if reach.is_point:
            offset_mm = reach.lower_mm + reach.upper_mm
            points = [RestingPoints(dose, p.points_mm, offset_mm) for p in self._hold(patches, smooth=False)]
            self._surface = None if surface_mm is None else RestingPoints(dose, surface_mm, offset_mm)
        else:
            for smooth in (True, False):
                points = moved = [
                    points_of_parts(dose, partial(_fine_points, patch=p, reach=reach, finest_mm=finest_mm))
                    for p in self._hold(patches, smooth=smooth)
                ]
                if all(map(_is_fine, moved)):
                    break
            if surface_mm is not None:
                step_mm = min(finest_mm, self.spacing_mm)
                self._surface = points_of_parts(
                    dose, partial(ScatteredPoints, points_mm=surface_mm, reach=reach, step_mm=step_mm)
                )
        self.parts = list(points)
        self.cell_reach_gy = np.concatenate([p.cell_reach_gy for p in points])[self.cells.node]
        self.interpolation_error_gy = points[0].interpolation_error_gy

    def _hold(self, patches: Sequence[Patch], smooth: bool) -> list[Patch]:
        """Take these patches; with the nodes they need, which follow from others where doses are smooth."""
        self.cells, nodes = Cells.of(patches, smooth=smooth)
        self.points_mm = np.concatenate([p.points_mm for p in nodes])
        none = np.zeros(len(self.cells.sources))
        self.volume_cc = np.concatenate([*(p.volume_cc for p in nodes), none])
        self._inside = np.concatenate([*(p.volume_cc >= (1 - 1e-6) * p.lattice.voxel_cc for p in nodes), none > 0])
        return nodes

    def in_parts(self, parts: tuple[DosePart, ...]) -> "StructureDoses":
        """The same cells, which meet the dose part by part; where nothing moves they receive the whole.

        Bounds on errors and on what cells hold stay those of the whole dose.
        """
        other = copy.copy(self)
        other.parts = [_in_parts(points, parts) for points in self.parts]
        other._surface = None if self._surface is None else _in_parts(self._surface, parts)
        other.courses_at_once = COURSES_IN_PARTS
        return other

    @property
    def n_points(self) -> int:
        """Number of nodes."""
        return len(self.volume_cc)

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """Course doses float32 (course, node) in Gy; right where nodes are counted, boolean (course, node), all by default."""
        if counted is not None and len(self.parts) == 1:
            return self.parts[0].accumulate(motion, counted)
        return doses_of_cells(self.parts, self.cells, motion)

    def narrow(self, doses_gy: Iterable[np.ndarray]) -> None:
        """Take `cell_reach_gy` down to what doses differ by within each cell in some courses, and half as much again.

        `doses_gy` is what `accumulate` gives for a few courses after the other.
        """
        c, spread_gy = self.cells, np.zeros(len(self.cells.node), np.float32)
        for gy in doses_gy:
            most_spread(gy, c.node, c.around, c.part, c.shape, spread_gy)
        self.cell_reach_gy = np.minimum(self.cell_reach_gy, _SAFETY * spread_gy)

    @property
    def every_point_mm(self) -> np.ndarray:
        """Nodes and surface points, float64 (n, 3)."""
        return self.points_mm if self._surface_mm is None else np.concatenate([self.points_mm, self._surface_mm])

    def changed(self, coefficients: np.ndarray, describe: Describe) -> "StructureDoses":
        """The same cells where doses change with the displacement.

        Parameters
        ----------
        coefficients : of every point, float32 (feature, n) in Gy. describe : see `simulator.accumulation.changed`.
        """
        other = copy.copy(self)
        of_parts = np.split(coefficients, np.cumsum([part.n_points for part in self.parts]), axis=1)
        other.parts = [ChangedPoints(part, own, describe) for part, own in zip(self.parts, of_parts, strict=False)]
        if self._surface is not None:
            other._surface = ChangedPoints(self._surface, of_parts[-1], describe)
        return other

    def planned(self, offset_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The planned dose itself where the structure is displaced by an offset (3,) and nothing else moves.

        Returns
        -------
        dose_gy : float32 (1, node). limits_gy : smallest and largest dose (1, 2); None without surface points.
        """
        dose_gy = self._dose.at(self.cells.all_nodes(self.points_mm) + offset_mm)[None].astype(np.float32)
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


def _in_parts(points: PointDoses, parts: tuple[DosePart, ...]) -> PointDoses:
    return MetInParts(points, parts) if isinstance(points, LatticePoints | ScatteredPoints) else points


def _sum_of_squares(
    accumulate: Callable[[TissueMotion], np.ndarray], dose_gy: np.ndarray, motion: TissueMotion, n_fractions: int
) -> np.ndarray:
    """S2 = sum_f d_f^2, float32 (course, point); a motion of a single visit is n equal fractions."""
    if motion.weight.shape[1] == 1:
        return np.square(dose_gy) / np.float32(n_fractions)
    squares = np.zeros_like(dose_gy)
    for fraction in motion.fractions():
        squares += np.square(accumulate(fraction))
    return squares
