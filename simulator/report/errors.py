"""The page of a clinic's errors: what its record says, patient by patient and axis by axis, and what each number is for."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from simulator import __version__
from simulator.ground.conventions import AXES
from simulator.plots.records import PATIENTS_PER_FIGURE, errors_along_axis, intervals_of_errors, patients_by_fraction
from simulator.records.estimates import UNITS, ErrorsFound, Estimated, chains_in_words, rows_of
from simulator.report.figures import svg_uri
from simulator.report.page import page_of

_MOST_FIGURES = 4
_MIDDLE = (0.025, 0.975)
_WHEN = {
    "before": "before any correction",
    "residual": "after correction",
    "during": "after the image, during the beam",
}
_KINDS = {"mm": "Shifts", "deg": "Rotations"}
_LIMITS = (
    "Patients are taken for a random sample of those to come: a record of another site, another immobilisation or of the "
    "time before a change says little.",
    "An image does not show what happens after it, nor errors of drawing and of registration; the error of each match is in σ, "
    "and one that always goes the same way in M and Σ.",
    "A patient's days scatter about one mean: a trend within a course widens σ, one over months widens Σ.",
    "Patient means are normal; days are normal with a scale of their own for each patient, so that heavy tails are those of "
    "restless patients.",
)
_USES = {
    "before": (
        ("M", "setup.mean_mm", "mean of all patients. One that differs from zero has a cause (lasers, a couch that sags, a "
         "reference image): mend it rather than add it to a margin."),
        ("Σ", "setup.systematic_mm", "SD of patient means. It moves the dose the same way in every fraction and decides the "
         "margin, and few patients tell it poorly."),
        ("σ", "setup.random_mm", "RMS of patients' day-to-day SDs. It blurs the dose, and its mean over few fractions moves it "
         "like a systematic error: a study works that out by itself."),
    ),
    "residual": (
        ("M", "", "mean of what correction left: look for its cause; it goes nowhere in a study."),
        ("Σ and σ", "match_mm of the guidance", "in quadrature, since a study draws the match error anew in each fraction. "
         "They hold the match error of the second image too."),
    ),
    "during": (
        ("M", "baseline.after_imaging_mean_mm", "mean drift between image and beam, the same in every fraction."),
        ("Σ", "baseline.after_imaging_systematic_mm", "SD of patients' mean drifts."),
        ("σ", "baseline.after_imaging_sd_mm", "RMS of patients' day-to-day SDs of the drift. No image before the beam shows "
         "any of the three. Of the whole patient they go into drift instead, per minute."),
    ),
}  # fmt: skip


def render_errors(found: ErrorsFound, path: Path) -> None:
    """Write one page that opens offline; it has no code and no date of a patient."""
    columns, rows = rows_of(found)
    n = found.record.n_patients
    page = page_of(
        "errors.html",
        about={},
        limits=_LIMITS,
        made_of=found.made_of,
        when=_WHEN[found.measured],
        self_test=found.self_test,
        answers=[_answer(kind) for kind in found.kinds],
        converged=found.converged,
        columns=columns,
        rows=[list(_spanned(row, rows[i - 1] if i else None)) for i, row in enumerate(rows)],
        kinds=[_figures(kind) for kind in found.kinds],
        restless=[_restless(kind) for kind in found.kinds],
        patients=[svg_uri(patients_by_fraction(found.record, some)) for some in _portions(found)],
        n_shown=min(n, _MOST_FIGURES * PATIENTS_PER_FIGURE),
        n_patients=n,
        notes=found.notes,
        block=found.block,
        uses=_USES[found.measured],
        chains=chains_in_words(found),
        seed=found.seed,
        version=__version__,
        created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    path.write_text(page, encoding="utf-8")


def _answer(kind: Estimated) -> str:
    """Medians in one sentence."""
    errors, unit = kind.posterior.errors, UNITS[kind.unit]
    parts = (("Σ", errors.systematic), ("σ", errors.random), ("M", errors.mean))
    texts = [
        f"{name} = {' / '.join(f'{v + 0.0:.1f}' for v in interval.value.round(1))} {unit}" for name, interval in parts
    ]
    return f"{_KINDS[kind.unit]}: {', '.join(texts)} ({' / '.join(AXES)})"


def _spanned(row: tuple[str, ...], above: tuple[str, ...] | None) -> Iterator[str]:
    """Cells of a row; the name of an error stands once."""
    yield "" if above and above[0] == row[0] else row[0]
    yield from row[1:]


def _figures(kind: Estimated) -> dict[str, Any]:
    return {
        "title": _KINDS[kind.unit],
        "unit": UNITS[kind.unit],
        "intervals": svg_uri(intervals_of_errors(kind)),
        "axes": {name: svg_uri(errors_along_axis(kind, axis)) for axis, name in enumerate(AXES)},
    }


def _restless(kind: Estimated) -> str:
    """How unequal patients are, by the median shape of their variances."""
    shape = float(np.median(kind.posterior.draws.shape))
    low, high = np.sqrt((shape - 1) / stats.gamma.ppf(_MIDDLE[::-1], shape))
    return (
        f"Some patients are more restless than others: by the posterior's median, the days of 95 of 100 scatter by {low:.2f} "
        f"to {high:.2f} times σ."
    )


def _portions(found: ErrorsFound) -> Iterator[list[int]]:
    """Patients of each figure; of very many, those furthest from M, in the order of their numbers."""
    record = found.record
    patients = np.unique(record.patient)
    centre = found.shifts.posterior.errors.mean.value
    off = [np.square(record.shift_mm[record.patient == p] - centre).sum(axis=1).mean() for p in patients]
    shown = np.sort(patients[np.argsort(off)[::-1][: _MOST_FIGURES * PATIENTS_PER_FIGURE]])
    for start in range(0, len(shown), PATIENTS_PER_FIGURE):
        yield [int(p) for p in shown[start : start + PATIENTS_PER_FIGURE]]
