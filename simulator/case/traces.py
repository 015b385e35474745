"""Motion traces of other people's files, as positions in time.

Three formats are known:

CSV with the columns `time_s` and `displacement_mm`: one breathing signal, greater is deeper. Columns are separated by commas,
    semicolons or tabs; decimal commas are read where columns are told apart from them.

IEC text (kilovoltage intrafraction monitoring): whitespace columns `t[s] x y z` and rotations, IEC 61217 fixed axes
    (x = left, y = superior, z = anterior); positions become DICOM patient coordinates (x, -z, y). Some files
    are one record repeated; `one_record` finds it.
Marker CSV: `"Frame";"Timestamp";"x";"y";"z"`, milliseconds, decimal comma; an all-zero row at the end is dropped. The
    axes are the camera's, so they stay as they are.
"""

import csv
import re
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.ground.reading import read_text, reading
from simulator.ground.spec import CaseError

_SHORTEST_REPEAT_S = 30.0
_REPEAT_SHARE = 0.15
_SIGNAL_COLUMNS = ("time_s", "displacement_mm")
_REMEDY = "correct that line, or export the record again"
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][-+]?[0-9]+)?")
_FEWEST_SAMPLES, _MOST_SAMPLES = 2, 100_000
_SHORTEST_STEP_S, _LONGEST_STEP_S, _LONGEST_GAP_S = 1e-3, 2.0, 5.0
_FARTHEST_MM = 300.0
_SHARE_IN_ORDER, _MOST_GLITCHES = 0.9, 0.01
_MARKER_HEADER = '"Frame";"Timestamp";"x";"y";"z"'


@dataclass(frozen=True)
class Trace:
    """Positions (n, 3) in mm at times (n,) in s, along the named axes."""

    time_s: np.ndarray
    position_mm: np.ndarray
    axes: tuple[str, ...]
    note: str = ""

    @property
    def rate_hz(self) -> float:
        """Mean sampling rate."""
        return (len(self.time_s) - 1) / float(self.time_s[-1] - self.time_s[0])

    @property
    def duration_s(self) -> float:
        """Length of the record, the last sample's interval included."""
        return len(self.time_s) / self.rate_hz


def read_trace(path: str | Path) -> Trace | None:
    """Read a motion trace; None when the file is none.

    Raises
    ------
    CaseError : file and line of a value that no trace has.
    """
    with reading(path, _REMEDY):
        lines = read_text(path, _REMEDY).splitlines()
        if lines and lines[0].strip() == _MARKER_HEADER:
            return _marker_trace(path, lines)
        if lines and (delimiter := _signal_delimiter(lines[0])):
            return _signal_trace(path, lines, delimiter)
        return _iec_trace(path, lines)


def _marker_trace(path: str | Path, lines: list[str]) -> Trace:
    rows, at = _numbers(path, csv.reader(lines, delimiter=";"), ("Timestamp", "x", "y", "z"))
    notes = []
    if len(rows) and not rows[-1].any():
        rows = rows[:-1]
        notes.append("all-zero last row dropped")
    time_s, n_replaced = _without_glitches(rows[:, 0] / 1000)
    if n_replaced:
        notes.append(f"{n_replaced} time stamps out of order replaced")
    axes = ("x (camera)", "y (camera)", "z (camera)")
    return _plausible(path, at, Trace(time_s, rows[:, 1:4], axes, "; ".join(notes)))


def _without_glitches(time_s: np.ndarray) -> tuple[np.ndarray, int]:
    """Times with the few that are out of order interpolated, and how many those are."""
    kept = _longest_ascent(time_s)
    n_off = len(time_s) - len(kept)
    if not 0 < n_off <= _MOST_GLITCHES * len(time_s):
        return time_s, 0
    return np.interp(np.arange(len(time_s)), kept, time_s[kept]), n_off


def _longest_ascent(values: np.ndarray) -> list[int]:
    """Indices of the longest ascending subsequence."""
    ends: list[float] = []
    last: list[int] = []
    before: list[int] = []
    for i, value in enumerate(values):
        length = bisect_left(ends, value)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [value]
        last[length : length + 1] = [i]
    chain = last[-1:]
    while chain and before[chain[-1]] >= 0:
        chain.append(before[chain[-1]])
    return chain[::-1]


def _signal_delimiter(header: str) -> str:
    """What separates the columns of a breathing signal; nothing for other headers."""
    names = {d: [name.strip().lower() for name in next(csv.reader([header], delimiter=d))] for d in ",;\t"}
    return next((d for d, found in names.items() if set(_SIGNAL_COLUMNS) <= set(found)), "")


def _signal_trace(path: str | Path, lines: list[str], delimiter: str) -> Trace:
    rows, at = _numbers(path, csv.reader(lines, delimiter=delimiter), _SIGNAL_COLUMNS)
    return _plausible(path, at, Trace(rows[:, 0], rows[:, 1:2], ("displacement",)))


