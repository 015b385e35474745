"""A volume swept by an ellipsoid of displacements, which need not lie along the axes."""

import numpy as np
from scipy.ndimage import map_coordinates

from simulator.case.geometry import Grid
from simulator.plan.targets import Expansion, TargetVolume, expand
from simulator.population.displacements import Ellipsoid

_ALONG_AXES = 1e-3
_ROUND_MM = 0.02
_NOTHING_MM = 0.05
_BORDER = 2


def swept(volume: TargetVolume, by: Ellipsoid) -> TargetVolume:
    """Minkowski sum of a volume and an ellipsoid: what the volume meets when it is displaced by any vector of it.

    Along the axes it is `expand`, to whose accuracy it is true. Otherwise the volume is turned into the ellipsoid's axes and
    the sum back, each time by linear interpolation of its partial-volume field.
    """
    turn = by.directions
    is_round = np.ptp(by.semi_axes_mm) < _ROUND_MM
    if is_round or np.abs(np.abs(turn).max(axis=0) - 1).max() < _ALONG_AXES:
        semi = np.full(3, by.semi_axes_mm.mean()) if is_round else by.semi_axes_mm[np.abs(turn).argmax(axis=1)]
        return _moved(expand(volume, _expansion(semi)), by.centre_mm)
    centre, (lower, upper) = volume.centroid_mm, _box(volume)
    corners = np.array(np.meshgrid(*zip(lower, upper, strict=True), indexing="ij")).reshape(3, -1).T
    turned = _resampled(volume, _around((corners - centre) @ turn, volume), turn, centre)
    wide = expand(turned, _expansion(by.semi_axes_mm))
    ends = np.array([lower - by.reach_mm - centre, upper + by.reach_mm - centre])
    back = _resampled(wide, _around(ends, volume), turn.T, np.zeros(3))
    return _moved(back, centre + by.centre_mm)


def _expansion(semi_axes_mm: np.ndarray) -> Expansion:
    semi = np.where(semi_axes_mm < _NOTHING_MM, 0.0, semi_axes_mm)
    return Expansion(semi, semi)


def _box(volume: TargetVolume) -> tuple[np.ndarray, np.ndarray]:
    filled = np.argwhere(volume.occupancy > 0)
    return volume.lattice.points_mm(filled.min(axis=0)), volume.lattice.points_mm(filled.max(axis=0))


def _around(points_mm: np.ndarray, volume: TargetVolume) -> Grid:
    step = volume.lattice.spacing_mm[0]
    return Grid.covering(points_mm.min(axis=0) - _BORDER * step, points_mm.max(axis=0) + _BORDER * step, step)


def _resampled(volume: TargetVolume, lattice: Grid, turn: np.ndarray, centre_mm: np.ndarray) -> TargetVolume:
    """A volume on a lattice whose node y lies at centre + turn y."""
    occupancy = np.empty(lattice.shape, np.float32)
    x, y, z = lattice.axes_mm
    plane = np.stack([a.ravel() for a in np.meshgrid(x, y)], axis=1)
    for k, height in enumerate(z):
        points = np.column_stack([plane, np.full(len(plane), height)]) @ turn.T + centre_mm
        index = volume.lattice.index_zyx(points)
        values = map_coordinates(volume.occupancy, index.T, order=1, mode="constant", prefilter=False)
        occupancy[k] = values.reshape(lattice.shape[1:])
    return TargetVolume(lattice, occupancy)


def _moved(volume: TargetVolume, by_mm: np.ndarray) -> TargetVolume:
    x, y, z = (float(v) for v in np.asarray(volume.lattice.origin_mm) + by_mm)
    return TargetVolume(Grid((x, y, z), volume.lattice.spacing_mm, volume.lattice.shape), volume.occupancy)
