"""Classical estimates of M, Σ and σ from a table of shifts, with confidence intervals."""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """Estimates by axis with 95 % intervals, each (axis,), in the unit of the shifts; NaN where a table says nothing."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Errors:
    """Population mean M, SD of patient means Σ (systematic) and RMS of patients' SDs σ (random)."""

    mean: Interval
    systematic: Interval
    random: Interval


def classical_errors(shift: np.ndarray, patient: np.ndarray, level: float = 0.95) -> Errors:
    """One-way analysis of variance per axis.

    M is the mean of patient means; σ the RMS of patients' SDs, weighted by degrees of freedom; Σ² the variance of patient
    means less σ² times the mean of 1/F, which is σ²/F where all have F fractions. Intervals: Student's t for M, chi-square
    for σ, for Σ that of Tukey and Williams with the harmonic mean of F, after Thomas and Hultquist.

    Source: van Herk 2000, doi:10.1016/S0360-3016(00)00518-6 (M, Σ, σ); Thomas and Hultquist 1978, Ann Stat 6:582
    (interval of Σ; cited from memory, its coverage is tested).

    Parameters
    ----------
    shift : (image, axis).
    patient : (image,) number of the patient.
    """
    _, place, count = np.unique(patient, return_inverse=True, return_counts=True)
    n, n_within = len(count), int((count - 1).sum())
    means = np.stack([np.bincount(place, axis) for axis in shift.T], axis=1) / count[:, None]
    between = means.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = ((shift - means[place]) ** 2).sum(axis=0) / n_within
    tail = (1 - level) / 2
    reach = stats.t.isf(tail, n - 1) * np.sqrt(between / n)
    centre = means.mean(axis=0)
    quantiles = stats.chi2.isf([tail, 1 - tail], n_within) if n_within else np.full(2, np.nan)
    random = Interval(np.sqrt(within), *(np.sqrt(n_within * within / q) for q in quantiles))
    return Errors(Interval(centre, centre - reach, centre + reach), _systematic(between, within, count, tail), random)


def _systematic(between: np.ndarray, within: np.ndarray, count: np.ndarray, tail: float) -> Interval:
    """Σ from the variance of patient means and that within patients."""
    n, n_within, share = len(count), int((count - 1).sum()), (1 / count).mean()
    value = np.sqrt(np.maximum(between - within * share, 0))
    if not n_within:
        return Interval(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    bounds = []
    for p in (tail, 1 - tail):
        noise = stats.f.isf(p, n - 1, n_within) * share * within
        bounds.append(np.sqrt(np.maximum((n - 1) * (between - noise) / stats.chi2.isf(p, n - 1), 0)))
    return Interval(value, *bounds)
