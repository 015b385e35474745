"""Dose accumulation: weighted displacements of a point set in a fixed dose.

Lengths are in units of the dose lattice unless a name says mm; doses in Gy; weights of a course sum to 1.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def merge_visits(shift, weight):
    """Sum trilinear weights of many displacements on the lattice nodes that they touch.

    Parameters
    ----------
    shift : float64 (k, 3), displacements as (z, y, x) in lattice steps.
    weight : float64 (k,).

    Returns
    -------
    offset : int64 (n, 3), whole lattice offsets (z, y, x), in C order.
    share : float64 (n,), weights with the same sum; nodes without weight are left out.
    """
    low = np.empty(3, np.int64)
    size = np.empty(3, np.int64)
    for a in range(3):
        low[a] = math.floor(shift[:, a].min())
        size[a] = math.floor(shift[:, a].max()) - low[a] + 2
    visits = np.zeros((size[0], size[1], size[2]))
    for k in range(shift.shape[0]):
        z, y, x = shift[k, 0] - low[0], shift[k, 1] - low[1], shift[k, 2] - low[2]
        iz, iy, ix = int(z), int(y), int(x)
        fz, fy, fx = z - iz, y - iy, x - ix
        w = weight[k]
        visits[iz, iy, ix] += w * (1 - fz) * (1 - fy) * (1 - fx)
        visits[iz, iy, ix + 1] += w * (1 - fz) * (1 - fy) * fx
        visits[iz, iy + 1, ix] += w * (1 - fz) * fy * (1 - fx)
        visits[iz, iy + 1, ix + 1] += w * (1 - fz) * fy * fx
        visits[iz + 1, iy, ix] += w * fz * (1 - fy) * (1 - fx)
        visits[iz + 1, iy, ix + 1] += w * fz * (1 - fy) * fx
        visits[iz + 1, iy + 1, ix] += w * fz * fy * (1 - fx)
        visits[iz + 1, iy + 1, ix + 1] += w * fz * fy * fx
    n = 0
    for v in visits.flat:
        if v != 0.0:
            n += 1
    offset = np.empty((n, 3), np.int64)
    share = np.empty(n)
    n = 0
    for iz in range(size[0]):
        for iy in range(size[1]):
            for ix in range(size[2]):
                if visits[iz, iy, ix] != 0.0:
                    offset[n, 0] = iz + low[0]
                    offset[n, 1] = iy + low[1]
                    offset[n, 2] = ix + low[2]
                    share[n] = visits[iz, iy, ix]
                    n += 1
    return offset, share


@njit(cache=True, nogil=True, fastmath={"contract"})
def sum_shifted_rows(dose, stride, run_zyx, run_length, offset, share, total):
    """total[p] = sum_n share[n] * dose[node(p) * stride + offset[n]] for points in rows along x.

    Parameters
    ----------
    dose : float32 (stride**3, z, y, x), the lattice split by its nodes' position modulo `stride`.
    stride : dose-lattice steps between neighbouring points.
    run_zyx : int64 (r, 3), first node of each run of neighbouring points, in units of `stride` steps.
    run_length : int64 (r,).
    offset : int64 (n, 3); share : float64 (n,), as `merge_visits` gives them.
    total : float32 (p,), written.
    """
    n_terms = (offset.shape[0] + 3) // 4 * 4
    base = np.zeros(n_terms, np.int64)
    factor = np.zeros(n_terms, np.float32)
    _, nz, ny, nx = dose.shape
    for n in range(offset.shape[0]):
        qz, qy, qx = offset[n, 0] // stride, offset[n, 1] // stride, offset[n, 2] // stride
        rz, ry, rx = offset[n, 0] % stride, offset[n, 1] % stride, offset[n, 2] % stride
        phase = (rz * stride + ry) * stride + rx
        base[n] = ((phase * nz + qz) * ny + qy) * nx + qx
        factor[n] = share[n]
    for n in range(offset.shape[0], n_terms):
        base[n] = base[0]
    flat = dose.reshape(-1)
    first = 0
    for r in range(run_length.shape[0]):
        length = run_length[r]
        start = (run_zyx[r, 0] * ny + run_zyx[r, 1]) * nx + run_zyx[r, 2]
        row = total[first : first + length]
        row[:] = 0.0
        for n in range(0, n_terms, 4):
            a = flat[start + base[n] : start + base[n] + length]
            b = flat[start + base[n + 1] : start + base[n + 1] + length]
            c = flat[start + base[n + 2] : start + base[n + 2] + length]
            d = flat[start + base[n + 3] : start + base[n + 3] + length]
            wa, wb, wc, wd = factor[n], factor[n + 1], factor[n + 2], factor[n + 3]
            for j in range(length):
                row[j] += wa * a[j] + wb * b[j] + wc * c[j] + wd * d[j]
        first += length


@njit(cache=True, nogil=True)
def accumulate_rows(dose, stride, run_zyx, run_length, shift, weight, total):
    """Course doses of points in rows: `total[c, p]`, float32 Gy, from shift (c, k, 3) and weight (c, k)."""
    for c in range(shift.shape[0]):
        offset, share = merge_visits(shift[c], weight[c])
        sum_shifted_rows(dose, stride, run_zyx, run_length, offset, share, total[c])


@njit(cache=True, nogil=True)
def accumulate_radial(table_gy, step_mm, points_mm, shift_mm, weight, total):
    """Course doses in a spherical dose: `total[c, p] = sum_k weight[c, k] * d(|points[p] + shift[c, k]|)`.

    `table_gy[i]` is the dose at radius `i * step_mm` from the centre, linear in between; zero-order beyond its end.
    """
    last = table_gy.shape[0] - 1
    for c in range(shift_mm.shape[0]):
        for p in range(points_mm.shape[0]):
            dose = 0.0
            for k in range(shift_mm.shape[1]):
                x = points_mm[p, 0] + shift_mm[c, k, 0]
                y = points_mm[p, 1] + shift_mm[c, k, 1]
                z = points_mm[p, 2] + shift_mm[c, k, 2]
                s = math.sqrt(x * x + y * y + z * z) / step_mm
                if s >= last:
                    dose += weight[c, k] * table_gy[last]
                else:
                    i = int(s)
                    f = s - i
                    dose += weight[c, k] * ((1 - f) * table_gy[i] + f * table_gy[i + 1])
            total[c, p] = dose


@njit(cache=True, nogil=True)
def accumulate_gather(dose, node_zyx, shift, weight, total):
    """Course doses of scattered points: trilinear look-up of `dose` at node_zyx[p] + shift[c, k], in lattice steps.

    Parameters
    ----------
    dose : float32 (z, y, x). node_zyx : float64 (p, 3). shift : float64 (c, k, 3). weight : float64 (c, k).
    total : float32 (c, p), written. Beyond the lattice the value on its face is taken.
    """
    nz, ny, nx = dose.shape
    for c in range(shift.shape[0]):
        for p in range(node_zyx.shape[0]):
            gy = 0.0
            for k in range(shift.shape[1]):
                z = min(max(node_zyx[p, 0] + shift[c, k, 0], 0.0), nz - 1.0)
                y = min(max(node_zyx[p, 1] + shift[c, k, 1], 0.0), ny - 1.0)
                x = min(max(node_zyx[p, 2] + shift[c, k, 2], 0.0), nx - 1.0)
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
def count_visits(shift, weight, low, unit, visits):
    """Add every course's lattice visits to `visits` (z, y, x), int64 multiples of 1 / unit.

    Whole numbers make the sum independent of the order of courses. `low` is the offset of visits[0, 0, 0].
    """
    for c in range(shift.shape[0]):
        offset, share = merge_visits(shift[c], weight[c])
        for n in range(share.shape[0]):
            z, y, x = offset[n, 0] - low[0], offset[n, 1] - low[1], offset[n, 2] - low[2]
            visits[z, y, x] += np.int64(np.rint(share[n] * unit))
