"""Dose of one divergent beam: look-ups in beam's-eye-view maps and along a fan of rays.

Lengths in mm. Beam coordinates of a point: w, its distance from the source along the central axis; (u, v), where the
ray from the source to it crosses the isocentre plane. `axes` has the unit vectors u, v and w as rows.
"""

import math

import numpy as np
from numba import njit, uintp

_NEGLIGIBLE = np.float32(1e-6)


@njit(cache=True, nogil=True)
def _within(x, most):
    """A place held within 0 and `most`; 0 for what is not a number."""
    x = x if x > 0.0 else 0.0
    return x if x < most else float(most)


@njit(cache=True, nogil=True)
def _linear_cell(position, n):
    """Lower node and fraction of a position in steps, held within 0 and n - 1; n is 2 or more."""
    if not position > 0.0:
        return uintp(0), np.float32(0.0)
    if position >= n - 1.0:
        return uintp(n - 2), np.float32(1.0)
    i = uintp(position)
    return i, np.float32(position - i)


@njit(cache=True, nogil=True, error_model="numpy")
def sample_linear(values, origin_mm, step_mm, x, y, z):
    """Trilinear value of `values` (z, y, x) at a point; 0 outside the first and last nodes."""
    nz, ny, nx = values.shape
    fx, fy, fz = (x - origin_mm[0]) / step_mm[0], (y - origin_mm[1]) / step_mm[1], (z - origin_mm[2]) / step_mm[2]
    if not (0.0 <= fx <= nx - 1.0 and 0.0 <= fy <= ny - 1.0 and 0.0 <= fz <= nz - 1.0):
        return 0.0
    ix, iy, iz = uintp(min(int(fx), nx - 2)), uintp(min(int(fy), ny - 2)), uintp(min(int(fz), nz - 2))
    fx, fy, fz = fx - ix, fy - iy, fz - iz
    one = uintp(1)
    low = (1 - fy) * ((1 - fx) * values[iz, iy, ix] + fx * values[iz, iy, ix + one]) + fy * (
        (1 - fx) * values[iz, iy + one, ix] + fx * values[iz, iy + one, ix + one]
    )
    iz += one
    high = (1 - fy) * ((1 - fx) * values[iz, iy, ix] + fx * values[iz, iy, ix + one]) + fy * (
        (1 - fx) * values[iz, iy + one, ix] + fx * values[iz, iy + one, ix + one]
    )
    return (1 - fz) * low + fz * high


@njit(cache=True, nogil=True, error_model="numpy")
def radiological_depths(density, origin_mm, step_mm, source_mm, axes, sad_mm, fan_origin, fan_step, depth_mm):
    """Water-equivalent path from the first w of a fan of rays, by the trapezoidal rule.

    depth[v, u, w] = sum_w (density(w - step) + density(w)) / 2 * step * |ray|, |ray|^2 = 1 + (u / sad)^2 + (v / sad)^2.

    Parameters
    ----------
    density : float32 (z, y, x), relative to water, at least 2 nodes per axis; 0 outside.
    origin_mm, step_mm, source_mm : (3,) as (x, y, z). axes : (3, 3), unit vectors u, v, w.
    fan_origin, fan_step : (3,) as (v, u, w).
    depth_mm : float32 (v, u, w), written.
    """
    if min(density.shape) < 2:
        raise ValueError("a density of two nodes or more per axis is wanted")
    for iv in range(depth_mm.shape[0]):
        v = (fan_origin[0] + iv * fan_step[0]) / sad_mm
        for iu in range(depth_mm.shape[1]):
            u = (fan_origin[1] + iu * fan_step[1]) / sad_mm
            dx = axes[2, 0] + u * axes[0, 0] + v * axes[1, 0]
            dy = axes[2, 1] + u * axes[0, 1] + v * axes[1, 1]
            dz = axes[2, 2] + u * axes[0, 2] + v * axes[1, 2]
            half_path = 0.5 * fan_step[2] * math.sqrt(1.0 + u * u + v * v)
            depth = 0.0
            before = 0.0
            for iw in range(depth_mm.shape[2]):
                w = fan_origin[2] + iw * fan_step[2]
                here = sample_linear(
                    density, origin_mm, step_mm, source_mm[0] + w * dx, source_mm[1] + w * dy, source_mm[2] + w * dz
                )
                depth += half_path * (before + here)
                before = here
                depth_mm[iv, iu, iw] = depth


