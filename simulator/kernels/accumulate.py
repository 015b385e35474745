"""Dose accumulation: weighted displacements of a point set in a fixed dose.

Lengths are in units of the dose lattice unless a name says mm; doses in Gy; weights of a course sum to 1.

Every function is compiled once: whole numbers are np.int64 where a plain constant would be a type of its own, and an array
is never made by unpacking a larger one, whose parts would count as not contiguous.
"""

import math

import numpy as np
from numba import njit

from simulator.kernels.vectors import LANES, TILES, sum_tiles, sum_trilinear

TILES_AT_ONCE, _POINTS_AT_ONCE, _TERMS_AT_ONCE = 64, 256, 512
_TICKS = 2.0**14
_FARTHEST_STEPS = 2.0**20
_MOST_QUADS = 2**31 - 1


@njit(cache=True, nogil=True)
def visit_box(shift):
    """Box of lattice nodes that displacements touch: lowest node int64 (3,) and size int64 (3,), (z, y, x)."""
    low = np.empty(3, np.int64)
    size = np.empty(3, np.int64)
    if shift.shape[0] == 0:
        raise ValueError("no displacement")
    for a in range(3):
        least = most = shift[0, a]
        for k in range(shift.shape[0]):
            if not abs(shift[k, a]) < _FARTHEST_STEPS:
                raise ValueError("a displacement is not finite, or beyond any lattice")
            least, most = min(least, shift[k, a]), max(most, shift[k, a])
        low[a] = math.floor(least)
        size[a] = math.floor(most) - low[a] + 2
    return low, size


@njit(cache=True, nogil=True)
def enough_scratch(scratch, shift):
    """The scratch of zeros, or a larger one if `merge_visits` needs it."""
    _, size = visit_box(shift)
    needed = size[0] * size[1] * (size[2] + 1)
    return scratch if scratch.shape[0] >= needed else np.zeros(2 * needed)


@njit(cache=True, nogil=True)
def merge_visits(shift, weight, shape, stride, scratch, node, share):
    """Sum trilinear weights of many displacements on the lattice nodes that they touch.

    Parameters
    ----------
    shift : float64 (k, 3), displacements as (z, y, x) in lattice steps.
    weight : float64 (k,).
    shape : (z, y, x) of one part of a lattice that is split by its nodes' position modulo `stride`, (stride**3, z, y, x).
    scratch : float64 (n,) of zeros, as `enough_scratch` gives it; zeros again afterwards.
    node : int64 (8 k,), written: steps from a node to the touched ones in that lattice as one row, along (z, y, x).
    share : float64 (8 k,), their weights, written.

    Returns
    -------
    Number of nodes with weight.
    """
    low, size = visit_box(shift)
    nz, ny, nx = size
    if scratch.shape[0] < nz * ny * (nx + 1):
        raise ValueError("too little scratch")
    length = nx + 1  # the last number of a row tells whether it was touched
    for k in range(shift.shape[0]):
        z, y, x = shift[k, 0] - low[0], shift[k, 1] - low[1], shift[k, 2] - low[2]
        iz, iy, ix = min(int(z), nz - 2), min(int(y), ny - 2), min(int(x), nx - 2)
        fz, fy, fx = z - iz, y - iy, x - ix
        for corner in range(4):
            az, ay = corner >> 1, corner & 1
            w = weight[k] * (fz if az else 1 - fz) * (fy if ay else 1 - fy)
            row = ((iz + az) * ny + iy + ay) * length
            scratch[row + ix] += w * (1 - fx)
            scratch[row + ix + 1] += w * fx
            scratch[row + nx] = 1.0
    along = np.empty(nz + ny + nx, np.int64)
    step = 1
    phase_step = shape[0] * shape[1] * shape[2]
    for a in range(2, -1, -1):
        for i in range(size[a]):
            to = low[a] + i
            along[(0 if a == 0 else nz if a == 1 else nz + ny) + i] = to // stride * step + to % stride * phase_step
        step *= shape[a]
        phase_step *= stride
    n = row = 0
    for z in range(nz):
        for y in range(ny):
            if scratch[row + nx] > 0.0:
                scratch[row + nx] = 0.0
                here = along[z] + along[nz + y]
                for x in range(nx):
                    w = scratch[row + x]
                    if w > 0.0:
                        node[n] = here + along[nz + ny + x]
                        share[n] = w
                        n += 1
                        scratch[row + x] = 0.0
            row += length
    return n


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
    begin, spot = np.empty(TILES_AT_ONCE + TILES, np.int64), np.empty(TILES_AT_ONCE + TILES, np.int64)
    points = np.empty(LANES * (TILES_AT_ONCE + 1), np.float32)
    for g in range(arm_mm.shape[0]):
        if cell_tile[g] == cell_tile[g + 1]:
            continue
        least, most = np.int64(0), np.int64(0)
        for c in range(n_courses):
            n_terms[c] = 0
            own = counted[c : c + 1].reshape(-1)
            if own.shape[0] > 0 and not _is_any_counted(own, order, place[cell_tile[g]], place[cell_tile[g + 1]]):
                continue
            _move(shift_mm[c], linear[c], arm_mm[g], axes, step_mm, moved)
            scratch = enough_scratch(scratch, moved)
            n_terms[c] = merge_visits(moved, weight[c], shape, stride, scratch, node[c], merged)
            for i in range(n_terms[c]):
                share[c, i] = merged[i]
                least, most = min(least, node[c, i]), max(most, node[c, i])
        _check_tiles(start[cell_tile[g] : cell_tile[g + 1]], least, most, dose.shape[0])
        for first in range(cell_tile[g], cell_tile[g + 1], TILES_AT_ONCE):
            last = min(first + TILES_AT_ONCE, cell_tile[g + 1])
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


