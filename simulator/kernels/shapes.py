"""Signed distances to solids that are combined from simple ones, and the share of voxels that they fill.

A solid is a program for a stack of distances, run at every point. `code` is int64 (instruction, 3): what to do, where its
`numbers` (float64) begin, and a count or the instruction to go on with.
"""

import math

import numpy as np
from numba import njit

TUBE, ELLIPSOID, SLAB, UNITE, INTERSECT, SKIP_UNLESS_NEAR, CARVE = range(7)
_LEVELS = 12


@njit(cache=True, nogil=True, error_model="numpy")
def _distance(code, numbers, stack, x, y, z):
    """Signed distance at a point, negative inside.

    TUBE pushes the distance to a polyline of `count` segments less a radius; numbers: the radius, then for each segment its
    start (3), its vector (3) and one over its squared length. ELLIPSOID pushes f / |grad f|; numbers: centre (3), one over
    the semi-axes (3), least semi-axis. SLAB pushes |z - centre| - half height. UNITE and INTERSECT replace two by the smaller
    or larger one. SKIP_UNLESS_NEAR goes on with instruction `count` outside a box (lower (3), upper (3)). CARVE replaces a
    and b by max(a, gap - b).
    """
    top = -1
    step = 0
    while step < code.shape[0]:
        what, n, count = code[step, 0], code[step, 1], code[step, 2]
        step += 1
        if what == TUBE:
            nearest = np.inf
            for s in range(count):
                k = n + 1 + 7 * s
                px, py, pz = x - numbers[k], y - numbers[k + 1], z - numbers[k + 2]
                ax, ay, az = numbers[k + 3], numbers[k + 4], numbers[k + 5]
                share = min(max((px * ax + py * ay + pz * az) * numbers[k + 6], 0.0), 1.0)
                px, py, pz = px - share * ax, py - share * ay, pz - share * az
                nearest = min(nearest, px * px + py * py + pz * pz)
            top += 1
            stack[top] = math.sqrt(nearest) - numbers[n]
        elif what == ELLIPSOID:
            ix, iy, iz = numbers[n + 3], numbers[n + 4], numbers[n + 5]
            sx, sy, sz = (x - numbers[n]) * ix, (y - numbers[n + 1]) * iy, (z - numbers[n + 2]) * iz
            level = math.sqrt(sx * sx + sy * sy + sz * sz)
            sx, sy, sz = sx * ix, sy * iy, sz * iz
            slope = math.sqrt(sx * sx + sy * sy + sz * sz)
            top += 1
            stack[top] = level * (level - 1.0) / slope if slope > 1e-9 else -numbers[n + 6]
        elif what == SLAB:
            top += 1
            stack[top] = abs(z - numbers[n]) - numbers[n + 1]
        elif what == SKIP_UNLESS_NEAR:
            if not (
                x > numbers[n] and y > numbers[n + 1] and z > numbers[n + 2]
                and x < numbers[n + 3] and y < numbers[n + 4] and z < numbers[n + 5]
            ):  # fmt: skip
                step = count
        else:
            above = stack[top]
            top -= 1
            if what == UNITE:
                stack[top] = min(stack[top], above)
            else:
                stack[top] = max(stack[top], above if what == INTERSECT else numbers[n] - above)
    return stack[0]


@njit(cache=True, nogil=True)
def signed_distances(code, numbers, points, distance):
    """Signed distances of points (n, 3) as (x, y, z), written to float64 (n,)."""
    stack = np.zeros(code.shape[0] + 1)
    for p in range(points.shape[0]):
        distance[p] = _distance(code, numbers, stack, points[p, 0], points[p, 1], points[p, 2])


@njit(cache=True, nogil=True)
def fill_voxels(code, numbers, x, y, z, step, n_cells, cut, filled):
    """Share of voxels inside a solid.

    Parameters
    ----------
    x, y, z : centres of the voxels. step : (3,), edges of a voxel along x, y and z.
    n_cells : cells per edge of a voxel that the surface may cut; each is filled in proportion to its depth.
    cut : distance of a centre up to which it may.
    filled : float32 (z, y, x), written.
    """
    stack = np.zeros(code.shape[0] + 1)
    offset = (np.arange(n_cells) - (n_cells - 1) / 2) / n_cells
    per_cell = 3 * n_cells / (step[0] + step[1] + step[2])
    for k in range(z.shape[0]):
        for j in range(y.shape[0]):
            for i in range(x.shape[0]):
                distance = _distance(code, numbers, stack, x[i], y[j], z[k])
                if abs(distance) > cut:
                    filled[k, j, i] = 1.0 if distance < 0.0 else 0.0
                    continue
                total = 0.0
                for dz in offset:
                    for dy in offset:
                        for dx in offset:
                            at = _distance(
                                code, numbers, stack, x[i] + dx * step[0], y[j] + dy * step[1], z[k] + dz * step[2]
                            )
                            total += min(max(0.5 - at * per_cell, 0.0), 1.0)
                filled[k, j, i] = total / n_cells**3


@njit(cache=True, nogil=True)
def voxel_moments(code, numbers, centre, edge, largest, moment):
    """Moments of a solid within cubic voxels, lengths in voxel edges from the voxel's centre.

    Each voxel is divided into eight cells, and those that the surface may cut again while they are larger than `largest`; the
    last ones are filled in proportion to their depth.

    Parameters
    ----------
    centre : float64 (n, 3), centres of the voxels (x, y, z). edge, largest : in mm.
    moment : float64 (n, 10), written: volume, then integrals of z, y, x, zz, yy, xx, zy, zx and yx.
    """
    stack = np.zeros(code.shape[0] + 1)
    offset = (-0.5, 0.5)
    cells = np.empty((8 * _LEVELS, 4))
    for p in range(centre.shape[0]):
        moment[p] = 0.0
        cells[0] = 0.0
        cells[0, 3] = 1.0
        n = 1
        while n > 0:
            n -= 1
            z0, y0, x0, size = cells[n, 0], cells[n, 1], cells[n, 2], 0.5 * cells[n, 3]
            for dz in offset:
                for dy in offset:
                    for dx in offset:
                        z, y, x = z0 + dz * size, y0 + dy * size, x0 + dx * size
                        at = _distance(
                            code, numbers, stack, centre[p, 0] + x * edge, centre[p, 1] + y * edge, centre[p, 2] + z * edge
                        ) / (size * edge)  # fmt: skip
                        if abs(at) < 0.9 and size * edge > largest:
                            cells[n, 0], cells[n, 1], cells[n, 2], cells[n, 3] = z, y, x, size
                            n += 1
                            continue
                        share = min(max(0.5 - at, 0.0), 1.0) * size**3
                        own = size * size / 12.0
                        moment[p, 0] += share
                        moment[p, 1] += share * z
                        moment[p, 2] += share * y
                        moment[p, 3] += share * x
                        moment[p, 4] += share * (z * z + own)
                        moment[p, 5] += share * (y * y + own)
                        moment[p, 6] += share * (x * x + own)
                        moment[p, 7] += share * z * y
                        moment[p, 8] += share * z * x
                        moment[p, 9] += share * y * x
