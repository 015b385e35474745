"""Volumes for a page: cropped to what matters, eight bits deep, deflated.

A browser inflates them without a library; `volumes.js` is the way back.
"""

import zlib
from typing import Any

import numpy as np

LEVELS = 255


def packed_dose(gy: np.ndarray, floor_gy: float, stride: int = 1) -> dict[str, Any]:
    """A dose (z, y, x) in Gy where it is at least `floor_gy`, with every `stride`-th voxel.

    Levels are equal steps from 0 to the highest dose, so that a dose is off by half a step at most.
    """
    step_gy = max(float(gy.max()), floor_gy) / LEVELS
    coarse = gy[::stride, ::stride, ::stride]
    levels = np.rint(coarse / step_gy).astype(np.uint8)
    return {**packed_levels(levels, coarse >= floor_gy), "step": step_gy, "stride": stride}


def packed_levels(levels: np.ndarray, kept: np.ndarray) -> dict[str, Any]:
    """The box around `kept` of 8-bit levels (z, y, x); one empty voxel if there is nothing to keep.

    Differences between neighbours along y and x deflate better than the levels; sums, modulo 256, undo them.
    """
    where = np.argwhere(kept) if kept.any() else np.zeros((1, 3), np.int64)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    box = levels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    for axis in (1, 2):
        box = np.diff(box, axis=axis, prepend=np.uint8(0))
    return {
        "low": low.tolist(),
        "shape": list(box.shape),
        "bytes": zlib.compress(box.tobytes(), 6),
        "step": 1.0,
        "stride": 1,
    }
