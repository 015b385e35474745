"""Breath by breath: amplitude, period and baseline, and how they vary within records, between them and between patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb

import numpy as np
from scipy import signal, stats

from simulator.ground.spec import CaseError
from simulator.records.breathing import BreathingRecord
from simulator.records.classical import classical_errors

FEWEST_BREATHS = 5
_SMOOTHED_S, _SHORTEST_BREATH_S = 0.2, 1.0
_LEAST_PROMINENCE = 0.25
_PAUSE = 2.0
_LEVEL = 0.95
_EXPONENTS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Breaths:
    """Whole breaths of a record, each (breath,).

    Parameters
    ----------
    start_s : of the inhale. period_s : from it to the next.
    amplitude_mm : from the mean of the exhales before and after to the inhale. baseline_mm : that mean.
    mean_depth : time-averaged depth over the amplitude.
    n_pauses : breaths left out, as they last more than twice the usual.
    """

    start_s: np.ndarray
    period_s: np.ndarray
    amplitude_mm: np.ndarray
    baseline_mm: np.ndarray
    mean_depth: float
    n_pauses: int

    @property
    def drift_mm_per_min(self) -> float:
        """Slope of the baseline."""
        return float(stats.linregress(self.start_s / 60, self.baseline_mm).slope)

    @property
    def exponent(self) -> int:
        """The n of Lujan's cos^2n whose mean depth, C(2n,n)/4^n, comes closest."""
        return min(_EXPONENTS, key=lambda n: abs(comb(2 * n, n) / 4**n - self.mean_depth))


def breaths_of(where: str, record: BreathingRecord) -> Breaths:
    """Find the whole breaths: inhales that rise by a quarter of the record's range, a second or more apart.

    Raises
    ------
    CaseError : there are fewer than five.
    """
    width = max(1, round(_SMOOTHED_S * record.rate_hz))
    apart = max(1, round(_SHORTEST_BREATH_S * record.rate_hz))
    low, high = np.percentile(record.depth_mm, (5, 95))
    rows: list[tuple[float, float, float, float]] = []
    for piece in record.pieces():
        time_s, depth = record.time_s[piece], record.depth_mm[piece]
        smooth = np.convolve(np.pad(depth, width // 2, mode="edge"), np.ones(width) / width, "valid")[: len(depth)]
        inhales, _ = signal.find_peaks(smooth, prominence=_LEAST_PROMINENCE * (high - low), distance=apart)
        exhales = [float(smooth[a:b].min()) for a, b in pairwise(inhales)]
        for i in range(1, len(inhales) - 1):
            exhale = (exhales[i - 1] + exhales[i]) / 2
            inhale, following = inhales[i], inhales[i + 1]
            rows.append((time_s[inhale], time_s[following] - time_s[inhale], smooth[inhale] - exhale, exhale))
    start, period, amplitude, baseline = np.array(rows).reshape(-1, 4).T
    kept = period <= _PAUSE * np.median(period) if len(period) else np.zeros(0, bool)
    if kept.sum() < FEWEST_BREATHS:
        raise CaseError(
            f"{where}: {kept.sum()} whole breaths; {FEWEST_BREATHS} or more are wanted, give a longer record"
        )
    within = (record.time_s >= start[0]) & (record.time_s <= start[-1])
    above = record.depth_mm[within] - np.interp(record.time_s[within], start, baseline)
    return Breaths(
        start[kept],
        period[kept],
        amplitude[kept],
        baseline[kept],
        float(above.mean() / amplitude[kept].mean()),
        int((~kept).sum()),
    )


@dataclass(frozen=True)
class Spread:
    """A coefficient of variation with its 95 % interval, and what it is known from."""

    value: float
    low: float
    high: float
    made_of: str

    @classmethod
    def of(cls, log_sd: Sequence[float], made_of: str) -> "Spread":
        """From the SD of the logarithm and the ends of its interval; log-normal."""
        value, low, high = (float(np.sqrt(np.expm1(sd**2))) for sd in log_sd)
        return cls(value, low, high, made_of)


@dataclass(frozen=True)
class Spreads:
    """Log-normal spreads of one quantity: within records, between records of a patient, between patients; None if unknown.

    Parameters
    ----------
    total_log_variance : between records of all patients, of the logarithm of their means; NaN for one record.
    """

    breath: Spread
    fraction: Spread | None
    course: Spread | None
    total_log_variance: float


def spreads_of(values: Sequence[np.ndarray], patient: np.ndarray) -> Spreads:
    """Nested analysis of variance of the logarithms; what breaths add to a record's mean is taken off.

    Where no patient has two records, what is between patients holds what is between days.

    Parameters
    ----------
    values : of each breath, by record. patient : (record,), number of its patient.
    """
    logs = [np.log(v) for v in values]
    breath = _pooled(logs)
    n_records, n_patients = len(values), len(np.unique(patient))
    within = Spread.of(breath, f"{sum(map(len, values))} breaths of {n_records} record{'s' if n_records > 1 else ''}")
    if n_records == 1:
        return Spreads(within, None, None, np.nan)
    means = np.array([log.mean() for log in logs])
    noise = breath[0] ** 2 * float(np.mean([1 / len(log) for log in logs]))
    total = max(float(means.var(ddof=1)) - noise, 0.0)
    of_records = np.repeat(np.arange(n_records), [len(log) for log in logs])
    nested = classical_errors(np.concatenate(logs)[:, None], of_records).systematic
    between = [float(bound[0]) for bound in (nested.value, nested.low, nested.high)]
    if n_patients == 1:
        return Spreads(within, Spread.of(between, f"{n_records} records of a patient"), None, total)
    if n_patients == n_records:
        made_of = f"{n_patients} patients, one record each: days are in it"
        return Spreads(within, None, Spread.of(between, made_of), total)
    days = [np.sqrt(max(sd**2 - noise, 0.0)) for sd in _pooled([means[patient == p] for p in np.unique(patient)])]
    repeated = int((np.unique(patient, return_counts=True)[1] > 1).sum())
    fraction = Spread.of(days, f"{n_records} records, {repeated} patients with several")
    found = classical_errors(means[:, None], patient).systematic
    courses = [float(bound[0]) for bound in (found.value, found.low, found.high)]
    return Spreads(within, fraction, Spread.of(courses, f"{n_patients} patients"), total)


def _pooled(groups: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """SD within groups with its 95 % interval (chi-square)."""
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    few, many = stats.chi2.ppf([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], freedom)
    return np.sqrt(squares / freedom), np.sqrt(squares / many), np.sqrt(squares / few)
