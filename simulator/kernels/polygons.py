"""Area coverage of pixels by polygons on one plane."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _within(x, n):
    """A place held within 0 and n; 0 for what is not a number."""
    x = x if x > 0.0 else 0.0
    return x if x < n else float(n)


@njit(cache=True, nogil=True)
def _crossings(x, y, offsets, n_sub, n_lines):
    """Where polygons cross scanlines at y = (line + 1/2) / n_sub: x of all crossings, and where those of each line begin.

    On the edge from a to b, x = x_a + t (x_b - x_a) with t = (y - y_a) / (y_b - y_a). Starts are int64 (n_lines + 1,).
    """
    n_edges = x.shape[0]
    end_of = np.empty(n_edges, np.int64)
    first = np.zeros(n_edges, np.int64)
    last = np.zeros(n_edges, np.int64)
    counts = np.zeros(n_lines + 1, np.int64)
    for p in range(offsets.shape[0] - 1):
        for a in range(offsets[p], offsets[p + 1]):
            b = a + 1 if a + 1 < offsets[p + 1] else offsets[p]
            end_of[a] = b
            first[a] = int(_within(np.ceil(min(y[a], y[b]) * n_sub - 0.5), n_lines))
            last[a] = int(_within(np.ceil(max(y[a], y[b]) * n_sub - 0.5), n_lines))
            for line in range(first[a], last[a]):
                counts[line + 1] += 1
    starts = np.cumsum(counts)
    filled = starts.copy()
    crossings = np.empty(starts[-1])
    for a in range(n_edges):
        b = end_of[a]
        for line in range(first[a], last[a]):
            t = ((line + 0.5) / n_sub - y[a]) / (y[b] - y[a])
            crossings[filled[line]] = x[a] + t * (x[b] - x[a])
            filled[line] += 1
    return starts, crossings


@njit(cache=True, nogil=True)
def even_odd_coverage(x, y, offsets, n_sub, coverage):
    """Share of each pixel that lies inside an odd number of polygons.

    Scanlines: `n_sub` per pixel row, each with exact overlap lengths along x.

    Parameters
    ----------
    x, y : vertices of all polygons in pixel units; pixel [j, i] covers [i, i+1] along x and [j, j+1] along y.
    offsets : int64 (polygons + 1,), where each polygon begins; polygons close themselves.
    n_sub : scanlines per pixel row.
    coverage : float32 (rows, columns), zeros on entry, filled in place.
    """
    n_rows, n_columns = coverage.shape
    starts, crossings = _crossings(x, y, offsets, n_sub, n_rows * n_sub)
    share = 1.0 / n_sub
    whole = np.zeros(n_columns + 1)
    for r in range(n_rows):
        row = coverage[r]
        whole[:] = 0.0
        for line in range(r * n_sub, (r + 1) * n_sub):
            spans = np.sort(crossings[starts[line] : starts[line + 1]])
            for k in range(0, spans.shape[0] - 1, 2):
                left = _within(spans[k], n_columns)
                right = max(left, _within(spans[k + 1], n_columns))
                i, j = int(left), int(right)
                if i == j:
                    if i < n_columns:
                        row[i] += share * (right - left)
                    continue
                row[i] += share * (i + 1 - left)
                whole[i + 1] += share
                whole[j] -= share
                if j < n_columns:
                    row[j] += share * (right - j)
        filled_so_far = 0.0
        for i in range(n_columns):
            filled_so_far += whole[i]
            row[i] += filled_so_far
