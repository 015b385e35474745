"""Dose accumulation: weighted displacements of a point set in a fixed dose.

Unsigned indices spare the check for negative ones, without which the inner loops become vector instructions.

Lengths are in units of the dose lattice unless a name says mm; doses in Gy; weights of a course sum to 1.
"""

import math

import numpy as np
from numba import njit, uintp


@njit(cache=True, nogil=True)
def visit_box(shift):
    """Box of lattice nodes that displacements touch: lowest node int64 (3,) and size int64 (3,), (z, y, x)."""
    low = np.empty(3, np.int64)
    size = np.empty(3, np.int64)
    for a in range(3):
        least = most = shift[0, a]
        for k in range(1, shift.shape[0]):
            least, most = min(least, shift[k, a]), max(most, shift[k, a])
        low[a] = math.floor(least)
        size[a] = math.floor(most) - low[a] + 2
    return low, size


@njit(cache=True, nogil=True)
def merge_visits(shift, weight, scratch, offset, share):
    """Sum trilinear weights of many displacements on the lattice nodes that they touch.

    Parameters
    ----------
    shift : float64 (k, 3), displacements as (z, y, x) in lattice steps.
    weight : float64 (k,).
    scratch : float64 (n,) of zeros, at least as many as the nodes of `visit_box(shift)`; zeros again afterwards.
    offset : int64 (8 k, 3), whole lattice offsets (z, y, x), written; share : float64 (8 k,), their weights, written.

    Returns
    -------
    Number of nodes with weight, in the order of the first touch.
    """
    low, size = visit_box(shift)
    ny, nx = size[1], size[2]
    n = 0
    for k in range(shift.shape[0]):
        z, y, x = shift[k, 0] - low[0], shift[k, 1] - low[1], shift[k, 2] - low[2]
        iz, iy, ix = int(z), int(y), int(x)
        fz, fy, fx = z - iz, y - iy, x - ix
        for corner in range(8):
            az, ay, ax = corner >> 2, (corner >> 1) & 1, corner & 1
            w = weight[k] * (fz if az else 1 - fz) * (fy if ay else 1 - fy) * (fx if ax else 1 - fx)
            if w > 0.0:
                node = ((iz + az) * ny + iy + ay) * nx + ix + ax
                if scratch[node] == 0.0:
                    offset[n, 0], offset[n, 1], offset[n, 2] = iz + az + low[0], iy + ay + low[1], ix + ax + low[2]
                    n += 1
                scratch[node] += w
    for i in range(n):
        node = ((offset[i, 0] - low[0]) * ny + offset[i, 1] - low[1]) * nx + offset[i, 2] - low[2]
        share[i] = scratch[node]
        scratch[node] = 0.0
    return n


@njit(cache=True, nogil=True)
def enough_scratch(scratch, shift):
    """The scratch of zeros, or a larger one if `merge_visits` needs it."""
    _, size = visit_box(shift)
    needed = size[0] * size[1] * size[2]
    return scratch if scratch.shape[0] >= needed else np.zeros(2 * needed)


