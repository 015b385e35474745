"""Breathing from records: breaths of each, their spread within and between records and patients, and a block for a study."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from simulator.case.entries import Section
from simulator.case.traces import Trace, breathing_signal, one_record, read_trace
from simulator.ground.conventions import AXES
from simulator.ground.files import claim, write_table, write_whole
from simulator.ground.spec import ConfigError
from simulator.plots.breathing import breathing_records
from simulator.plots.style import svg_bytes
from simulator.records.breathing import BreathingRecord, Samples, breathing_record
from simulator.records.breathing_block import breathing_block
from simulator.records.breathing_files import is_breathing_record, read_samples
from simulator.records.breaths import Breaths, Spreads, breaths_of, spreads_of

BLOCK, TABLE, FIGURE = "motion.yaml", "motion.csv", "motion.svg"
_COLUMNS = (
    "record",
    "patient",
    "length, s",
    "per s",
    "breaths",
    "amplitude, mm (CV)",
    "period, s (CV)",
    "baseline SD, mm",
    "its drift, mm/min",
    "beam on",
)
_SPREAD_COLUMNS = ("spread (CV) of", "value", "95 %", "from", "key")

Row = tuple[str, ...]


@dataclass(frozen=True)
class BreathingFound:
    """What breathing records say.

    Parameters
    ----------
    patient : (record,), number from 0.
    """

    records: list[BreathingRecord]
    breaths: list[Breaths]
    patient: np.ndarray
    notes: list[str]

    @property
    def n_patients(self) -> int:
        """How many there are."""
        return len(np.unique(self.patient))

    @property
    def made_of(self) -> str:
        """Records and patients in words."""
        n, k = len(self.records), self.n_patients
        return f"{n} record{'s' if n > 1 else ''} of {k} patient{'s' if k > 1 else ''}"

    @property
    def amplitudes(self) -> Spreads:
        """How the amplitude varies."""
        return spreads_of([b.amplitude_mm for b in self.breaths], self.patient)

    @property
    def periods(self) -> Spreads:
        """How the period varies."""
        return spreads_of([b.period_s for b in self.breaths], self.patient)

    @property
    def tables(self) -> list[Section]:
        """What is printed."""
        spread = "How breaths, days and patients differ"
        return [(f"Breathing in {self.made_of}", _COLUMNS, self.rows), (spread, _SPREAD_COLUMNS, self.spread_rows)]

    @property
    def rows(self) -> list[Row]:
        """One row for each record."""
        return [
            self._row(i, record, breaths)
            for i, (record, breaths) in enumerate(zip(self.records, self.breaths, strict=True))
        ]

    def _row(self, i: int, record: BreathingRecord, breaths: Breaths) -> Row:
        return (
            f"{i + 1}",
            f"{self.patient[i] + 1}",
            f"{record.duration_s:.0f}",
            f"{record.rate_hz:.3g}",
            f"{len(breaths.start_s)}",
            _with_cv(breaths.amplitude_mm),
            _with_cv(breaths.period_s),
            f"{breaths.baseline_mm.std(ddof=1):.2f}",
            f"{breaths.drift_mm_per_min:+.2f}",
            "–" if record.beam_on is None else f"{100 * record.beam_on.mean():.0f} %",
        )

    @property
    def spread_rows(self) -> list[Row]:
        """Spreads of amplitude and period, and where they go."""
        found: list[Row] = []
        for what, spreads, keys in (
            ("amplitude", self.amplitudes, ("breath_cv", "fraction_cv", "course_cv")),
            ("period", self.periods, ("–", "period_cv", "period_cv")),
        ):
            of_levels = (
                ("between breaths", spreads.breath),
                ("between records of a patient", spreads.fraction),
                ("between patients", spreads.course),
            )
            for (between, spread), key in zip(of_levels, keys, strict=True):
                if spread is not None:
                    interval = f"{spread.low:.2f} to {spread.high:.2f}"
                    found.append((f"{what} {between}", f"{spread.value:.2f}", interval, spread.made_of, key))
        return found

    @property
    def block(self) -> str:
        """The block for a study."""
        return breathing_block(self.records, self.breaths, self.amplitudes, self.periods, self.made_of, self.n_patients)


def breathing_found(
    paths: Sequence[Path], *, inhale: str | None = None, unit: str | None = None, time_unit: str | None = None
) -> BreathingFound:
    """Read breathing records, find their breaths, and say how they vary. A patient's records lie in a folder of his own.

    Raises
    ------
    ConfigError, CaseError : a setting that is none of those named, or a record that cannot be used.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("a record is named twice; name each once")
    records = [_read(path, inhale, unit, time_unit) for path in paths]
    breaths = [breaths_of(str(path), record) for path, record in zip(paths, records, strict=True)]
    folders = list(dict.fromkeys(path.resolve().parent for path in paths))
    patient = np.array([folders.index(path.resolve().parent) for path in paths])
    notes = [
        *(f"record {i + 1}: {note}" for i, record in enumerate(records) for note in record.notes),
        *_pauses(breaths),
        *_of_patients(paths, records, patient),
    ]
    return BreathingFound(records, breaths, patient, notes)


