"""Planning targets: the volume that a plan covers, and its expansion by margins."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import map_coordinates

from simulator.case.cells import Region
from simulator.case.geometry import Grid
from simulator.ground.once import cached_property
from simulator.ground.spec import CaseError

_PATH_STEP_MM = 0.5
_MAX_NODES = 1.5e6
_LATTICES_MM = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Expansion:
    """Margins in mm in six directions.

    Parameters
    ----------
    toward_negative_mm : (3,) towards -x, -y, -z: right, anterior, inferior.
    toward_positive_mm : (3,) towards +x, +y, +z: left, posterior, superior.
    """

    toward_negative_mm: np.ndarray
    toward_positive_mm: np.ndarray

    def __post_init__(self) -> None:
        both = np.array([self.toward_negative_mm, self.toward_positive_mm], float)
        if both.shape != (2, 3) or np.any(both < 0) or not np.all(np.isfinite(both)):
            raise ValueError(f"six finite margins of at least 0 mm wanted, got {both.tolist()}")

    @property
    def margin_mm(self) -> np.ndarray:
        """Margins (3, 2) in mm: per axis x, y, z towards negative and towards positive."""
        return np.stack([self.toward_negative_mm, self.toward_positive_mm], axis=1).astype(float)


@dataclass(frozen=True)
class TargetVolume:
    """A volume sampled with sub-voxel accuracy.

    Parameters
    ----------
    lattice : isotropic grid that encloses the volume with a border of at least one empty voxel.
    occupancy : share of each voxel that the volume fills, float32 (z, y, x) in 0-1.
    path_mm : (n, 3), displacements of the region whose union this is; None for an expanded volume.
    """

    lattice: Grid
    occupancy: np.ndarray
    path_mm: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.occupancy.shape != self.lattice.shape:
            raise ValueError(f"occupancy has shape {self.occupancy.shape}, the lattice {self.lattice.shape}")

    @property
    def mask(self) -> np.ndarray:
        """Voxels that are at least half filled, boolean (z, y, x)."""
        return self.occupancy >= 0.5

    @cached_property
    def volume_cc(self) -> float:
        """Volume in cc."""
        return float(self.occupancy.sum(dtype=np.float64)) * self.lattice.voxel_cc

    @cached_property
    def centroid_mm(self) -> np.ndarray:
        """Centre of volume (3,) as (x, y, z)."""
        zyx = [
            np.average(np.arange(n), weights=self.occupancy.sum(axis=tuple({0, 1, 2} - {a}), dtype=np.float64))
            for a, n in enumerate(self.lattice.shape)
        ]
        return self.lattice.points_mm(np.array(zyx))

    @cached_property
    def surface_mm(self) -> np.ndarray:
        """Points (n, 3) where lattice lines cross the surface, to a tenth of a voxel."""
        points = []
        for axis in range(3):
            for sign in (-1, 1):
                depth = _depth_to_surface(self.occupancy, axis, sign)
                index = np.argwhere(depth >= 0)
                crossing = index.astype(float)
                crossing[:, axis] += sign * depth[tuple(index.T)]
                points.append(self.lattice.points_mm(crossing))
        return np.concatenate(points)

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Which nodes of a grid lie inside, boolean (z, y, x)."""
        index = [
            (axis - origin) / step
            for axis, origin, step in zip(
                grid.axes_mm[::-1], self.lattice.origin_mm[::-1], self.lattice.spacing_mm[::-1], strict=True
            )
        ]
        near = [np.flatnonzero((i > -1) & (i < n)) for i, n in zip(index, self.lattice.shape, strict=True)]
        inside = np.zeros(grid.shape, bool)
        coordinates = np.meshgrid(*(i[k] for i, k in zip(index, near, strict=True)), indexing="ij")
        inside[np.ix_(*near)] = map_coordinates(self.occupancy, coordinates, order=1, mode="constant") >= 0.5
        return inside


def planning_target(region: Region, path_mm: np.ndarray) -> TargetVolume:
    """Union of a region displaced to every position of a path, straight lines between positions included.

    Parameters
    ----------
    region : tissue at its planning position.
    path_mm : (n, 3), displacements (x, y, z); [[0, 0, 0]] gives the region itself.

    Raises
    ------
    CaseError : the region is empty.
    """
    corners = np.asarray(path_mm, float).reshape(-1, 3)
    path = _fill(corners)
    lower, upper = region.bounds_mm
    lattice = _lattice_around(lower + path.min(axis=0), upper + path.max(axis=0))
    occupancy = np.zeros(lattice.shape, np.float32)
    for displacement in path:
        origin = np.asarray(lattice.origin_mm) - displacement
        x, y, z = (float(v) for v in origin)
        displaced = region.occupancy(Grid((x, y, z), lattice.spacing_mm, lattice.shape))
        np.maximum(occupancy, displaced, out=occupancy)
    if not occupancy.any():
        raise CaseError("the target structure is empty; contour it or choose another target")
    return TargetVolume(lattice, occupancy, np.unique(corners, axis=0))


