"""Motion traces of other people's files, as positions in time.

Three formats are known:

CSV with the columns `time_s,displacement_mm`: one breathing signal, greater is deeper.

IEC text (kilovoltage intrafraction monitoring): whitespace columns `t[s] x y z` and rotations, IEC 61217 fixed axes
    (x = left, y = superior, z = anterior); positions become DICOM patient coordinates (x, -z, y). Some files
    are one record repeated; `one_record` finds it.
Marker CSV: `"Frame";"Timestamp";"x";"y";"z"`, milliseconds, decimal comma; an all-zero row at the end is dropped. The
    axes are the camera's, so they stay as they are.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SHORTEST_REPEAT_S = 30.0
_REPEAT_SHARE = 0.15
_CSV_HEADER = "time_s,displacement_mm"
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
    """Read a motion trace; None when the file is none."""
    text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    lines = text.splitlines()
    if lines and lines[0].strip() == _MARKER_HEADER:
        return _marker_trace(lines[1:])
    if lines and lines[0].replace(" ", "").startswith(_CSV_HEADER):
        return _signal_trace(lines[1:])
    return _iec_trace(lines)


def _marker_trace(lines: list[str]) -> Trace:
    rows = np.array([[float(cell) for cell in line.replace(",", ".").split(";")] for line in lines if line.strip()])
    has_zero_row = not rows[-1].any()
    rows = rows[:-1] if has_zero_row else rows
    note = "all-zero last row dropped" if has_zero_row else ""
    return Trace(rows[:, 1] / 1000, rows[:, 2:5], ("x (camera)", "y (camera)", "z (camera)"), note)


def _signal_trace(lines: list[str]) -> Trace:
    rows = np.array([[float(cell) for cell in line.split(",")[:2]] for line in lines if line.strip()])
    return Trace(rows[:, 0], rows[:, 1:2], ("displacement",))


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


def _iec_trace(lines: list[str]) -> Trace | None:
    try:
        rows = np.array([[float(cell) for cell in line.split()] for line in lines if line.strip()])
    except ValueError:
        return None
    if rows.ndim != 2 or rows.shape[1] not in (4, 7) or len(rows) < 2 or np.any(np.diff(rows[:, 0]) <= 0):
        return None
    x, y, z = rows[:, 1:4].T
    return Trace(rows[:, 0], np.stack([x, -z, y], axis=1), ("LR", "AP", "SI"))


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
    note = f"one record, repeated in the file's {trace.duration_s:.1f} s"
    return Trace(trace.time_s[:length], trace.position_mm[:length], trace.axes, note)
