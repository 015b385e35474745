"""Confidence intervals of probabilities and quantiles, and a rule that stops when every interval is narrow enough."""

import numpy as np
from scipy.special import bdtr, bdtrik, betaincinv, ndtri, stdtrit


def wilson_interval(
    n_met: np.ndarray, n_courses: np.ndarray | int, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
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
    z2 = ndtri(0.5 + confidence / 2) ** 2
    centre = (p + z2 / (2 * n_courses)) / (1 + z2 / n_courses)
    half = np.sqrt(z2 * (p * (1 - p) / n_courses + z2 / (4 * n_courses**2))) / (1 + z2 / n_courses)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def clopper_pearson_interval(
    n_met: np.ndarray, n_courses: np.ndarray | int, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Clopper-Pearson interval of a probability: covers at least nominally for every probability.

    Source: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.

    Parameters
    ----------
    n_met : number of courses that meet the goal, any shape.

    Returns
    -------
    Lower and upper bound, shape of `n_met`.
    """
    k, tail = np.asarray(n_met, float), (1 - confidence) / 2
    low = betaincinv(np.maximum(k, 0.5), n_courses - k + 1, tail)
    high = betaincinv(k + 1, np.maximum(n_courses - k, 0.5), 1 - tail)
    return np.where(k == 0, 0.0, low), np.where(k == n_courses, 1.0, high)


def randomisation_interval(
    met: np.ndarray, n_randomisations: int, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Student-t interval of a probability from independent randomisations of a quasi-random sequence.

    A randomisation of M courses resolves its share to 1 / M, so their scatter counts as that at least. Where fewer than two
    courses per randomisation meet, or miss, the goal, as at probabilities of 0 and 1, Wilson's is taken for as many independent
    courses. Which one is taken does not depend on their widths: the narrower of the two covers 93.4 %, not 95 %.

    Parameters
    ----------
    met : boolean (..., course), the courses of one randomisation after those of another.

    Returns
    -------
    Lower and upper bound, shape (...).
    """
    runs = met.reshape(*met.shape[:-1], n_randomisations, -1)
    share = runs.mean(axis=-1)
    mean, sd = share.mean(axis=-1), np.maximum(share.std(axis=-1, ddof=1), 1 / runs.shape[-1])
    half = stdtrit(n_randomisations - 1, 0.5 + confidence / 2) * sd / np.sqrt(n_randomisations)
    n_met, n_courses = met.sum(axis=-1), met.shape[-1]
    low, high = wilson_interval(n_met, n_courses, confidence)
    few = np.minimum(n_met, n_courses - n_met) < 2 * n_randomisations
    return np.where(few, low, np.clip(mean - half, 0, 1)), np.where(few, high, np.clip(mean + half, 0, 1))


def quantile_interval(
    values: np.ndarray, quantiles: tuple[float, ...], confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Distribution-free interval of quantiles, from order statistics.

    The number of values below the true quantile is binomial (David & Nagaraja, Order Statistics, 3rd ed., section 7.1).
    Where no value is extreme enough for the wanted confidence, the bound is infinite.

    Parameters
    ----------
    values : (course,).

    Returns
    -------
    Lower and upper bound, (quantile,) each.
    """
    n, q = len(values), np.asarray(quantiles)
    tail = (1 - confidence) / 2
    ordered = np.concatenate([[-np.inf], np.sort(values), [np.inf]])
    below = _binomial_quantile(tail, n, q)
    above = _binomial_quantile(1 - tail, n, q) + 1
    return ordered[below], ordered[above]


def _binomial_quantile(probability: float, n: int, p: np.ndarray) -> np.ndarray:
    """The smallest count whose cumulative binomial probability reaches a probability."""
    count = np.ceil(bdtrik(probability, n, p)).astype(int)
    fewer = np.maximum(count - 1, 0)
    return np.where(bdtr(fewer, n, p) >= probability, fewer, count)


def mean_interval(
    values: np.ndarray, axis: int = -1, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over courses with its Student-t interval; infinite for a single course.

    Parameters
    ----------
    values : courses along `axis`.

    Returns
    -------
    Mean, lower and upper bound.
    """
    n = values.shape[axis]
    mean = values.mean(axis=axis, dtype=np.float64)
    if n == 1:
        return mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    half = stdtrit(n - 1, 0.5 + confidence / 2) * values.std(axis=axis, ddof=1, dtype=np.float64) / np.sqrt(n)
    return mean, mean - half, mean + half


class FixedWidthRule:
    """Simulate until the 95 % Clopper-Pearson interval of every probability is narrow enough.

    A look at the data may end the study only because the intervals are narrow, never because of where they lie, and
    looks are few: the first after `first_look` courses, each next one where the widest interval is projected to be
    narrow. The coverage of the interval at the stop is shown by simulation in the tests.

    Parameters
    ----------
    half_width : of the interval.
    most_courses : cap.
    multiple_of : courses per unit of work.
    """

    def __init__(self, half_width: float, most_courses: int, multiple_of: int) -> None:
        self._half_width = half_width
        self._unit = min(multiple_of, most_courses)
        self._most = most_courses
        self.first_look = self._rounded(2 * self._certain_courses())

    def next_look(self, n_met: np.ndarray, n_courses: int) -> int | None:
        """Number of courses of the next look; None when all intervals are narrow, or the cap is reached.

        Parameters
        ----------
        n_met : number of courses that meet each goal, any shape.
        """
        low, high = clopper_pearson_interval(n_met, n_courses)
        widest = float((high - low).max()) / 2
        if widest <= self._half_width or n_courses >= self._most:
            return None
        projected = n_courses * (widest / self._half_width) ** 2
        return max(self._rounded(1.05 * projected), min(n_courses + self._unit, self._most))

    def _certain_courses(self) -> float:
        """Courses that make an interval narrow which no course contradicts: 1 - 0.025^(1/n) = 2 half widths."""
        return float(np.log(0.025) / np.log1p(-min(2 * self._half_width, 0.9)))

    def _rounded(self, n_courses: float) -> int:
        return min(int(np.ceil(n_courses / self._unit)) * self._unit, self._most)
