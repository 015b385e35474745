"""Grids and volumes: the only place where (x, y, z) vectors meet (z, y, x) arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.reading import check_room

_NODE_BYTES = 4


@dataclass(frozen=True)
class Grid:
    """A regular axis-aligned lattice of nodes.

    Parameters
    ----------
    origin_mm : centre of node [0, 0, 0] as (x, y, z).
    spacing_mm : step along (x, y, z), all positive.
    shape : number of nodes along (z, y, x).
    """

    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if min(self.spacing_mm) <= 0 or min(self.shape) < 1:
            raise ValueError(f"a grid needs positive spacing and shape, got {self.spacing_mm}, {self.shape}")

    def __str__(self) -> str:
        nz, ny, nx = self.shape
        return f"{nx} x {ny} x {nz} nodes, {' x '.join(f'{s:g}' for s in self.spacing_mm)} mm apart"

    @classmethod
    def covering(cls, lower_mm: ArrayLike, upper_mm: ArrayLike, spacing_mm: float) -> "Grid":
        """The smallest grid with nodes on whole multiples of the spacing that encloses a box.

        Raises
        ------
        CaseError : more nodes than memory should be asked for.
        """
        size_mm = np.asarray(upper_mm, float) - np.asarray(lower_mm, float)
        where = f"a box of {' x '.join(f'{s:.4g}' for s in size_mm)} mm in steps of {spacing_mm:g} mm"
        remedy = "look for parts of a structure that lie far from each other, or from the dose grid"
        check_room(float(np.prod(size_mm / spacing_mm + 1)) * _NODE_BYTES, where, remedy)
        first = np.floor(np.asarray(lower_mm) / spacing_mm - 1e-9).astype(int)
        last = np.ceil(np.asarray(upper_mm) / spacing_mm + 1e-9).astype(int)
        nx, ny, nz = (int(n) for n in last - first + 1)
        x, y, z = (float(v) for v in first * spacing_mm)
        return cls((x, y, z), (spacing_mm,) * 3, (nz, ny, nx))

    @property
    def axes_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Node coordinates along x, y and z, three 1-D float64 arrays."""
        nz, ny, nx = self.shape
        x, y, z = (o + s * np.arange(n) for o, s, n in zip(self.origin_mm, self.spacing_mm, (nx, ny, nz), strict=True))
        return x, y, z

    @property
    def upper_mm(self) -> tuple[float, float, float]:
        """Centre of the last node as (x, y, z)."""
        x, y, z = (float(a[-1]) for a in self.axes_mm)
        return x, y, z

    @property
    def voxel_cc(self) -> float:
        """Volume of one voxel in cc."""
        return float(np.prod(self.spacing_mm)) * CC_PER_MM3

    def nodes_mm(self) -> np.ndarray:
        """Coordinates of every node, shape (z, y, x, 3), vectors (x, y, z)."""
        x, y, z = self.axes_mm
        zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
        return np.stack([xx, yy, zz], axis=-1)

    def index_zyx(self, points_mm: np.ndarray) -> np.ndarray:
        """Fractional array indices (..., 3) as (z, y, x) of points (..., 3) given as (x, y, z) in mm."""
        index_xyz = (np.asarray(points_mm, float) - self.origin_mm) / self.spacing_mm
        return index_xyz[..., ::-1]

    def points_mm(self, index_zyx: np.ndarray) -> np.ndarray:
        """Points (..., 3) as (x, y, z) in mm of array indices (..., 3) as (z, y, x)."""
        return np.asarray(index_zyx, float)[..., ::-1] * self.spacing_mm + self.origin_mm

    def contains(self, points_mm: np.ndarray) -> np.ndarray:
        """Which points lie between the first and the last nodes; boolean (...)."""
        index = self.index_zyx(points_mm)
        return np.all((index >= -1e-6) & (index <= np.asarray(self.shape) - 1 + 1e-6), axis=-1)


@dataclass(frozen=True)
class Volume:
    """Values on a grid: `values[z, y, x]`, float32, unit said by the owner (Gy, relative density...)."""

    grid: Grid
    values: np.ndarray

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise ValueError(f"values have shape {self.values.shape}, the grid {self.grid.shape}")


def in_house_axes(
    origin_mm: np.ndarray,
    directions: np.ndarray,
    steps_mm: np.ndarray,
    shape: tuple[int, ...],
    values: np.ndarray | None = None,
) -> tuple[Grid, np.ndarray | None]:
    """Turn an array whose axes run along +-x, +-y, +-z in any order into (z, y, x) with rising coordinates.

    Parameters
    ----------
    origin_mm : centre of element [0, 0, 0] as (x, y, z).
    directions : (3, 3), patient direction (x, y, z) of each array axis.
    steps_mm : (3,), step along each array axis; a negative one runs against the direction.
    shape : of the array.
    values : the array, or None when only the grid is wanted.
    """
    steps = np.asarray(directions) * np.asarray(steps_mm)[:, None]
    order = [int(np.argmax(np.abs(steps[:, axis]))) for axis in (2, 1, 0)]
    step_zyx = np.array([steps[a, 2 - i] for i, a in enumerate(order)])
    n_zyx = np.array([shape[a] for a in order])
    first_zyx = np.asarray(origin_mm)[::-1] + np.minimum(step_zyx, 0) * (n_zyx - 1)
    x, y, z = (float(v) for v in first_zyx[::-1])
    dx, dy, dz = (float(v) for v in np.abs(step_zyx)[::-1])
    nz, ny, nx = (int(n) for n in n_zyx)
    grid = Grid((x, y, z), (dx, dy, dz), (nz, ny, nx))
    if values is None:
        return grid, None
    flip = tuple(slice(None, None, -1) if step < 0 else slice(None) for step in step_zyx)
    return grid, np.ascontiguousarray(values.transpose(order)[flip])


def cropped(volume: Volume, lower_mm: np.ndarray, upper_mm: np.ndarray) -> Volume:
    """The part of a volume within a box, one voxel more on each side where there is one."""
    grid = volume.grid
    n_zyx = np.array(grid.shape)
    begin = np.clip(np.floor(grid.index_zyx(lower_mm)).astype(int) - 1, 0, n_zyx - 1)
    k, j, i = begin
    end_k, end_j, end_i = np.clip(np.ceil(grid.index_zyx(upper_mm)).astype(int) + 2, begin + 1, n_zyx)
    part = np.ascontiguousarray(volume.values[k:end_k, j:end_j, i:end_i])
    x, y, z = (float(v) for v in grid.points_mm(begin))
    return Volume(Grid((x, y, z), grid.spacing_mm, part.shape), part)
