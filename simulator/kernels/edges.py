"""Which margin a point of a target needs, where the planned dose is a function of the depth inside the PTV.

Visit k of a course puts the point x of the target at s_k + F x, at the offset e_k from the path of the planning target's
centres. The planning target is what lies within r of the path; its PTV is given by the place m along a chain of margins:

    dose(m) = sum_k w_k T(d_k(m))    d_k(m) = r + m - |e_k|         where all six margins are m
                                     d_k(m) = r - |e_k - E(m)|      else: |e - E| is the distance of e from the ellipsoid
                                                                    octants E whose semi-axes are the six margins

T is the dose at a depth inside the PTV in units of the wanted dose, for the direction of e_k; the dose does not move with
the target (van Herk 2000, doi:10.1016/S0360-3016(00)00518-6). The margin needed is the m at which dose(m) = 1.

T rises with depth and margins rise along the chain, so dose(m) rises: between a place with less than 1 and one with more,
halving (bisection) cannot lose the crossing, and every third step halves at least. With depths from a to b at which T is 1
in some direction, r + m - |e_k| is below a in every visit for m = min |e_k| - r + a, and above b for m = max |e_k| - r + b.
Ellipsoids have no such bounds: the bracket grows from a guess until its ends part or lie far beyond the chain.
"""

import math

import numpy as np
from numba import njit

FIRST_DEPTH_MM, DEPTH_STEP_MM = -40.0, 0.05
_EXACT_MM = 5e-3
_MOST_STEPS, _NEWTON_STEPS = 60, 8
_STEEP_MM, _ON_SURFACE = 6.0, 1e-6
_REACH_MM, _FARTHEST_MM = 1.5, 60.0


@njit(cache=True, nogil=True)
def margins_needed(table, shift_mm, weight, frame, points_mm, path_mm, radius_mm, size_mm, sides_mm):
    """The place along a chain of margins that each point needs in each course, float64 (course, point), to 2.5 um.

    Parameters
    ----------
    table : T (polar, azimuth, depth) at `FIRST_DEPTH_MM + i * DEPTH_STEP_MM`, rising; linear in between, constant beyond.
        Directions from the path are equal steps of the cosine to +z and of the angle from -x over -y.
    shift_mm : s (course, k, 3). weight : w (course, k), sum 1. frame : F (course, 3, 3). points_mm : x (point, 3).
    path_mm : (position, 3), polyline. radius_mm : r.
    size_mm : m (margin,), rising. sides_mm : the margins there (margin, 6), rising; linear between them and beyond.
    """
    if path_mm.shape[0] == 0 or size_mm.shape[0] == 0 or table.size == 0:
        raise ValueError("no path, no margin or no dose")
    n_courses, n_points, n_visits = shift_mm.shape[0], points_mm.shape[0], shift_mm.shape[1]
    needed_mm = np.empty((n_courses, n_points))
    away_mm, offset_mm, part = np.empty(n_visits), np.empty((n_visits, 3)), np.zeros((n_visits, 2), np.int64)
    shallow_mm, deep_mm = _depths_of_wanted_dose(table)
    is_isotropic, side = _is_isotropic(size_mm, sides_mm), np.empty(6)
    lowest, highest = size_mm[0] - _FARTHEST_MM, size_mm[-1] + _FARTHEST_MM
    for c in range(n_courses):
        guess = 0.5 * (size_mm[0] + size_mm[-1])
        for p in range(n_points):
            nearest, farthest = _offsets(points_mm[p], shift_mm[c], frame[c], path_mm, offset_mm, away_mm)
            _directions(offset_mm, away_mm, table.shape[0], table.shape[1], part)
            visits = (table, part, weight[c], away_mm, offset_mm, radius_mm, size_mm, sides_mm, is_isotropic, side)
            low, high = nearest - radius_mm + shallow_mm, farthest - radius_mm + deep_mm
            below, above, n_tried = 0.0, 0.0, 0
            if not is_isotropic:
                low, high, below, above, n_tried = _bracket(guess, lowest, highest, visits)
            guess = needed_mm[c, p] = _crossing(low, high, below, above, n_tried, visits)
    return needed_mm