def expand(target: TargetVolume, expansion: Expansion) -> TargetVolume:
    """Minkowski sum of a target and eight ellipsoid octants: true distances, a margin of zero allowed per direction.

    A point belongs to the result when some target point lies at a displacement d with
    (dx / mx)^2 + (dy / my)^2 + (dz / mz)^2 <= 1, each margin chosen by the sign of its component. The sum is separable:
    its minimum over the target takes one pass per axis. Seeds are the target's nodes and the sub-voxel crossings of its
    surface with lattice lines: smooth surfaces are placed to a fifth of a voxel; faces in a direction of zero
    margin and sharp edges to half a voxel. Along axes that no pass has taken yet, only the target's own box is held.
    """
    margin = expansion.margin_mm
    if not margin.any():
        return TargetVolume(target.lattice, target.occupancy)
    filled = np.argwhere(target.occupancy > 0)
    corners = target.lattice.points_mm(np.array([filled.min(axis=0), filled.max(axis=0)]))
    step = target.lattice.spacing_mm[0]
    lower, upper = corners[0] - margin[:, 0], corners[1] + margin[:, 1]
    first = np.floor(target.lattice.index_zyx(lower)).astype(int) - 3
    last = np.ceil(target.lattice.index_zyx(upper)).astype(int) + 3
    nz, ny, nx = (int(n) for n in last - first + 1)
    x, y, z = (float(v) for v in target.lattice.points_mm(first))
    lattice = Grid((x, y, z), target.lattice.spacing_mm, (nz, ny, nx))
    before = np.zeros(lattice.shape, np.float32)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    place = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
    before[place] = target.occupancy[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]

    steps = margin[::-1] / step

    def seeded(axis: int) -> np.ndarray:
        return _first_pass(before[tuple(slice(None) if a == axis else place[a] for a in range(3))], axis, steps[axis])

    def spread(squared: np.ndarray, axis: int) -> np.ndarray:
        shape = [lattice.shape[a] if a == axis else n for a, n in enumerate(squared.shape)]
        wide = np.full(shape, np.inf, np.float32)
        wide[tuple(place[a] if a == axis else slice(None) for a in range(3))] = squared
        return _pass(wide, axis, steps[axis])

    across = np.minimum(spread(seeded(0), 1), spread(seeded(1), 0))
    gauge = np.minimum(spread(across, 2), spread(spread(seeded(2), 0), 1))
    return TargetVolume(lattice, np.maximum(before, _share_inside(np.sqrt(gauge), margin[margin > 0].min() / step)))


def _fill(corners_mm: np.ndarray) -> np.ndarray:
    """Positions along the polyline through `corners_mm` (n, 3), at most 0.5 mm apart, repeated ones left out."""
    filled = [corners_mm[:1]]
    for start, end in pairwise(corners_mm):
        n = max(1, int(np.ceil(np.linalg.norm(end - start) / _PATH_STEP_MM - 1e-9)))
        filled.append(start + np.outer(np.arange(1, n + 1) / n, end - start))
    return np.unique(np.round(np.concatenate(filled), 3), axis=0)


def _lattice_around(lower_mm: np.ndarray, upper_mm: np.ndarray) -> Grid:
    """The finest lattice with a bounded number of nodes around a box, with a border of one voxel."""
    for step in _LATTICES_MM:
        lattice = Grid.covering(lower_mm - step, upper_mm + step, step)
        if np.prod(lattice.shape) <= _MAX_NODES:
            break
    return lattice


def _depth_to_surface(occupancy: np.ndarray, axis: int, sign: int) -> np.ndarray:
    """Steps from each inside node to a surface crossing before its next node; -inf where there is none."""
    values = np.moveaxis(occupancy, axis, 0)[::sign]
    here, following = values[:-1], values[1:]
    depth = np.full(values.shape, -np.inf, np.float32)
    leaves = (here >= 0.5) & (following < 0.5)
    depth[:-1][leaves] = (here[leaves] - 0.5) / (here[leaves] - following[leaves])
    return np.moveaxis(depth[::sign], 0, axis)


def _first_pass(occupancy: np.ndarray, axis: int, margin_steps: np.ndarray) -> np.ndarray:
    """Squared gauge along one axis from the inside nodes and surface crossings of each lattice line."""
    squared = np.where(occupancy >= 0.5, np.float32(0), np.float32(np.inf))
    for sign, margin in zip((-1, 1), margin_steps, strict=True):
        depth = np.moveaxis(_depth_to_surface(occupancy, axis, sign), axis, 0)[::sign]
        target = np.moveaxis(squared, axis, 0)[::sign]
        for k in _reach(margin):
            np.minimum(target[k:], ((k - depth[:-k]) / np.float32(margin)) ** 2, out=target[k:])
    return squared


def _pass(squared: np.ndarray, axis: int, margin_steps: np.ndarray) -> np.ndarray:
    """Lower envelope of the squared gauge displaced along one axis."""
    result = squared.copy()
    for sign, margin in zip((-1, 1), margin_steps, strict=True):
        source = np.moveaxis(squared, axis, 0)[::sign]
        target = np.moveaxis(result, axis, 0)[::sign]
        for k in _reach(margin):
            np.minimum(target[k:], source[:-k] + np.float32((k / margin) ** 2), out=target[k:])
    return result


def _reach(margin_steps: float) -> Iterator[int]:
    """Whole steps that matter within a margin, two beyond it for the partial voxels; none for a zero margin."""
    return iter(range(1, int(np.ceil(margin_steps)) + 3 if margin_steps > 0 else 1))


def _share_inside(gauge: np.ndarray, smallest_margin_steps: float) -> np.ndarray:
    """Share of each voxel where the gauge is at most 1, from its value and slope at the voxel's centre."""
    bounded = np.minimum(gauge, 1 + 3 / smallest_margin_steps)
    slope = np.sqrt(sum(g**2 for g in np.gradient(bounded)))
    share = np.clip(0.5 + (1 - bounded) / np.maximum(slope, 1e-6), 0, 1)
    return np.where(np.isfinite(gauge), share, 0).astype(np.float32)
