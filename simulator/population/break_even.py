"""Where the choice between two strategies turns as one harm counts more or less, from courses that they share."""

import numpy as np
from scipy.special import stdtrit


def break_even(gap: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each harm the weight at which two strategies have the same expected loss, the other weights being what they are.

    The loss is sum_k w_k h_k, so the weight is minus the ratio of two means over courses. Its 95 % interval is Fieller's (1954,
    doi:10.1111/j.2517-6161.1954.tb00159.x): the weights at which the Student-t interval of the paired difference of losses
    contains 0.

    Parameters
    ----------
    gap : harms (harm, course) of one strategy minus those of the other. weights : (harm,).

    Returns
    -------
    Weight, lower and upper end (harm,); NaN where no weight >= 0 does it, and 0 to infinity where the courses cannot tell
    whether the harms differ.
    """
    n = gap.shape[1]
    mean = gap.mean(axis=1)
    t2 = stdtrit(max(n - 1, 1), 0.975) ** 2
    spread = np.atleast_2d(np.cov(gap)) / n if n > 1 else np.full((len(gap), len(gap)), np.inf)
    found = np.full((3, len(gap)), np.nan)
    for k in range(len(gap)):
        others = np.where(np.arange(len(gap)) == k, 0.0, weights)
        rest = others @ mean
        if mean[k] == 0 or rest / mean[k] > 0:
            continue
        found[:, k] = -rest / mean[k], 0.0, np.inf
        if (square := mean[k] ** 2 - t2 * spread[k, k]) > 0:
            middle = rest * mean[k] - t2 * others @ spread[:, k]
            root = np.sqrt(max(middle**2 - square * (rest**2 - t2 * others @ spread @ others), 0.0))
            found[1:, k] = np.maximum([(-middle - root) / square, (-middle + root) / square], 0.0)
    return found[0], found[1], found[2]
