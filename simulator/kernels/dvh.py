"""Dose-volume statistics of many courses of one structure.

`dose` is float32 (course, point) in Gy; `volume` is float64 (course, point) in cc, or (1, point) where courses are alike;
points without volume do not count. A course without any volume has no dose: its D_x, means and DVH are 0. Doses that are not a
number count as the lowest.

Minimum dose to the hottest volume, D_x: let V_i be the volume that is hotter than cell i plus half of what has its dose,
itself included. D_x is linear between the points (V_i, d_i). Cells have the same dose if they differ by less than 5e-6 of
the maximum (planes of a lattice along a dose gradient do, up to rounding). From there to 1e-5 the share that counts to V_i
goes linearly from half to nothing or all, so that rounding never makes D_x jump.
"""

import numpy as np
from numba import njit, uintp

from simulator.kernels.vectors import LANES, lowest_and_highest, lowest_and_highest_counted

_BINS, _FEWER_BINS = 256, 64
_FEW = 24
_NEIGHBOURS = 3
_SAME_DOSE = 1e-5
_CHUNK = 64
_TAKEN_PER_CHUNK = 24
_TAIL = 0.15
_FAST = {"nnan", "nsz", "reassoc", "contract"}


@njit(cache=True, nogil=True, fastmath=_FAST)
def _total(volume):
    """Sum of volume (point,) in cc."""
    total = 0.0
    for p in range(volume.shape[0]):
        total += volume[p]
    return total


@njit(cache=True, nogil=True)
def _totals(volume):
    """Sum of each row, float64."""
    totals = np.empty(volume.shape[0])
    for row in range(volume.shape[0]):
        totals[row] = _total(volume[row])
    return totals


