"""Doses of cells: what the inside part of a lattice cell receives, from the doses at its node and the six around it.

`dose` is float32 (course, node) in Gy. Cells are described by `volume` float64 (cell,) in cc, `node` uint32 (cell,), `around`
uint32 (cell, 6), `part` uint32 (cell,) and `shape` float32 (m, 9); see `simulator.case.cells.Cells`.

Within a cell the dose is d(x) = d + g x + x h x / 2 with lengths in cell edges, gradient g and curvature h (of each axis) by
central differences. A part of centroid c and covariance S has the mean d + g c + tr(h (S + c c)) / 2, and doses taken to be
spread evenly about it over the width sqrt(12 (g + h c) S (g + h c)), which is that of their variance; both stay within
the range of the doses at the seven nodes.
"""

import math

import numpy as np
from numba import njit

_SAME_DOSE = 1e-7
_STEPS, _LOOKS, _WIDER, _CHUNK = 60, 6, 4.0, 64
_CLOSE, _SPARE = 1e-7, 0.02
_REACH = np.float32(0.9)
_FAST = {"nnan", "nsz", "reassoc", "contract"}


@njit(cache=True, nogil=True)
def _means_and_widths(dose, some, n, node, around, part, shape, mean, width):
    """Mean dose of the inside part of cells some[:n], less that of the node, and the width over which its doses spread."""
    for k in range(n):
        i = some[k]
        own, row = node[i], part[i]
        here, half = dose[own], np.float32(0.5)
        z0, z1, y0, y1 = dose[around[i, 0]], dose[around[i, 1]], dose[around[i, 2]], dose[around[i, 3]]
        x0, x1 = dose[around[i, 4]], dose[around[i, 5]]
        gz, gy, gx = half * (z1 - z0), half * (y1 - y0), half * (x1 - x0)
        hz, hy, hx = z1 + z0 - here - here, y1 + y0 - here - here, x1 + x0 - here - here
        cz, cy, cx = shape[row, 0], shape[row, 1], shape[row, 2]
        more = gz * cz + gy * cy + gx * cx
        more += half * (
            hz * (shape[row, 3] + cz * cz) + hy * (shape[row, 4] + cy * cy) + hx * (shape[row, 5] + cx * cx)
        )
        gz, gy, gx = gz + hz * cz, gy + hy * cy, gx + hx * cx
        variance = gz * gz * shape[row, 3] + gy * gy * shape[row, 4] + gx * gx * shape[row, 5]
        cross = gz * gy * shape[row, 6] + gz * gx * shape[row, 7] + gy * gx * shape[row, 8]
        low = min(min(min(z0, z1), min(y0, y1)), min(min(x0, x1), here)) - here
        high = max(max(max(z0, z1), max(y0, y1)), max(max(x0, x1), here)) - here
        more = min(max(more, low), high)
        spread = math.sqrt(np.float32(12.0) * max(variance + cross + cross, np.float32(0.0)))
        mean[k] = more
        width[k] = min(spread, (high - more) + (high - more), (more - low) + (more - low))


@njit(cache=True, nogil=True)
def follow(dose, sources):
    """Fill the last columns of `dose` from the three of each row of `sources`, along which third differences are zero."""
    first = dose.shape[1] - sources.shape[0]
    three = np.float32(3.0)
    for c in range(dose.shape[0]):
        row = dose[c]
        for k in range(sources.shape[0]):
            row[first + k] = three * (row[sources[k, 0]] - row[sources[k, 1]]) + row[sources[k, 2]]


@njit(cache=True, nogil=True)
def mean_doses(dose, node, around, part, shape):
    """Mean dose of each cell in Gy, float32 (course, cell)."""
    n = node.shape[0]
    every, width = np.arange(n).astype(np.uint32), np.empty(n, np.float32)
    means = np.empty((dose.shape[0], n), np.float32)
    for c in range(dose.shape[0]):
        _means_and_widths(dose[c], every, n, node, around, part, shape, means[c], width)
        for i in range(n):
            means[c, i] += dose[c, node[i]]
    return means


@njit(cache=True, nogil=True, fastmath=_FAST)
def _hotter(top, per_gy, slope, volume, n, level):
    """V(level) = sum_i volume[i] min(max((top[i] - level) per_gy[i], 0), 1) of the first n cells, in cc, and -dV / dlevel."""
    total = fall = 0.0
    for i in range(n):
        share = (top[i] - level) * per_gy[i]
        total += min(max(share, 0.0), 1.0) * volume[i]
        fall += slope[i] if 0.0 < share < 1.0 else 0.0
    return total, fall


