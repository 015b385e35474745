"""Dose of points that move each in its own way, one by one: weighted displacements in a fixed dose.

Lengths are in units of the dose lattice unless a name says mm; doses in Gy; weights of a course sum to 1.

Every function is compiled once: whole numbers are np.int64 where a plain constant would be a type of its own, and an array
is never made by unpacking a larger one, whose parts would count as not contiguous.
"""

import math

import numpy as np
from numba import njit

from simulator.kernels.vectors import LANES, sum_trilinear

_POINTS_AT_ONCE = 256
_TICKS = 2.0**14
_MOST_QUADS = 2**31 - 1


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
    """Some of the points begin <= p < end that count (p,), all where it is empty, written to `points` (n,): how many, and where
    to go on."""
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
    """Add to `total` (p,) at points[:n_points] what `place` (n, 8) gets in the pairs first <= k < last of `visit` (pair, 8)."""
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
    at_once = min(_POINTS_AT_ONCE, max(node_zyx.shape[0], 1))
    place, points = np.zeros((at_once, LANES), np.float32), np.empty(at_once, np.int64)
    node, arm = np.empty((3, at_once)), np.empty((3, at_once))
    at = np.empty((3, at_once), np.float32)
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