@njit(cache=True, nogil=True)
def without_empty_points(dose, volume):
    """Dose and volume (course, point) with each course's points that have a volume first, and hardly more than those.

    The number of points is a whole number of chunks, so that sums over them do not depend on the other courses.
    """
    most = 0
    for c in range(volume.shape[0]):
        n = 0
        for p in range(volume.shape[1]):
            n += volume[c, p] > 0.0
        most = max(most, n)
    n_points = -(-most // _CHUNK) * _CHUNK
    kept_dose, kept_volume = np.empty((dose.shape[0], n_points), np.float32), np.empty((dose.shape[0], n_points))
    for c in range(volume.shape[0]):
        n = 0
        for p in range(volume.shape[1]):
            if n < n_points:  # a point without volume is written over by the next one
                kept_dose[c, n], kept_volume[c, n] = dose[c, p], volume[c, p]
            n += volume[c, p] > 0.0
        kept_dose[c, n:] = 0.0
        kept_volume[c, n:] = 0.0
    return kept_dose, kept_volume


@njit(cache=True, nogil=True)
def dose_at_volumes(dose, volume, wanted_cc):
    """Minimum dose in Gy to the hottest `wanted_cc`, float64 (course, wanted); `wanted_cc` is (course or 1, wanted)."""
    n_courses, n_points = dose.shape
    result = np.empty((n_courses, wanted_cc.shape[1]))
    if n_points == 0:
        return np.zeros_like(result)
    n_chunks = -(-n_points // _CHUNK)
    low, high = np.empty(n_chunks, np.float32), np.empty(n_chunks, np.float32)
    cells, bin_of = np.empty((2, n_points)), np.empty(n_points, np.int32)
    excluded = np.empty(n_points, np.float32)
    totals, n_excluded = _totals(volume), 0
    for c in range(n_courses):
        row = c if volume.shape[0] > 1 else 0
        cell_cc, total_cc = volume[row], totals[row]
        if c < volume.shape[0]:
            n_excluded = _exclusion(cell_cc, excluded)
        n_counted = n_points - n_excluded
        if n_counted == 0:
            result[c] = 0.0
            continue
        _chunk_extremes(dose[c], excluded, n_excluded > 0, low, high)
        lowest, highest = np.float64(low.min()), np.float64(high.max())
        same_gy = _SAME_DOSE * max(abs(highest), abs(lowest))
        for m in range(wanted_cc.shape[1]):
            hot_cc = wanted_cc[c if wanted_cc.shape[0] > 1 else 0, m]
            cold_cc = total_cc - hot_cc
            found, value = False, 0.0
            if hot_cc < _TAIL * total_cc:
                n_wanted = n_counted * (hot_cc / total_cc)
                found, value = _dose_in_tail(
                    dose[c], cell_cc, np.float32(1.0), high, n_wanted, hot_cc, same_gy, cells, bin_of
                )
            elif cold_cc < _TAIL * total_cc:
                n_wanted = n_counted * (cold_cc / total_cc)
                found, value = _dose_in_tail(
                    dose[c], cell_cc, np.float32(-1.0), -low, n_wanted, cold_cc, same_gy, cells, bin_of
                )
                value = -value
            if not found:
                value = _dose_anywhere(dose[c], cell_cc, lowest, highest, hot_cc, same_gy, cells, bin_of)
            result[c, m] = value
    return result


@njit(cache=True, nogil=True)
def _dose_in_tail(dose, volume, sign, chunk_best, n_wanted, wanted_cc, same_gy, cells, bin_of):
    """Whether found, and D_x of sign * dose, from chunks of points that reach high enough: first few, then more of them.

    Parameters
    ----------
    dose : float32 (point,). volume : (point,) in cc. chunk_best : float32 (chunk,), highest sign * dose of those that count.
    n_wanted : about how many points have `wanted_cc`.
    cells : float64 (2, point); bin_of : int32 (point,), both overwritten.
    """
    n_chunks = chunk_best.shape[0]
    n_taken = 4 + int(max(n_wanted, 0.0) / _TAKEN_PER_CHUNK)
    while n_taken < n_chunks // 2:
        floor = np.float32(_reached_by(chunk_best, n_taken))
        n, taken_cc = np.int64(0), 0.0
        for j in range(n_chunks):
            if chunk_best[j] >= floor:
                for p in range(j * _CHUNK, min((j + 1) * _CHUNK, dose.shape[0])):
                    if sign * dose[p] >= floor and volume[p] > 0.0:
                        cells[0, n], cells[1, n] = sign * dose[p], volume[p]
                        taken_cc += volume[p]
                        n += 1
        if taken_cc > wanted_cc:
            found, value = _dose_at_volume(cells, n, 0.0, wanted_cc, same_gy, bin_of)
            if found and value - same_gy > floor:
                return True, value
        n_taken *= 2
    return False, 0.0


@njit(cache=True, nogil=True)
def _dose_anywhere(dose, volume, lowest, highest, wanted_cc, same_gy, cells, bin_of):
    """D_x of all points (point,), whose doses lie from `lowest` to `highest`; for the others see `_dose_in_tail`."""
    scale = (_BINS - 1) / max(highest - lowest, (_BINS - 1) * same_gy, 1e-300)
    _bins_of(dose, np.float32(lowest), np.float32(scale), np.int64(_BINS), bin_of)
    below, above, hotter_cc = _bins_around(_in_bins(bin_of, volume, np.int64(_BINS)), 0.0, wanted_cc)
    n = np.int64(0)
    for p in range(dose.shape[0]):
        if below <= bin_of[p] <= above and volume[p] > 0.0:
            cells[0, n], cells[1, n] = dose[p], volume[p]
            n += 1
    return _dose_at_volume(cells, n, hotter_cc, wanted_cc, same_gy, bin_of)[1]


@njit(cache=True, nogil=True)
def _bin(place, last):
    """The bin of a place, from 0 to `last`; 0 for one that is not a number."""
    place = place if place > 0.0 else 0.0
    return int(place) if place < last else last


@njit(cache=True, nogil=True)
def _reached_by(values, n):
    """A level that at least `n` of the finite values reach if there are as many, close to the highest such level."""
    low, high = np.inf, np.float64(values.max())
    for value in values:
        if value > -np.inf:
            low = min(low, np.float64(value))
    count = np.zeros(256, np.int64)
    scale = 255 / max(high - low, 1e-300)
    for value in values:
        if value > -np.inf:
            count[_bin((value - low) * scale, 255)] += 1
    b, reached = 255, count[255]
    while reached < n and b > 0:
        b -= 1
        reached += count[b]
    return low + (b - 1) / scale


@njit(cache=True, nogil=True)
def _dose_at_volume(cells, n, hotter_cc, wanted_cc, same_gy, bin_of):
    """Whether the volume is reached, and D_x of cells in any order with `hotter_cc` before them.

    Cells are put into bins by dose until few of them are left: those in the bin that holds the answer and in three filled ones
    on either side, which hold all cells that share their dose with those next to the answer.

    Parameters
    ----------
    cells : float64 (2, n or more), doses and volumes; bin_of : int32 (n or more,); overwritten.
    """
    gy, cc = cells[0], cells[1]
    while n > _FEW:
        low = high = gy[0]
        for i in range(1, n):
            low, high = min(low, gy[i]), max(high, gy[i])
        scale = (_FEWER_BINS - 1) / max(high - low, (_FEWER_BINS - 1) * same_gy, 1e-300)
        for i in range(n):
            bin_of[i] = _bin((gy[i] - low) * scale, _FEWER_BINS - 1)
        in_bin = _in_bins(bin_of[:n], cc, np.int64(_FEWER_BINS))
        below, above, hotter_cc = _bins_around(in_bin, hotter_cc, wanted_cc)
        kept = np.int64(0)
        for i in range(n):
            if below <= bin_of[i] <= above:
                gy[kept], cc[kept] = gy[i], cc[i]
                kept += 1
        if kept == n:
            break
        n = kept
    _sort_from_hot_to_cold(gy, cc, n)
    return _dose_among_sorted(gy[:n], cc[:n], hotter_cc, wanted_cc, same_gy)


@njit(cache=True, nogil=True)
def _bins_around(in_bin, hotter_cc, wanted_cc):
    """The bins that hold the answer and three filled ones on either side, first and last, and the volume that is hotter.

    `hotter_cc` is hotter than all bins.
    """
    b, reached = in_bin.shape[0] - 1, hotter_cc + in_bin[-1]
    while b > 0 and reached < wanted_cc:
        b -= 1
        reached += in_bin[b]
    above, n = b, 0
    while above < in_bin.shape[0] - 1 and n < _NEIGHBOURS:
        above += 1
        n += in_bin[above] > 0.0
    below, n = b, 0
    while below > 0 and n < _NEIGHBOURS:
        below -= 1
        n += in_bin[below] > 0.0
    for b in range(in_bin.shape[0] - 1, above, -1):
        hotter_cc += in_bin[b]
    return below, above, hotter_cc


@njit(cache=True, nogil=True)
def _sort_from_hot_to_cold(gy, cc, n):
    """Sort the first `n` cells by dose in place (Shell's sort: short, and quick for few cells and for equal ones)."""
    gap = 1
    while gap < n:
        gap = 3 * gap + 1
    while gap > 1:
        gap //= 3
        for i in range(gap, n):
            dose, volume, k = gy[i], cc[i], i
            while k >= gap and gy[k - gap] < dose:
                gy[k], cc[k] = gy[k - gap], cc[k - gap]
                k -= gap
            gy[k], cc[k] = dose, volume


@njit(cache=True, nogil=True)
def _dose_among_sorted(gy, cc, hotter_cc, wanted_cc, same_gy):
    """Whether the volume is reached, and D_x, of cells from hot to cold with `hotter_cc` before them.

    The share of a cell that is x hotter is 1/2 + r(x / same) - r(2 x / same) / 2 with r(x) = x between -1 and 1, constant
    beyond; sums of r are differences of cumulative sums.
    """
    n = gy.shape[0]
    if n == 0:
        return False, 0.0
    volume, moment = np.zeros(n + 1), np.zeros(n + 1)
    for i in range(n):
        volume[i + 1] = volume[i] + cc[i]
        moment[i + 1] = moment[i] + cc[i] * (gy[i] - gy[0])
    last_cc = 0.0
    hot, cold = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for i in range(n):
        middle_cc = hotter_cc + 0.5 * volume[n]
        for w in range(2):
            width = same_gy / (1 + w)
            while gy[hot[w]] >= gy[i] + width and hot[w] < i:
                hot[w] += 1
            while cold[w] < n and gy[cold[w]] > gy[i] - width:
                cold[w] += 1
            ramp = volume[hot[w]] - (volume[n] - volume[cold[w]])
            if cold[w] > hot[w] + 1:
                alike_cc = volume[cold[w]] - volume[hot[w]]
                ramp += (moment[cold[w]] - moment[hot[w]] - (gy[i] - gy[0]) * alike_cc) / width
            middle_cc += ramp if w == 0 else -0.5 * ramp
        if middle_cc >= wanted_cc:
            if i == 0:
                return True, gy[0]
            share = (wanted_cc - last_cc) / (middle_cc - last_cc)
            return True, gy[i - 1] + share * (gy[i] - gy[i - 1])
        last_cc = middle_cc
    return False, gy[-1]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _exclusion(volume, excluded):
    """`excluded` float32 (point,), written: infinity for points without volume (point,), else 0; how many there are."""
    n = 0
    for p in range(volume.shape[0]):
        excluded[p] = np.float32(0.0) if volume[p] > 0.0 else np.float32(np.inf)
        n += volume[p] <= 0.0
    return n


@njit(cache=True, nogil=True)
def _chunk_extremes(dose, excluded, is_any_excluded, low, high):
    """Smallest and largest dose of the points not excluded, (inf, -inf) if there are none, of each chunk of points."""
    n_whole = dose.shape[0] // _CHUNK
    n_vectors = uintp(_CHUNK // LANES)
    for j in range(n_whole):
        if is_any_excluded:
            lowest_and_highest_counted(dose, excluded, uintp(j * _CHUNK), n_vectors, low, high, uintp(j))
        else:
            lowest_and_highest(dose, excluded, uintp(j * _CHUNK), n_vectors, low, high, uintp(j))
    if n_whole < low.shape[0]:
        low[n_whole], high[n_whole] = np.float32(np.inf), np.float32(-np.inf)
    for p in range(n_whole * _CHUNK, dose.shape[0]):
        low[n_whole] = min(low[n_whole], dose[p] + excluded[p])
        high[n_whole] = max(high[n_whole], dose[p] - excluded[p])


@njit(cache=True, nogil=True)
def extremes(dose, volume):
    """Smallest and largest dose of each course in Gy, float64 (course, 2); (inf, -inf) without volume."""
    result = np.empty((dose.shape[0], 2))
    if dose.shape[1] == 0:
        result[:, 0], result[:, 1] = np.inf, -np.inf
        return result
    excluded = np.empty(dose.shape[1], np.float32)
    n_chunks = -(-dose.shape[1] // _CHUNK)
    low, high = np.empty(n_chunks, np.float32), np.empty(n_chunks, np.float32)
    n_excluded = 0
    for c in range(dose.shape[0]):
        if c < volume.shape[0]:
            n_excluded = _exclusion(volume[c], excluded)
        _chunk_extremes(dose[c], excluded, n_excluded > 0, low, high)
        result[c, 0], result[c, 1] = low.min(), high.max()
    return result


@njit(cache=True, nogil=True, fastmath=_FAST)
def _volume_above(dose, volume, level):
    """sum_p volume[p] over the points (point,) with dose[p] >= level, in cc."""
    total = 0.0
    for p in range(dose.shape[0]):
        total += volume[p] if dose[p] >= level else 0.0
    return total


@njit(cache=True, nogil=True)
def volume_at_doses(dose, volume, wanted_gy):
    """Volume in cc that receives at least `wanted_gy` (wanted,), float64 (course, wanted)."""
    result = np.empty((dose.shape[0], wanted_gy.shape[0]))
    for c in range(dose.shape[0]):
        for m in range(wanted_gy.shape[0]):
            result[c, m] = _volume_above(dose[c], volume[c if volume.shape[0] > 1 else 0], wanted_gy[m])
    return result


@njit(cache=True, nogil=True, fastmath=_FAST)
def _moment(dose, volume):
    """sum_p volume[p] dose[p] of points (point,), in cc Gy."""
    total = 0.0
    for p in range(dose.shape[0]):
        total += volume[p] * dose[p]
    return total


@njit(cache=True, nogil=True)
def mean_dose(dose, volume):
    """Volume-weighted mean dose in Gy, float64 (course,); 0 where there is no volume."""
    result = np.zeros(dose.shape[0])
    totals = _totals(volume)
    for c in range(dose.shape[0]):
        row = c if volume.shape[0] > 1 else 0
        if totals[row] > 0.0:
            result[c] = _moment(dose[c], volume[row]) / totals[row]
    return result


@njit(cache=True, nogil=True)
def generalised_mean(dose, volume, power):
    """(Volume-weighted mean of dose**power)**(1 / power) in Gy, float64 (course,); power is not 0.

    Doses are divided by the largest one (the smallest, for a negative power), so that no power overflows and the sum keeps the
    term that decides. Doses below 0 count as 0; 0 where there is no volume.
    """
    result = np.zeros(dose.shape[0])
    for c in range(dose.shape[0]):
        cell_cc = volume[c if volume.shape[0] > 1 else 0]
        unit, total_cc = 0.0 if power > 0.0 else np.inf, 0.0
        for p in range(dose.shape[1]):
            if cell_cc[p] > 0.0:
                gy = max(np.float64(dose[c, p]), 0.0)
                unit = max(unit, gy) if power > 0.0 else min(unit, gy)
                total_cc += cell_cc[p]
        if 0.0 < unit < np.inf:
            total = 0.0
            for p in range(dose.shape[1]):
                if cell_cc[p] > 0.0:
                    total += cell_cc[p] * (max(np.float64(dose[c, p]), 0.0) / unit) ** power
            result[c] = unit * (total / total_cc) ** (1.0 / power)
    return result


@njit(cache=True, nogil=True)
def _bins_of(dose, low, per_gy, n_bins, bin_of):
    """Which of `n_bins` bins each dose belongs to, from `low` on; doses beyond count to the first or last bin."""
    first, last = np.float32(0.0), np.float32(n_bins - 1)
    for p in range(dose.shape[0]):
        place = (dose[p] - low) * per_gy
        place = place if place > first else first
        bin_of[p] = np.int32(place if place < last else last)


@njit(cache=True, nogil=True)
def _in_bins(bin_of, volume, n_bins):
    """Volume in each bin, float64 (bin,), summed in four parts so that one sum need not wait for the last."""
    parts = np.zeros((n_bins, 4))
    n_whole = bin_of.shape[0] // 4 * 4
    for p in range(0, n_whole, 4):
        parts[bin_of[p], 0] += volume[p]
        parts[bin_of[p + 1], 1] += volume[p + 1]
        parts[bin_of[p + 2], 2] += volume[p + 2]
        parts[bin_of[p + 3], 3] += volume[p + 3]
    for p in range(n_whole, bin_of.shape[0]):
        parts[bin_of[p], 0] += volume[p]
    in_bin = np.empty(n_bins)
    for b in range(n_bins):
        in_bin[b] = (parts[b, 0] + parts[b, 1]) + (parts[b, 2] + parts[b, 3])
    return in_bin


@njit(cache=True, nogil=True)
def cumulative_dvh(dose, volume, step_gy, n_bins):
    """Percent of the volume that receives at least i * step_gy, float64 (course, n_bins)."""
    result = np.empty((dose.shape[0], n_bins))
    bin_of = np.empty(dose.shape[1], np.int32)
    for c in range(dose.shape[0]):
        _bins_of(dose[c], np.float32(0.0), np.float32(1 / step_gy), n_bins, bin_of)
        in_bin = _in_bins(bin_of, volume[c if volume.shape[0] > 1 else 0], n_bins)
        reached = 0.0
        for b in range(n_bins - 1, -1, -1):
            reached += in_bin[b]
            result[c, b] = reached
        for b in range(n_bins):
            result[c, b] = min(100.0, 100.0 * result[c, b] / reached) if reached > 0.0 else 0.0
    return result


@njit(cache=True, nogil=True)
def doses_of_dvh(percent, step_gy, wanted):
    """Dose in Gy at which cumulative DVHs, see `cumulative_dvh`, fall below the percents `wanted` (w,): float64 (course, w)."""
    found = np.empty((percent.shape[0], wanted.shape[0]))
    for c in range(percent.shape[0]):
        for m in range(wanted.shape[0]):
            first, last = np.int64(0), np.int64(percent.shape[1] - 1)
            while first < last:
                middle = (first + last + 1) // 2
                if percent[c, middle] >= wanted[m]:
                    first = middle
                else:
                    last = middle - 1
            here = percent[c, first]
            beyond = percent[c, first + 1] if first + 1 < percent.shape[1] else 0.0
            share = (here - wanted[m]) / (here - beyond) if here > beyond else 0.0
            found[c, m] = step_gy * (first + min(max(share, 0.0), 1.0))
    return found


@njit(cache=True, nogil=True)
def count_levels(percent, counts):
    """Add to counts[dose, level] how many courses (course, dose) are nearest to each level of even steps from 0 to 100 %."""
    last = counts.shape[1] - 1
    per_percent = last / 100
    for c in range(percent.shape[0]):
        for b in range(percent.shape[1]):
            counts[b, _bin(np.rint(percent[c, b] * per_percent), last)] += 1