@njit(cache=True, nogil=True)
def _level_of(top, per_gy, slope, volume, n, wanted, level):
    """The dose that `wanted` cc of the first cells receive at least, by Newton's method between bounds that close in.

    Parameters
    ----------
    top : highest dose of each cell in Gy. per_gy : 1 / the width over which its doses spread. slope : `volume` * `per_gy`.
    level : dose in Gy to begin with.
    """
    low, high = np.inf, -np.inf
    for i in range(n):
        low, high = min(low, top[i] - 1.0 / per_gy[i]), max(high, top[i])
    level = min(max(level, low), high)
    close = _CLOSE * max(abs(low), abs(high))
    for _ in range(_STEPS):
        total, fall = _hotter(top, per_gy, slope, volume, n, level)
        if total >= wanted:
            low = level
        else:
            high = level
        following = level + (total - wanted) / fall if fall > 0.0 else 0.5 * (low + high)
        if not low <= following <= high:
            following = 0.5 * (low + high)
        if abs(following - level) <= close:
            return following
        level = following
    return level


@njit(cache=True, nogil=True)
def _limits_of_chunks(dose, node, reach, lowest, highest):
    """Lowest and highest dose that any cell of each chunk of cells may hold, float32 (chunk,), written: dose -+ reach."""
    for j in range(lowest.shape[0]):
        low, high = np.float32(np.inf), np.float32(-np.inf)
        for i in range(j * _CHUNK, min((j + 1) * _CHUNK, node.shape[0])):
            here = dose[node[i]]
            low, high = min(low, here - reach[i]), max(high, here + reach[i])
        lowest[j], highest[j] = low, high


