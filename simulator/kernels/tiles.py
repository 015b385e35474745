"""Sums over tiles: up to 8 points that follow each other along the last axis of a lattice.

Lengths are in units of the dose lattice unless a name says mm; doses in Gy; weights of a course sum to 1.

Every function is compiled once: whole numbers are np.int64 where a plain constant would be a type of its own, and an array
is never made by unpacking a larger one, whose parts would count as not contiguous.
"""

import numpy as np
from numba import njit

from simulator.kernels.vectors import LANES, TILES, sum_tiles
from simulator.kernels.visits import enough_scratch, merge_visits, move_visits

_TILES_AT_ONCE, _TERMS_AT_ONCE = 64, 512


@njit(cache=True, nogil=True)
def cover_with_tiles(node, cell, start, place):
    """Tiles of up to 8 points that follow each other along the last axis.

    Parameters
    ----------
    node : int64 (p, 3), sorted by cell, then by node. cell : int64 (p,).
    start : int64 (p, 3), written: first node of each tile. place : int64 (p,), written: first point of each tile.

    Returns
    -------
    Number of tiles.
    """
    n = 0
    for p in range(node.shape[0]):
        first = place[max(n - 1, 0)]
        follows = p > 0 and cell[p] == cell[first] and p < first + LANES
        for a in range(3):
            follows = follows and node[p, a] == node[first, a] + (p - first if a == 2 else 0)
        if not follows:
            for a in range(3):
                start[n, a] = node[p, a]
            place[n] = p
            n += 1
    return n


@njit(cache=True, nogil=True)
def _weighted_sums(values, start, n_starts, base, factor, place, result):
    """result[place[t] + i] = sum_n factor[n] * values[start[t] + base[n] + i] for 0 <= i < 8 and 0 <= t < n_starts.

    Whole batches of tiles are summed: `start` and `place` have room for one batch more, filled here with the last tile.

    Parameters
    ----------
    values : float32 (v,). start, place : int64 (n_starts + `TILES` - 1 or more,). base : int64 (n,). factor : float32 (n,).
    result : float32, 8 elements from the last place on or more; written.
    """
    if n_starts == 0 or base.shape[0] == 0:
        for t in range(n_starts):
            result[place[t] : place[t] + LANES] = 0.0
        return
    for t in range(n_starts, n_starts + TILES - 1):
        start[t], place[t] = start[n_starts - 1], place[n_starts - 1]
    for t in range(0, n_starts, TILES):
        sum_tiles(values, start, base, factor, base.shape[0], t, place, result)


@njit(cache=True, nogil=True)
def _check_tiles(start, least, most, n_values):
    """Refuse tiles that lie outside the values from `least` to `most` nodes away."""
    if start.min() + least < 0 or start.max() + most + LANES > n_values:
        raise ValueError("a point is displaced out of its lattice")


@njit(cache=True, nogil=True)
def weighted_sums(values, start, base, factor, total):
    """total[t, i] = sum_n factor[n] * values[start[t] + base[n] + i] for 0 <= i < 8.

    A few hundred terms at a time are summed in float32, and these sums in float64.

    Parameters
    ----------
    values : float32 (v,). start : int64 (t,). base : int64 (n,). factor : float32 (n,). total : float64 (t, 8), written.
    """
    n_starts = start.shape[0]
    begin, place = np.empty(n_starts + TILES, np.int64), np.empty(n_starts + TILES, np.int64)
    for t in range(n_starts):
        begin[t], place[t] = start[t], LANES * t
    some = np.empty(LANES * n_starts, np.float32)
    total[:] = 0.0
    if n_starts > 0 and base.shape[0] > 0:
        _check_tiles(start, base.min(), base.max(), values.shape[0])
    for n in range(0, base.shape[0], _TERMS_AT_ONCE):
        terms = slice(n, min(n + _TERMS_AT_ONCE, base.shape[0]))
        _weighted_sums(values, begin, n_starts, base[terms], factor[terms], place, some)
        for t in range(n_starts):
            for i in range(LANES):
                total[t, i] += some[LANES * t + i]


@njit(cache=True, nogil=True)
def _is_any_counted(counted, order, first, last):
    """Whether any of the points first <= p < last counts."""
    p = first
    while p < last and not counted[order[p] if order.shape[0] > 0 else p]:
        p += 1
    return p < last


@njit(cache=True, nogil=True)
def _counted_tiles(counted, order, start, place, first, last, begin, spot):
    """Number of the tiles first <= t < last with points that count, all where nothing is said; their `start` and `place` from
    the first on."""
    n = np.int64(0)
    for t in range(first, last):
        if counted.shape[0] == 0 or _is_any_counted(counted, order, place[t], place[t + 1]):
            begin[n], spot[n] = start[t], place[t] - place[first]
            n += 1
    return n


