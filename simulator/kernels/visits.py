"""The nodes of a dose lattice that displacements of a course touch.

Lengths are in units of the lattice unless a name says mm; weights of a course sum to 1.
"""

import math

import numpy as np
from numba import njit

_FARTHEST_STEPS = 2.0**20


@njit(cache=True, nogil=True)
def move_visits(shift_mm, linear, arm_mm, axes, step_mm, moved):
    """`moved` (k, 3), written: shift + linear @ arm of a cell, along the axes of a lattice in its steps."""
    for k in range(shift_mm.shape[0]):
        for a in range(3):
            mm = shift_mm[k, axes[a]]
            if linear.shape[0] > 0:
                turn = linear[k, axes[a]]
                mm += turn[0] * arm_mm[0] + turn[1] * arm_mm[1] + turn[2] * arm_mm[2]
            moved[k, a] = mm / step_mm


@njit(cache=True, nogil=True)
def visit_box(shift):
    """Box of lattice nodes that displacements touch: lowest node int64 (3,) and size int64 (3,), (z, y, x)."""
    low = np.empty(3, np.int64)
    size = np.empty(3, np.int64)
    if shift.shape[0] == 0:
        raise ValueError("no displacement")
    for a in range(3):
        least = most = shift[0, a]
        for k in range(shift.shape[0]):
            if not abs(shift[k, a]) < _FARTHEST_STEPS:
                raise ValueError("a displacement is not finite, or beyond any lattice")
            least, most = min(least, shift[k, a]), max(most, shift[k, a])
        low[a] = math.floor(least)
        size[a] = math.floor(most) - low[a] + 2
    return low, size


@njit(cache=True, nogil=True)
def enough_scratch(scratch, shift):
    """The scratch of zeros, or a larger one if `merge_visits` needs it."""
    _, size = visit_box(shift)
    needed = size[0] * size[1] * (size[2] + 1)
    return scratch if scratch.shape[0] >= needed else np.zeros(2 * needed)


@njit(cache=True, nogil=True)
def merge_visits(shift, weight, shape, stride, scratch, node, share):
    """Sum trilinear weights of many displacements on the lattice nodes that they touch.

    Parameters
    ----------
    shift : float64 (k, 3), displacements as (z, y, x) in lattice steps.
    weight : float64 (k,).
    shape : (z, y, x) of one part of a lattice that is split by its nodes' position modulo `stride`, (stride**3, z, y, x).
    scratch : float64 (n,) of zeros, as `enough_scratch` gives it; zeros again afterwards.
    node : int64 (8 k,), written: steps from a node to the touched ones in that lattice as one row, along (z, y, x).
    share : float64 (8 k,), their weights, written.

    Returns
    -------
    Number of nodes with weight.
    """
    low, size = visit_box(shift)
    nz, ny, nx = size
    if scratch.shape[0] < nz * ny * (nx + 1):
        raise ValueError("too little scratch")
    length = nx + 1  # the last number of a row tells whether it was touched
    for k in range(shift.shape[0]):
        z, y, x = shift[k, 0] - low[0], shift[k, 1] - low[1], shift[k, 2] - low[2]
        iz, iy, ix = min(int(z), nz - 2), min(int(y), ny - 2), min(int(x), nx - 2)
        fz, fy, fx = z - iz, y - iy, x - ix
        for corner in range(4):
            az, ay = corner >> 1, corner & 1
            w = weight[k] * (fz if az else 1 - fz) * (fy if ay else 1 - fy)
            row = ((iz + az) * ny + iy + ay) * length
            scratch[row + ix] += w * (1 - fx)
            scratch[row + ix + 1] += w * fx
            scratch[row + nx] = 1.0
    along = np.empty(nz + ny + nx, np.int64)
    step = 1
    phase_step = shape[0] * shape[1] * shape[2]
    for a in range(2, -1, -1):
        for i in range(size[a]):
            to = low[a] + i
            along[(0 if a == 0 else nz if a == 1 else nz + ny) + i] = to // stride * step + to % stride * phase_step
        step *= shape[a]
        phase_step *= stride
    n = row = 0
    for z in range(nz):
        for y in range(ny):
            if scratch[row + nx] > 0.0:
                scratch[row + nx] = 0.0
                here = along[z] + along[nz + y]
                for x in range(nx):
                    w = scratch[row + x]
                    if w > 0.0:
                        node[n] = here + along[nz + ny + x]
                        share[n] = w
                        n += 1
                        scratch[row + x] = 0.0
            row += length
    return n


@njit(cache=True, nogil=True)
def count_visits(shift, weight, low, unit, visits):
    """Add every course's lattice visits to `visits` (z, y, x), int64 multiples of 1 / unit.

    Whole numbers make the sum independent of the order of courses. `low` is the offset of visits[0, 0, 0].
    """
    node = np.empty(8 * shift.shape[1], np.int64)
    share = np.empty(8 * shift.shape[1])
    scratch = np.zeros(0)
    counts = visits.reshape(-1)
    lowest = (low[0] * visits.shape[1] + low[1]) * visits.shape[2] + low[2]
    for c in range(shift.shape[0]):
        scratch = enough_scratch(scratch, shift[c])
        for n in range(merge_visits(shift[c], weight[c], visits.shape, np.int64(1), scratch, node, share)):
            at = node[n] - lowest
            if not 0 <= at < counts.shape[0]:
                raise ValueError("a displacement lies outside the box of visits")
            counts[at] += np.int64(np.rint(share[n] * unit))
