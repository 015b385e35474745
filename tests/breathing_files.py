"""Invented breathing records as their vendors and spreadsheets write them."""

import numpy as np


def breathing(rng, n_breaths=60, amplitude_mm=10.0, breath_cv=0.2, period_s=4.0, period_cv=0.1, rate_hz=25.0, n=2):
    """Times, depths (greater is inhale) and phases of breaths cos^2n that differ log-normally, exhale at 0."""
    amplitudes = amplitude_mm * log_normal(rng, breath_cv, n_breaths)
    periods = period_s * log_normal(rng, period_cv, n_breaths)
    starts = np.concatenate([[0], np.cumsum(periods)])
    time_s = np.arange(0, starts[-1], 1 / rate_hz)
    breath = np.searchsorted(starts, time_s, side="right") - 1
    share = (time_s - starts[breath]) / periods[breath]
    depth_mm = amplitudes[breath] * np.sin(np.pi * share) ** (2 * n)
    return time_s, depth_mm, 2 * np.pi * ((share + 0.5) % 1)


def log_normal(rng, cv, n):
    variance = np.log1p(cv**2)
    return np.exp(rng.normal(-variance / 2, np.sqrt(variance), n))


def vxp(
    time_s,
    depth_mm,
    phase,
    *,
    sign=1,
    invalid=(),
    gate=None,
    patient="ID-4711",
    layout=None,
    scale="10.0",
    rate="25",
    first_ms=1000,
):
    """Text of an RPM record of version 1.6; amplitudes in cm, timestamps in ms."""
    layout = layout or "amplitude,phase,timestamp,validflag,ttlin,mark,ttlout"
    head = f"[Header]\nCRC=27051\nVersion=1.6\nData_layout={layout}\nPatient_ID={patient}\nDate=08-30-2007\n"
    head += f"Total_study_time={time_s[-1] - time_s[0]:.3f}\nSamples_per_second={rate}\nScale_factor={scale}\n[Data]\n"
    on = np.zeros(len(time_s), int) if gate is None else np.asarray(gate).astype(int)
    flag, mark = np.where(np.isin(np.arange(len(time_s)), list(invalid)), -1, 0), np.where(phase < 0.05, "Z", "")
    rows = [
        f"{sign * d / 10:.4f},{p:.4f},{round(1000 * t) + first_ms},{flag[i]},0,{mark[i]},{on[i]}"
        for i, (t, d, p) in enumerate(zip(time_s, depth_mm, phase, strict=True))
    ]
    return head + "\n".join(rows) + "\n"


def table(
    time_s, depth_mm, head=("time (s)", "amplitude (mm)"), *, factors=(1.0, 1.0), separator=",", comma=False, more=()
):
    """Text of a table; `more` are further columns (n,) of text."""
    cells = [[f"{factors[0] * t:.4f}", f"{factors[1] * d:.4f}"] for t, d in zip(time_s, depth_mm, strict=True)]
    if comma:
        cells = [[cell.replace(".", ",") for cell in row] for row in cells]
    rows = [[*row, *(str(column[i]) for column in more)] for i, row in enumerate(cells)]
    return "\n".join(separator.join(row) for row in [list(head), *rows]) + "\n"
