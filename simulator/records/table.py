"""A clinic's table of shifts, as any spreadsheet writes it; nothing is dropped without being said."""

import re
from collections.abc import Hashable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from simulator.ground.conventions import AXES
from simulator.ground.reading import opened, read_text, reading
from simulator.ground.spec import CaseError, ConfigError
from simulator.records.axes import SignConvention
from simulator.records.columns import Columns, find_columns
from simulator.records.record import ShiftRecord
from simulator.records.rows import REMEDY, Row, Rows

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%y")
_MM = {"mm": 1.0, "cm": 10.0}
_FARTHEST_MM, _COUCH_MM, _MOST_DEG = 2000.0, 50.0, 90.0
_FEWEST_PATIENTS, _MOST_ROWS = 2, 200_000


def _text(path: str | Path) -> str:
    with reading(path, "give the path of a table, or of a folder of registrations"), opened(path) as file:
        if file.read(4) in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
            raise CaseError(f"{path}: a workbook, and a table of text is wanted; save the sheet as CSV (UTF-8)")
    return read_text(path, REMEDY)


def read_shifts(
    path: str | Path,
    convention: SignConvention,
    *,
    unit: str | None = None,
    measured: str = "before",
    corrections: bool = False,
) -> ShiftRecord:
    """Read a table of shifts, long (a row per image) or wide (a row per patient).

    Parameters
    ----------
    unit : mm or cm, where the names of columns do not say it.
    measured : which images are wanted, where a column says it: before, residual or during.
    corrections : whether the table holds movements of the couch, which are minus the errors.

    Raises
    ------
    CaseError : file, line, what is wrong and how to mend it. No content of cells is told: it might name a patient.
    """
    with reading(path, REMEDY):
        lines = _text(path).splitlines()
        columns = find_columns(str(path), lines, convention)
        return _Table(str(path), lines, columns, unit, measured).record(convention, -1.0 if corrections else 1.0)