@njit(cache=True, nogil=True)
def _move(shift_mm, linear, arm_mm, axes, step_mm, moved):
    """`moved` (k, 3), written: shift + linear @ arm of a cell, along the axes of a lattice in its steps."""
    for k in range(shift_mm.shape[0]):
        for a in range(3):
            mm = shift_mm[k, axes[a]]
            if linear.shape[0] > 0:
                turn = linear[k, axes[a]]
                mm += turn[0] * arm_mm[0] + turn[1] * arm_mm[1] + turn[2] * arm_mm[2]
            moved[k, a] = mm / step_mm


@njit(cache=True, nogil=True)
def accumulate_radial(table_gy, step_mm, points_mm, arm_mm, shift_mm, linear, weight, total):
    """Course doses in a spherical dose: `total[c, p] = sum_k weight[c, k] * d(|points[p] + shift + linear @ arm[p]|)`.

    Parameters
    ----------
    table_gy : float64 (radius,), dose d at `i * step_mm` from the centre, linear in between; its last value beyond, where
        displacements that are not finite lie too.
    points_mm : float64 (p, 3) from the centre. arm_mm : float64 (p, 3). shift_mm : float64 (c, k, 3). weight : float64 (c, k).
    linear : float64 (c, k, 3, 3), or (c, 0, 3, 3) when every point moves alike.
    total : float32 (c, p) in Gy, written.
    """
    last = table_gy.shape[0] - 1
    moves_alike = linear.shape[1] == 0
    for c in range(shift_mm.shape[0]):
        for p in range(points_mm.shape[0]):
            dose = 0.0
            for k in range(shift_mm.shape[1]):
                x = points_mm[p, 0] + shift_mm[c, k, 0]
                y = points_mm[p, 1] + shift_mm[c, k, 1]
                z = points_mm[p, 2] + shift_mm[c, k, 2]
                if not moves_alike:
                    for b in range(3):
                        x += linear[c, k, 0, b] * arm_mm[p, b]
                        y += linear[c, k, 1, b] * arm_mm[p, b]
                        z += linear[c, k, 2, b] * arm_mm[p, b]
                s = math.sqrt(x * x + y * y + z * z) / step_mm
                if not s < last:
                    dose += weight[c, k] * table_gy[last]
                else:
                    i = int(s)
                    f = s - i
                    dose += weight[c, k] * ((1 - f) * table_gy[i] + f * table_gy[i + 1])
            total[c, p] = dose


