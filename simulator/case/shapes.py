"""Analytic regions: balls, ellipsoids, tubes and their combinations, each a signed distance to its surface."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulator.case.geometry import Grid
from simulator.ground.once import cached_property
from simulator.kernels.shapes import (
    CARVE,
    ELLIPSOID,
    INTERSECT,
    SKIP_UNLESS_NEAR,
    SLAB,
    TUBE,
    UNITE,
    fill_voxels,
    signed_distances,
    voxel_moments,
)

_SUBCELLS = 3
_LARGEST_CELL_MM, _LARGEST_SHARE = 0.57, 0.125
_REACH_MM = 12.0
_CUT_DIAGONALS = 0.6


@dataclass(frozen=True)
class Step:
    """An instruction of the kernels with its numbers, and how many items it takes or instructions it may skip."""

    what: int
    numbers: Sequence[float] = ()
    count: int = 0


class Shape(ABC):
    """A region known by the signed distance to its surface (negative inside, first-order exact near the surface)."""

    @property
    @abstractmethod
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner (3,) of a box that encloses the region."""

    @abstractmethod
    def steps(self) -> list[Step]:
        """Instructions that put the signed distance on the stack of the kernels."""

    @cached_property
    def _program(self) -> tuple[np.ndarray, np.ndarray]:
        """Instructions int64 (n, 3) and numbers (m,) for the kernels."""
        steps = self.steps()
        first = np.cumsum([0, *(len(s.numbers) for s in steps)])
        code = [
            (s.what, place, here + 1 + s.count if s.what == SKIP_UNLESS_NEAR else s.count)
            for here, (s, place) in enumerate(zip(steps, first[:-1], strict=True))
        ]
        return np.array(code, np.int64), np.concatenate([np.asarray(s.numbers, float) for s in steps])

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Signed distance (...) in mm of points (..., 3) to the surface."""
        points = np.ascontiguousarray(points_mm, float).reshape(-1, 3)
        distance = np.empty(len(points))
        signed_distances(*self._program, points, distance)
        return distance.reshape(np.shape(points_mm)[:-1])

    def occupancy(self, grid: Grid) -> np.ndarray:
        """Share of each voxel that the region fills, float32 (z, y, x).

        Voxels that the surface may cut are divided into 27 cells, each filled in proportion to its depth.
        """
        step = np.asarray(grid.spacing_mm)
        lower, upper = self.bounds_mm
        index = grid.index_zyx(np.array([lower - step, upper + step]))
        first = np.clip(np.floor(index[0]), 0, grid.shape).astype(int)
        last = np.clip(np.ceil(index[1]) + 1, 0, grid.shape).astype(int)
        filled = np.zeros(grid.shape, np.float32)
        box = tuple(slice(a, max(a, b)) for a, b in zip(first, last, strict=True))
        axes = (axis[part] for axis, part in zip(grid.axes_mm, box[::-1], strict=True))
        part = np.empty(filled[box].shape, np.float32)
        fill_voxels(*self._program, *axes, step, _SUBCELLS, _CUT_DIAGONALS * float(np.linalg.norm(step)), part)
        filled[box] = part
        return filled

    def moments(self, grid: Grid, index_zyx: np.ndarray) -> np.ndarray:
        """Moments float64 (n, 10) within some voxels, see `Region`."""
        moments = np.empty((len(index_zyx), 10))
        edge_mm = grid.spacing_mm[0]
        largest_mm = min(_LARGEST_CELL_MM, _LARGEST_SHARE * edge_mm)
        voxel_moments(*self._program, grid.points_mm(index_zyx), edge_mm, largest_mm, moments)
        return moments


@dataclass(frozen=True)
class Ball(Shape):
    """A sphere."""

    centre_mm: tuple[float, float, float]
    radius_mm: float

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Enclosing box."""
        centre = np.asarray(self.centre_mm, float)
        return centre - self.radius_mm, centre + self.radius_mm

    def steps(self) -> list[Step]:
        """Exact signed distance: a tube around a single point."""
        return [Step(TUBE, (self.radius_mm, *self.centre_mm, 0.0, 0.0, 0.0, 0.0), 1)]


