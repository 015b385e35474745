"""What is odd in a record of shifts: listed for the clinic to judge, never dropped silently."""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from simulator.ground.conventions import AXES
from simulator.records.record import ShiftRecord

_OUTLYING_SD, _FROM_MAD = 5.0, 1.4826
_TREND_P, _FEWEST_FOR_TREND, _DAYS_PER_MONTH = 0.01, 8, 30.44
_LIKELY_CM_MM = 0.4
_QUIET, _FEWEST_FOR_QUIET = 0.2, 3
_ZEROS = 0.2
_FEW_PATIENTS = 8


def first_images(record: ShiftRecord) -> ShiftRecord:
    """The first image of each fraction; a second one shows what a correction left, or motion since."""
    _, first = np.unique(np.stack([record.patient, record.fraction]), axis=1, return_index=True)
    kept = np.sort(first)
    again = np.setdiff1d(np.arange(len(record.patient)), kept)
    if not len(again):
        return record
    spread = [float(np.sqrt((record.shift_mm[rows] ** 2).mean())) for rows in (kept, again)]
    places = f"{record.place}{'s' if len(again) > 1 else ''} {_listed(record.line[again])}"
    rms = f"RMS {spread[1]:.1f} mm against {spread[0]:.1f} of the first ones"
    note = f"images that repeat a fraction are not used ({places}): {rms}"
    if spread[1] < spread[0] / 2:
        note += ", like residuals after correction or intrafraction motion"
    return record.taken(kept, note)


def findings(record: ShiftRecord, *, corrections: bool) -> list[str]:
    """Sentences about units, corrections in place of errors, gaps, outliers, quiet patients, zeros and a trend.

    Parameters
    ----------
    corrections : whether the user says that the table holds couch corrections.
    """
    found = [*record.notes, *_kinds(record)]
    if record.correcting and not corrections:
        found.append(
            "names of columns speak of the couch or of corrections: if these are couch movements, add --corrections "
            "(they are minus the errors; M changes its sign, Σ and σ do not)"
        )
    return [*found, *_amount(record), *_gaps(record), *_outliers(record), *_quiet(record), *_trend(record)]


def _kinds(record: ShiftRecord) -> Iterator[str]:
    """Other things than setup errors in mm."""
    typical = float(np.median(np.abs(record.shift_mm)))
    if np.abs(record.shift_mm).max() < 10 * _LIKELY_CM_MM and typical < _LIKELY_CM_MM:
        yield f"half of all shifts are below {typical:.2g} mm: are they in cm?"
    zero = np.all(record.shift_mm == 0, axis=1)
    if zero.mean() > _ZEROS:
        yield (
            f"{zero.sum()} of {len(zero)} images show exactly no shift: these look like couch corrections above an action "
            "level, not errors; the errors below it are lost, and Σ and σ too small or too large"
        )


def _amount(record: ShiftRecord) -> Iterator[str]:
    """Too little to learn from."""
    if np.bincount(record.patient).max() < 2:
        yield "one image for each patient: Σ and σ cannot be told apart, and how they share the spread is the prior's choice"
    if record.n_patients < _FEW_PATIENTS:
        yield f"{record.n_patients} patients: Σ is known poorly, and the prior counts; margins want {_FEW_PATIENTS} or more"


def _gaps(record: ShiftRecord) -> Iterator[str]:
    """Fractions without an image before a patient's last one."""
    for patient in np.unique(record.patient):
        numbers = record.fraction[record.patient == patient]
        if missing := sorted(set(range(1, numbers.max() + 1)) - set(numbers.tolist())):
            yield f"patient {patient + 1}: no image of fraction {_listed(missing)}"


def _outliers(record: ShiftRecord) -> Iterator[str]:
    """Shifts far from the same patient's others, by the spread that is usual within patients; they are kept."""
    centre = np.array([np.median(record.shift_mm[record.patient == p], axis=0) for p in record.patient])
    off = record.shift_mm - centre
    several = np.bincount(record.patient)[record.patient] > 2
    if not off[several].any(axis=0).all():
        return
    # each patient's median image is off by nothing, and says nothing
    spread = _FROM_MAD * np.nanmedian(np.where(off[several] == 0, np.nan, np.abs(off[several])), axis=0)
    far = (np.abs(off) > _OUTLYING_SD * spread) & several[:, None]
    for image, axis in np.argwhere(far):
        yield (
            f"{record.place} {record.line[image]}: patient {record.patient[image] + 1}, fraction {record.fraction[image]}: "
            f"{AXES[axis]} is "
            f"{off[image, axis]:+.1f} mm off his others, {abs(off[image, axis]) / spread[axis]:.0f} times what is usual; kept"
        )


def _quiet(record: ShiftRecord) -> Iterator[str]:
    """Patients whose shifts are all far smaller than those of others."""
    patients = np.unique(record.patient)
    rows = [record.shift_mm[record.patient == patient] for patient in patients]
    rms = np.array([np.sqrt((of**2).mean()) for of in rows])
    for patient, of, size in zip(patients, rows, rms, strict=True):
        if len(of) >= _FEWEST_FOR_QUIET and size < _QUIET * np.median(rms):
            yield (
                f"patient {patient + 1}: RMS {size:.1f} mm against {np.median(rms):.1f} of others: residuals or intrafraction "
                "values among setup errors? kept"
            )


def _trend(record: ShiftRecord) -> Iterator[str]:
    """A drift of patient means with the calendar."""
    patients = np.unique(record.patient)
    if record.day is None or len(patients) < _FEWEST_FOR_TREND:
        return
    day = np.array([record.day[record.patient == p].mean() for p in patients])
    means = np.array([record.shift_mm[record.patient == p].mean(axis=0) for p in patients])
    for axis, name in enumerate(AXES):
        if np.ptp(day) > 0 and (line := stats.linregress(day, means[:, axis])).pvalue < _TREND_P:
            yield (
                f"{name} of patients drifts by {line.slope * _DAYS_PER_MONTH:+.2f} mm per month (p = {line.pvalue:.2g}): "
                "something changed; Σ holds the drift"
            )


def _listed(numbers: np.ndarray | list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return f"{shown} and {len(numbers) - 8} more" if len(numbers) > 8 else shown
