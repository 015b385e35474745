"""Confidence intervals of probabilities."""

import numpy as np
from scipy.stats import norm


def wilson_interval(n_met: np.ndarray, n_courses: int, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a probability.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; coverage close to nominal also near 0 and 1.

    Parameters
    ----------
    n_met : number of courses that meet the goal, any shape.

    Returns
    -------
    Lower and upper bound, shape of `n_met`.
    """
    p = np.asarray(n_met, float) / n_courses
    z2 = norm.ppf(0.5 + confidence / 2) ** 2
    centre = (p + z2 / (2 * n_courses)) / (1 + z2 / n_courses)
    half = np.sqrt(z2 * (p * (1 - p) / n_courses + z2 / (4 * n_courses**2))) / (1 + z2 / n_courses)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)