def _read(path: Path, inhale: str | None, unit: str | None, time_unit: str | None) -> BreathingRecord:
    """One record of any of the formats."""
    is_text = path.suffix.lower() in (".csv", ".txt")
    trace = read_trace(path) if is_text and not is_breathing_record(path) else None
    if trace is None:
        return breathing_record(str(path), read_samples(path, unit=unit, time_unit=time_unit), inhale)
    if inhale or unit or time_unit:
        raise ConfigError(
            f"{path}: a record of positions, whose format says unit and direction; leave out --inhale, --unit, --time-unit"
        )
    return _of_trace(str(path), one_record(trace))


def _of_trace(where: str, trace: Trace) -> BreathingRecord:
    """A record in space: depth along its main direction, and that direction where the axes are the patient's."""
    depth = breathing_signal(trace)
    is_patient = trace.axes == AXES
    how = "inferior along its main direction" if is_patient else "away from where it dwells, along its main direction"
    notes = (*([trace.note] if trace.note else []), f"inhale is {how}")
    samples = Samples(np.arange(len(depth)) + 1, trace.time_s, depth, inhale="plus")
    record = breathing_record(where, samples)
    others = tuple(note for note in record.notes if not note.startswith("inhale is"))
    centred = trace.position_mm - trace.position_mm.mean(axis=0)
    towards = centred.T @ (depth - depth.mean())
    direction = towards / np.linalg.norm(towards) if is_patient else None
    return replace(record, direction=direction, notes=(*notes, *others))


def _pauses(breaths: Sequence[Breaths]) -> list[str]:
    return [
        f"record {i + 1}: left out, as they last more than twice the usual (pauses, breath holds): {b.n_pauses} breaths"
        for i, b in enumerate(breaths)
        if b.n_pauses
    ]


def _of_patients(paths: Sequence[Path], records: Sequence[BreathingRecord], patient: np.ndarray) -> list[str]:
    """Whose records they are.

    Raises
    ------
    ConfigError : records of several patients lie in one folder.
    """
    folders_of: dict[str, set[int]] = {}
    for number in np.unique(patient):
        own = {r.patient for r, p in zip(records, patient, strict=True) if p == number and r.patient}
        if len(own) > 1:
            folder = next(path.parent for path, p in zip(paths, patient, strict=True) if p == number)
            raise ConfigError(
                f"{folder}: records of several patients (Patient_ID); give each patient a folder of his own"
            )
        for code in own:
            folders_of.setdefault(code, set()).add(int(number))
    notes = (
        [f"{len(records)} records in one folder: taken as one patient's"]
        if len(records) > 1 and not patient.any()
        else []
    )
    notes += [
        f"patients {', '.join(str(n + 1) for n in sorted(numbers))} carry one Patient_ID: if they are the same, put their "
        "records into one folder"
        for numbers in folders_of.values()
        if len(numbers) > 1
    ]
    return notes


def write_breathing(found: BreathingFound, folder: Path) -> None:
    """Write the block for a study, every breath, a figure, and each record as a study's `trace`.

    Raises
    ------
    ConfigError : the folder holds files of others.
    """
    claim(folder)
    write_whole(folder / BLOCK, found.block)
    columns = ("record", "patient", "start_s", "period_s", "amplitude_mm", "baseline_mm")
    rows = [
        (str(i + 1), str(found.patient[i] + 1), *(f"{v:.3f}" for v in breath))
        for i, b in enumerate(found.breaths)
        for breath in zip(b.start_s, b.period_s, b.amplitude_mm, b.baseline_mm, strict=True)
    ]
    write_table(folder / TABLE, columns, rows)
    for i, record in enumerate(found.records):
        longest = max(record.pieces(), key=lambda piece: record.time_s[piece][-1] - record.time_s[piece][0])
        samples = zip(record.time_s[longest], record.depth_mm[longest], strict=True)
        write_table(
            folder / f"record-{i + 1}.csv",
            ("time_s", "displacement_mm"),
            [(f"{t:.4f}", f"{d:.3f}") for t, d in samples],
        )
    write_whole(folder / FIGURE, svg_bytes(breathing_records(found.records, found.breaths)))


def _with_cv(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ({100 * values.std(ddof=1) / values.mean():.0f} %)"
