"""Outlines of a volume on transverse slices, for structure sets.

Whoever reads contours takes each for a slab of the slice's thickness. So each is drawn where its slab holds as much as the
volume has in it: at the level of the mean share filled within the slab that encloses that area, by marching squares (Lorensen
& Cline 1987, doi:10.1145/37401.37422). Of a smooth side this is the section of the slice; a slab that a flat end fills in part
gets a smaller outline, without which a volume that ends between two slices would lose or gain up to half a slice. A hole is
joined to the outline around it by a channel of no width (keyhole), so that any rule of filling, even-odd or by winding number,
finds the same tissue.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import brentq
from skimage.measure import approximate_polygon, find_contours, points_in_poly

from simulator.plan.targets import TargetVolume

_LEAST_SLAB_MM2, _LEAST_RING_MM2 = 3.0, 0.25
_STRAIGHT_MM = 0.005
_PER_MM, _LOWEST = 1e-3, 1e-5


def outlines(volume: TargetVolume, lower_mm: float, upper_mm: float) -> list[np.ndarray]:
    """Closed polygons (n, 2) of (x, y) in mm around the parts of a volume in a slab, none where it holds next to nothing."""
    x0, y0, _ = volume.lattice.origin_mm
    step = volume.lattice.spacing_mm[0]
    share = _mean_share(volume, lower_mm, upper_mm)
    area = float(share.sum())
    if area * step**2 < _LEAST_SLAB_MM2:
        return []
    rows, columns = (np.flatnonzero(share.any(axis=a)) for a in (1, 0))
    j, i = int(rows[0]), int(columns[0])
    share = np.pad(share[j : rows[-1] + 1, i : columns[-1] + 1], 1)
    inward = distance_transform_edt(share > 0) * step
    rings = [r for r in _rings(share + _PER_MM * inward, area) if abs(_signed_area(r)) * step**2 > _LEAST_RING_MM2]
    plain = [approximate_polygon(ring, _STRAIGHT_MM / step)[:-1] for ring in rings]
    first = np.array([x0 + step * (i - 1), y0 + step * (j - 1)])
    return _joined([first + ring[:, ::-1] * step for ring in plain])


def slab_edges(z_mm: np.ndarray) -> np.ndarray:
    """Where the slabs of some slices (n,) meet, half-way between them, and where the first and the last end; (n + 1,) in mm."""
    middle = (z_mm[1:] + z_mm[:-1]) / 2
    return np.concatenate([2 * z_mm[:1] - middle[:1], middle, 2 * z_mm[-1:] - middle[-1:]])


def _mean_share(volume: TargetVolume, lower_mm: float, upper_mm: float) -> np.ndarray:
    """Share filled of each pixel of a slab, float64 (y, x)."""
    z, step = volume.lattice.axes_mm[2], volume.lattice.spacing_mm[2]
    within = np.minimum(z + step / 2, upper_mm) - np.maximum(z - step / 2, lower_mm)
    weight = np.maximum(within, 0) / (upper_mm - lower_mm)
    near = np.flatnonzero(weight)
    return np.tensordot(weight[near], volume.occupancy[near], axes=1)


def _rings(field: np.ndarray, area: float) -> list[np.ndarray]:
    """Closed rings (n + 1, 2) in pixels along the level of a field that encloses an area in pixels."""

    def excess(level: float) -> float:
        return abs(sum(_signed_area(ring) for ring in find_contours(field, level))) - area

    return find_contours(field, brentq(excess, _LOWEST, float(field.max()), xtol=_LOWEST, rtol=_LOWEST))


def _joined(rings: list[np.ndarray]) -> list[np.ndarray]:
    """Outlines, each with its holes; the largest ring lies around tissue, and holes run the other way."""
    area = [_signed_area(ring) for ring in rings]
    outward = np.sign(max(area, key=abs, default=1.0))
    around = [ring for ring, a in zip(rings, area, strict=True) if a * outward > 0]
    holes: list[list[np.ndarray]] = [[] for _ in around]
    for hole in (ring for ring, a in zip(rings, area, strict=True) if a * outward < 0):
        inside = [k for k, ring in enumerate(around) if points_in_poly(hole[:1], ring)[0]]
        holes[min(inside, key=lambda k: abs(_signed_area(around[k])))].append(hole)
    return [_keyholed(ring, own) for ring, own in zip(around, holes, strict=True)]


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
