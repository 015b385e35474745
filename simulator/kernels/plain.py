"""The vector instructions in plain numpy: what they mean, and what runs where compilation is off (NUMBA_DISABLE_JIT=1)."""

import numpy as np

_LANES, _TILES = 8, 8


def _part(values, first, n):
    """Elements of `values` from `first` on, all of which exist."""
    first = int(first)
    if first < 0 or first + n > len(values):
        raise IndexError(f"elements {first} to {first + n} of {len(values)}")
    return values[first : first + n]


def sum_tiles(values, start, base, factor, n_terms, first, place, result):
    """As in `simulator.kernels.vectors`."""
    terms = list(zip(_part(base, 0, n_terms), _part(factor, 0, n_terms), strict=True))
    for begin, to in zip(_part(start, first, _TILES), _part(place, first, _TILES), strict=True):
        total = sum((f * _part(values, begin + b, _LANES) for b, f in terms), np.zeros(_LANES, np.float32))
        _part(result, to, _LANES)[:] = total


def sum_trilinear(quads, step, farthest, node, visit, first, last):
    """As in `simulator.kernels.vectors`."""
    total = np.float32(0.0)
    for shift in visit[first:last].reshape(-1, 4):
        at = node[:3] + shift[:3]
        at = np.where(at > 0, at, np.float32(0))
        at = np.where(at < farthest[:3], at, farthest[:3])
        whole = at.astype(np.int64)
        z, y, x = at - whole
        corners = _part(quads, whole @ step[:3], _LANES).reshape(2, 4)
        value = corners[0] + x * (corners[1] - corners[0])
        total += shift[3] * (np.array([(1 - z) * (1 - y), (1 - z) * y, z * (1 - y), z * y]) @ value)
    return np.float32(total)


def lowest_and_highest(values, excluded, first, n_vectors, low, high, place):
    """As in `simulator.kernels.vectors`."""
    some = _part(values, first, _LANES * int(n_vectors))
    _part(low, place, 1)[0], _part(high, place, 1)[0] = np.fmin.reduce(some), np.fmax.reduce(some)


def lowest_and_highest_counted(values, excluded, first, n_vectors, low, high, place):
    """As in `simulator.kernels.vectors`."""
    n = _LANES * int(n_vectors)
    some, off = _part(values, first, n), _part(excluded, first, n)
    _part(low, place, 1)[0], _part(high, place, 1)[0] = np.fmin.reduce(some + off), np.fmax.reduce(some - off)