@njit(cache=True, nogil=True)
def offsets_of_points(shift_mm, frame, points_mm, path_mm, n_polar, n_azimuth, offset_mm, part):
    """Where points are in each visit, and which curve of a table holds there; for arguments see `margins_needed`.

    Parameters
    ----------
    offset_mm : receives e_k (course, point, k, 3). part : receives the step of a table (course, point, k, 2).
    """
    if path_mm.shape[0] == 0 or n_polar * n_azimuth == 0:
        raise ValueError("no path or no dose")
    away_mm = np.empty(shift_mm.shape[1])
    for c in range(shift_mm.shape[0]):
        for p in range(points_mm.shape[0]):
            _offsets(points_mm[p], shift_mm[c], frame[c], path_mm, offset_mm[c, p], away_mm)
            _directions(offset_mm[c, p], away_mm, n_polar, n_azimuth, part[c, p])


@njit(cache=True, nogil=True)
def doses_in_margins(table, offset_mm, part, weight, radius_mm, side_mm, dose):
    """`dose[c, p]` of points in each course, in units of the wanted dose, for six margins `side_mm` (6,).

    Parameters
    ----------
    offset_mm, part : from `offsets_of_points`. weight : w (course, k), sum 1.
    """
    for c in range(offset_mm.shape[0]):
        for p in range(offset_mm.shape[1]):
            total = 0.0
            for k in range(weight.shape[1]):
                depth_mm = radius_mm - _from_ellipsoid(offset_mm[c, p, k], side_mm)
                total += weight[c, k] * _dose(table, part[c, p, k, 0], part[c, p, k, 1], depth_mm)
            dose[c, p] = total


@njit(cache=True, nogil=True)
def _excess(at, visits):
    """dose(m) - 1 = sum_k w_k T(d_k(m)) - 1."""
    table, part, weight, away_mm, offset_mm, radius_mm, size_mm, sides_mm, is_isotropic, side = visits
    if not is_isotropic:
        _sides_at(at, size_mm, sides_mm, side)
    excess = -1.0
    for k in range(weight.shape[0]):
        depth_mm = radius_mm + at - away_mm[k] if is_isotropic else radius_mm - _from_ellipsoid(offset_mm[k], side)
        excess += weight[k] * _dose(table, part[k, 0], part[k, 1], depth_mm)
    return excess


@njit(cache=True, nogil=True)
def _bracket(guess, lowest, highest, visits):
    """Places low and high with their excess below 0 and not below 0, and the number of places tried.

    It grows twofold at each step; from beyond `lowest` or `highest` both are the last place tried.
    """
    reach, n = _REACH_MM, 1
    low, high = guess - reach, guess + reach
    below = above = _excess(low, visits)
    if below < 0:
        above, n = _excess(high, visits), 2
        while above < 0 and high <= highest:
            reach *= 2
            low, below, high = high, above, high + reach
            above, n = _excess(high, visits), n + 1
        return (low if above >= 0 else high), high, below, above, n
    high = low
    while not below < 0 and low >= lowest:
        reach *= 2
        high, above, low = low, below, low - reach
        below, n = _excess(low, visits), n + 1
    return low, (high if below < 0 else low), below, above, n


@njit(cache=True, nogil=True)
def _crossing(low, high, below, above, n_tried, visits):
    """Where the excess crosses 0 within a bracket, whose own excesses are 0 where they are not known.

    Regula falsi where the bracket is narrow, kept inside it, and bisection (Brent 1973, Algorithms for Minimization
    without Derivatives, chapter 4): 60 steps halve it 20 times at least.
    """
    for step in range(n_tried, _MOST_STEPS):
        if high - low < _EXACT_MM:
            break
        at = 0.5 * (low + high)
        if high - low < _STEEP_MM and step % 3 < 2 and below < 0.0 < above:
            secant = low - below * (high - low) / (above - below)
            at = min(max(secant, low + 0.25 * _EXACT_MM), high - 0.25 * _EXACT_MM)
        excess = _excess(at, visits)
        if excess < 0:
            low, below = at, excess
        else:
            high, above = at, excess
    return 0.5 * (low + high)


