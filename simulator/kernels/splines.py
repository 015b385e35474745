"""Tensor-product cubic splines, one axis at a time, and the correction for trilinear sums over their values."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def combine_four(values, tap, weight):
    """result[a, m, b] = sum_t weight[m, t] * values[a, tap[m, t], b], float32.

    `values` is float32 (a, n, b), `tap` int64 (m, 4) in 0 to n - 1, `weight` float32 (m, 4). Each sum is taken in the same
    order, so that a node has the same value whatever else is asked for.
    """
    if tap.size > 0 and not 0 <= tap.min() <= tap.max() < values.shape[1]:
        raise ValueError("a tap lies outside the values")
    result = np.empty((values.shape[0], tap.shape[0], values.shape[2]), np.float32)
    for a in range(values.shape[0]):
        for m in range(tap.shape[0]):
            first, second, third, fourth = tap[m, 0], tap[m, 1], tap[m, 2], tap[m, 3]
            w, x, y, z = weight[m, 0], weight[m, 1], weight[m, 2], weight[m, 3]
            for b in range(values.shape[2]):
                result[a, m, b] = (w * values[a, first, b] + x * values[a, second, b]) + (
                    y * values[a, third, b] + z * values[a, fourth, b]
                )
    return result


@njit(cache=True, nogil=True)
def less_laplacian(values, share):
    """values - share * (sum of the six neighbours - 6 values) at the inner nodes: float32 (z, y, x), two fewer per axis."""
    nz, ny, nx = values.shape[0] - 2, values.shape[1] - 2, values.shape[2] - 2
    result = np.empty((nz, ny, nx), np.float32)
    for k in range(nz):
        for j in range(ny):
            here, below, above = values[k + 1, j + 1], values[k, j + 1], values[k + 2, j + 1]
            before, behind = values[k + 1, j], values[k + 1, j + 2]
            for i in range(nx):
                middle = here[i + 1]
                around = (here[i] + here[i + 2]) + (before[i + 1] + behind[i + 1]) + (below[i + 1] + above[i + 1])
                result[k, j, i] = middle - share * (around - np.float32(6) * middle)
    return result


@njit(cache=True, nogil=True)
def _bend(values, z, y, x, dz, dy, dx):
    """Second difference at a node along one axis; 0 at the ends."""
    before_z, before_y, before_x, after_z, after_y, after_x = z - dz, y - dy, x - dx, z + dz, y + dy, x + dx
    if min(before_z, before_y, before_x) < 0:
        return np.float32(0.0)
    if after_z >= values.shape[0] or after_y >= values.shape[1] or after_x >= values.shape[2]:
        return np.float32(0.0)
    return values[before_z, before_y, before_x] + values[after_z, after_y, after_x] - values[z, y, x] - values[z, y, x]


@njit(cache=True, nogil=True)
def limits_of_cells(values):
    """What a function may reach between nodes, float32 (z - 1, y - 1, x - 1) each: lowest and highest.

    The range of the eight nodes around, and beyond it what a smooth extremum between them may add: along each axis a quarter
    of the smaller second difference at the two ends of an edge, where both bend the same way (an eighth would be a
    parabola's). At an edge of the dose they bend in opposite ways, and nothing is added.
    """
    nz, ny, nx = values.shape
    low = np.empty((nz - 1, ny - 1, nx - 1), np.float32)
    high = np.empty((nz - 1, ny - 1, nx - 1), np.float32)
    quarter = np.float32(0.25)
    for z in range(nz - 1):
        for y in range(ny - 1):
            for x in range(nx - 1):
                least = most = values[z, y, x]
                below, above = np.float32(0.0), np.float32(0.0)
                for axis in range(3):
                    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
                    sag, rise = np.float32(0.0), np.float32(0.0)
                    for edge in range(4):
                        a, b = edge & 1, edge >> 1
                        k, j, i = z, y, x
                        if axis == 0:
                            j, i = y + a, x + b
                        elif axis == 1:
                            k, i = z + a, x + b
                        else:
                            k, j = z + a, y + b
                        least = min(least, values[k, j, i], values[k + dz, j + dy, i + dx])
                        most = max(most, values[k, j, i], values[k + dz, j + dy, i + dx])
                        one = _bend(values, k, j, i, dz, dy, dx)
                        two = _bend(values, k + dz, j + dy, i + dx, dz, dy, dx)
                        sag = max(sag, min(one, two))
                        rise = max(rise, min(-one, -two))
                    below += quarter * sag
                    above += quarter * rise
                low[z, y, x] = least - below
                high[z, y, x] = most + above
    return low, high


@njit(cache=True, nogil=True)
def limit_to_cells(values, low, high, z, y, x):
    """Cut `values` float32 (k, j, i) off, in place, beyond the limits `low` and `high` of the cells (z[k], y[j], x[i])."""
    for k in range(z.shape[0]):
        for j in range(y.shape[0]):
            row, least, most = values[k, j], low[z[k], y[j]], high[z[k], y[j]]
            for i in range(x.shape[0]):
                row[i] = min(max(row[i], least[x[i]]), most[x[i]])
