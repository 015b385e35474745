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
