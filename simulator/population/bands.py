"""DVH bands over courses, streamed: whole counts that any order of courses sums to the same bits."""

import numpy as np

from simulator.kernels import dvh as kernels

DOSE_BINS, VOLUME_LEVELS = 250, 501
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def count_levels(volume_percent: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """How many courses reach each volume level at each dose.

    Parameters
    ----------
    volume_percent : (course, dose) cumulative DVHs.
    counts : of other courses, to which these are added in place.

    Returns
    -------
    uint32 (dose, VOLUME_LEVELS); a level is 0.2 percent of the volume.
    """
    if counts is None:
        counts = np.zeros((volume_percent.shape[1], VOLUME_LEVELS), np.uint32)
    kernels.count_levels(volume_percent, counts)
    return counts


def band_quantiles(counts: np.ndarray, quantiles: tuple[float, ...] = QUANTILES) -> np.ndarray:
    """Volume in percent below which each share of courses lies.

    Parameters
    ----------
    counts : (..., dose, VOLUME_LEVELS) from `count_levels`, summed over courses.

    Returns
    -------
    float32 (..., quantile, dose), resolved to 0.2 percent.
    """
    reached = np.cumsum(counts, axis=-1)
    total = reached[..., -1:]
    levels = [(reached < np.maximum(1, np.ceil(q * total))).sum(axis=-1) for q in quantiles]
    return np.stack(levels, axis=-2).astype(np.float32) * (100 / (VOLUME_LEVELS - 1))


def at_percentile(values: np.ndarray, percent: float) -> int:
    """Which of some values (course,) is the one at a percentile, by rank; the first of equal ones."""
    order = np.argsort(values, kind="stable")
    wanted = values[order[round(percent / 100 * (len(values) - 1))]]
    return int(np.flatnonzero(values == wanted)[0])