@njit(cache=True, nogil=True)
def _blurred_apertures(mv, mu, lung, maps, field):
    """Bilinear values at a place in pixels inside pairs of maps, mixed by the share of the second, written to `field` (plan,).

    Returns whether any is 1e-6 or more; smaller ones are written as 0.
    """
    iv, iu, one = uintp(mv), uintp(mu), uintp(1)
    gv, gu = np.float32(mv - iv), np.float32(mu - iu)
    soft, wide = uintp(0), uintp(1)
    seen = False
    for plan in range(field.shape[0]):
        k = uintp(plan)
        near = maps[iv, iu, soft, k] + gu * (maps[iv, iu + one, soft, k] - maps[iv, iu, soft, k])
        far = maps[iv + one, iu, soft, k] + gu * (maps[iv + one, iu + one, soft, k] - maps[iv + one, iu, soft, k])
        value = near + gv * (far - near)
        if lung > np.float32(0.0):
            near = maps[iv, iu, wide, k] + gu * (maps[iv, iu + one, wide, k] - maps[iv, iu, wide, k])
            far = maps[iv + one, iu, wide, k] + gu * (maps[iv + one, iu + one, wide, k] - maps[iv + one, iu, wide, k])
            value += lung * (near + gv * (far - near) - value)
        seen = seen or value >= _NEGLIGIBLE
        field[k] = value if value >= _NEGLIGIBLE else np.float32(0.0)
    return seen


@njit(cache=True, nogil=True)
def _open_dose(u, v, w, fan, fan_origin, per_fan_step):
    """Dose of a wide open field at beam coordinates, from the rays of a fan, held at its edges."""
    one = uintp(1)
    jv, hv = _linear_cell((v - fan_origin[0]) * per_fan_step[0], fan.shape[0])
    ju, hu = _linear_cell((u - fan_origin[1]) * per_fan_step[1], fan.shape[1])
    jw, hw = _linear_cell((w - fan_origin[2]) * per_fan_step[2], fan.shape[2])
    kv, ku, kw = jv + one, ju + one, jw + one
    a = fan[jv, ju, jw] + hw * (fan[jv, ju, kw] - fan[jv, ju, jw])
    b = fan[jv, ku, jw] + hw * (fan[jv, ku, kw] - fan[jv, ku, jw])
    c = fan[kv, ju, jw] + hw * (fan[kv, ju, kw] - fan[kv, ju, jw])
    d = fan[kv, ku, jw] + hw * (fan[kv, ku, kw] - fan[kv, ku, jw])
    low, high = a + hu * (b - a), c + hu * (d - c)
    return low + hv * (high - low)


@njit(cache=True, nogil=True)
def _where_positive(offset, slope, low, high):
    """The part of low <= x <= high where offset + slope x >= 0."""
    if slope > 0.0:
        return max(low, -offset / slope), high
    if slope < 0.0:
        return low, min(high, -offset / slope)
    return low, (high if offset >= 0.0 else low - 1e9)


