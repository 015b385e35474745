"""Which margin a point of a target needs, where the planned dose is a function of the depth inside the PTV."""

import math

import numpy as np
from numba import njit

_EXACT_MM = 5e-3
_MOST_STEPS, _NEWTON_STEPS = 60, 8
_STEEP_MM, _ON_SURFACE = 6.0, 1e-6
_REACH_MM, _FARTHEST_MM = 1.5, 60.0


@njit(cache=True, nogil=True)
def margins_needed(
    table,
    first_mm,
    step_mm,
    level,
    shift_mm,
    weight,
    frame,
    points_mm,
    path_mm,
    radius_mm,
    size_mm,
    sides_mm,
    needed_mm,
):
    """`needed[c, p]`: the place along a chain of margins at which a point's dose, summed over visits, reaches a level.

    Parameters
    ----------
    table : (polar, azimuth, depth), dose at a depth of `first_mm + i * step_mm` inside the PTV, rising; linear in between,
        constant beyond. Directions from the path are equal steps of the cosine to +z and of the angle from -x over -y.
    shift_mm : (course, k, 3). weight : (course, k). frame : (course, 3, 3), turns `points_mm` (point, 3) about the centre.
    path_mm : (position, 3), polyline whose neighbourhood of `radius_mm` is the planning target.
    size_mm : (margin,), places along the chain. sides_mm : (margin, 6), margins there; linear between them and beyond.
    needed_mm : (course, point).
    """
    n_visits = shift_mm.shape[1]
    if path_mm.shape[0] == 0 or size_mm.shape[0] == 0 or table.size == 0:
        raise ValueError("no path, no margin or no dose")
    away, offset = np.empty(n_visits), np.empty((n_visits, 3))
    side, point = np.empty(6), np.empty(3)
    n_polar, n_azimuth = table.shape[0], table.shape[1]
    shallow, deep = np.inf, -np.inf
    for i in range(n_polar):
        for j in range(n_azimuth):
            depth = _depth_of(table[i, j], first_mm, step_mm, level)
            shallow, deep = min(shallow, depth), max(deep, depth)
    polar, azimuth = np.zeros((2, n_visits), np.int64)
    isotropic = True
    for m in range(size_mm.shape[0]):
        for d in range(6):
            isotropic = isotropic and sides_mm[m, d] == size_mm[m]
    for c in range(shift_mm.shape[0]):
        for p in range(points_mm.shape[0]):
            nearest, farthest = np.inf, 0.0
            for k in range(n_visits):
                for i in range(3):
                    point[i] = shift_mm[c, k, i]
                    for j in range(3):
                        point[i] += frame[c, i, j] * points_mm[p, j]
                away[k] = _from_path(point, path_mm, offset[k])
                nearest, farthest = min(nearest, away[k]), max(farthest, away[k])
                if n_polar * n_azimuth > 1:
                    polar[k] = _part((offset[k, 2] / max(away[k], 1e-9) + 1) / 2, n_polar)
                    azimuth[k] = _part(math.atan2(offset[k, 1], offset[k, 0]) / (2 * math.pi) + 0.5, n_azimuth)
            below = above = 0.0
            known_low = known_high = isotropic
            reach = _REACH_MM
            if isotropic:
                low, high = nearest - radius_mm + shallow, farthest - radius_mm + deep
            else:
                guess = needed_mm[c, p - 1] if p > 0 else 0.5 * (size_mm[0] + size_mm[-1])
                low, high = guess - reach, guess + reach
            for step in range(_MOST_STEPS):
                if known_low and known_high and high - low < _EXACT_MM:
                    break
                at = low if not known_low else high if not known_high else 0.5 * (low + high)
                if known_low and known_high and high - low < _STEEP_MM and step % 3 < 2 and below < 0.0 < above:
                    at = min(
                        max(low - below * (high - low) / (above - below), low + 0.25 * _EXACT_MM),
                        high - 0.25 * _EXACT_MM,
                    )
                if not isotropic:
                    _sides_at(at, size_mm, sides_mm, side)
                excess = -level
                for k in range(n_visits):
                    depth = radius_mm + at - away[k]
                    if not isotropic:
                        depth = radius_mm - _from_ellipsoid(offset[k], side)
                    excess += weight[c, k] * _interpolated(table[polar[k], azimuth[k]], (depth - first_mm) / step_mm)
                beyond = at < size_mm[0] - _FARTHEST_MM or at > size_mm[-1] + _FARTHEST_MM
                if excess < 0:
                    low, below = at, excess
                    if known_low and not known_high and not beyond:
                        reach *= 2
                        high += reach
                    else:
                        known_high = known_high or beyond
                    known_low = True
                else:
                    high, above = at, excess
                    if not known_low and not beyond:
                        reach *= 2
                        low -= reach
                    else:
                        known_low = True
                    known_high = True
            needed_mm[c, p] = 0.5 * (low + high)


