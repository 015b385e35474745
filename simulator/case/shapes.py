"""Analytic regions: balls, ellipsoids, tubes and their combinations, each a signed distance to its surface."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np

from simulator.case.geometry import Grid

_SUBCELLS = 3
_REACH_MM = 12.0
_CUT_DIAGONALS = 0.6


def _length(vectors: np.ndarray) -> np.ndarray:
    """Euclidean norm (...) of vectors (..., n), without the slow reduction over a short axis."""
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


class Shape(ABC):
    """A region known by the signed distance to its surface (negative inside, first-order exact near the surface)."""

    @property
    @abstractmethod
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner (3,) of a box that encloses the region."""

    @abstractmethod
    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Signed distance (...) in mm of points (..., 3) to the surface."""

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
        if np.any(first >= last):
            return filled
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        x, y, z = (axis[s] for axis, s in zip(grid.axes_mm, box[::-1], strict=True))
        nodes = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
        distance = self.distance_mm(nodes)
        part = (distance < 0).astype(np.float32)
        cut = np.abs(distance) <= _CUT_DIAGONALS * np.linalg.norm(step)
        offsets = (np.arange(_SUBCELLS) - (_SUBCELLS - 1) / 2) / _SUBCELLS
        cell = float(np.mean(step)) / _SUBCELLS
        centres = nodes[cut]
        total = np.zeros(len(centres))
        for dz in offsets:
            for dy in offsets:
                for dx in offsets:
                    depth = -self.distance_mm(centres + np.array([dx, dy, dz]) * step)
                    total += np.clip(0.5 + depth / cell, 0, 1)
        part[cut] = total / _SUBCELLS**3
        filled[box] = part
        return filled


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

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Exact signed distance."""
        return _length(points_mm - np.asarray(self.centre_mm)) - self.radius_mm


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

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """First-order signed distance f / |grad f| of the implicit function."""
        scaled = (points_mm - np.asarray(self.centre_mm)) / self.semi_axes_mm
        level = _length(scaled)
        slope = _length(scaled / self.semi_axes_mm)
        centre = -min(self.semi_axes_mm)
        return np.where(slope > 1e-9, level * (level - 1) / np.maximum(slope, 1e-9), centre)


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

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """First-order signed distance."""
        local = points_mm - np.asarray(self.centre_mm)
        scaled = local[..., :2] / self.semi_axes_mm
        level = _length(scaled)
        slope = _length(scaled / self.semi_axes_mm)
        side = np.where(slope > 1e-9, level * (level - 1) / np.maximum(slope, 1e-9), -min(self.semi_axes_mm))
        return np.maximum(side, np.abs(local[..., 2]) - self.half_height_mm)


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

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Exact signed distance."""
        nearest = np.full(points_mm.shape[:-1], np.inf)
        path = np.asarray(self.path_mm, float)
        for start, end in pairwise(path):
            along = end - start
            local = points_mm - start
            share = np.clip(local @ along / (along @ along), 0, 1)
            local -= share[..., None] * along
            np.minimum(nearest, np.einsum("...i,...i->...", local, local), out=nearest)
        return np.sqrt(nearest) - self.radius_mm


@dataclass(frozen=True)
class Union(Shape):
    """What lies in any of the shapes."""

    shapes: tuple[Shape, ...]

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Enclosing box."""
        corners = [s.bounds_mm for s in self.shapes]
        return np.min([c[0] for c in corners], axis=0), np.max([c[1] for c in corners], axis=0)

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Smallest of the shapes' signed distances."""
        return reduce(np.minimum, (s.distance_mm(points_mm) for s in self.shapes))


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

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Largest of the constraints' signed distances; a constraint counts up to 12 mm beyond its box."""
        distance = self.shape.distance_mm(points_mm)
        for other in self.without:
            lower, upper = other.bounds_mm
            near = np.logical_and.reduce(
                [
                    (points_mm[..., a] > lower[a] - _REACH_MM) & (points_mm[..., a] < upper[a] + _REACH_MM)
                    for a in range(3)
                ]
            )
            if not near.any():
                continue
            distance[near] = np.maximum(distance[near], self.gap_mm - other.distance_mm(points_mm[near]))
        return distance


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