def _numbers(path: str | Path, table: Any, wanted: tuple[str, ...]) -> tuple[np.ndarray, list[int]]:
    """The wanted columns (row, column) of a table with a header, and the line of each row; empty rows are left out.

    Decimal commas are read where nothing else in the table is a decimal point.
    """
    header = [name.strip() for name in next(table)]
    lower = [name.lower() for name in header]
    if twice := [name for name in wanted if lower.count(name.lower()) > 1]:
        raise CaseError(f"{path}:1: {lower.count(twice[0].lower())} columns are called {twice[0]}; leave one of them")
    columns = [lower.index(name.lower()) for name in wanted]
    rows, at = [], []
    marks: set[str] = set()
    for cells in table:
        where = f"{path}:{table.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise CaseError(
                f"{where}: {len(cells)} values under {len(header)} column names; separate columns by ; if commas are "
                "decimal marks, or write decimal points"
            )
        texts = [cells[column].strip() for column in columns]
        for name, text in zip(wanted, texts, strict=True):
            if not _NUMBER.fullmatch(text):
                raise CaseError(f"{where}: {name} is {text[:40]!r}, no number; {_REMEDY}")
            marks.update(set(text) & {".", ","})
        if len(marks) > 1:
            raise CaseError(f"{where}: decimal points and decimal commas in one file; write all numbers in one way")
        rows.append([float(text.replace(",", ".")) for text in texts])
        at.append(table.line_num)
    return np.array(rows).reshape(-1, len(wanted)), at


def _plausible(path: str | Path, at: list[int], trace: Trace) -> Trace:
    """The trace, if it can be one of a patient; `at` is the line of each sample."""
    time_s, n = trace.time_s, len(trace.time_s)
    if not _FEWEST_SAMPLES <= n <= _MOST_SAMPLES:
        raise CaseError(f"{path}: {n} samples, between {_FEWEST_SAMPLES} and {_MOST_SAMPLES} are wanted; {_REMEDY}")
    finite = np.isfinite(time_s) & np.isfinite(trace.position_mm).all(axis=1)
    if not finite.all():
        raise CaseError(f"{path}:{at[int(np.argmin(finite))]}: a value is not finite; {_REMEDY}")
    steps = np.diff(time_s)
    if not (steps > 0).all():
        raise CaseError(f"{path}:{at[int(np.argmin(steps > 0)) + 1]}: time does not increase; {_REMEDY}")
    typical = float(np.median(steps))
    if not _SHORTEST_STEP_S <= typical <= _LONGEST_STEP_S:
        raise CaseError(f"{path}: samples {typical:g} s apart cannot show breathing; times are wanted in seconds")
    if steps.max() > _LONGEST_GAP_S:
        line = at[int(np.argmax(steps)) + 1]
        raise CaseError(
            f"{path}:{line}: {steps.max():.3g} s without a sample; give the longest part without such a gap"
        )
    farthest = np.abs(trace.position_mm - np.median(trace.position_mm, axis=0)).max(axis=1)
    if farthest.max() > _FARTHEST_MM:
        line = at[int(np.argmax(farthest))]
        raise CaseError(f"{path}:{line}: {farthest.max():.3g} mm from the middle; positions are wanted in mm")
    return trace


def breathing_signal(trace: Trace) -> np.ndarray:
    """Depth of inhalation (sample,) in mm along the main direction of a trace.

    A single column is taken as it is (greater is deeper). Otherwise positions are projected on their first principal
    direction, turned so that inhale points inferior (SI) in patient axes, or so that the signal dwells at exhale where
    the axes are a camera's.
    """
    if trace.position_mm.shape[1] == 1:
        return trace.position_mm[:, 0]
    centred = trace.position_mm - trace.position_mm.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    depth = centred @ axes[0]
    is_upside_down = axes[0, 2] > 0 if trace.axes[2] == "SI" else np.mean(depth**3) < 0
    return -depth if is_upside_down else depth


def _iec_trace(path: str | Path, lines: list[str]) -> Trace | None:
    at = [number for number, line in enumerate(lines, 1) if line.strip()]
    cells = [lines[number - 1].split() for number in at]
    if len(cells) < 2 or len(cells[0]) not in (4, 7) or any(len(row) != len(cells[0]) for row in cells):
        return None
    try:
        rows = np.array([[float(cell) for cell in row] for row in cells])
    except ValueError:
        return None
    if np.mean(np.diff(rows[:, 0]) > 0) < _SHARE_IN_ORDER:
        return None
    x, y, z = rows[:, 1:4].T
    note = "rotations are not used" if rows[:, 4:].any() else ""
    return _plausible(path, at, Trace(rows[:, 0], np.stack([x, -z, y], axis=1), ("LR", "AP", "SI"), note))


def one_record(trace: Trace) -> Trace:
    """The record of which the trace is a repetition; the trace itself when it is none.

    The record's length is the lag of at least 30 s with the smallest difference between trace and lagged trace,
    provided that its root mean square is below 15 % of the standard deviation. That limit is a judgement: repeated
    records differ by 3-13 %, because their length is no whole number of samples; independent breathing by 140 %.
    """
    position, n = trace.position_mm, len(trace.time_s)
    lags = range(int(_SHORTEST_REPEAT_S * trace.rate_hz), n * 2 // 3 + 1)
    spread = float(np.sqrt(position.var(axis=0).sum()))
    differences = [float(np.sqrt(((position[lag:] - position[:-lag]) ** 2).sum(axis=1).mean())) for lag in lags]
    if not differences or min(differences) > _REPEAT_SHARE * spread:
        return trace
    length = lags[int(np.argmin(differences))]
    notes = [trace.note] if trace.note else []
    notes.append(f"one record, repeated in the file's {trace.duration_s:.1f} s")
    return Trace(trace.time_s[:length], trace.position_mm[:length], trace.axes, "; ".join(notes))
