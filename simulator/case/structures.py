"""Structures: regions of tissue, and the cells that stand for them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from skimage.measure import marching_cubes

from simulator.case.cells import Patch, Region, sample_region
from simulator.case.geometry import Grid
from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.once import cached_property
from simulator.ground.readable import Readable

Role = Literal["target", "oar", "external"]


@dataclass(frozen=True, repr=False)
class Structure(Readable):
    """A named region: target, organ at risk or body outline."""

    name: str
    role: Role
    region: Region

    def summary(self) -> dict[str, str]:
        """What it is and how large."""
        return {"name": self.name, "role": self.role, "volume": f"{self.volume_cc:.3g} cc"}

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

    Marching cubes miss a curved surface by up to a tenth of the spacing: where the region knows distances to its surface, the
    points are moved onto it. They round off edges and corners: where the region knows these, their points are added.
    """
    spacing_mm = 0.5 if structure.volume_cc < 5 else 1.0
    points, normal = surface(structure, spacing_mm)
    if (distance_mm := getattr(structure.region, "distance_mm", None)) is not None:
        points = points - distance_mm(points)[:, None] * normal
    edges_mm = getattr(structure.region, "edges_mm", None)
    return points if edges_mm is None else np.concatenate([points, edges_mm(spacing_mm)])


_TARGET_SPACINGS_MM = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
_ORGAN_SPACINGS_MM = (0.25, 0.5, 0.75, 1.0, 3.0, 9.0, 27.0)


def sample_structure(structure: Structure, *, max_points: int = 6_000) -> Patch:
    """Cells of a structure, to begin with; those that decide its metrics are divided (`simulator.simulation.refinement`).

    The finest of 0.25 to 27 mm that makes at most `max_points` of them; in a target of 0.25 to 3 mm and six times as many.
    """
    volume_mm3 = structure.volume_cc / CC_PER_MM3
    is_target = structure.role == "target"
    spacings, allowed = (_TARGET_SPACINGS_MM, 6 * max_points) if is_target else (_ORGAN_SPACINGS_MM, max_points)
    fine = (h for h in spacings if volume_mm3 / h**3 <= allowed)
    return sample_region(structure.region, next(fine, spacings[-1]))


def shared_cc(structure: Structure, target: Structure) -> float:
    """Volume in cc that a structure and a target share."""
    lower, upper = target.region.bounds_mm
    step = float(np.clip((np.prod(upper - lower) / 5e4) ** (1 / 3), 0.25, 6.0))
    grid = Grid.covering(lower - step, upper + step, step)
    return float(np.minimum(structure.region.occupancy(grid), target.region.occupancy(grid)).sum()) * grid.voxel_cc
