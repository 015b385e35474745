"""Structures: regions of tissue, and the points with partial-volume weights that stand for them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

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
        step = float(np.clip(np.min(upper - lower) / 40, 0.25, 2.0))
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
