"""Points of a lattice in tiles of neighbours, which a kernel sums side by side."""

from dataclasses import dataclass

import numpy as np

from simulator.kernels.tiles import cover_with_tiles


@dataclass(frozen=True)
class Tiles:
    """Points in tiles of up to 8 neighbours along one axis, cell by cell.

    Parameters
    ----------
    axes : order of (z, y, x) in which the tiles run along the last axis.
    start : int64 (tile, 3), first node in that order. place : int64 (tile + 1,), first point, then their number.
    order : int64 (point,), indices of the points in the order of the tiles; empty when that is their own.
    cell_tile : int64 (cell + 1,), first tile of each cell. cell_zyx : (cell, 3), mean node.
    """

    axes: tuple[int, ...]
    start: np.ndarray
    place: np.ndarray
    order: np.ndarray
    cell_tile: np.ndarray
    cell_zyx: np.ndarray

    @classmethod
    def of(cls, index_zyx: np.ndarray, cell_steps: float) -> "Tiles":
        """The fewest tiles over the three axes, within cells of `cell_steps` nodes."""
        index = index_zyx.astype(np.int64)
        cell = np.zeros(len(index), np.int64)
        if np.isfinite(cell_steps):
            _, cell = np.unique(index // int(cell_steps), axis=0, return_inverse=True)
            cell = cell.reshape(-1)
        centre = np.stack([np.bincount(cell, index[:, a]) / np.bincount(cell) for a in range(3)], axis=1)
        ways = [cls._along(axes, index, cell, centre) for axes in ((0, 1, 2), (0, 2, 1), (1, 2, 0))]
        return min(ways, key=lambda tiles: len(tiles.start))

    @classmethod
    def _along(cls, axes: tuple[int, ...], index: np.ndarray, cell: np.ndarray, centre: np.ndarray) -> "Tiles":
        turned = index[:, axes]
        order = np.lexsort((*turned.T[::-1], cell))
        node, start, place = (
            np.ascontiguousarray(turned[order]),
            np.empty(index.shape, np.int64),
            np.empty(len(index), np.int64),
        )
        n_tiles = cover_with_tiles(node, cell[order], start, place)
        start, place = start[:n_tiles], place[:n_tiles]
        cell_tile = np.searchsorted(cell[order][place], np.arange(len(centre) + 1))
        in_order = np.array_equal(order, np.arange(len(order)))
        ends = np.append(place, len(order))
        return cls(axes, start, ends, order[:0] if in_order else order, cell_tile, centre)