@njit(cache=True, nogil=True)
def quads_of(dose):
    """Neighbours along z and y side by side, as `sum_trilinear` wants them: float32 (z, y, x, 4) as one row, and 4 more."""
    nz, ny, nx = dose.shape
    if dose.size == 0 or 4 * dose.size > _MOST_QUADS:
        raise ValueError("no lattice, or one of more nodes than 32 bits count")
    quads = np.empty(4 * (dose.size + 1), np.float32)
    quads[4 * dose.size :] = 0.0
    node = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                above, behind = min(z + 1, nz - 1), min(y + 1, ny - 1)
                quads[node] = dose[z, y, x]
                quads[node + 1] = dose[z, behind, x]
                quads[node + 2] = dose[above, y, x]
                quads[node + 3] = dose[above, behind, x]
                node += 4
    return quads


@njit(cache=True, nogil=True)
def _whole_ticks(steps):
    """A length rounded to whole 1 / 2**14 steps: float32 sums of them are exact wherever the lattice begins."""
    return np.float32(np.rint(steps * _TICKS) / _TICKS)


@njit(cache=True, nogil=True)
def pair_visits(shift, linear, weight, visit, first):
    """Visits of one course in pairs that share their linear part.

    Parameters
    ----------
    shift : float64 (k, 3). linear : float64 (k, 3, 3) or (0, 3, 3). weight : float64 (k,).
    visit : float32 (k, 8), written as `sum_trilinear` wants it. first : int64 (k, 2), written: first visit and pair of groups.

    Returns
    -------
    Numbers of groups with one linear part each, and of pairs.
    """
    groups = pairs = half = 0
    for k in range(shift.shape[0]):
        new = k == 0 or (linear.shape[0] > 0 and not np.array_equal(linear[k], linear[k - 1]))
        if new:
            first[groups, 0], first[groups, 1] = k, pairs
            groups += 1
        half = 0 if new else 4 - half
        if half == 0:
            visit[pairs] = 0.0
            pairs += 1
        for a in range(3):
            visit[pairs - 1, half + a] = _whole_ticks(shift[k, a])
        visit[pairs - 1, half + 3] = weight[k]
    return groups, pairs


@njit(cache=True, nogil=True)
def _place_points(node_zyx, arm_zyx, linear, k, n_points, at, place):
    """`place[i]` (n, 8): node + linear[k] @ arm of some points (3, p) as (z, y, x), twice, as `sum_trilinear` wants it.

    `at` float32 (3, p) is written on the way: along each axis by itself several points are placed at once.
    """
    for a in range(3):
        if linear.shape[0] > 0:
            z, y, x = linear[k, a, 0], linear[k, a, 1], linear[k, a, 2]
            for i in range(n_points):
                at[a, i] = _whole_ticks(node_zyx[a, i] + z * arm_zyx[0, i] + y * arm_zyx[1, i] + x * arm_zyx[2, i])
        else:
            for i in range(n_points):
                at[a, i] = _whole_ticks(node_zyx[a, i])
    for i in range(n_points):
        for a in range(3):
            place[i, a] = place[i, a + 4] = at[a, i]


@njit(cache=True, nogil=True)
def _next_points(counted, begin, end, points):
    """Some of the points begin <= p < end that count, all where nothing is said: how many, and where to go on."""
    if counted.shape[0] == 0:
        n = min(end - begin, points.shape[0])
        for i in range(n):
            points[i] = begin + i
        return n, begin + n
    n = np.int64(0)
    while begin < end and n < points.shape[0]:
        points[n] = begin
        n += counted[begin]
        begin += 1
    return n, begin


@njit(cache=True, nogil=True)
def _sum_points(quads, step, farthest, place, visit, first, last, points, n_points, total):
    """Add to some points of `total` what they get in the pairs first <= k < last."""
    for i in range(n_points):
        total[points[i]] += sum_trilinear(quads, step, farthest, place[i], visit, first, last)


