"""How a population fares: dose-volume coverage maps and dose-population histograms."""

import numpy as np

COVERAGE_VOLUMES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, *(5.0 * i for i in range(3, 20)), 98.0, 100.0)


def dose_volume_coverage(counts: np.ndarray) -> np.ndarray:
    """Probability that at least a volume gets at least a dose: the dose-volume coverage map.

    Source: Gordon & Siebers 2009, Med Phys 36:3306 (doi:10.1118/1.3148583).

    Parameters
    ----------
    counts : (..., dose, level) from `simulator.population.bands.count_levels`, summed over courses.

    Returns
    -------
    float32 (..., dose, volume) for `COVERAGE_VOLUMES` in percent, resolved to 0.2 percent of the volume.
    """
    reached = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
    level = [round(v * (counts.shape[-1] - 1) / 100) for v in COVERAGE_VOLUMES]
    return (reached[..., level] / reached[..., :1]).astype(np.float32)


def dose_with_coverage(dose_gy: np.ndarray, coverage: np.ndarray, probability: float) -> float:
    """The dose in Gy that a volume gets with at least a probability, "D98%, q = 0.9"; NaN where even 0 Gy has less.

    Parameters
    ----------
    dose_gy : (dose,). coverage : (dose,), one volume of a dose-volume coverage map; it falls with the dose.
    """
    enough = coverage >= probability
    if not enough[0]:
        return float("nan")
    last = len(coverage) - 1 if enough.all() else int(np.argmin(enough)) - 1
    if last == len(coverage) - 1:
        return float(dose_gy[-1])
    share = (coverage[last] - probability) / (coverage[last] - coverage[last + 1])
    return float(dose_gy[last] + share * (dose_gy[last + 1] - dose_gy[last]))


def dose_population_histogram(
    values: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Share of the population whose metric is at least a value, with a band for the whole curve.

    Source: van Herk et al. 2000, doi:10.1016/S0360-3016(00)00518-6; band of Dvoretzky, Kiefer and Wolfowitz with Massart's
    constant (1990, doi:10.1214/aop/1176990746).

    Parameters
    ----------
    values : (course,), one metric.

    Returns
    -------
    Ascending values, share of courses at or above each, lower and upper bound of the share, (course,) each.
    """
    n = len(values)
    share = 1 - np.arange(n) / n
    half = np.sqrt(np.log(2 / (1 - confidence)) / (2 * n))
    return np.sort(values), share, np.clip(share - half, 0, 1), np.clip(share + half, 0, 1)
