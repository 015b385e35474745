"""Outlines of a volume on transverse slices, for structure sets.

An outline is where the share that the volume fills passes one half, by marching squares (Lorensen & Cline 1987,
doi:10.1145/37401.37422) on the partial-volume field at the slice's height: smooth surfaces are placed to a few hundredths
of a voxel. A hole is joined to the outline around it by a channel of no width (keyhole), so that any rule of filling, even-odd
or by winding number, finds the same tissue.
"""

import numpy as np
from skimage.measure import approximate_polygon, find_contours, points_in_poly

from simulator.plan.targets import TargetVolume

_HALF = 0.5
_LEAST_AREA_MM2 = 0.05
_STRAIGHT_MM = 0.005


def outlines(volume: TargetVolume, z_mm: float) -> list[np.ndarray]:
    """Closed polygons (n, 2) of (x, y) in mm around the parts of a volume at one height, none where it does not reach."""
    x0, y0, z0 = volume.lattice.origin_mm
    step = volume.lattice.spacing_mm[0]
    below, share = divmod((z_mm - z0) / step, 1)
    field = np.pad((1 - share) * _plane(volume, int(below)) + share * _plane(volume, int(below) + 1), 1)
    rings = [approximate_polygon(r, _STRAIGHT_MM / step)[:-1] for r in find_contours(field, _HALF)]
    rings = [np.array([x0, y0]) + (ring[:, ::-1] - 1) * step for ring in rings]
    area = np.array([_signed_area(ring) for ring in rings])
    large = np.abs(area) > _LEAST_AREA_MM2
    if not large.any():
        return []
    outward = np.sign(area[np.argmax(np.abs(area))])  # the largest ring lies around tissue, and holes run the other way
    around = [rings[i] for i in np.flatnonzero(large & (area * outward > 0))]
    holes: list[list[np.ndarray]] = [[] for _ in around]
    for hole in (rings[i] for i in np.flatnonzero(large & (area * outward < 0))):
        inside = [k for k, ring in enumerate(around) if points_in_poly(hole[:1], ring)[0]]
        holes[min(inside, key=lambda k: abs(_signed_area(around[k])))].append(hole)
    return [_keyholed(ring, own) for ring, own in zip(around, holes, strict=True)]


def _plane(volume: TargetVolume, k: int) -> np.ndarray:
    """Share filled on one plane of the lattice, float64 (y, x); nothing beyond it."""
    nz, ny, nx = volume.lattice.shape
    return volume.occupancy[k].astype(float) if 0 <= k < nz else np.zeros((ny, nx))


def _signed_area(ring: np.ndarray) -> float:
    (x, y), (u, v) = ring.T, np.roll(ring, -1, axis=0).T
    return 0.5 * float(np.sum(x * v - u * y))


def _keyholed(ring: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """One polygon of an outline and its holes, the nearest of them first, so that no channel crosses another hole."""
    left = list(holes)
    while left:
        nearest = []
        for hole in left:
            apart = np.linalg.norm(ring[:, None] - hole[None], axis=2)
            i, j = divmod(int(np.argmin(apart)), len(hole))
            nearest.append((float(apart[i, j]), i, j))
        which = int(np.argmin([distance for distance, _, _ in nearest]))
        _, i, j = nearest[which]
        hole = np.roll(left.pop(which), -j, axis=0)
        ring = np.concatenate([ring[: i + 1], hole, hole[:1], ring[i:]])
    return ring
