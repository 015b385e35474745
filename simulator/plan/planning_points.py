"""Points on which plans are optimised and organs measured: few where the dose is flat, many where limits are decided."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial import cKDTree

from simulator.case.anatomy import Case
from simulator.case.cells import Patch, Region, refined, sample_region
from simulator.case.geometry import Grid, Volume
from simulator.plan.beam_model import AIR_DENSITY
from simulator.plan.sparing import Limit
from simulator.plan.targets import TargetVolume

DoseAt = Callable[[np.ndarray], np.ndarray]

_GOLDEN_RATIO: Final = (5**0.5 - 1) / 2
_NEAR_MM: Final = 8.0
_FINE_MM, _FINEST_MM, _SMALL_CC, _ROUNDING_GY = 1.0, 1 / 3, 1.0, 0.02
_COARSE_MM, _REACH_COARSE, _REACH = 4.5, 2.0, 1.25
_COARSE_TIMES: Final = (3, 9, 27)
_MOST_COARSE: Final = 4000
_NEAR_SURFACE_MM: Final = 12.0
_NEAREST: Final = (300, 1500)
_FARTHER: Final = 300
# Shells of tissue around the PTV: from, to and the distance of points in mm.
_SHELLS_MM: Final = ((0.5, 4.0, 2.0), (4.0, 14.0, 4.0), (14.0, 48.0, 8.0))
_MOST_OF_SHELL: Final = 2000


@dataclass(frozen=True)
class Points:
    """Points (n, 3) in mm and the volumes (n,) in cc that they stand for."""

    mm: np.ndarray
    volume_cc: np.ndarray

    def thinned(self, most: int) -> "Points":
        """At most so many of them, evenly spread along the list (golden ratio), for the same volume."""
        n = len(self.volume_cc)
        if n <= most:
            return self
        some = np.sort((np.arange(most) * _GOLDEN_RATIO % 1 * n).astype(int))
        volume_cc = self.volume_cc[some]
        return Points(self.mm[some], volume_cc * (self.volume_cc.sum() / volume_cc.sum()))

    def some(self, kept: np.ndarray) -> "Points":
        """Those that are kept, boolean (n,)."""
        return Points(self.mm[kept], self.volume_cc[kept])

    def thinned_away_from(self, surface: cKDTree) -> "Points":
        """The points nearest to a surface, most of those within 12 mm among them, and some of the others."""
        distance_mm = surface.query(self.mm)[0]
        near = int(np.clip(np.sum(distance_mm < _NEAR_SURFACE_MM), *_NEAREST))
        nearest = np.zeros(len(distance_mm), bool)
        nearest[np.argsort(distance_mm, kind="stable")[:near]] = True
        return joined(self.some(nearest), self.some(~nearest).thinned(_FARTHER))


def joined(*parts: Points) -> Points:
    """One after the other."""
    return Points(np.concatenate([p.mm for p in parts]), np.concatenate([p.volume_cc for p in parts]))


def points_of_target(target: TargetVolume, most: int) -> Points:
    """Of the voxels of a planning target or PTV."""
    filled = np.argwhere(target.occupancy > 0)
    volume_cc = target.occupancy[tuple(filled.T)].astype(np.float64) * target.lattice.voxel_cc
    return Points(target.lattice.points_mm(filled), volume_cc).thinned(most)


@dataclass(frozen=True)
class OrganPoints:
    """An organ at risk where a plan expects it.

    Parameters
    ----------
    own : nodes of its cells, of 1 mm around the PTV and larger ones elsewhere, `offset_mm` from where it was imaged.
    around : what a planning-risk volume adds. coarse_mm : edge of the larger cells.
    """

    region: Region
    offset_mm: np.ndarray
    coarse_mm: float
    own: Points
    around: Points

    @classmethod
    def of(cls, region: Region, offset_mm: np.ndarray, ptv: TargetVolume, prv_mm: float) -> "OrganPoints":
        """Around a PTV; the organ is displaced by an offset (3,), and grown by a margin where the dose is high."""
        lower, upper = region.bounds_mm
        edges_mm = [n * _FINE_MM for n in _COARSE_TIMES]
        coarse_mm = next((h for h in edges_mm if np.prod(upper - lower) < _MOST_COARSE * h**3), edges_mm[-1])
        reach = _NEAR_MM + prv_mm
        surface = ptv.surface_mm - offset_mm
        first = np.floor(np.maximum(surface.min(axis=0) - reach, lower - prv_mm) / coarse_mm + 0.5)
        last = np.ceil(np.minimum(surface.max(axis=0) + reach, upper + prv_mm) / coarse_mm - 0.5)
        whole = Grid.covering(lower - coarse_mm, upper + coarse_mm, coarse_mm)
        coarse, everywhere = region.occupancy(whole), np.ones(whole.shape, bool)
        if np.any(last < first):
            return cls(region, offset_mm, coarse_mm, _filled(whole, coarse, offset_mm, everywhere), _NOTHING)
        places = whole.nodes_mm() / coarse_mm
        is_far = np.any((places < first - 0.5) | (places > last + 0.5), axis=-1)
        corner = first * coarse_mm - 0.5 * (coarse_mm - _FINE_MM)
        nx, ny, nz = (int(n) for n in np.rint((last - first + 1) * coarse_mm / _FINE_MM))
        grid = Grid((float(corner[0]), float(corner[1]), float(corner[2])), (_FINE_MM,) * 3, (nz, ny, nx))
        fine = region.occupancy(grid)
        own = joined(_filled(grid, fine, offset_mm, fine > 0), _filled(whole, coarse, offset_mm, is_far))
        return cls(region, offset_mm, coarse_mm, own, _shell(fine, grid, offset_mm, prv_mm))

    def of_limit(self, limit: Limit) -> Points:
        """Those that a limit is about."""
        return joined(self.own, self.around) if limit.is_near_maximum else self.own

    def value_gy(self, limit: Limit, dose_at: DoseAt) -> float:
        """The dose that is limited, at the centroids of cells that are small where it is decided."""
        points = self._divided(limit, dose_at)
        if limit.is_near_maximum:
            points = joined(points, self.around)
        return limit.value_gy(dose_at(points.mm), points.volume_cc)

    def _divided(self, limit: Limit, dose_at: DoseAt) -> Points:
        """Centroids of cells, those divided by 27, and again, that may hold the dose of the limit.

        That is told from the slope of the dose in them. They end at a third of a mm, or at 1 mm where the limit is of more
        than 1 cc.
        """
        finest_mm = _FINEST_MM if limit.cc is not None and limit.cc < _SMALL_CC else _FINE_MM
        patch, done = sample_region(self.region, self.coarse_mm), _NOTHING
        while True:
            own = self._centroids(patch)
            every, own_gy = joined(own, done), dose_at(own.mm)
            if limit.cc is None or patch.spacing_mm < 1.5 * finest_mm:
                return every
            level_gy = limit.value_gy(np.concatenate([own_gy, dose_at(done.mm)]), every.volume_cc)
            steps = 0.5 * patch.spacing_mm * np.eye(3)
            spread = sum(0.5 * np.abs(dose_at(own.mm + step) - dose_at(own.mm - step)) for step in steps)
            reach = _REACH_COARSE if patch.spacing_mm > _COARSE_MM else _REACH
            chosen = np.abs(own_gy - level_gy) <= reach * spread + _ROUNDING_GY
            if not chosen.any():
                return every
            done = joined(done, own.some(~chosen))
            patch = refined(self.region, patch, chosen)

    def _centroids(self, patch: Patch) -> Points:
        mm = patch.points_mm + self.offset_mm
        mm[patch.cut] += patch.shape[:, 2::-1] * patch.spacing_mm
        return Points(mm, patch.volume_cc)


_NOTHING = Points(np.empty((0, 3)), np.empty(0))


def _filled(grid: Grid, occupancy: np.ndarray, offset_mm: np.ndarray, wanted: np.ndarray) -> Points:
    """Nodes of a grid that are filled and wanted, displaced."""
    index = np.argwhere((occupancy > 0) & wanted)
    return Points(grid.points_mm(index) + offset_mm, occupancy[tuple(index.T)].astype(np.float64) * grid.voxel_cc)


def _shell(occupancy: np.ndarray, grid: Grid, offset_mm: np.ndarray, margin_mm: float) -> Points:
    """What of a grid lies within a margin of an organ, but not in it."""
    if margin_mm == 0 or not (occupancy >= 0.5).any():
        return _NOTHING
    step = grid.spacing_mm[0]
    outside_mm = distance_transform_edt(occupancy < 0.5, sampling=step) - 0.5 * step
    share = np.clip((margin_mm - outside_mm) / step + 0.5, 0, 1) - occupancy
    index = np.argwhere(share > 0)
    return Points(grid.points_mm(index) + offset_mm, share[tuple(index.T)].astype(np.float64) * grid.voxel_cc)


def points_around(case: Case, ptv: TargetVolume) -> tuple[Points, np.ndarray]:
    """Points of the body around a PTV and their distances (n,) from it in mm, in shells that grow coarser."""
    surface = cKDTree(ptv.surface_mm)
    lower, upper = ptv.surface_mm.min(axis=0), ptv.surface_mm.max(axis=0)
    found, distances = [], []
    for start_mm, end_mm, step_mm in _SHELLS_MM:
        grid = Grid.covering(lower - end_mm, upper + end_mm, step_mm)
        mm = grid.nodes_mm().reshape(-1, 3)
        distance_mm, _ = surface.query(mm, distance_upper_bound=end_mm)
        kept = (distance_mm >= start_mm) & np.isfinite(distance_mm) & (_density(case.density, mm) > AIR_DENSITY)
        kept &= _occupancy(ptv, mm) == 0
        mm, distance_mm = mm[kept], distance_mm[kept]
        index = Points(np.arange(len(mm), dtype=float)[:, None], np.full(len(mm), grid.voxel_cc)).thinned(
            _MOST_OF_SHELL
        )
        some = index.mm[:, 0].astype(int)
        found.append(Points(mm[some], index.volume_cc))
        distances.append(distance_mm[some])
    return joined(*found), np.concatenate(distances)


def _density(density: Volume, mm: np.ndarray) -> np.ndarray:
    return map_coordinates(density.values, density.grid.index_zyx(mm).T, order=1, mode="constant")


def _occupancy(target: TargetVolume, mm: np.ndarray) -> np.ndarray:
    return map_coordinates(target.occupancy, target.lattice.index_zyx(mm).T, order=1, mode="constant")


def is_free(ptv: TargetVolume, region: Region, offset_mm: np.ndarray, prv_mm: float) -> np.ndarray:
    """Which voxels of a PTV's lattice lie farther than a margin from an organ, boolean (z, y, x)."""
    step, border = ptv.lattice.spacing_mm[0], int(np.ceil(prv_mm / ptv.lattice.spacing_mm[0])) + 1
    x, y, z = (float(v) for v in np.array(ptv.lattice.origin_mm) - offset_mm - border * step)
    nz, ny, nx = (n + 2 * border for n in ptv.lattice.shape)
    outside = region.occupancy(Grid((x, y, z), ptv.lattice.spacing_mm, (nz, ny, nx))) < 0.5
    if outside.all():
        return np.ones(ptv.lattice.shape, bool)
    distance_mm = distance_transform_edt(outside, sampling=step) - 0.5 * step
    return (distance_mm >= prv_mm)[border:-border, border:-border, border:-border]
