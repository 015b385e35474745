"""Rows of a table of shifts: one for each fraction of each patient, with their numbers still as text."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from simulator.ground.spec import CaseError
from simulator.records.columns import MOST_FRACTIONS, Columns

REMEDY = "correct that line, or export the table again"
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")
_BLANK = {"", "-", "–", ".", "na", "n/a", "nan", "none", "null", "missing"}
_STAGES = {
    "before": "before pre initial setup first uncorrected",
    "residual": "residual after post verification corrected control",
    "during": "during intra intrafraction mid end final",
}
MEASURED = tuple(_STAGES)


@dataclass(frozen=True)
class Row:
    """One fraction of one patient as it stands in the table."""

    line: int
    patient: str
    fraction: int | None
    cells: list[str]
    shifts: dict[str, int]
    turns: dict[str, int]

    def where(self) -> str:
        """The fraction, as a sentence about it begins."""
        return "" if self.fraction is None else f"fraction {self.fraction} has "


class Rows:
    """The rows of a table with a header, and what was found while they were read."""

    def __init__(self, where: str, lines: list[str], columns: Columns, measured: str) -> None:
        self.where, self.columns, self.measured = where, columns, measured
        self.notes: list[str] = []
        self.marks: set[str] = set()
        self.all = list(self._rows(lines))

    def number(self, row: Row, column: int, axis: str) -> float | None:
        """The number of a cell; None where it is blank."""
        text = row.cells[column].strip().replace("\u2212", "-")
        if text.lower() in _BLANK:
            return None
        where = f"{self.where}:{row.line}: {axis} (column {column + 1})"
        if not _NUMBER.fullmatch(text):
            raise CaseError(f"{where} is no number; {REMEDY}")
        self.marks.update(set(text) & {".", ","})
        if len(self.marks) > 1:
            raise CaseError(f"{where}: decimal points and decimal commas in one table; write all numbers in one way")
        return float(text.replace(",", "."))

    def _rows(self, lines: list[str]) -> Iterator[Row]:
        """Rows of the table, one for each image."""
        columns, set_aside = self.columns, 0
        table = csv.reader(lines[columns.line :], delimiter=columns.separator)
        for cells in table:
            line = columns.line + table.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != columns.n:
                least, most = sorted((len(cells), columns.n))
                raise CaseError(
                    f"{self.where}:{line}: {len(cells)} values under {columns.n} column names (from column {least + 1} on, "
                    f"{most - least} too {'many' if most > columns.n else 'few'}); separate columns by ; if commas are decimal "
                    "marks, or write decimal points"
                )
            patient = cells[columns.roles["patient"]].strip()
            if not patient:
                at = columns.roles["patient"] + 1
                raise CaseError(
                    f"{self.where}:{line}: no patient (column {at}); repeat the patient's code in each of his rows"
                )
            if not self._is_wanted(line, cells):
                set_aside += 1
                continue
            for fraction, axes in sorted(columns.shifts.items()):
                number = fraction if columns.is_wide else self._fraction_number(line, cells)
                yield Row(line, patient, number, cells, axes, columns.turns.get(fraction, {}))
        if set_aside:
            self.notes.append(
                f"{set_aside} images of other times than '{self.measured}' set aside (--measured chooses)"
            )

    def _is_wanted(self, line: int, cells: list[str]) -> bool:
        """Whether an image was made when the wanted ones were."""
        if (at := self.columns.roles.get("stage")) is None:
            return True
        words = set(re.findall(r"[a-z]+", cells[at].lower()))
        stages = [stage for stage, names in _STAGES.items() if words & set(names.split())]
        if len(stages) != 1:
            raise CaseError(
                f"{self.where}:{line}: column {at + 1} does not say when the image was made; write before, residual or during"
            )
        return stages[0] == self.measured

    def _fraction_number(self, line: int, cells: list[str]) -> int | None:
        if (at := self.columns.roles.get("fraction")) is None:
            return None
        digits = re.findall(r"\d+", cells[at])
        negative = cells[at].strip().startswith("-")
        if negative or len(digits) != 1 or not 0 <= int(digits[0]) <= MOST_FRACTIONS:
            raise CaseError(f"{self.where}:{line}: the fraction (column {at + 1}) is no whole number; {REMEDY}")
        return int(digits[0])