@njit(cache=True, nogil=True, error_model="numpy")
def add_beam(
    dose, x_mm, y_mm, z_mm, lung, source_mm, axes, sad_mm, maps, map_origin, map_step, fan, fan_origin, fan_step
):  # fmt: skip
    """Add the dose of one beam to the nodes of a grid, for several plans that differ in its aperture alone.

    Parameters
    ----------
    dose : float32 (z, y, x, plan), added to; x_mm, y_mm, z_mm : node coordinates.
    lung : float32 (z, y, x), share in 0-1 of the second map.
    maps : float32 (v, u, 2, plan), blurred apertures in the isocentre plane; no dose outside them.
    map_origin : (2,) as (v, u); map_step : pixel size.
    fan : float32 (v, u, w), dose of a wide open field on a fan of rays, held at its edges; fan_origin, fan_step : (3,).
    """
    if x_mm.shape[0] == 0 or min(fan.shape) < 2:
        raise ValueError("no nodes, or a fan of fewer than two rays or depths")
    last_v = map_origin[0] + (maps.shape[0] - 1) * map_step
    last_u = map_origin[1] + (maps.shape[1] - 1) * map_step
    per_pixel, per_fan_step = 1.0 / map_step, 1.0 / fan_step
    u, v, w = np.empty(x_mm.shape[0]), np.empty(x_mm.shape[0]), np.empty(x_mm.shape[0])
    field = np.empty(maps.shape[3], np.float32)
    for iz in range(z_mm.shape[0]):
        z = z_mm[iz] - source_mm[2]
        for iy in range(y_mm.shape[0]):
            y = y_mm[iy] - source_mm[1]
            u0 = axes[0, 1] * y + axes[0, 2] * z
            v0 = axes[1, 1] * y + axes[1, 2] * z
            w0 = axes[2, 1] * y + axes[2, 2] * z
            x_first, x_last = x_mm[0] - source_mm[0], x_mm[-1] - source_mm[0]
            farthest = (w0 + max(axes[2, 0] * x_first, axes[2, 0] * x_last)) / sad_mm
            v_first, v_last = v0 + axes[1, 0] * x_first, v0 + axes[1, 0] * x_last
            if (
                farthest <= 0.0
                or max(v_first, v_last) < map_origin[0] * farthest
                or min(v_first, v_last) > last_v * farthest
            ):
                continue
            low, high = x_first, x_last
            for edge in range(2):
                sign = 1.0 - 2.0 * edge
                v_edge = (last_v if edge else map_origin[0]) / sad_mm
                u_edge = (last_u if edge else map_origin[1]) / sad_mm
                low, high = _where_positive(
                    sign * (v0 - v_edge * w0), sign * (axes[1, 0] - v_edge * axes[2, 0]), low, high
                )
                low, high = _where_positive(
                    sign * (u0 - u_edge * w0), sign * (axes[0, 0] - u_edge * axes[2, 0]), low, high
                )
            spacing = x_mm[1] - x_mm[0] if x_mm.shape[0] > 1 else 1.0
            first = int(_within((low - x_first) / spacing, x_mm.shape[0]))
            last = min(x_mm.shape[0], int(_within((high - x_first) / spacing + 2.0, x_mm.shape[0])))
            for ix in range(first, last):
                x = x_mm[ix] - source_mm[0]
                w[ix] = w0 + axes[2, 0] * x
                v[ix] = (v0 + axes[1, 0] * x) * sad_mm / w[ix]
                u[ix] = (u0 + axes[0, 0] * x) * sad_mm / w[ix]
            for ix in range(first, last):
                mv, mu = (v[ix] - map_origin[0]) * per_pixel, (u[ix] - map_origin[1]) * per_pixel
                if not (w[ix] > 0.0 and 0.0 <= mv < maps.shape[0] - 1 and 0.0 <= mu < maps.shape[1] - 1):
                    continue
                if _blurred_apertures(mv, mu, lung[iz, iy, ix], maps, field):
                    open_dose = _open_dose(u[ix], v[ix], w[ix], fan, fan_origin, per_fan_step)
                    for plan in range(field.shape[0]):
                        dose[iz, iy, ix, plan] += field[plan] * open_dose


