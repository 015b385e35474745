"""Files of breathing records: Varian RPM's text (`.vxp`), and tables with a header."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from simulator.reading import read_text, reading
from simulator.records.breathing import REMEDY, Samples
from simulator.spec import CaseError, ConfigError

_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")
_SEPARATORS = (";", "\t", ",", "|")
_LINES_BEFORE_HEADER = 40
_MM = {"mm": 1.0, "cm": 10.0}
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3}
_ROLES = {
    "time": "time t timestamp zeit elapsed elapsedtime relativetime",
    "amplitude": "amplitude amp displacement position depth signal value resp respiration respiratory breathing marker motion",
    "phase": "phase",
    "validflag": "validflag",
    "beam": "beam beamon beamenable beamenabled gate gateon gating ttlout",
    "hold": "hold beamhold beamheld",
}
_ON, _OFF = {"1", "on", "true", "yes"}, {"0", "off", "false", "no", ""}
_HOW = "name a column of time and one of amplitude in the first row, such as time (s) and amplitude (mm)"


def read_samples(path: str | Path, *, unit: str | None = None, time_unit: str | None = None) -> Samples:
    """Read a breathing record.

    Parameters
    ----------
    unit, time_unit : mm or cm, s or ms, where the file does not say them.

    Raises
    ------
    CaseError, ConfigError : file, line, what is wrong and how to mend it.
    """
    for name, asked, known in (("unit", unit, ("mm", "cm")), ("time-unit", time_unit, ("s", "ms"))):
        if asked not in (None, *known):
            raise ConfigError(f"--{name}: {asked!r} is none? say {' or '.join(known)}")
    with reading(path, REMEDY):
        lines = read_text(path, REMEDY).splitlines()
        start = [line.strip().lower() for line in lines[:_LINES_BEFORE_HEADER]]
        if any(line in ("[header]", "[data]") or line.startswith("data_layout") for line in start):
            return _vxp(str(path), lines, unit)
        return _table(str(path), lines, unit, time_unit)


def _vxp(where: str, lines: list[str], unit: str | None) -> Samples:
    """Varian RPM, versions 1.5 and 1.6: amplitude times Scale_factor is in mm, timestamps are in ms, validflag 0 is valid.

    The checksum of the header is not looked at.
    """
    starts = [i for i, line in enumerate(lines) if line.strip().lower() == "[data]"]
    if not starts:
        raise CaseError(f"{where}: no [Data]; the file is cut short, copy it again")
    pairs = [line.partition("=") for line in lines[: starts[0]]]
    header = {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}
    names = [name.strip().lower() for name in header.get("data_layout", "").split(",")]
    if "amplitude" not in names:
        raise CaseError(f"{where}: Data_layout names no amplitude; export the record again")
    scale = (
        _MM[unit]
        if unit
        else _of_header(where, header, "scale_factor", "the unit of its amplitude; add --unit cm or --unit mm")
    )
    rate = _of_header(where, header, "samples_per_second", None)
    at = {name: i for i, name in enumerate(names)}
    table = _Cells(where, lines, starts[0] + 1, ",", names)
    if "timestamp" in at:
        time_s = table.numbers(at["timestamp"]) * 1e-3
    elif rate:
        time_s = np.arange(len(table.rows)) / rate
    else:
        raise CaseError(f"{where}: neither timestamps nor Samples_per_second; export the record again")
    notes = []
    total = _of_header(where, header, "total_study_time", None)
    if total and len(time_s) > 1 and abs(np.ptp(time_s) / total - 1) > 0.05:
        notes.append(f"the header says {total:.1f} s in all, the times {np.ptp(time_s):.1f} s")
    return Samples(
        line=table.line,
        time_s=time_s,
        value_mm=table.numbers(at["amplitude"]) * float(scale or 0),
        phase=table.numbers(at["phase"]) if "phase" in at else None,
        valid=table.numbers(at["validflag"]) == 0 if "validflag" in at else None,
        beam_on=table.numbers(at["ttlout"]) > 0 if "ttlout" in at else None,
        rate_hz=rate,
        patient=header.get("patient_id", ""),
        notes=tuple(notes),
    )


def _of_header(where: str, header: dict[str, str], key: str, needed_for: str | None) -> float | None:
    """A positive number of the header; None where it lacks one that is not needed."""
    text = header.get(key, "").replace(",", ".")
    value = float(text) if _NUMBER.fullmatch(text) else 0.0
    if value > 0:
        return value
    if needed_for:
        raise CaseError(
            f"{where}: {key.capitalize()} in the header is {text[:20] or 'missing'!r}, and says {needed_for}"
        )
    return None


def _table(where: str, lines: list[str], unit: str | None, time_unit: str | None) -> Samples:
    """A table whose header names time and amplitude; other columns that are known are phase, validflag, beam and hold."""
    number, separator, names = _header(where, lines)
    roles = _roles(f"{where}:{number}", names)
    table = _Cells(where, lines, number, separator, names)
    here = f"{where}:{number}"
    to_s = _factor(here, names[roles["time"]], _SECONDS, time_unit, "s or ms", "time-unit")
    to_mm = _factor(here, names[roles["amplitude"]], _MM, unit, "mm or cm", "unit")
    words = re.findall(r"[a-z]+", names[roles["amplitude"]].lower())
    is_own = {"time_s", "displacement_mm"} <= {name.lower() for name in names}
    unread = [str(i + 1) for i in range(len(names)) if i not in roles.values()]
    beam = table.flags(roles["beam"]) if "beam" in roles else None
    if "hold" in roles:
        beam = ~table.flags(roles["hold"])
    return Samples(
        line=table.line,
        time_s=table.numbers(roles["time"]) * to_s,
        value_mm=table.numbers(roles["amplitude"]) * to_mm,
        phase=_radians(table.numbers(roles["phase"])) if "phase" in roles else None,
        valid=table.numbers(roles["validflag"]) == 0 if "validflag" in roles else None,
        beam_on=beam,
        inhale="plus" if is_own or "depth" in words else None,
        notes=(f"columns not used: {', '.join(unread)} (counted from 1)",) if unread else (),
    )


def _header(where: str, lines: list[str]) -> tuple[int, str, list[str]]:
    """Line, separator and names of the first row that names time and amplitude."""
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER], 1):
        for separator in _SEPARATORS:
            names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
            found = {_role(name) for name in names}
            if {"time", "amplitude"} <= found:
                return number, separator, names
    raise CaseError(f"{where}: no row names time and amplitude, and it is no RPM file; {_HOW}")


def _roles(where: str, names: Sequence[str]) -> dict[str, int]:
    roles: dict[str, int] = {}
    for at, name in enumerate(names):
        if (role := _role(name)) is None:
            continue
        if role in roles:
            raise CaseError(f"{where}: two columns of {role} ({roles[role] + 1} and {at + 1}); leave one of them")
        roles[role] = at
    return roles


def _role(name: str) -> str | None:
    words = [w for w in re.findall(r"[a-z]+", name.lower()) if w not in (*_MM, *_SECONDS)]
    return next((role for role, known in _ROLES.items() if "".join(words) in known.split()), None)


def _factor(where: str, name: str, units: dict[str, float], asked: str | None, which: str, option: str) -> float:
    """What a column is multiplied by, from the unit in its name."""
    named = [word for word in re.findall(r"[a-z]+", name.lower()) if word in units]
    if named and asked and units[named[0]] != units[asked]:
        raise ConfigError(f"{where}: the name of a column says {named[0]}; leave out --{option} {asked}")
    if not named and not asked:
        one, other = which.split(" or ")
        raise ConfigError(f"{where}: {which}? no column says it; add --{option} {one} or --{option} {other}")
    return units[named[0] if named else str(asked)]


def _radians(phase: np.ndarray) -> np.ndarray:
    """Phase in radians from radians, degrees or percent, by its largest value."""
    largest = float(phase.max(initial=0))
    turn = 2 * np.pi if largest < 7 else 100.0 if largest <= 100 else 360.0
    return phase * 2 * np.pi / turn


class _Cells:
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
            if not _NUMBER.fullmatch(text):
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
