"""A probability from weighted courses."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from simulator.population.intervals import clopper_pearson_interval


@dataclass(frozen=True)
class RareEvent:
    """Probability of an event, with its 95 % interval.

    Parameters
    ----------
    effective_courses : courses of equal weight that would know the probability as well, by brute force.
    n_courses : simulated.
    """

    probability: float
    ci_low: float
    ci_high: float
    effective_courses: float
    n_courses: int


def weighted_probability(happened: np.ndarray, weight: np.ndarray, component: np.ndarray) -> RareEvent:
    """Unbiased estimate from a mixture with a fixed number of courses of each component.

    The variance is that within components. Where nothing happened, the upper end is that of the nominal component (0) alone, by
    Clopper and Pearson.

    Parameters
    ----------
    happened : boolean (course,). weight : (course,). component : int (course,).
    """
    value = weight * happened
    n = len(value)
    variance = sum(value[component == c].var(ddof=1) * np.sum(component == c) for c in np.unique(component)) / n**2
    p = float(value.mean())
    half = float(ndtri(0.975) * np.sqrt(variance))
    high = p + half
    if not happened.any():
        high = float(clopper_pearson_interval(np.array(0), int(np.sum(component == 0)))[1])
    effective = p * (1 - p) / variance if variance > 0 else float(n)
    return RareEvent(p, max(p - half, 0.0), min(high, 1.0), float(effective), n)