@njit(cache=True, nogil=True)
def _part(share, n):
    """Which of `n` equal parts of 0-1 a share lies in, the first for one that is not a number."""
    return int(min(share * n, n - 1.0)) if share > 0 else 0


@njit(cache=True, nogil=True)
def _interpolated(table, index):
    last = table.shape[0] - 1
    if not index > 0:
        return table[0]
    if index >= last:
        return table[last]
    i = int(index)
    return table[i] + (index - i) * (table[i + 1] - table[i])


@njit(cache=True, nogil=True)
def _depth_of(table, first_mm, step_mm, level):
    """The depth at which the dose of the table reaches a level."""
    for i in range(1, table.shape[0]):
        if table[i] >= level:
            rise = max(table[i] - table[i - 1], 1e-12)
            return first_mm + step_mm * (i - max(table[i] - level, 0.0) / rise)
    return first_mm + step_mm * (table.shape[0] - 1)


@njit(cache=True, nogil=True)
def _from_path(point, path_mm, offset):
    """Distance of a point from a polyline; `offset` receives the vector from its nearest point."""
    best = np.inf
    offset[:] = 0.0
    for q in range(max(1, path_mm.shape[0] - 1)):
        end = min(q + 1, path_mm.shape[0] - 1)
        along = length2 = 0.0
        for i in range(3):
            edge = path_mm[end, i] - path_mm[q, i]
            along += edge * (point[i] - path_mm[q, i])
            length2 += edge * edge
        share = min(max(along / length2, 0.0), 1.0) if length2 > 0 else 0.0
        distance2 = 0.0
        for i in range(3):
            distance2 += (point[i] - path_mm[q, i] - share * (path_mm[end, i] - path_mm[q, i])) ** 2
        if distance2 < best:
            best = distance2
            for i in range(3):
                offset[i] = point[i] - path_mm[q, i] - share * (path_mm[end, i] - path_mm[q, i])
    return math.sqrt(best)


@njit(cache=True, nogil=True)
def _sides_at(at, size_mm, sides_mm, side):
    """The six margins at a place along a chain of two or more, not below 0."""
    if size_mm.shape[0] < 2:
        raise ValueError("a chain has two margins or more")
    m = 0
    while m < size_mm.shape[0] - 2 and at > size_mm[m + 1]:
        m += 1
    share = (at - size_mm[m]) / (size_mm[m + 1] - size_mm[m])
    for d in range(6):
        side[d] = max(0.0, sides_mm[m, d] + share * (sides_mm[m + 1, d] - sides_mm[m, d]))


@njit(cache=True, nogil=True)
def distances_from_ellipsoid(points_mm, side_mm, distance_mm):
    """`distance_mm[p]` of points (point, 3) from the eight ellipsoid octants with semi-axes `side_mm` (6,); 0 inside."""
    for p in range(points_mm.shape[0]):
        distance_mm[p] = _from_ellipsoid(points_mm[p], side_mm)


@njit(cache=True, nogil=True)
def _from_ellipsoid(point, side):
    """Distance of a point from an octant of an ellipsoid about the origin.

    The nearest point is y_i = m_i^2 x_i / (m_i^2 + t) with sum_i (m_i x_i / (m_i^2 + t))^2 = 1; Newton on the root's inverse.
    """
    t = 0.0
    for step in range(_NEWTON_STEPS):
        gauge2 = slope = 0.0
        for i in range(3):
            m = side[2 * i + (point[i] > 0)]
            if m > 0:
                share = (m * point[i] / (m * m + t)) ** 2
                gauge2 += share
                slope += share / (m * m + t)
        if gauge2 == 0.0:
            break
        gauge = math.sqrt(gauge2)
        if (gauge <= 1.0 and step == 0) or abs(gauge - 1.0) < _ON_SURFACE:
            break
        t += (gauge - 1.0) * gauge2 / slope
    distance2 = 0.0
    for i in range(3):
        m = side[2 * i + (point[i] > 0)]
        if m * m + t > 0:
            distance2 += (point[i] * t / (m * m + t)) ** 2
        else:
            distance2 += point[i] ** 2
    return math.sqrt(distance2)