@njit(cache=True, nogil=True)
def accumulate_tiles(
    dose, shape, stride, start, place, order, cell_tile, arm_mm, axes, step_mm, shift_mm, linear, weight, counted, total
):
    """Course doses of points on a lattice: total[c, p] = sum over displacements of the trilinear dose at the moved point.

    Tiles are taken a few at a time, course after course, while the dose around them is at hand. What a short tile writes
    beyond its points is overwritten by the next one, since places ascend.

    Parameters
    ----------
    dose : float32, the lattice split by its nodes' position modulo `stride`, (stride**3, z, y, x) as one row, and 8 more.
    shape : (z, y, x) of one part. stride : dose-lattice steps between neighbouring points.
    start : int64 (t,), first node of each tile in a part. place : int64 (t + 1,), its first point, then their number.
    order : int64 (p,), column of `total` for each point of the tiles; empty when they are in order.
    cell_tile : int64 (cell + 1,), first tile of each cell of points that move alike.
    arm_mm : float64 (cell, 3), centre of each cell relative to that of `linear`.
    axes : int64 (3,), which of (x, y, z) runs along each axis of the lattice. step_mm : its spacing.
    shift_mm : float64 (c, k, 3), linear : float64 (c, k, 3, 3) or (c, 0, 3, 3): a cell moves by shift + linear @ arm.
    weight : float64 (c, k).
    counted : boolean (c, p), or (0, p) when all points count: doses of others are not right.
    total : float32 (c, p) in Gy, written.
    """
    n_courses, n_visits = weight.shape
    moved = np.empty((n_visits, 3))
    n_terms = np.empty(n_courses, np.int64)
    node, share = np.empty((n_courses, 8 * n_visits), np.int64), np.empty((n_courses, 8 * n_visits), np.float32)
    scratch, merged = np.zeros(0), np.empty(8 * n_visits)
    begin, spot = np.empty(_TILES_AT_ONCE + TILES, np.int64), np.empty(_TILES_AT_ONCE + TILES, np.int64)
    points = np.empty(LANES * (_TILES_AT_ONCE + 1), np.float32)
    for g in range(arm_mm.shape[0]):
        if cell_tile[g] == cell_tile[g + 1]:
            continue
        least, most = np.int64(0), np.int64(0)
        for c in range(n_courses):
            n_terms[c] = 0
            own = counted[c : c + 1].reshape(-1)
            if own.shape[0] > 0 and not _is_any_counted(own, order, place[cell_tile[g]], place[cell_tile[g + 1]]):
                continue
            move_visits(shift_mm[c], linear[c], arm_mm[g], axes, step_mm, moved)
            scratch = enough_scratch(scratch, moved)
            n_terms[c] = merge_visits(moved, weight[c], shape, stride, scratch, node[c], merged)
            for i in range(n_terms[c]):
                share[c, i] = merged[i]
                least, most = min(least, node[c, i]), max(most, node[c, i])
        _check_tiles(start[cell_tile[g] : cell_tile[g + 1]], least, most, dose.shape[0])
        for first in range(cell_tile[g], cell_tile[g + 1], _TILES_AT_ONCE):
            last = min(first + _TILES_AT_ONCE, cell_tile[g + 1])
            p0 = place[first]
            n = _counted_tiles(counted[:0].reshape(-1), order, start, place, first, last, begin, spot)
            for c in range(n_courses):
                if counted.shape[0] > 0:
                    n = _counted_tiles(counted[c], order, start, place, first, last, begin, spot)
                if n < last - first:
                    points[:] = 0.0
                if n > 0:
                    _weighted_sums(dose, begin, n, node[c, : n_terms[c]], share[c, : n_terms[c]], spot, points)
                for p in range(p0, place[last]):
                    total[c, order[p] if order.shape[0] > 0 else p] = points[p - p0]


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _shares(field, mean, sd, farthest, distance, per_mm, share):
    """Part of each cell within the surface, see `volumes_within`."""
    zero, half, one = np.float32(0.0), np.float32(0.5), np.float32(1.0)
    for p in range(field.shape[0]):
        d = min(max(mean + sd * field[p], -farthest), farthest)
        share[p] = min(max((d - distance[p]) * per_mm + half, zero), one)


@njit(cache=True, nogil=True)
def volumes_within(basis, factor, mean, sd, farthest, distance, per_mm, cell_cc, volume):
    """Volume of each point that lies within a surface whose distance from another one is a sum of fields.

    volume[c, p] = cell_cc * ((d - distance[p]) * per_mm + 1/2 cut off to 0-1), and
    d = mean + sd * sum_j factor[c, j] * basis[j, p] cut off beyond +-farthest; courses do not touch each other.

    Parameters
    ----------
    basis : float32 (term, p). factor : float32 (c, term). distance : float32 (p,) in mm; mean, sd, farthest : float32 in mm.
    per_mm : float32. volume : float64 (c, p) in cc, written.
    """
    n_terms, n_points = basis.shape
    values, base = basis.reshape(-1), np.empty(n_terms, np.int64)
    if n_points < LANES:
        values = np.zeros(basis.size + LANES, np.float32)
        values[: basis.size] = basis.reshape(-1)
    for j in range(n_terms):
        base[j] = j * n_points
    start, place = np.empty(_TILES_AT_ONCE + TILES, np.int64), np.empty(_TILES_AT_ONCE + TILES, np.int64)
    field, share = (
        np.empty(LANES * (_TILES_AT_ONCE + 1), np.float32),
        np.empty(LANES * (_TILES_AT_ONCE + 1), np.float32),
    )
    for begin in range(0, n_points, LANES * _TILES_AT_ONCE):
        first, last = max(0, min(begin, n_points - LANES)), min(begin + LANES * _TILES_AT_ONCE, n_points)
        n_tiles = np.int64(-(-(last - first) // LANES))
        for t in range(n_tiles):
            place[t] = max(0, min(LANES * t, last - first - LANES))
            start[t] = first + place[t]
        for c in range(factor.shape[0]):
            _weighted_sums(values, start, n_tiles, base, factor[c], place, field)
            _shares(field[: last - first], mean, sd, farthest, distance[first:last], per_mm, share)
            for p in range(last - first):
                volume[c, first + p] = cell_cc * share[p]
