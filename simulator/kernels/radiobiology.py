"""Sums of the response models, course by course."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def surviving_volume(log_kill, volume):
    """Volume in cc times surviving fraction, sum_p volume[c, p] exp(-log_kill[c, p]), float64 (course,).

    `volume` is (course, point), or (1, point) where courses are alike.
    """
    result = np.zeros(log_kill.shape[0])
    for c in range(log_kill.shape[0]):
        cell_cc = volume[c if volume.shape[0] > 1 else 0]
        for p in range(log_kill.shape[1]):
            result[c] += cell_cc[p] * np.exp(-log_kill[c, p])
    return result
