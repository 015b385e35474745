"""Breathing as a block of a study file, with intervals as comments."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from simulator.records.breathing import BreathingRecord
from simulator.records.breaths import Breaths, Spread, Spreads


def breathing_block(
    records: Sequence[BreathingRecord],
    breaths: Sequence[Breaths],
    amplitudes: Spreads,
    periods: Spreads,
    made_of: str,
    n_patients: int,
) -> str:
    """YAML for a study: of one patient, what is known of him; of several, how patients differ.

    Parameters
    ----------
    amplitudes, periods : how they vary.
    made_of : records and patients, in words.
    """
    depth = float(np.mean([b.mean_depth for b in breaths]))
    period_s = float(np.mean([b.period_s.mean() for b in breaths]))
    lines = [
        f"# Breathing from {made_of}; spreads are coefficients of variation, with 95 % intervals.",
        f"subject: {'patient' if n_patients == 1 else 'population'}",
        "uncertainty:",
        "  respiration:",
        *_amplitude(records, breaths),
        f"    n: {replace(breaths[0], mean_depth=depth).exponent}  # time-averaged depth {depth:.2f} of the amplitude",
        f"    period_s: {period_s:.2f}",
        *_period(periods),
        _line("breath_cv", amplitudes.breath),
        *_between(records, amplitudes),
    ]
    return "\n".join(lines) + "\n"


def _amplitude(records: Sequence[BreathingRecord], breaths: Sequence[Breaths]) -> list[str]:
    """Amplitude and direction where the target itself was recorded; what to do where it was a marker."""
    directions = [record.direction for record in records if record.direction is not None]
    if len(directions) < len(records):
        return [
            "    # amplitude_mm: [.., .., ..]  # the target's own, from its 4DCT (simulator motion FOLDER, whose phases_mm",
            "    # stand here instead): a marker on the skin does not show it",
        ]
    mean = np.mean([d * b.amplitude_mm.mean() for d, b in zip(directions, breaths, strict=True)], axis=0)
    signs = ", ".join("1" if v >= 0 else "-1" for v in mean)
    sizes = ", ".join(f"{abs(v):.2f}" for v in mean)
    return [
        f"    amplitude_mm: [{sizes}]  # of the recorded point, along its main direction",
        f"    inhale_direction: [{signs}]",
    ]


def _period(periods: Spreads) -> Iterator[str]:
    """A study draws the period's factor twice, for the course and for the fraction, each with `period_cv`."""
    if np.isnan(periods.total_log_variance):
        yield "    # period_cv: one record says nothing of it"
        return
    cv = float(np.sqrt(np.expm1(periods.total_log_variance / 2)))
    yield f"    period_cv: {cv:.2f}  # half of the variance between courses, half between fractions"


def _between(records: Sequence[BreathingRecord], spreads: Spreads) -> Iterator[str]:
    """Spreads between days and between courses."""
    if spreads.fraction is not None:
        yield _line("fraction_cv", spreads.fraction)
    else:
        yield "    # fraction_cv: takes records of several days of a patient"
    if spreads.course is not None:
        yield _line("course_cv", spreads.course)
    elif spreads.fraction is not None:
        days = len(records) if all(record.direction is not None for record in records) else 1
        known = f"his amplitude as {days} days show it" if days > 1 else "his amplitude as the day of a 4DCT shows it"
        yield f"    course_cv: {spreads.fraction.value / np.sqrt(days):.2f}  # {known}: fraction_cv / sqrt({days})"
    else:
        yield "    # course_cv: for this patient as fraction_cv, where his amplitude is that of one day"


def _line(key: str, spread: Spread) -> str:
    return f"    {key}: {spread.value:.2f}  # {spread.low:.2f} to {spread.high:.2f}, {spread.made_of}"
