"""The true target under delineation error: which part of the tissue belongs to it differs from course to course.

Tissue stays as it is. A point at the signed distance s from the drawn surface (positive outside) belongs to the true
target when s is below the drawn distance of its direction from the target's centre; a cell that the true surface cuts
counts in part.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from simulator.case.geometry import Grid
from simulator.case.structures import Patch, Structure, sample_structure, surface_points
from simulator.kernels.accumulate import combine_columns
from simulator.uncertainty.delineation import Delineation, SurfaceField


@dataclass(frozen=True)
class TrueTarget:
    """Points around the drawn target and the rule that gives them to the true one.

    Parameters
    ----------
    patch : points out to the farthest true surface; its volumes are those of the drawn target, zero outside.
    distance_mm : float32 (point,), signed distance to the drawn surface.
    """

    delineation: Delineation
    patch: Patch
    distance_mm: np.ndarray
    field: SurfaceField

    @classmethod
    def around(cls, target: Structure, delineation: Delineation, max_points: int) -> "TrueTarget":
        """The true target of a drawn one, on the lattice that the drawn one would have, or a coarser one."""
        (drawn,) = sample_structure(target, target, max_points=max_points)
        step = drawn.lattice.spacing_mm[0]
        reach = delineation.farthest_mm + step
        lower, upper = target.region.bounds_mm
        size = np.prod(upper - lower + 2 * reach) / step**3 / 2
        if size > 3 * max_points:
            step = np.ceil(4 * step * (size / (3 * max_points)) ** (1 / 3)) / 4
            reach = delineation.farthest_mm + step
        lattice = Grid.covering(lower - reach, upper + reach, float(step))
        occupancy = target.region.occupancy(lattice)
        nodes = np.argwhere(np.ones(lattice.shape, bool)).astype(np.int32)
        points = lattice.points_mm(nodes)
        distance, _ = cKDTree(surface_points(target)).query(points)
        share = occupancy[tuple(nodes.T)].astype(float)
        signed = np.where(share > 0.5, -distance, distance)
        is_near = (signed <= reach) | (share > 0)
        patch = Patch(lattice, nodes[is_near], share[is_near] * lattice.voxel_cc)
        directions = points[is_near] - target.centroid_mm
        return cls(
            delineation,
            patch,
            signed[is_near].astype(np.float32),
            SurfaceField.on(directions, delineation.correlation_deg),
        )

    @property
    def n_terms(self) -> int:
        """Random numbers that a course needs."""
        return len(self.field.basis)

    def volume_cc(self, coefficients: np.ndarray) -> np.ndarray:
        """Volume that each point stands for in each course, float64 (course, point), from coefficients (course, term)."""
        field = np.empty((len(coefficients), len(self.distance_mm)), np.float32)
        combine_columns(self.field.basis, coefficients, field)
        step = np.float32(self.patch.lattice.spacing_mm[0])
        depth = (self.delineation.distance_mm(field) - self.distance_mm) / step
        return np.clip(np.float32(0.5) + depth, 0, 1).astype(np.float64) * self.patch.lattice.voxel_cc


def true_extremes(dose_gy: np.ndarray, volume_cc: np.ndarray) -> np.ndarray:
    """Smallest and largest dose (course, 2) in Gy of the points (course, point) that belong to the true target."""
    belongs = volume_cc > 0
    lowest = np.where(belongs, dose_gy, np.inf).min(axis=1)
    return np.stack([lowest, np.where(belongs, dose_gy, -np.inf).max(axis=1)], axis=1)