@njit(cache=True, nogil=True, fastmath={"contract"})
def sum_shifted_rows(dose, stride, run_zyx, run_length, run_first, offset, share, total):
    """total[p] = sum_n share[n] * dose[node(p) * stride + offset[n]] for points in rows along x.

    Parameters
    ----------
    dose : float32 (stride**3, z, y, x), the lattice split by its nodes' position modulo `stride`.
    stride : dose-lattice steps between neighbouring points.
    run_zyx : int64 (r, 3), first node of each run of neighbouring points, in units of `stride` steps.
    run_length : int64 (r,). run_first : int64 (r,), index of each run's first point in `total`.
    offset : int64 (n, 3); share : float64 (n,), as `merge_visits` gives them.
    total : float32 (p,), written.
    """
    n_terms = uintp((offset.shape[0] + 3) // 4 * 4)
    base = np.zeros(n_terms, np.uintp)
    factor = np.zeros(n_terms, np.float32)
    _, nz, ny, nx = dose.shape
    for n in range(offset.shape[0]):
        qz, qy, qx = offset[n, 0] // stride, offset[n, 1] // stride, offset[n, 2] // stride
        rz, ry, rx = offset[n, 0] % stride, offset[n, 1] % stride, offset[n, 2] % stride
        phase = (rz * stride + ry) * stride + rx
        base[n] = uintp(((phase * nz + qz) * ny + qy) * nx + qx)
        factor[n] = share[n]
    for n in range(uintp(offset.shape[0]), n_terms):
        base[n] = base[0]
    flat = dose.reshape(-1)
    one, two, three = uintp(1), uintp(2), uintp(3)
    for r in range(run_length.shape[0]):
        length, first = uintp(run_length[r]), uintp(run_first[r])
        start = uintp((run_zyx[r, 0] * ny + run_zyx[r, 1]) * nx + run_zyx[r, 2])
        for j in range(length):
            total[first + j] = np.float32(0.0)
        for n in range(uintp(0), n_terms, uintp(4)):
            a, b, c, d = start + base[n], start + base[n + one], start + base[n + two], start + base[n + three]
            wa, wb, wc, wd = factor[n], factor[n + one], factor[n + two], factor[n + three]
            for j in range(length):
                total[first + j] += wa * flat[a + j] + wb * flat[b + j] + wc * flat[c + j] + wd * flat[d + j]


@njit(cache=True, nogil=True)
def accumulate_rows(dose, stride, run_zyx, run_length, run_first, cell_run, cell_zyx, shift, linear, weight, total):
    """Course doses of points in rows: `total[c, p]`, float32 Gy.

    Parameters
    ----------
    dose, stride, run_zyx, run_length, run_first : see `sum_shifted_rows`.
    cell_run : int64 (cell + 1,), first run of each cell of points that move alike.
    cell_zyx : float64 (cell, 3), centre of each cell relative to that of `linear`, in dose-lattice steps.
    shift : float64 (c, k, 3), linear : float64 (c, k, 3, 3) or (c, 0, 3, 3): a cell moves by shift + linear @ cell_zyx.
    weight : float64 (c, k).
    """
    moved = np.empty(shift.shape[1:])
    offset = np.empty((8 * shift.shape[1], 3), np.int64)
    share = np.empty(8 * shift.shape[1])
    scratch = np.zeros(0)
    for c in range(shift.shape[0]):
        for g in range(cell_zyx.shape[0]):
            moved[:] = shift[c]
            for k in range(linear.shape[1]):
                for a in range(3):
                    for b in range(3):
                        moved[k, a] += linear[c, k, a, b] * cell_zyx[g, b]
            scratch = enough_scratch(scratch, moved)
            n = merge_visits(moved, weight[c], scratch, offset, share)
            some = slice(cell_run[g], cell_run[g + 1])
            sum_shifted_rows(
                dose, stride, run_zyx[some], run_length[some], run_first[some], offset[:n], share[:n], total[c]
            )


@njit(cache=True, nogil=True)
def accumulate_radial(table_gy, step_mm, points_mm, arm_mm, shift_mm, linear, weight, total):
    """Course doses in a spherical dose: `total[c, p] = sum_k weight[c, k] * d(|points[p] + shift + linear @ arm[p]|)`.

    `table_gy[i]` is the dose at radius `i * step_mm` from the centre, linear in between; zero-order beyond its end.
    `linear` is (c, k, 3, 3), or (c, 0, 3, 3) when every point moves alike.
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
                if s >= last:
                    dose += weight[c, k] * table_gy[last]
                else:
                    i = int(s)
                    f = s - i
                    dose += weight[c, k] * ((1 - f) * table_gy[i] + f * table_gy[i + 1])
            total[c, p] = dose


@njit(cache=True, nogil=True)
def accumulate_gather(dose, node_zyx, arm_zyx, shift, linear, weight, total):
    """Course doses of scattered points: trilinear look-up of `dose` at node + shift + linear @ arm, in lattice steps.

    Parameters
    ----------
    dose : float32 (z, y, x). node_zyx, arm_zyx : float64 (p, 3). shift : float64 (c, k, 3). weight : float64 (c, k).
    linear : float64 (c, k, 3, 3), or (c, 0, 3, 3) when every point moves alike.
    total : float32 (c, p), written. Beyond the lattice the value on its face is taken.
    """
    nz, ny, nx = dose.shape
    moves_alike = linear.shape[1] == 0
    for c in range(shift.shape[0]):
        for p in range(node_zyx.shape[0]):
            gy = 0.0
            for k in range(shift.shape[1]):
                z, y, x = (
                    node_zyx[p, 0] + shift[c, k, 0],
                    node_zyx[p, 1] + shift[c, k, 1],
                    node_zyx[p, 2] + shift[c, k, 2],
                )
                if not moves_alike:
                    for b in range(3):
                        z += linear[c, k, 0, b] * arm_zyx[p, b]
                        y += linear[c, k, 1, b] * arm_zyx[p, b]
                        x += linear[c, k, 2, b] * arm_zyx[p, b]
                z, y, x = min(max(z, 0.0), nz - 1.0), min(max(y, 0.0), ny - 1.0), min(max(x, 0.0), nx - 1.0)
                iz, iy, ix = min(int(z), nz - 2), min(int(y), ny - 2), min(int(x), nx - 2)
                fz, fy, fx = z - iz, y - iy, x - ix
                low = (1 - fy) * ((1 - fx) * dose[iz, iy, ix] + fx * dose[iz, iy, ix + 1]) + fy * (
                    (1 - fx) * dose[iz, iy + 1, ix] + fx * dose[iz, iy + 1, ix + 1]
                )
                high = (1 - fy) * ((1 - fx) * dose[iz + 1, iy, ix] + fx * dose[iz + 1, iy, ix + 1]) + fy * (
                    (1 - fx) * dose[iz + 1, iy + 1, ix] + fx * dose[iz + 1, iy + 1, ix + 1]
                )
                gy += weight[c, k] * ((1 - fz) * low + fz * high)
            total[c, p] = gy


@njit(cache=True, nogil=True)
def combine_columns(basis, factor, result):
    """result[c, p] = sum_j factor[c, j] * basis[j, p], float32, each course on its own (the same bits in any batch)."""
    for c in range(factor.shape[0]):
        result[c, :] = 0.0
        for j in range(basis.shape[0]):
            for p in range(basis.shape[1]):
                result[c, p] += factor[c, j] * basis[j, p]


@njit(cache=True, nogil=True)
def count_visits(shift, weight, low, unit, visits):
    """Add every course's lattice visits to `visits` (z, y, x), int64 multiples of 1 / unit.

    Whole numbers make the sum independent of the order of courses. `low` is the offset of visits[0, 0, 0].
    """
    offset = np.empty((8 * shift.shape[1], 3), np.int64)
    share = np.empty(8 * shift.shape[1])
    scratch = np.zeros(0)
    for c in range(shift.shape[0]):
        scratch = enough_scratch(scratch, shift[c])
        for n in range(merge_visits(shift[c], weight[c], scratch, offset, share)):
            z, y, x = offset[n, 0] - low[0], offset[n, 1] - low[1], offset[n, 2] - low[2]
            visits[z, y, x] += np.int64(np.rint(share[n] * unit))
