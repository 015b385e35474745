"""Sheets of A4 that are written from the top: text that wraps, tables that are cut where their room ends."""

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from simulator.plots.style import house_style

# Inches.
WIDTH, HEIGHT = 8.27, 11.69
SIDE, TOP, BOTTOM = 0.7, 0.6, 0.6
WRITTEN = WIDTH - 2 * SIDE
_POINT = 1 / 72
_LINE, _ASCENT, _CELL, _GUTTER = 1.32, 0.98, 0.05, 0.1
_TABLE, _MOST_LINES = 7.5, 3  # letters of a table, points, and lines of a cell
_INK, _SOFT, _RULE = "#1d2733", "#5b6673", "#d9dee4"
_CUT = "…"


@dataclass(frozen=True)
class Column:
    """A column of a table: heading, and its part of the width of the sheet."""

    heading: str
    share: float


class Sheet:
    """One page; `y` is how far down it is written, in inches."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
        self.y = TOP

    def text(self, words: str, size: float = 8.5, *, bold: bool = False, soft: bool = False, most: int = 99) -> None:
        """A paragraph of at most so many lines."""
        for line in wrapped(words, WRITTEN, size, bold=bold, most=most):
            self._line(SIDE, line, size, bold=bold, soft=soft)
            self.y += size * _LINE * _POINT
        self.y += 0.05

    def heading(self, words: str) -> None:
        """A heading with a rule above it."""
        self.y += 0.08
        self._rule()
        self.y += 0.06
        self.text(words, 10.5, bold=True, most=1)

    def table(
        self, columns: Sequence[Column], rows: Sequence[Sequence[str]], until: float, bold: int | None = None
    ) -> int:
        """As many rows as fit above `until`, in inches from the top; how many were left off.

        Parameters
        ----------
        bold : row that stands out.
        """
        self._row(columns, [column.heading for column in columns], bold=True, most=4)
        for i, cells in enumerate(rows):
            if self.y + self._height(columns, cells, bold=i == bold) > until:
                return len(rows) - i
            self._row(columns, cells, bold=i == bold)
        return 0

    def axes(self, x: float, width: float, height: float) -> Axes:
        """Axes below what is written, `x` inches from the left; `y` stays."""
        return self.figure.add_axes((x / WIDTH, 1 - (self.y + height) / HEIGHT, width / WIDTH, height / HEIGHT))

    def line_to_fill(self, words: str, width: float, x: float) -> None:
        """A rule to write on, with what is wanted below it; `y` stays."""
        self._rule(x, width, _INK)
        self.y += 0.03
        self._line(x, words, 8, soft=True)
        self.y -= 0.03

    def footer(self, words: str) -> None:
        """A line at the foot of the page."""
        (line,) = wrapped(words, WRITTEN, 7, most=1)
        self.figure.text(
            SIDE / WIDTH, (BOTTOM - 0.25) / HEIGHT, line, fontsize=7, color=_SOFT, parse_math=False, va="bottom"
        )

    def _row(
        self, columns: Sequence[Column], cells: Sequence[str], *, bold: bool = False, most: int = _MOST_LINES
    ) -> None:
        x, top, height = SIDE, self.y, self._height(columns, cells, bold=bold, most=most)
        for column, cell in zip(columns, cells, strict=True):
            width = column.share * WRITTEN
            for n, line in enumerate(wrapped(cell, width - _GUTTER, _TABLE, bold=bold, most=most)):
                self.y = top + _CELL / 2 + n * _TABLE * _LINE * _POINT
                self._line(x, line, _TABLE, bold=bold)
            x += width
        self.y = top + height
        self._rule()

    def _height(self, columns: Sequence[Column], cells: Sequence[str], *, bold: bool, most: int = _MOST_LINES) -> float:
        lines = max(
            len(wrapped(cell, column.share * WRITTEN - _GUTTER, _TABLE, bold=bold, most=most))
            for column, cell in zip(columns, cells, strict=True)
        )
        return lines * _TABLE * _LINE * _POINT + _CELL

    def _line(self, x: float, words: str, size: float, *, bold: bool = False, soft: bool = False) -> None:
        self.figure.text(
            x / WIDTH, 1 - (self.y + _ASCENT * size * _POINT) / HEIGHT, words, fontsize=size, va="baseline",
            color=_SOFT if soft else _INK, fontweight="bold" if bold else "normal", parse_math=False,
        )  # fmt: skip

    def _rule(self, x: float = SIDE, width: float = WRITTEN, colour: str = _RULE) -> None:
        y = 1 - self.y / HEIGHT
        self.figure.add_artist(Line2D([x / WIDTH, (x + width) / WIDTH], [y, y], color=colour, linewidth=0.8))


def wrapped(words: str, width: float, size: float, *, bold: bool = False, most: int = 99) -> list[str]:
    """Lines no wider than so many inches, at most so many; what is cut off ends with an ellipsis."""

    def fits(text: str) -> bool:
        return sum(_advance(letter, bold) for letter in text) * size * _POINT <= width

    lines, line = [], ""
    for word in words.split():
        if line and not fits(f"{line} {word}"):
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while not fits(line):
            n = next((n for n in range(len(line) - 1, 1, -1) if fits(line[:n])), 1)
            lines.append(line[:n])
            line = line[n:]
        if len(lines) > most:
            break
    lines += [line] if line else []
    if len(lines) > most:
        lines = lines[:most]
        while lines[-1] and not fits(lines[-1] + _CUT):
            lines[-1] = lines[-1][:-1]
        lines[-1] += _CUT
    return lines or [""]


@functools.cache
def _advance(letter: str, bold: bool) -> float:
    """Width of a letter as a part of the size of the letters, without kerning."""
    font = FontProperties(family="DejaVu Sans", size=100, weight="bold" if bold else "normal")
    across, without = (
        text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] for text in (f"H{letter}H", "HH")
    )
    return float(across - without) / 100


def pdf_bytes(sheets: Sequence[Sheet], title: str) -> bytes:
    """The pages as one PDF, its text searchable; the same sheets give the same bytes."""
    buffer = io.BytesIO()
    with (
        house_style({"pdf.fonttype": 42}),
        PdfPages(buffer, metadata={"Title": title, "CreationDate": None}) as pages,
    ):
        for sheet in sheets:
            pages.savefig(sheet.figure)
    return buffer.getvalue()
