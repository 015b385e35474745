"""The two pages for the tumour board, drawn: what they say comes from the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xarray as xr
from matplotlib.lines import Line2D

from simulator.plots.axial import draw_axial_plane
from simulator.plots.dvh import draw_dvhs, line_keys, structure_keys
from simulator.plots.paper import BOTTOM, HEIGHT, SIDE, WRITTEN, Column, Sheet
from simulator.plots.style import place_labels, shown_structures, styled

Rows = Sequence[Sequence[str]]

_STRATEGIES = (
    Column("Strategy: motion, margin, guidance", 0.26),
    Column("Verdict", 0.21),
    Column("Wanted coverage (%), 95 % interval", 0.17),
    Column("Mandatory limits that hold", 0.12),
    Column("All goals on organs (%), 95 % interval", 0.17),
    Column("PTV (cc)", 0.07),
)
_GOALS = (
    Column("Goal", 0.29),
    Column("Courses that meet it (%), 95 % interval", 0.2),
    Column("Wanted (%)", 0.09),
    Column("Holds", 0.1),
    Column("Planned", 0.1),
    Column("Median of courses", 0.1),
    Column("5 % are worse than", 0.12),
)
_PICTURE = 2.75  # height of picture and DVHs, inches
_FULL = HEIGHT - BOTTOM - 0.2
_SIGNED, _TO_SIGN = HEIGHT - BOTTOM - 0.35, 0.4
_MOST_VERDICT, _MOST_LIMIT = 8, 3  # lines of a sentence


@dataclass(frozen=True)
class SummaryWords:
    """What the pages say.

    Parameters
    ----------
    verdict : sentences, the answer first. strategies, goals : rows of the tables, of those on goals for `strategy` alone.
    strategy : the recommended one, or the nearest miss.
    """

    title: str
    warning: str
    question: str
    verdict: Sequence[str]
    strategies: Rows
    strategy: str
    goals: Rows
    limits: Sequence[str]
    provenance: Sequence[str]
    footer: str


@styled
def summary_sheets(results: xr.DataTree, words: SummaryWords) -> list[Sheet]:
    """Two A4 pages: question, verdict and strategies; dose, DVHs, goals, limits, provenance and a line to sign."""
    first, second = Sheet(), Sheet()
    _answer(first, words)
    limits_first = first.y + _taken(_limits, words) < _FULL
    if limits_first:
        _limits(first, words)
    _closer_look(second, results, words.strategy)
    second.heading("Goals on the target and mandatory limits of organs, for this strategy")
    below = (_provenance,) if limits_first else (_limits, _provenance)
    _cut_table(second, _GOALS, words.goals, _SIGNED - sum(_taken(part, words) for part in below))
    for part in below:
        part(second, words)
    _to_sign(second)
    for number, sheet in enumerate((first, second), start=1):
        sheet.footer(f"Page {number} of 2. {words.footer}")
    return [first, second]


def _taken(part: Callable[[Sheet, SummaryWords], None], words: SummaryWords) -> float:
    """How much of a sheet a part takes, in inches."""
    tried = Sheet()
    top = tried.y
    part(tried, words)
    return tried.y - top


def _answer(sheet: Sheet, words: SummaryWords) -> None:
    sheet.text(words.title, 13, bold=True, most=2)
    sheet.text(words.warning, 9, bold=True)
    sheet.heading("Question")
    sheet.text(words.question, most=8)
    sheet.heading("Verdict")
    for number, sentence in enumerate(words.verdict):
        sheet.text(sentence, 10 if not number else 8.5, bold=not number, most=_MOST_VERDICT)
    sheet.heading("Strategies, in the order of the rule")
    _cut_table(sheet, _STRATEGIES, words.strategies, _FULL, bold=0)


def _limits(sheet: Sheet, words: SummaryWords) -> None:
    sheet.heading("Limits of the model")
    for limit in words.limits:
        sheet.text(f"– {limit}", 7, most=_MOST_LIMIT)


def _provenance(sheet: Sheet, words: SummaryWords) -> None:
    sheet.heading("Provenance")
    for line in words.provenance:
        sheet.text(line, 7, most=1)
    sheet.y += _TO_SIGN


def _to_sign(sheet: Sheet) -> None:
    sheet.y = _SIGNED
    wanted = ("Read and discussed by (name)", "Signature", "Date")
    width = WRITTEN / len(wanted)
    for k, what in enumerate(wanted):
        sheet.line_to_fill(what, width - 0.2, SIDE + k * width)


def _cut_table(sheet: Sheet, columns: Sequence[Column], rows: Rows, until: float, bold: int | None = None) -> None:
    """A table that says how much of it did not fit."""
    left_off = sheet.table(columns, rows, until - 0.2, bold)
    if left_off:
        sheet.y += 0.05
        sheet.text(f"… and {left_off} more in report.html", 8, bold=True)


def _closer_look(sheet: Sheet, results: xr.DataTree, strategy: str) -> None:
    """The axial plane and the DVHs side by side, their keys below; DVHs alone where no dose maps were kept."""
    sheet.heading(f"A closer look at “{strategy}”")
    sheet.y += 0.2
    has_maps = "dose" in results.children
    colours = shown_structures(results)
    x, gap = SIDE + 0.5, 1.5
    width = (WRITTEN - 0.5 - gap) / 2 if has_maps else WRITTEN - 0.5
    keys = [*structure_keys(colours), *line_keys()]
    if has_maps:
        axial, bar = sheet.axes(x, width, _PICTURE), sheet.axes(x + width + 0.08, 0.12, _PICTURE)
        draw_axial_plane(axial, bar, results, strategy)
        x += width + gap
        keys += [
            Line2D([], [], color="#9a9a9a", linestyle="--", label="PTV (white dashes)"),
            Line2D([], [], color="black", linewidth=0.9, label="isodoses, % of prescription"),
        ]
    curves = sheet.axes(x, width, _PICTURE)
    draw_dvhs(curves, results, strategy)
    curves.set_title("DVHs, planned and over courses", fontsize=8.5)
    place_labels(curves, width, _PICTURE)
    for axes in sheet.figure.axes:
        axes.tick_params(labelsize=7.5)
        axes.xaxis.label.set_fontsize(8)
        axes.yaxis.label.set_fontsize(8)
    sheet.y += _PICTURE + 0.45
    rows = -(-len(keys) // 4)
    sheet.figure.legend(
        handles=keys, loc="upper center", bbox_to_anchor=(0.5, 1 - sheet.y / HEIGHT), ncols=4, fontsize=7.5,
        borderpad=0, borderaxespad=0,
    )  # fmt: skip
    sheet.y += 0.16 * rows + 0.05
