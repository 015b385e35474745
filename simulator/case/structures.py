"""Structures: regions of tissue, and the points with partial-volume weights that stand for them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from skimage.measure import marching_cubes

from simulator.case.geometry import Grid
from simulator.conventions import CC_PER_MM3

Role = Literal["target", "oar", "external"]


class Region(Protocol):
    """A closed set of tissue. Everything a structure needs derives from its occupancy of a grid."""

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner of a box that encloses the region, two (3,) arrays (x, y, z)."""
        ...

    def occupancy(self, grid: Grid) -> np.ndarray:
        """Share of each voxel of `grid` that the region fills, float32 (z, y, x) in 0-1.

        Sub-voxel accurate: the sum of occupancy times voxel volume converges fast to the region's volume,
        also where voxels are as large as the region's smallest diameter.
        """
        ...


@dataclass(frozen=True)
class Patch:
    """Part of a structure sampled on one lattice.

    Parameters
    ----------
    lattice : grid whose nodes are whole multiples of its (isotropic) spacing.
    index_zyx : int32 (n, 3), node indices in C order.
    volume_cc : float64 (n,), volume that each node stands for.
    """

    lattice: Grid
    index_zyx: np.ndarray
    volume_cc: np.ndarray

    @property
    def points_mm(self) -> np.ndarray:
        """Node positions (n, 3) as (x, y, z)."""
        return self.lattice.points_mm(self.index_zyx)


@dataclass(frozen=True)
class Structure:
    """A named region: target, organ at risk or body outline."""

    name: str
    role: Role
    region: Region

    @cached_property
    def volume_cc(self) -> float:
        """Volume from a fine occupancy grid."""
        lower, upper = self.region.bounds_mm
        step = float(np.clip((np.prod(upper - lower) / 5e4) ** (1 / 3), 0.25, 6.0))
        grid = Grid.covering(lower - step, upper + step, step)
        return float(self.region.occupancy(grid).sum(dtype=np.float64)) * grid.voxel_cc

    @cached_property
    def centroid_mm(self) -> np.ndarray:
        """Centre of volume (3,) as (x, y, z)."""
        patch = sample_region(self.region, max(0.5, (self.volume_cc / CC_PER_MM3 / 8000) ** (1 / 3)))
        return np.average(patch.points_mm, axis=0, weights=patch.volume_cc)


def sample_region(region: Region, spacing_mm: float) -> Patch:
    """Points of a region on the lattice of whole multiples of `spacing_mm`."""
    lower, upper = region.bounds_mm
    lattice = Grid.covering(lower - spacing_mm, upper + spacing_mm, spacing_mm)
    occupancy = region.occupancy(lattice)
    index = np.argwhere(occupancy > 0).astype(np.int32)
    return Patch(lattice, index, occupancy[tuple(index.T)].astype(np.float64) * lattice.voxel_cc)


def surface(structure: Structure, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in mm on the surface of a structure, at most `spacing_mm` apart, and outward normals (n, 3).

    The half-full level of the occupancy, by marching cubes (Lorensen & Cline 1987, doi:10.1145/37401.37422).
    """
    lower, upper = structure.region.bounds_mm
    grid = Grid.covering(lower - 2 * spacing_mm, upper + 2 * spacing_mm, spacing_mm)
    vertices, _, normals, _ = marching_cubes(structure.region.occupancy(grid), 0.5)
    return grid.points_mm(vertices), normals[:, ::-1].astype(float)


def surface_points(structure: Structure) -> np.ndarray:
    """Points (n, 3) in mm on the surface, at most 1 mm apart (0.5 mm below 5 cc).

    Marching cubes miss a curved surface by up to a tenth of the spacing; where the region knows distances to its surface, the
    points are moved onto it.
    """
    points, normal = surface(structure, 0.5 if structure.volume_cc < 5 else 1.0)
    distance_mm = getattr(structure.region, "distance_mm", None)
    return points if distance_mm is None else points - distance_mm(points)[:, None] * normal


_SPACINGS_MM = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_LARGE_CC = 500.0
_NEAR_CHOICES = ((60.0, 1.0), (40.0, 1.0), (25.0, 1.0), (25.0, 1.5), (25.0, 2.0), (25.0, 3.0))


def sample_structure(structure: Structure, target: Structure, *, max_points: int = 12_000) -> list[Patch]:
    """Points of a structure: fine near the target, where the dose is steep, and coarse far away.

    The finest of 0.25, 0.5, 0.75, 1, 1.5, 2 and 3 mm that needs at most `max_points` (three times as many in a target).
    An organ at risk for which that is coarser than 1 mm is split into two exact parts: cells within 60, 40 or 25 mm of
    the target's bounding box on a lattice of 1 mm (of 1.5, 2 or 3 mm if 25 mm are still too many), the rest three times
    as coarse.

    Returns
    -------
    Patches whose cells tile the structure, the finest first; their volumes sum to its volume.
    """
    allowed = 3 * max_points if structure is target else max_points
    volume_mm3 = structure.volume_cc / CC_PER_MM3
    if structure is target or volume_mm3 <= allowed:
        spacing = next((h for h in _SPACINGS_MM if volume_mm3 / h**3 <= allowed), _SPACINGS_MM[-1])
        return [sample_region(structure.region, spacing)]
    lower, upper = target.region.bounds_mm
    survey = sample_region(structure.region, 3.0 if structure.volume_cc < _LARGE_CC else 6.0)
    for near_mm, fine in _NEAR_CHOICES:
        is_near = _in_box(survey.points_mm, lower - near_mm, upper + near_mm)
        cells_mm3 = np.where(is_near, 1.0, 1 / 27) @ survey.volume_cc / CC_PER_MM3
        if cells_mm3 / fine**3 <= max_points:
            break
    return _split_patches(structure.region, fine, lower - near_mm, upper + near_mm)


def _in_box(points_mm: np.ndarray, lower_mm: np.ndarray, upper_mm: np.ndarray) -> np.ndarray:
    return np.all((points_mm >= lower_mm) & (points_mm <= upper_mm), axis=1)


def _split_patches(region: Region, fine_mm: float, lower_mm: np.ndarray, upper_mm: np.ndarray) -> list[Patch]:
    """Cells of a 3 x coarser lattice, those with their centre in the box replaced by their 27 fine cells."""
    coarse = sample_region(region, 3 * fine_mm)
    points = coarse.points_mm
    is_near = _in_box(points, lower_mm, upper_mm)
    far = Patch(coarse.lattice, coarse.index_zyx[~is_near], coarse.volume_cc[~is_near])
    if not is_near.any():
        return [far]
    cells = points[is_near]
    lattice = Grid.covering(cells.min(axis=0) - fine_mm, cells.max(axis=0) + fine_mm, fine_mm)
    wanted = np.zeros(lattice.shape, bool)
    centre = np.rint(lattice.index_zyx(cells)).astype(int)
    for offset in np.ndindex(3, 3, 3):
        wanted[tuple((centre + offset - 1).T)] = True
    occupancy = np.where(wanted, region.occupancy(lattice), 0.0)
    index = np.argwhere(occupancy > 0).astype(np.int32)
    near = Patch(lattice, index, occupancy[tuple(index.T)].astype(np.float64) * lattice.voxel_cc)
    return [patch for patch in (near, far) if len(patch.volume_cc)]
