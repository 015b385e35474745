"""Weighted sums of four neighbours along one axis, the step of tensor-product cubic splines."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def combine_four(values, tap, weight):
    """result[a, m, b] = sum_t weight[m, t] * values[a, tap[m, t], b], float32.

    `values` is float32 (a, n, b), `tap` int64 (m, 4), `weight` float32 (m, 4). Each sum is taken in the same order, so that a
    node has the same value whatever else is asked for.
    """
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