@njit(cache=True, nogil=True)
def _offsets(point_mm, shift_mm, frame, path_mm, offset_mm, away_mm):
    """`offset_mm[k]` (k, 3) of s_k + F x from the path, its length `away_mm[k]`; the smallest and the largest length."""
    nearest, farthest, at = np.inf, 0.0, np.empty(3)
    for k in range(shift_mm.shape[0]):
        for i in range(3):
            at[i] = shift_mm[k, i]
            for j in range(3):
                at[i] += frame[i, j] * point_mm[j]
        away_mm[k] = _from_path(at, path_mm, offset_mm[k])
        nearest, farthest = min(nearest, away_mm[k]), max(farthest, away_mm[k])
    return nearest, farthest


@njit(cache=True, nogil=True)
def _directions(offset_mm, away_mm, n_polar, n_azimuth, part):
    """`part[k]` (k, 2): which polar and which azimuthal step of a table each offset (k, 3) points to."""
    if n_polar * n_azimuth == 1:
        return
    for k in range(offset_mm.shape[0]):
        part[k, 0] = _part((offset_mm[k, 2] / max(away_mm[k], 1e-9) + 1) / 2, n_polar)
        part[k, 1] = _part(math.atan2(offset_mm[k, 1], offset_mm[k, 0]) / (2 * math.pi) + 0.5, n_azimuth)


@njit(cache=True, nogil=True)
def _is_isotropic(size_mm, sides_mm):
    """Whether all six margins (margin, 6) are the place itself (margin,)."""
    for m in range(size_mm.shape[0]):
        for d in range(6):
            if sides_mm[m, d] != size_mm[m]:
                return False
    return True


@njit(cache=True, nogil=True)
def _depths_of_wanted_dose(table):
    """The smallest and the largest depth over directions at which a table (polar, azimuth, depth) reaches 1."""
    shallow_mm, deep_mm = np.inf, -np.inf
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            depth_mm = _depth_of_wanted_dose(table[i, j])
            shallow_mm, deep_mm = min(shallow_mm, depth_mm), max(deep_mm, depth_mm)
    return shallow_mm, deep_mm


@njit(cache=True, nogil=True)
def _depth_of_wanted_dose(curve):
    """The depth at which the dose (depth,) reaches 1."""
    for i in range(1, curve.shape[0]):
        if curve[i] >= 1.0:
            rise = max(curve[i] - curve[i - 1], 1e-12)
            return FIRST_DEPTH_MM + DEPTH_STEP_MM * (i - max(curve[i] - 1.0, 0.0) / rise)
    return FIRST_DEPTH_MM + DEPTH_STEP_MM * (curve.shape[0] - 1)


@njit(cache=True, nogil=True)
def _part(share, n):
    """Which of `n` equal parts of 0-1 a share lies in, the first for one that is not a number."""
    return int(min(share * n, n - 1.0)) if share > 0 else 0


@njit(cache=True, nogil=True)
def _dose(table, polar, azimuth, depth_mm):
    """T of one direction at a depth: linear between nodes, constant beyond, and the first node's for what is no number."""
    index, last = (depth_mm - FIRST_DEPTH_MM) / DEPTH_STEP_MM, table.shape[2] - 1
    if not index > 0:
        return table[polar, azimuth, 0]
    if index >= last:
        return table[polar, azimuth, last]
    i = int(index)
    return table[polar, azimuth, i] + (index - i) * (table[polar, azimuth, i + 1] - table[polar, azimuth, i])


@njit(cache=True, nogil=True)
def _from_path(point, path_mm, offset):
    """Distance of a point (3,) from a polyline (position, 3); `offset` (3,) receives the vector from its nearest point."""
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
    """`side` (6,): the margins at a place along a chain of two (margin,) or more, linear in between, not below 0."""
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
    """Distance of a point x (3,) from the octant on its side of an ellipsoid about the origin; semi-axes `side` (6,).

    The nearest point is y_i = m_i^2 x_i / (m_i^2 + t), where t >= 0 makes g(t)^2 = sum_i (m_i x_i / (m_i^2 + t))^2 = 1.
    1 / g is nearly straight and concave, so Newton's steps from t = 0 do not pass the root (Moré & Sorensen 1983,
    doi:10.1137/0904038, section 3).
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
