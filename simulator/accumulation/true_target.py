"""The true target under delineation error: which part of the tissue belongs to it differs from course to course.

Tissue stays as it is. A point at the signed distance s from the drawn surface (positive outside) belongs to the true
target when s is below the drawn distance of its direction from the target's centre. A cell whose centre lies within a
quarter of a cell of the true surface counts in part; over a whole cell, partial volumes at cell centres would bias D98% by
0.3 % of the maximum dose at 0.75 mm.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from simulator.case.cells import Patch, sample_lattice
from simulator.case.geometry import Grid
from simulator.case.structures import Structure, sample_structure, surface
from simulator.kernels.tiles import volumes_within
from simulator.uncertainty.delineation import Delineation, SurfaceField

_SMALL_CC = 30.0
_RAMP = np.float32(0.5)


@dataclass(frozen=True)
class TrueTarget:
    """Points around the drawn target and the rule that gives them to the true one.

    Parameters
    ----------
    patch : points out to the farthest true surface; its volumes are those of the drawn target, zero outside.
    distance_mm : float32 (point,), signed distance to the drawn surface; -inf deeper inside than the true surface reaches.
    """

    delineation: Delineation
    patch: Patch
    distance_mm: np.ndarray
    field: SurfaceField

    @classmethod
    def around(cls, target: Structure, delineation: Delineation, max_points: int) -> "TrueTarget":
        """The true target of a drawn one, on the lattice that the drawn one would have, or a coarser one."""
        step = sample_structure(target, max_points=max_points).spacing_mm
        reach = delineation.farthest_mm + step
        lower, upper = target.region.bounds_mm
        size = np.prod(upper - lower + 2 * reach) / step**3 / 2
        if size > 6 * max_points:
            step = np.ceil(4 * step * (size / (6 * max_points)) ** (1 / 3)) / 4
            reach = delineation.farthest_mm + step
        lattice = Grid.covering(lower - reach, upper + reach, float(step))
        drawn = sample_lattice(target.region, lattice)
        filled = np.zeros(lattice.shape)
        filled[tuple(drawn.index_zyx.T)] = drawn.volume_cc / lattice.voxel_cc
        nodes = np.argwhere(np.ones(lattice.shape, bool)).astype(np.int32)
        points = lattice.points_mm(nodes)
        signed = _signed_distance_mm(points, target, filled.ravel() >= 0.5, reach)
        is_near = (signed <= reach) | binary_dilation(filled > 0).ravel()
        place = np.cumsum(is_near) - 1
        cut = place[np.ravel_multi_index(drawn.index_zyx[drawn.cut].T, lattice.shape)].astype(np.int32)
        patch = Patch(lattice, nodes[is_near], filled.ravel()[is_near] * lattice.voxel_cc, cut, drawn.shape)
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
        volume_cc = np.empty((len(coefficients), len(self.distance_mm)))
        per_mm = 1 / (_RAMP * np.float32(self.patch.lattice.spacing_mm[0]))
        error = self.delineation
        volumes_within(
            self.field.basis, coefficients, np.float32(error.mean_mm), np.float32(error.sd_mm),
            np.float32(error.farthest_mm), self.distance_mm, per_mm, self.patch.lattice.voxel_cc, volume_cc,
        )  # fmt: skip
        return volume_cc


def _signed_distance_mm(points_mm: np.ndarray, target: Structure, is_inside: np.ndarray, reach_mm: float) -> np.ndarray:
    """Distance of points to the surface of a structure, positive outside; infinite beyond `reach_mm`.

    To the nearest point of a fine mesh; where the mesh is not fine against the distance, to the tangent plane there.
    """
    step = 0.25 if target.volume_cc < _SMALL_CC else 0.5
    mesh, normal = surface(target, step)
    distance, nearest = cKDTree(mesh).query(points_mm, distance_upper_bound=max(reach_mm, 2 * step) + 1e-6)
    signed = np.where(is_inside, -np.inf, np.inf)
    met = np.flatnonzero(np.isfinite(distance))
    distance, nearest = distance[met], nearest[met]
    from_plane = np.einsum("na,na->n", points_mm[met] - mesh[nearest], normal[nearest])
    signed[met] = np.where(distance < 2 * step, from_plane, np.sign(from_plane) * distance)
    return signed
