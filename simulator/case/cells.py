"""Cells: how the tissue of a structure fills the cells of a lattice.

The dose of a cell is that of its inside part: near the surface the centre of a cell may lie outside. A part is known by its
volume, its centroid and its second moments; with the dose at the centre and at the six neighbouring nodes, that gives the
mean dose of the part and its range to second order (`simulator.kernels.cells`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.ndimage import binary_dilation

from simulator.case.geometry import Grid

SUB_CELLS = 6
_NEIGHBOURS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]])
_WHOLE = 1 - 1e-6
_FOLLOW, _FOLLOWING_MM = (3.0, -3.0, 1.0), 1.0
_WHOLE_CELL = np.array([[0, 0, 0, 1 / 12, 1 / 12, 1 / 12, 0, 0, 0]], np.float32)
_BLOCK, _FARTHEST = 4, 2**19


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

    def moments(self, grid: Grid, index_zyx: np.ndarray) -> np.ndarray:
        """Moments of the region within some voxels, float64 (n, 10), lengths in voxel edges from the voxel's centre.

        Volume, then the integrals of z, y, x, zz, yy, xx, zy, zx and yx, for voxels of index int (n, 3).
        """
        ...


@dataclass(frozen=True)
class Patch:
    """Part of a structure sampled on one lattice.

    Parameters
    ----------
    lattice : grid whose nodes are whole multiples of its (isotropic) spacing.
    index_zyx : int32 (n, 3), node indices.
    volume_cc : float64 (n,), volume that each node stands for.
    cut : int32 (m,), which of the nodes stand for a part of their cell.
    shape : float32 (m, 9), centroid of that part (z, y, x) from the node, and its covariance (zz, yy, xx, zy, zx, yx), in
        cell edges.
    """

    lattice: Grid
    index_zyx: np.ndarray
    volume_cc: np.ndarray
    cut: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    shape: np.ndarray = field(default_factory=lambda: np.empty((0, 9), np.float32))

    @property
    def points_mm(self) -> np.ndarray:
        """Node positions (n, 3) as (x, y, z)."""
        return self.lattice.points_mm(self.index_zyx)

    @property
    def spacing_mm(self) -> float:
        """Edge of a cell."""
        return self.lattice.spacing_mm[0]

    def some(self, kept: np.ndarray) -> "Patch":
        """The cells, boolean (n,), that are kept."""
        place = np.cumsum(kept) - 1
        cut = kept[self.cut]
        return Patch(
            self.lattice,
            self.index_zyx[kept],
            self.volume_cc[kept],
            place[self.cut[cut]].astype(np.int32),
            self.shape[cut],
        )


def sample_region(region: Region, spacing_mm: float) -> Patch:
    """Cells of a region on the lattice of whole multiples of `spacing_mm`."""
    lower, upper = region.bounds_mm
    return sample_lattice(region, Grid.covering(lower - spacing_mm, upper + spacing_mm, spacing_mm))


def sample_lattice(region: Region, lattice: Grid) -> Patch:
    """Cells of a region on a lattice."""
    occupancy = region.occupancy(lattice)
    index = np.argwhere(binary_dilation(occupancy > 0, np.ones((3, 3, 3)))).astype(np.int32)
    index = index[_in_blocks(index)]
    volume = occupancy[tuple(index.T)].astype(np.float64)
    cut = np.flatnonzero(volume < _WHOLE)
    moments = region.moments(lattice, index[cut])
    volume[cut] = moments[:, 0]
    return _patch(lattice, index, volume, cut, moments)


def _in_blocks(index_zyx: np.ndarray) -> np.ndarray:
    """Order of cells (n, 3) in which blocks of 64 that lie together follow each other: their doses are alike."""
    inside = np.lexsort(index_zyx.T[::-1])
    return inside[np.lexsort((index_zyx[inside] // _BLOCK).T[::-1])]


def _patch(lattice: Grid, index: np.ndarray, volume: np.ndarray, cut: np.ndarray, moments: np.ndarray) -> Patch:
    """Cells with a volume (n,) in cells; of those that are cut, by number, with their moments."""
    total, first, second = np.split(moments, [1, 4], axis=1)
    total = np.maximum(total, 1e-12)
    centroid, second = first / total, second / total
    z, y, x = centroid.T
    covariance = second - np.stack([z * z, y * y, x * x, z * y, z * x, y * x], axis=1)
    shape = np.concatenate([centroid, covariance], axis=1).astype(np.float32)
    return Patch(lattice, index, volume * lattice.voxel_cc, cut.astype(np.int32), shape).some(volume > 0)


class Division:
    """Cells of a patch divided into 27, more and more of them: the moments of parts are found once."""

    def __init__(self, region: Region, patch: Patch) -> None:
        self._region, self._patch = region, patch
        self._row = np.full(len(patch.volume_cc), -1)
        self._moments = np.empty((0, 27, 10))

    def of(self, chosen: np.ndarray) -> Patch:
        """The parts of the cells, boolean (n,), that are chosen."""
        step = self._patch.spacing_mm / 3
        centre_mm = self._patch.points_mm[chosen]
        lattice = Grid.covering(centre_mm.min(axis=0) - step, centre_mm.max(axis=0) + step, step)
        centre = np.rint(lattice.index_zyx(centre_mm)).astype(np.int32)
        parts = centre[:, None] + (np.array(list(np.ndindex(3, 3, 3)), np.int32) - 1)
        is_new = self._row[chosen] < 0
        new = self._region.moments(lattice, parts[is_new].reshape(-1, 3)).reshape(-1, 27, 10)
        self._row[np.flatnonzero(chosen)[is_new]] = len(self._moments) + np.arange(len(new))
        self._moments = np.concatenate([self._moments, new])
        index, moments = parts.reshape(-1, 3), self._moments[self._row[chosen]].reshape(-1, 10)
        order = _in_blocks(index)
        index, moments = index[order], moments[order]
        volume = moments[:, 0].copy()
        cut = np.flatnonzero(volume < _WHOLE)
        volume[volume >= _WHOLE] = 1.0
        return _patch(lattice, index, volume, cut, moments[cut])


def refined(region: Region, patch: Patch, chosen: np.ndarray) -> Patch:
    """The cells, boolean (n,), that are chosen, each divided into 27."""
    return Division(region, patch).of(chosen)


def places(patch: Patch, per_edge: int = 1) -> np.ndarray:
    """A number int64 (n,) for each cell, or for the larger one of which it is a part of 1 / `per_edge` of the edge."""
    steps = np.rint(np.array(patch.lattice.origin_mm[::-1]) / patch.spacing_mm).astype(np.int64)
    place = (patch.index_zyx + steps + per_edge // 2) // per_edge + _FARTHEST
    return np.asarray(np.ravel_multi_index(place.T, (2 * _FARTHEST,) * 3))


def sub_voxel_moments(occupancy: Callable[[Grid], np.ndarray], grid: Grid, index_zyx: np.ndarray) -> np.ndarray:
    """Moments, see `Region`, from the occupancy of 216 sub-voxels of each voxel, layer by layer."""
    moments = np.zeros((len(index_zyx), 10))
    offset = (np.arange(SUB_CELLS) - (SUB_CELLS - 1) / 2) / SUB_CELLS
    z, y, x = (a.ravel() for a in np.meshgrid(offset, offset, offset, indexing="ij"))
    own = 1 / (12 * SUB_CELLS**2)
    factors = np.stack(
        [np.ones_like(z), z, y, x, z * z + own, y * y + own, x * x + own, z * y, z * x, y * x], axis=1
    ) / len(z)  # fmt: skip
    step = np.array(grid.spacing_mm) / SUB_CELLS
    for layer in np.unique(index_zyx[:, 0]):
        here = np.flatnonzero(index_zyx[:, 0] == layer)
        low, high = index_zyx[here].min(axis=0), index_zyx[here].max(axis=0)
        n = (high - low + 1) * SUB_CELLS
        x0, y0, z0 = (float(v) for v in grid.points_mm(low) + offset[0] * np.array(grid.spacing_mm))
        sx, sy, sz = (float(v) for v in step)
        filled = occupancy(Grid((x0, y0, z0), (sx, sy, sz), (int(n[0]), int(n[1]), int(n[2]))))
        blocks = filled.reshape(*np.ravel(np.stack([n // SUB_CELLS, np.full(3, SUB_CELLS)], axis=1)))
        blocks = blocks.transpose(0, 2, 4, 1, 3, 5).reshape(*(n // SUB_CELLS), -1)
        moments[here] = blocks[tuple((index_zyx[here] - low).T)] @ factors
    return moments


@dataclass(frozen=True)
class Cells:
    """Cells of a structure and the nodes whose doses they need: their own, and its six neighbours.

    Where doses are smooth, neighbours of small cells beyond the end of a row of three or more follow from these, as if
    third differences were zero.

    Parameters
    ----------
    volume_cc : float64 (cell,). node : uint32 (cell,), the node of each. around : uint32 (cell, 6), the nodes before and
        after it along z, y and x.
    part : uint32 (cell,), row of `shape`. shape : float32 (m, 9), see `Patch`; its first row is that of whole cells.
    start : int64 (patch + 1,), first cell of each patch. spacing_mm : by patch.
    n_nodes : of all patches, but for those that follow from others.
    sources : uint32 (following node, 3), the nodes from which each of these follows, nearest first.
    """

    volume_cc: np.ndarray
    node: np.ndarray
    around: np.ndarray
    part: np.ndarray
    shape: np.ndarray
    start: np.ndarray
    spacing_mm: tuple[float, ...]
    n_nodes: int
    sources: np.ndarray

    @classmethod
    def of(cls, patches: Sequence[Patch], *, smooth: bool = True) -> tuple["Cells", list[Patch]]:
        """Cells with a volume of some patches, and the patches with the nodes that they need, in C order, `n_nodes` in all.

        No node follows from others unless doses are `smooth`.
        """
        volume, node, around, part, nodes = [], [], [], [], []
        sources: list[np.ndarray] = []
        n_nodes, n_following, n_parts = 0, 0, 1
        for patch in patches:
            index = patch.index_zyx.astype(np.int64)
            filled = patch.volume_cc > 0
            lowest, size = index.min(axis=0) - 1, np.ptp(index, axis=0) + 3
            own = np.ravel_multi_index((index - lowest).T, size)
            beside = own[filled, None] + _NEIGHBOURS @ [size[1] * size[2], size[2], 1]
            following, their_sources = _following(
                own, own[filled], beside, smooth and patch.spacing_mm <= _FOLLOWING_MM
            )
            every = _distinct(np.concatenate([own, beside.ravel()]))
            every = every[~np.isin(every, following, assume_unique=True)]
            node_cc = np.zeros(len(every))
            node_cc[np.searchsorted(every, own)] = patch.volume_cc
            at = np.stack(np.unravel_index(every, size), axis=1) + lowest
            nodes.append(Patch(patch.lattice, at.astype(np.int32), node_cc))
            rows = np.zeros(len(index), np.int32)
            rows[patch.cut] = n_parts + np.arange(len(patch.cut))
            volume.append(patch.volume_cc[filled])
            node.append(np.searchsorted(every, own[filled]) + n_nodes)
            in_row = np.searchsorted(every, beside) + n_nodes
            beyond = -1 - n_following - np.searchsorted(following, beside)
            around.append(np.where(np.isin(beside, following), beyond, in_row))
            sources.append(np.searchsorted(every, their_sources) + n_nodes)
            part.append(rows[filled])
            n_nodes, n_following = n_nodes + len(every), n_following + len(following)
            n_parts += len(patch.cut)
        beside = np.concatenate(around)
        cells = cls(
            np.concatenate(volume),
            np.concatenate(node).astype(np.uint32),
            np.where(beside < 0, n_nodes - 1 - beside, beside).astype(np.uint32),
            np.concatenate(part).astype(np.uint32),
            np.concatenate([_WHOLE_CELL, *(p.shape for p in patches)]),
            np.cumsum([0, *(len(v) for v in volume)]),
            tuple(p.spacing_mm for p in patches),
            n_nodes,
            np.concatenate(sources).astype(np.uint32),
        )
        return cells, nodes

    @property
    def n_all_nodes(self) -> int:
        """Number of nodes, those that follow from others included."""
        return self.n_nodes + len(self.sources)

    def all_nodes(self, points_mm: np.ndarray) -> np.ndarray:
        """Positions (node, 3) of all nodes, from those (n_nodes, 3) of the nodes that follow from no others."""
        nearest, second, _ = points_mm[self.sources.T]
        return np.concatenate([points_mm, 2 * nearest - second])

    def some(self, kept: np.ndarray) -> tuple["Cells", np.ndarray]:
        """The cells, boolean (cell,), that are kept, and which nodes, boolean (node,), they need, in their order."""
        needed = np.zeros(self.n_all_nodes, bool)
        needed[self.node[kept]] = needed[self.around[kept]] = True
        sources = self.sources[needed[self.n_nodes :]]
        needed[sources] = True
        place = (np.cumsum(needed) - 1).astype(np.uint32)
        start = np.concatenate([[0], np.cumsum(kept)])[self.start]
        own = needed[: self.n_nodes]
        cells = Cells(
            self.volume_cc[kept], place[self.node[kept]], place[self.around[kept]], self.part[kept], self.shape, start,
            self.spacing_mm, int(own.sum()), place[sources],
        )  # fmt: skip
        return cells, own

    def mean_weights(self) -> np.ndarray:
        """Volumes (node,) in cc whose sum with node doses is the integral of dose: means of parts are linear in them."""
        shape = self.shape[self.part].astype(float)
        offset, square = shape[:, :3], shape[:, 3:6] + shape[:, :3] ** 2
        weights = np.bincount(self.node, self.volume_cc * (1 - square.sum(axis=1)), self.n_all_nodes)
        for axis in range(3):
            for side, sign in enumerate((-1, 1)):
                share = self.volume_cc * (square[:, axis] + sign * offset[:, axis]) / 2
                weights += np.bincount(self.around[:, 2 * axis + side], share, self.n_all_nodes)
        own, following = np.split(weights, [self.n_nodes])
        for column, factor in enumerate(_FOLLOW):
            own += np.bincount(self.sources[:, column], factor * following, self.n_nodes)
        return own


def _distinct(values: np.ndarray) -> np.ndarray:
    """What `np.unique` gives, by sorting: for many repeated numbers several times as quick as by hashing."""
    ordered = np.sort(values, axis=None)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]


def _following(
    own: np.ndarray, filled: np.ndarray, beside: np.ndarray, may_follow: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes beside cells that lie beyond the end of a row of three of their own nodes, and these three, nearest first.

    Parameters
    ----------
    own, filled, beside : numbers (node,) of cells, (cell,) of those with a volume, and (cell, 6) of their neighbours.
    """
    one, two = (filled[:, None] - n * (beside - filled[:, None]) for n in (1, 2))
    ends = may_follow & ~np.isin(beside, own) & np.isin(one, own) & np.isin(two, own)
    following, first = np.unique(beside[ends], return_index=True)
    at = np.broadcast_to(filled[:, None], beside.shape)
    return following, np.stack([way[ends][first] for way in (at, one, two)], axis=1)
