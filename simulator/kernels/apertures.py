"""Apertures of multileaf collimators blurred by Gaussians, and the slopes of a dose by their leaves and weights.

A beam opens apertures of weight w_a (`pass`), whose leaf pairs r leave open low_r < u < high_r between edge_r and edge_r+1
along v. With the normal distribution Phi, its density phi and a blur of standard deviation s, the field at a pixel is

    F(v, u) = sum_r [Phi((edge_r+1 - v) / s) - Phi((edge_r - v) / s)] sum_a w_a [Phi((high_ar - u) / s) - Phi((low_ar - u) / s)]

so that a leaf moves it by w_a phi((high_ar - u) / s) / s. Points look the field up between pixels (bilinear), which is linear
in it: the slope of any function of the doses goes back by the same weights.

Lengths in mm of the isocentre plane. Fields are float32 (beam, v, u); low and high float64 (beam, pass, row); weight
(beam, pass).
"""

import math

import numpy as np
from numba import njit, uintp

_SQRT_HALF = math.sqrt(0.5)
_PER_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_TAIL = 5.5


@njit(cache=True, nogil=True)
def _step(x):
    """The normal distribution."""
    if x <= -_TAIL:
        return 0.0
    return 1.0 if x >= _TAIL else 0.5 * math.erfc(-x * _SQRT_HALF)


@njit(cache=True, nogil=True)
def _rows_on_pixels(edge, v, sd):
    """Share (row, v) of each row in the blurred pixels, and the first and last pixel (row, 2) where it is any."""
    rows, last = edge.shape[0] - 1, v.shape[0]
    share, reach = np.empty((rows, last), np.float32), np.zeros((rows, 2), np.int64)
    for r in range(rows):
        reach[r, 0] = last
        for j in range(last):
            share[r, j] = np.float32(_step((edge[r + 1] - v[j]) / sd) - _step((edge[r] - v[j]) / sd))
            if share[r, j] > np.float32(0.0):
                reach[r, 0], reach[r, 1] = min(reach[r, 0], j), j + 1
    return share, reach


@njit(cache=True, nogil=True)
def blur_apertures(edge, low, high, weight, sd, v, u, fields):
    """The fields F of all beams at pixels v and u, written."""
    share, reach = _rows_on_pixels(edge, v, sd)
    along = np.empty(u.shape[0], np.float32)
    fields[:] = np.float32(0.0)
    for b in range(fields.shape[0]):
        for r in range(share.shape[0]):
            along[:] = np.float32(0.0)
            for a in range(weight.shape[1]):
                for i in range(u.shape[0]):
                    opened = _step((high[b, a, r] - u[i]) / sd) - _step((low[b, a, r] - u[i]) / sd)
                    along[i] += np.float32(weight[b, a] * opened)
            for j in range(reach[r, 0], reach[r, 1]):
                part = share[r, j]
                for i in range(u.shape[0]):
                    fields[b, j, i] += part * along[i]


@njit(cache=True, nogil=True)
def leaf_slopes(edge, low, high, weight, sd, v, u, pull, by_low, by_high, by_weight):
    """Add the slopes of a function of the fields by leaves and weights; pull float32 (beam, v, u) are those by the fields."""
    share, reach = _rows_on_pixels(edge, v, sd)
    row_pull = np.empty(u.shape[0], np.float32)
    for b in range(pull.shape[0]):
        for r in range(share.shape[0]):
            row_pull[:] = np.float32(0.0)
            for j in range(reach[r, 0], reach[r, 1]):
                part = share[r, j]
                for i in range(u.shape[0]):
                    row_pull[i] += part * pull[b, j, i]
            for a in range(weight.shape[1]):
                at_low, at_high, opened = 0.0, 0.0, 0.0
                for i in range(u.shape[0]):
                    x, y = (low[b, a, r] - u[i]) / sd, (high[b, a, r] - u[i]) / sd
                    opened += row_pull[i] * (_step(y) - _step(x))
                    if abs(x) < _TAIL:
                        at_low += row_pull[i] * math.exp(-0.5 * x * x)
                    if abs(y) < _TAIL:
                        at_high += row_pull[i] * math.exp(-0.5 * y * y)
                by_low[b, a, r] -= weight[b, a] * at_low * _PER_SQRT_2PI / sd
                by_high[b, a, r] += weight[b, a] * at_high * _PER_SQRT_2PI / sd
                by_weight[b, a] += opened


@njit(cache=True, nogil=True)
def add_fields(fields, first, step, seen, open_dose, share, dose):
    """Add to doses (point,) what points receive: open_dose (beam, point) times share (point,) times the field where a beam
    sees them, seen (beam, point, 2) as (v, u); none outside the pixels, of which `first` (2,) is the first."""
    n_v, n_u, one, per_step = fields.shape[1] - 1, fields.shape[2] - 1, uintp(1), 1.0 / step
    for b in range(fields.shape[0]):
        for p in range(dose.shape[0]):
            at_v, at_u = (seen[b, p, 0] - first[0]) * per_step, (seen[b, p, 1] - first[1]) * per_step
            if share[p] > np.float32(0.0) and 0.0 <= at_v < n_v and 0.0 <= at_u < n_u:
                j, i = uintp(at_v), uintp(at_u)
                g, h = np.float32(at_v - j), np.float32(at_u - i)
                near = fields[b, j, i] + h * (fields[b, j, i + one] - fields[b, j, i])
                far = fields[b, j + one, i] + h * (fields[b, j + one, i + one] - fields[b, j + one, i])
                dose[p] += open_dose[b, p] * share[p] * (near + g * (far - near))


@njit(cache=True, nogil=True)
def pull_fields(slope, first, step, seen, open_dose, share, pull):
    """Slopes by the fields, written to pull (beam, v, u), of a function with slopes (point,) by doses; see `add_fields`."""
    n_v, n_u, one, per_step = pull.shape[1] - 1, pull.shape[2] - 1, uintp(1), 1.0 / step
    pull[:] = np.float32(0.0)
    for b in range(pull.shape[0]):
        for p in range(slope.shape[0]):
            at_v, at_u = (seen[b, p, 0] - first[0]) * per_step, (seen[b, p, 1] - first[1]) * per_step
            if slope[p] != 0.0 and share[p] > np.float32(0.0) and 0.0 <= at_v < n_v and 0.0 <= at_u < n_u:
                j, i = uintp(at_v), uintp(at_u)
                g, h = np.float32(at_v - j), np.float32(at_u - i)
                own = np.float32(slope[p]) * open_dose[b, p] * share[p]
                far, near = g * own, (np.float32(1.0) - g) * own
                pull[b, j, i] += near - h * near
                pull[b, j, i + one] += h * near
                pull[b, j + one, i] += far - h * far
                pull[b, j + one, i + one] += h * far