@njit(cache=True, nogil=True)
def metrics_of_cells(dose, volume, node, around, part, shape, reach, wanted, guess, level):
    """Minimum dose to the hottest volumes, and the volumes that receive some doses at least.

    Only cells that may hold the answer are looked at closely. When an answer differs much from its guess, it is the next guess.

    Parameters
    ----------
    reach : float32 (cell,), bound on the difference in Gy between the dose at the node and any dose of the cell.
    wanted : (v,) in cc. guess : float64 (course, v) in Gy, by the doses at the nodes. level : float64 (d,) in Gy.

    Returns
    -------
    float64 (course, v) in Gy, float64 (course, d) in cc.
    """
    n_courses, n_cells = dose.shape[0], node.shape[0]
    found_gy, found_cc = np.empty(guess.shape), np.zeros((n_courses, level.shape[0]))
    some = np.empty(n_cells + 1, np.uint32)
    mean, width = np.empty(n_cells, np.float32), np.empty(n_cells, np.float32)
    top, per_gy, slope, near = (
        np.empty(n_cells + 1),
        np.empty(n_cells + 1),
        np.empty(n_cells + 1),
        np.empty(n_cells + 1),
    )
    chunk_cc = np.zeros(-(-n_cells // _CHUNK))
    for i in range(n_cells):
        chunk_cc[i // _CHUNK] += volume[i]
    total_cc = chunk_cc.sum()
    lowest, highest = np.empty(chunk_cc.shape[0], np.float32), np.empty(chunk_cc.shape[0], np.float32)
    for c in range(n_courses):
        row = dose[c]
        _limits_of_chunks(row, node, reach, lowest, highest)
        for m in range(wanted.shape[0]):
            is_hot = wanted[m] <= 0.5 * total_cc
            sign = 1.0 if is_hot else -1.0
            wanted_cc = wanted[m] if is_hot else total_cc - wanted[m]
            found = guess[c, m]
            spare = _SPARE * max(abs(found), 1e-30)
            for look in range(_LOOKS):
                spare = spare if look < _LOOKS - 1 else np.inf
                at = found
                narrowest = _SAME_DOSE * max(abs(at), 1e-30)
                n_near, beyond_cc = _near_cells(
                    row, node, volume, chunk_cc, lowest, highest, reach, at, spare, is_hot, some
                )
                _means_and_widths(row, some, n_near, node, around, part, shape, mean, width)
                n, near_cc = np.int64(0), 0.0
                for k in range(n_near):
                    cc = volume[some[k]]
                    half = 0.5 * max(np.float64(width[k]), narrowest)
                    middle = sign * (np.float64(row[node[some[k]]]) + mean[k] - at)
                    inverse = 0.5 / half
                    top[n], per_gy[n], slope[n], near[n] = middle + half, inverse, inverse * cc, cc
                    is_near = abs(middle) <= half + spare
                    n += is_near
                    near_cc += cc * is_near
                    beyond_cc += cc * (middle > half + spare)
                if spare < np.inf and not beyond_cc <= wanted_cc <= beyond_cc + near_cc:
                    spare *= _WIDER
                    continue
                if n > 0:
                    found = at + sign * _level_of(top, per_gy, slope, near, n, wanted_cc - beyond_cc, 0.0)
                if abs(found - at) <= spare:
                    break
                spare *= _WIDER
            found_gy[c, m] = found
        for m in range(level.shape[0]):
            at = level[m]
            narrowest = _SAME_DOSE * max(abs(at), 1e-30)
            n_near, total = _near_cells(row, node, volume, chunk_cc, lowest, highest, reach, at, 0.0, True, some)
            _means_and_widths(row, some, n_near, node, around, part, shape, mean, width)
            for k in range(n_near):
                above = np.float64(row[node[some[k]]]) + mean[k] - at
                share = above / max(np.float64(width[k]), narrowest) + 0.5
                total += volume[some[k]] * min(max(share, 0.0), 1.0)
            found_cc[c, m] = total
    return found_gy, found_cc


@njit(cache=True, nogil=True)
def _near_cells(dose, node, volume, chunk_cc, lowest, highest, reach, at, spare, is_hot, some):
    """Cells that may hold a dose within `spare` of `at`: how many, and the volume of those beyond.

    Parameters
    ----------
    dose : float32 (node,). reach : float32 (cell,), how far a cell's doses may lie from its node's.
    chunk_cc : float64 (chunk,), volume of each chunk of cells; lowest, highest : see `_limits_of_chunks`.
    some : uint32 (cell + 1,), written: which ones.
    """
    n, beyond_cc = np.int64(0), 0.0
    sign, level, wide = np.float32(1.0 if is_hot else -1.0), np.float32(at), np.float32(spare)
    for j in range(chunk_cc.shape[0]):
        if highest[j] < level - wide or lowest[j] > level + wide:
            beyond_cc += chunk_cc[j] if is_hot == (lowest[j] > level + wide) else 0.0
            continue
        for i in range(j * _CHUNK, min((j + 1) * _CHUNK, node.shape[0])):
            above, near = sign * (dose[node[i]] - level), reach[i] + wide
            some[n] = i
            n += abs(above) <= near
            beyond_cc += volume[i] * (above > near)
    return n, beyond_cc


@njit(cache=True, nogil=True)
def _half_range(dose, i, node, around):
    """sum_a max(|d(x + a) - d(x)|, |d(x - a) - d(x)|) / 2 of cell i in Gy: half the range of doses if so steep throughout."""
    half, here = np.float32(0.0), dose[node[i]]
    for a in range(3):
        half += max(abs(dose[around[i, 2 * a]] - here), abs(dose[around[i, 2 * a + 1]] - here))
    return np.float32(0.5) * half


@njit(cache=True, nogil=True)
def most_spread(dose, node, around, part, shape, most):
    """Raise `most` float32 (cell,) to the largest difference in Gy between the dose at a cell's node and any in the cell."""
    n = node.shape[0]
    every = np.arange(n).astype(np.uint32)
    mean, width = np.empty(n, np.float32), np.empty(n, np.float32)
    for c in range(dose.shape[0]):
        _means_and_widths(dose[c], every, n, node, around, part, shape, mean, width)
        for i in range(n):
            most[i] = max(most[i], abs(mean[i]) + np.float32(0.5) * width[i])


@njit(cache=True, nogil=True)
def raise_errors(dose, node, around, level, size, reach, per_range, per_bend, errors):
    """Raise `errors` float32 (s, cell) in Gy to what each cell, `size` times as large, may put a dose off by that crosses it.

    Parameters
    ----------
    level : float64 (metric, course), the doses in Gy. size : float64 (s,).
    reach : how far from that of its node, in half ranges, a dose may lie in a cell.
    per_range, per_bend : float64 (metric, s) and (metric,), error by half the range of doses of a cell and by their curvature.
    """
    for c in range(dose.shape[0]):
        row = dose[c]
        for i in range(node.shape[0]):
            half, bend, here = _half_range(row, i, node, around), np.float32(0.0), row[node[i]]
            for a in range(3):
                bend += abs(row[around[i, 2 * a]] + row[around[i, 2 * a + 1]] - here - here)
            for m in range(level.shape[0]):
                if abs(here - level[m, c]) <= reach * half:
                    for s in range(size.shape[0]):
                        error = size[s] * half * per_range[m, s] + size[s] * size[s] * bend * per_bend[m]
                        errors[s, i] = max(errors[s, i], error)


@njit(cache=True, nogil=True)
def steepest(values, stride, block):
    """Bound on the dose differences within cells of `stride` nodes, by block of nodes.

    Parameters
    ----------
    values : float32 (z, y, x), the dose on the lattice. block : nodes per edge of a block.

    Returns
    -------
    float32 (z, y, x), fewer by `block`: 0.9 of the largest norm of the differences between nodes `stride` apart; over a cell of
    constant gradient doses differ from that of its node by at most 0.87 of it.
    """
    nz, ny, nx = values.shape
    most = np.zeros((-(-nz // block), -(-ny // block), -(-nx // block)), np.float32)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                here, square = values[z, y, x], np.float32(0.0)
                if z + stride < nz:
                    square += (values[z + stride, y, x] - here) ** 2
                if y + stride < ny:
                    square += (values[z, y + stride, x] - here) ** 2
                if x + stride < nx:
                    square += (values[z, y, x + stride] - here) ** 2
                k, j, i = z // block, y // block, x // block
                most[k, j, i] = max(most[k, j, i], square)
    return _REACH * np.sqrt(most)
