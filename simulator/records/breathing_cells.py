"""Cells of a breathing record that is text: numbers and flags, refused by line where they are none."""

import csv
import re
from collections.abc import Iterator, Sequence

import numpy as np

from simulator.ground.spec import CaseError
from simulator.records.breathing import REMEDY

NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")
_ON, _OFF = {"1", "on", "true", "yes"}, {"0", "off", "false", "no", ""}


class Cells:
    """Rows of a record below its header, their cells still text."""

    def __init__(self, where: str, lines: list[str], after: int, separator: str, names: Sequence[str]) -> None:
        self.where, self.names, self.marks = where, names, set[str]()
        found = list(self._rows(lines, after, separator))
        self.line = np.array([line for line, _ in found])
        self.rows = [cells for _, cells in found]

    def _rows(self, lines: list[str], after: int, separator: str) -> Iterator[tuple[int, list[str]]]:
        table = csv.reader(lines[after:], delimiter=separator)
        for cells in table:
            if not any(cell.strip() for cell in cells):
                continue
            line = after + table.line_num
            if len(cells) != len(self.names):
                raise CaseError(
                    f"{self.where}:{line}: {len(cells)} values under {len(self.names)} column names; separate columns by ; if "
                    "commas are decimal marks, or write decimal points"
                )
            yield line, [cell.strip() for cell in cells]

    def numbers(self, column: int) -> np.ndarray:
        """A column of numbers, (n,)."""
        values = np.empty(len(self.rows))
        for i, cells in enumerate(self.rows):
            text = cells[column].replace("\u2212", "-")
            if not NUMBER.fullmatch(text):
                raise CaseError(
                    f"{self.where}:{self.line[i]}: {self.names[column]} is {text[:20]!r}, no number; {REMEDY}"
                )
            self.marks.update(set(text) & {".", ","})
            values[i] = float(text.replace(",", "."))
        if len(self.marks) > 1:
            raise CaseError(
                f"{self.where}: decimal points and decimal commas in one file; write all numbers in one way"
            )
        return values

    def flags(self, column: int) -> np.ndarray:
        """A column of yes and no, boolean (n,)."""
        said = [cells[column].lower() for cells in self.rows]
        for i, text in enumerate(said):
            if text not in _ON | _OFF:
                raise CaseError(
                    f"{self.where}:{self.line[i]}: {self.names[column]} is {text[:20]!r}; 1 or 0, on or off are wanted; "
                    f"{REMEDY}"
                )
        return np.array([text in _ON for text in said], bool)