class _Table:
    """A table while it is read."""

    def __init__(self, where: str, lines: list[str], columns: Columns, unit: str | None, measured: str) -> None:
        self.where, self.columns = where, columns
        self.rows = Rows(where, lines, columns, measured)
        self.notes = self.rows.notes
        self.unit = self._unit(unit)

    def record(self, convention: SignConvention, sign: float) -> ShiftRecord:
        """All of it, in mm and DICOM signs."""
        rows, shifts, n_blank = [], [], 0
        for row in self.rows.all:
            values = [self.rows.number(row, row.shifts[axis], axis) for axis in AXES]
            missing = [axis for axis, value in zip(AXES, values, strict=True) if value is None]
            if len(missing) == 3 and self.columns.is_wide:
                n_blank += 1
                continue
            if missing:
                what = "no values" if len(missing) == 3 else f"no value for {', '.join(missing)}"
                self.notes.append(f"line {row.line}: {row.where()}{what}; the image is left out")
                continue
            rows.append(row)
            shifts.append([_MM[self.unit] * float(v) for v in values if v is not None])
        if n_blank:
            self.notes.append(f"blank fractions: {n_blank}, of shorter courses or missing images")
        self._check(rows, shifts)
        clinic = self.columns.roles.get("clinic")
        clinics = [row.cells[clinic].strip() if clinic is not None else "" for row in rows]
        patients = _numbered(zip(clinics, [row.patient for row in rows], strict=True))
        if patients.max() + 1 < _FEWEST_PATIENTS:
            raise CaseError(f"{self.where}: one patient; a spread between patients needs {_FEWEST_PATIENTS} or more")
        turns = self._turns(rows)
        record = ShiftRecord(
            patients,
            self._fractions(rows, patients),
            _numbered(clinics),
            sign * convention.to_dicom(np.array(shifts)),
            None if turns is None else sign * convention.to_dicom(turns),
            self._days(rows),
            np.array([row.line for row in rows]),
            correcting=self.columns.correcting,
        )
        if self.columns.unread:
            which = ", ".join(map(str, self.columns.unread))
            self.notes.insert(0, f"columns not used: {which} (counted from 1)")
        return replace(record, notes=tuple(self.notes))

    def _unit(self, asked: str | None) -> str:
        used = [at for axes in self.columns.shifts.values() for at in axes.values()]
        where, first = f"{self.where}:{self.columns.line}", used[0]
        named = self.columns.units.get(first)
        for at in used:
            if (other := self.columns.units.get(at)) != named:
                says = f"column {first + 1} says {named or 'no unit'}, column {at + 1} {other or 'none'}"
                raise CaseError(f"{where}: {says}: axes in different units; write all in mm or all in cm")
        if named and asked and named != asked:
            raise ConfigError(f"{where}: column {first + 1} says {named}; leave out --unit {asked}")
        if not (unit := named or asked):
            raise ConfigError(f"{where}: mm or cm? column {first + 1} does not say it; add --unit mm or --unit cm")
        return unit

    def _check(self, rows: list[Row], shifts: list[list[float]]) -> None:
        """Refuse a table without images, a far too long one, numbers that no shift has, and couch positions."""
        if not rows:
            raise CaseError(f"{self.where}: no image '{self.rows.measured}' has shifts; {REMEDY}")
        if len(rows) > _MOST_ROWS:
            raise CaseError(f"{self.where}: more than {_MOST_ROWS} images; split the table")
        for row, values in zip(rows, shifts, strict=True):
            for axis, value in zip(AXES, values, strict=True):
                if abs(value) > _FARTHEST_MM:
                    raise CaseError(
                        f"{self.where}:{row.line}: {axis} (column {row.shifts[axis] + 1}) is a shift of more than "
                        f"{_FARTHEST_MM:g} mm; correct it, or the unit ({self.unit})"
                    )
        if (usual := np.abs(np.median(shifts, axis=0)).max()) > _COUCH_MM:
            raise CaseError(
                f"{self.where}: shifts of {usual:.0f} mm are usual: these look like couch positions, not errors; export "
                f"what the image match found, or correct the unit ({self.unit})"
            )

    def _turns(self, rows: list[Row]) -> np.ndarray | None:
        """Rotations (image, 3) in degrees, NaN where there are none."""
        if not self.columns.turns:
            return None
        if any(set(axes) != set(AXES) for axes in self.columns.turns.values()):
            self.notes.append("rotations about one or two axes only: not used")
            return None
        turns = np.full((len(rows), 3), np.nan)
        for i, row in enumerate(rows):
            values = [self.rows.number(row, row.turns[axis], f"rotation about {axis}") for axis in AXES if row.turns]
            for axis, value in zip(AXES, values, strict=False):
                if value is not None and abs(value) > _MOST_DEG:
                    raise CaseError(
                        f"{self.where}:{row.line}: rotation about {axis} (column {row.turns[axis] + 1}) is more than "
                        f"{_MOST_DEG:g} degrees; correct it, or write angles about 0"
                    )
            if row.turns and None not in values:
                turns[i] = [float(v) for v in values if v is not None]
        return turns

    def _fractions(self, rows: list[Row], patients: np.ndarray) -> np.ndarray:
        """Numbers of fractions: as written, else counted within each patient."""
        seen: dict[int, int] = {}
        numbers = []
        for row, patient in zip(rows, patients, strict=True):
            seen[patient] = seen.get(patient, 0) + 1
            numbers.append(row.fraction if row.fraction is not None else seen[patient])
        if rows[0].fraction is None:
            self.notes.append("no column of fractions: each row counts as a fraction, in the order of the table")
        return np.array(numbers)

    def _days(self, rows: list[Row]) -> np.ndarray | None:
        """Days since the first image."""
        if (at := self.columns.roles.get("date")) is None or self.columns.is_wide:
            return None
        texts = [re.split(r"[T ]", row.cells[at].strip())[0] for row in rows]
        fitting = {form: days for form in _DATES if (days := _dates(texts, form)) is not None}
        if not fitting:
            self.notes.append("dates are not used: some are missing, or not written as 2024-01-31 or 31.01.2024")
            return None
        if {"%d/%m/%Y", "%m/%d/%Y"} <= set(fitting):
            self.notes.append("dates read as day/month/year")
        days = next(iter(fitting.values()))
        return days - days.min()


def _dates(texts: list[str], form: str) -> np.ndarray | None:
    try:
        return np.array([datetime.strptime(text, form).toordinal() for text in texts], float)
    except ValueError:
        return None


def _numbered(names: Iterable[Hashable]) -> np.ndarray:
    """A number from 0 for each name, in the order of appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])