@njit(cache=True, nogil=True, error_model="numpy")
def see_points(points_mm, source_mm, axes, sad_mm, fan, fan_origin, fan_step, seen, open_dose):
    """Where a beam sees points (n, 3), and the dose of a wide open field there.

    Parameters
    ----------
    seen : float64 (n, 2), written as (v, u); the points lie beyond the source. open_dose : float32 (n,), written.
    """
    if min(fan.shape) < 2:
        raise ValueError("a fan of fewer than two rays or depths")
    per_fan_step = 1.0 / fan_step
    for p in range(points_mm.shape[0]):
        x, y, z = points_mm[p, 0] - source_mm[0], points_mm[p, 1] - source_mm[1], points_mm[p, 2] - source_mm[2]
        w = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
        v = (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) * sad_mm / w
        u = (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) * sad_mm / w
        seen[p, 0], seen[p, 1] = v, u
        open_dose[p] = _open_dose(u, v, w, fan, fan_origin, per_fan_step)


@njit(cache=True, nogil=True, error_model="numpy")
def add_beam_at_points(dose, seen, open_dose, lung, maps, map_origin, map_step):
    """Add the dose of one beam to points as `see_points` found them; dose float64 (n,), the rest as in `add_beam`."""
    per_pixel = 1.0 / map_step
    field = np.empty(1, np.float32)
    for p in range(dose.shape[0]):
        mv, mu = (seen[p, 0] - map_origin[0]) * per_pixel, (seen[p, 1] - map_origin[1]) * per_pixel
        if 0.0 <= mv < maps.shape[0] - 1 and 0.0 <= mu < maps.shape[1] - 1:
            _blurred_apertures(mv, mu, lung[p], maps, field)
            dose[p] += field[0] * open_dose[p]


@njit(cache=True, nogil=True)
def blur_rows(edge, low, high, v, u, edge_profile, steps_per_mm, blurred):
    """Rows of an open field convolved with a profile along v and along u.

    Parameters
    ----------
    edge : (row + 1,), borders of the rows along v; low, high : (row,), their ends along u.
    v, u : pixel centres, float64.
    edge_profile : float64 (2 n + 1,), the blurred step from 0 to 1 at `steps_per_mm` points per mm, its middle at the step.
    blurred : float32 (v, u), written.
    """
    if edge_profile.shape[0] < 3:
        raise ValueError("a profile of three points or more is wanted")
    along = np.empty((low.shape[0], u.shape[0]), np.float32)
    for row in range(low.shape[0]):
        for i in range(u.shape[0]):
            along[row, i] = _at_step((high[row] - u[i]) * steps_per_mm, edge_profile) - _at_step(
                (low[row] - u[i]) * steps_per_mm, edge_profile
            )
    blurred[:] = 0.0
    for j in range(v.shape[0]):
        below = _at_step((edge[0] - v[j]) * steps_per_mm, edge_profile)
        for row in range(low.shape[0]):
            above = _at_step((edge[row + 1] - v[j]) * steps_per_mm, edge_profile)
            share = np.float32(above - below)
            below = above
            if share > np.float32(0.0):
                for i in range(u.shape[0]):
                    blurred[j, i] += share * along[row, i]


@njit(cache=True, nogil=True)
def _at_step(position, edge_profile):
    """Linear value of a tabulated profile, its middle at 0, held at its ends."""
    middle = edge_profile.shape[0] // 2
    place = _within(position + middle, 2.0 * middle)
    i = min(uintp(place), uintp(2 * middle - 1))
    return edge_profile[i] + (place - i) * (edge_profile[i + uintp(1)] - edge_profile[i])


@njit(cache=True, nogil=True)
def outermost(u, v, start, low, high):
    """Of the points between one start along v and the next, those with the lowest and the highest u.

    Parameters
    ----------
    u, v : (n,). start : (part,), ascending, the first not above any point.
    low, high : float64 (part, 2), written as (v, u); NaN where a part has no point.
    """
    if start.shape[0] == 0:
        raise ValueError("no parts")
    low[:] = np.nan
    high[:] = np.nan
    for p in range(u.shape[0]):
        part, end = 0, start.shape[0]
        while end - part > 1:
            middle = (part + end) // 2
            if start[middle] <= v[p]:
                part = middle
            else:
                end = middle
        if not u[p] >= low[part, 1]:
            low[part, 0], low[part, 1] = v[p], u[p]
        if not u[p] <= high[part, 1]:
            high[part, 0], high[part, 1] = v[p], u[p]
