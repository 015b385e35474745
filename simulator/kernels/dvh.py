"""Dose-volume statistics of many courses of one structure.

`dose` is float32 (course, point) in Gy, `volume` float64 (point,) in cc. Cells are sorted from hot to cold; a cell's
dose belongs to the cumulative volume at its middle, and dose is linear in volume in between. Cells whose doses differ by
less than 1e-6 of the maximum are one cell (planes of a lattice along a dose gradient).
"""

import numpy as np
from numba import njit

_BINS = 1024
_SAME_DOSE = 1e-6
_NEIGHBOURS = 3


@njit(cache=True, nogil=True)
def dose_at_volumes(dose, volume, wanted_cc):
    """Minimum dose in Gy to the hottest `wanted_cc`, float64 (course, wanted).

    Points are put into bins by dose once; only the bin that holds an answer and three filled ones on either side are
    sorted (one cell may straddle two bins).
    """
    n_courses, n_points = dose.shape
    result = np.empty((n_courses, wanted_cc.shape[0]))
    bin_of = np.empty(n_points, np.int32)
    by_bin = np.empty(n_points, np.int32)
    first = np.empty(_BINS + 1, np.int32)
    filled = np.empty(_BINS, np.int32)
    in_bin = np.empty(_BINS)
    for c in range(n_courses):
        low, high = dose[c, 0], dose[c, 0]
        for p in range(n_points):
            low, high = min(low, dose[c, p]), max(high, dose[c, p])
        if high <= low:
            result[c, :] = low
            continue
        scale = (_BINS - 1) / (np.float64(high) - np.float64(low))
        in_bin[:] = 0.0
        first[:] = 0
        for p in range(n_points):
            b = int((np.float64(dose[c, p]) - low) * scale)
            bin_of[p] = b
            in_bin[b] += volume[p]
            first[b + 1] += 1
        for b in range(_BINS):
            first[b + 1] += first[b]
            filled[b] = first[b]
        for p in range(n_points):
            b = bin_of[p]
            by_bin[filled[b]] = p
            filled[b] += 1
        for m in range(wanted_cc.shape[0]):
            result[c, m] = _dose_at_volume(
                dose[c], volume, by_bin, first, in_bin, wanted_cc[m], _SAME_DOSE * np.float64(high)
            )
    return result


@njit(cache=True, nogil=True)
def _dose_at_volume(dose, volume, by_bin, first, in_bin, wanted_cc, same_gy):
    hotter = 0.0
    b = _BINS - 1
    while b > 0 and hotter + in_bin[b] < wanted_cc:
        hotter += in_bin[b]
        b -= 1
    above, filled = b, 0
    while above < _BINS - 1 and filled < _NEIGHBOURS:
        above += 1
        hotter -= in_bin[above]
        filled += first[above + 1] > first[above]
    below, filled = b, 0
    while below > 0 and filled < _NEIGHBOURS:
        below -= 1
        filled += first[below + 1] > first[below]
    cells = by_bin[first[below] : first[above + 1]]
    order = cells[np.argsort(-dose[cells], kind="mergesort")]
    middle, last_cc, last_gy = hotter, 0.0, np.float64(dose[order[0]])
    i = 0
    while i < order.shape[0]:
        gy, cc = np.float64(dose[order[i]]), 0.0
        while i < order.shape[0] and gy - dose[order[i]] <= same_gy:
            cc += volume[order[i]]
            i += 1
        step = 0.5 * (last_cc + cc)
        if wanted_cc <= middle + step:
            share = (wanted_cc - middle) / step if last_cc > 0.0 else 1.0
            return (1 - share) * last_gy + share * gy
        middle, last_cc, last_gy = middle + step, cc, gy
    return last_gy


@njit(cache=True, nogil=True)
def volume_at_doses(dose, volume, wanted_gy):
    """Volume in cc that receives at least `wanted_gy`, float64 (course, wanted)."""
    result = np.zeros((dose.shape[0], wanted_gy.shape[0]))
    for c in range(dose.shape[0]):
        for m in range(wanted_gy.shape[0]):
            cc = 0.0
            for p in range(dose.shape[1]):
                if dose[c, p] >= wanted_gy[m]:
                    cc += volume[p]
            result[c, m] = cc
    return result


@njit(cache=True, nogil=True)
def mean_power(dose, volume, power):
    """Volume-weighted mean of dose**power, float64 (course,)."""
    result = np.empty(dose.shape[0])
    total_cc = volume.sum()
    for c in range(dose.shape[0]):
        moment = 0.0
        for p in range(dose.shape[1]):
            d = np.float64(dose[c, p])
            moment += volume[p] * (d if power == 1.0 else d**power)
        result[c] = moment / total_cc
    return result


@njit(cache=True, nogil=True)
def extremes(dose):
    """Smallest and largest dose of each course in Gy, float64 (course, 2)."""
    result = np.empty((dose.shape[0], 2))
    for c in range(dose.shape[0]):
        result[c, 0], result[c, 1] = dose[c].min(), dose[c].max()
    return result


@njit(cache=True, nogil=True)
def cumulative_dvh(dose, volume, step_gy, n_bins):
    """Percent of the volume that receives at least i * step_gy, float64 (course, n_bins)."""
    result = np.zeros((dose.shape[0], n_bins))
    total_cc = volume.sum()
    for c in range(dose.shape[0]):
        for p in range(dose.shape[1]):
            b = int(np.float64(dose[c, p]) / step_gy)
            result[c, max(0, min(b, n_bins - 1))] += volume[p]
        reached = 0.0
        for b in range(n_bins - 1, -1, -1):
            reached += result[c, b]
            result[c, b] = min(100.0, 100.0 * reached / total_cc)
    return result