@njit(cache=True, nogil=True)
def accumulate_gather(quads, shape, node_zyx, arm_zyx, shift, linear, weight, counted, total):
    """Course doses of points anywhere: trilinear look-up at node + shift + linear @ arm, in lattice steps.

    Parameters
    ----------
    quads : see `quads_of`, of a lattice of `shape` (z, y, x).
    node_zyx, arm_zyx : float64 (p, 3). shift : float64 (c, k, 3). weight : float64 (c, k).
    linear : float64 (c, k, 3, 3), or (c, 0, 3, 3) when every point moves alike.
    counted : boolean (c, p), or (0, p) when all points count: others are left without dose.
    total : float32 (c, p), written. Beyond the lattice the value on its face is taken.
    """
    if quads.shape[0] < 4 * (shape[0] * shape[1] * shape[2] + 1) or shape[0] * shape[1] * shape[2] == 0:
        raise ValueError("the lattice has another shape")
    step = np.zeros(LANES, np.int32)
    farthest = np.zeros(LANES, np.float32)
    for half in (0, 4):
        step[half], step[half + 1], step[half + 2] = 4 * shape[1] * shape[2], 4 * shape[2], 4
        for a in range(3):
            farthest[half + a] = shape[a] - 1
    n_visits = shift.shape[1]
    visit = np.empty((n_visits, LANES), np.float32)
    first = np.empty((n_visits + 1, 2), np.int64)
    place, points = np.zeros((_POINTS_AT_ONCE, LANES), np.float32), np.empty(_POINTS_AT_ONCE, np.int64)
    node, arm = np.empty((3, _POINTS_AT_ONCE)), np.empty((3, _POINTS_AT_ONCE))
    at = np.empty((3, _POINTS_AT_ONCE), np.float32)
    for c in range(shift.shape[0]):
        groups, pairs = pair_visits(shift[c], linear[c], weight[c], visit, first)
        first[groups, 1] = pairs
        total[c] = 0.0
        begin = np.int64(0)
        while begin < node_zyx.shape[0]:
            n, begin = _next_points(counted[c : c + 1].reshape(-1), begin, node_zyx.shape[0], points)
            for a in range(3):
                for i in range(n):
                    node[a, i], arm[a, i] = node_zyx[points[i], a], arm_zyx[points[i], a]
            for g in range(groups):
                _place_points(node, arm, linear[c], first[g, 0], n, at, place)
                _sum_points(quads, step, farthest, place, visit, first[g, 1], first[g + 1, 1], points, n, total[c])


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
    start, place = np.empty(TILES_AT_ONCE + TILES, np.int64), np.empty(TILES_AT_ONCE + TILES, np.int64)
    field, share = np.empty(LANES * (TILES_AT_ONCE + 1), np.float32), np.empty(LANES * (TILES_AT_ONCE + 1), np.float32)
    for begin in range(0, n_points, LANES * TILES_AT_ONCE):
        first, last = max(0, min(begin, n_points - LANES)), min(begin + LANES * TILES_AT_ONCE, n_points)
        n_tiles = np.int64(-(-(last - first) // LANES))
        for t in range(n_tiles):
            place[t] = max(0, min(LANES * t, last - first - LANES))
            start[t] = first + place[t]
        for c in range(factor.shape[0]):
            _weighted_sums(values, start, n_tiles, base, factor[c], place, field)
            _shares(field[: last - first], mean, sd, farthest, distance[first:last], per_mm, share)
            for p in range(last - first):
                volume[c, first + p] = cell_cc * share[p]


@njit(cache=True, nogil=True)
def count_visits(shift, weight, low, unit, visits):
    """Add every course's lattice visits to `visits` (z, y, x), int64 multiples of 1 / unit.

    Whole numbers make the sum independent of the order of courses. `low` is the offset of visits[0, 0, 0].
    """
    node = np.empty(8 * shift.shape[1], np.int64)
    share = np.empty(8 * shift.shape[1])
    scratch = np.zeros(0)
    counts = visits.reshape(-1)
    lowest = (low[0] * visits.shape[1] + low[1]) * visits.shape[2] + low[2]
    for c in range(shift.shape[0]):
        scratch = enough_scratch(scratch, shift[c])
        for n in range(merge_visits(shift[c], weight[c], visits.shape, np.int64(1), scratch, node, share)):
            at = node[n] - lowest
            if not 0 <= at < counts.shape[0]:
                raise ValueError("a displacement lies outside the box of visits")
            counts[at] += np.int64(np.rint(share[n] * unit))