@dataclass(frozen=True)
class Ellipsoid(Shape):
    """An axis-aligned ellipsoid with the given semi-axes."""

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Enclosing box."""
        centre, half = np.asarray(self.centre_mm, float), np.asarray(self.semi_axes_mm, float)
        return centre - half, centre + half

    def steps(self) -> list[Step]:
        """First-order signed distance f / |grad f| of the implicit function."""
        return [Step(ELLIPSOID, (*self.centre_mm, *(1 / a for a in self.semi_axes_mm), min(self.semi_axes_mm)))]


@dataclass(frozen=True)
class EllipticColumn(Shape):
    """A column along SI with an elliptic cross-section and flat ends."""

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float]
    half_height_mm: float

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Enclosing box."""
        half = np.array([*self.semi_axes_mm, self.half_height_mm])
        return np.asarray(self.centre_mm) - half, np.asarray(self.centre_mm) + half

    def steps(self) -> list[Step]:
        """First-order signed distance: an ellipsoid without end, cut by a slab."""
        side = (*self.centre_mm, *(1 / a for a in self.semi_axes_mm), 0.0, min(self.semi_axes_mm))
        return [Step(ELLIPSOID, side), Step(SLAB, (self.centre_mm[2], self.half_height_mm)), Step(INTERSECT)]


@dataclass(frozen=True)
class Tube(Shape):
    """All points within `radius_mm` of a polyline through `path_mm` (round ends)."""

    path_mm: tuple[tuple[float, float, float], ...]
    radius_mm: float

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Enclosing box."""
        path = np.asarray(self.path_mm, float)
        return path.min(axis=0) - self.radius_mm, path.max(axis=0) + self.radius_mm

    def steps(self) -> list[Step]:
        """Exact signed distance."""
        path = np.asarray(self.path_mm, float)
        segments = [(*start, *(end - start), 1 / np.sum((end - start) ** 2)) for start, end in pairwise(path)]
        return [Step(TUBE, (self.radius_mm, *np.concatenate(segments)), len(segments))]


@dataclass(frozen=True)
class Union(Shape):
    """What lies in any of the shapes."""

    shapes: tuple[Shape, ...]

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Enclosing box."""
        corners = [s.bounds_mm for s in self.shapes]
        return np.min([c[0] for c in corners], axis=0), np.max([c[1] for c in corners], axis=0)

    def steps(self) -> list[Step]:
        """Smallest of the shapes' signed distances."""
        first, *others = (s.steps() for s in self.shapes)
        return first + [step for other in others for step in (*other, Step(UNITE))]


@dataclass(frozen=True)
class Difference(Shape):
    """What lies in `shape` and more than `gap_mm` away from everything in `without`."""

    shape: Shape
    without: tuple[Shape, ...]
    gap_mm: float = 0.0

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Enclosing box."""
        return self.shape.bounds_mm

    def steps(self) -> list[Step]:
        """Largest of the constraints' signed distances; a constraint counts up to 12 mm beyond its box."""
        steps = self.shape.steps()
        for other in self.without:
            lower, upper = other.bounds_mm
            carving = [*other.steps(), Step(CARVE, (self.gap_mm,))]
            steps += [Step(SKIP_UNLESS_NEAR, (*(lower - _REACH_MM), *(upper + _REACH_MM)), len(carving)), *carving]
        return steps


def surface_distance_mm(shape: Shape, other: Shape, spacing_mm: float = 1.0) -> float:
    """Shortest distance in mm between the surfaces of two disjoint shapes, to about a tenth of `spacing_mm`."""
    lower, upper = shape.bounds_mm
    grid = Grid.covering(lower - spacing_mm, upper + spacing_mm, spacing_mm)
    nodes = grid.nodes_mm().reshape(-1, 3)
    depth = shape.distance_mm(nodes)
    near = np.abs(depth) <= spacing_mm
    return float(np.min(other.distance_mm(nodes[near]) + depth[near]))


def moved(path_mm: Sequence[Sequence[float]], by_mm: Sequence[float]) -> tuple[tuple[float, float, float], ...]:
    """A polyline displaced by a vector."""
    shifted = np.asarray(path_mm, float) + np.asarray(by_mm, float)
    return tuple((float(x), float(y), float(z)) for x, y, z in shifted)
