"""Files of breathing records: tables with a header, and Varian RPM's."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulator.ground.reading import opened, read_text, reading
from simulator.ground.spec import CaseError, ConfigError
from simulator.records.breathing import MM, REMEDY, Samples
from simulator.records.breathing_cells import Cells
from simulator.records.rpm import is_rpm, rpm_samples

_REMEDY_OF_FILE = "give the path of a breathing record"
_SEPARATORS = (";", "\t", ",", "|")
_LINES_BEFORE_HEADER = 40
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3}
_ROLES = {
    "time": "time t timestamp zeit elapsed elapsedtime relativetime",
    "amplitude": "amplitude amp displacement position depth signal value resp respiration respiratory breathing marker motion",
    "phase": "phase",
    "validflag": "validflag",
    "beam": "beam beamon beamenable beamenabled gate gateon gating ttlout",
    "hold": "hold beamhold beamheld",
}
_HOW = "name a column of time and one of amplitude in the first row, such as time (s) and amplitude (mm)"


def _lines(path: str | Path) -> list[str]:
    """Lines of text; other things that a user may name are told apart."""
    with opened(path) as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        raise CaseError(
            f"{path}: a DICOM file; name the folder that holds the structure sets of all phases, or a record"
        )
    if start[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise CaseError(f"{path}: a workbook, and a record of text is wanted; save the sheet as CSV (UTF-8)")
    return read_text(path, REMEDY).splitlines()


def is_breathing_record(path: str | Path) -> bool:
    """Whether a file is one of RPM's, or a table that names time and amplitude."""
    with reading(path, _REMEDY_OF_FILE):
        lines = _lines(path)
        return is_rpm(lines) or _header(lines) is not None


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
    with reading(path, _REMEDY_OF_FILE):
        lines = _lines(path)
        if is_rpm(lines):
            return rpm_samples(str(path), lines, unit)
        return _table(str(path), lines, unit, time_unit)


def _table(where: str, lines: list[str], unit: str | None, time_unit: str | None) -> Samples:
    """A table whose header names time and amplitude; other columns that are known are phase, validflag, beam and hold."""
    if (header := _header(lines)) is None:
        raise CaseError(f"{where}: no row names time and amplitude, and it is no RPM file; {_HOW}")
    number, separator, names = header
    roles = _roles(f"{where}:{number}", names)
    table = Cells(where, lines, number, separator, names)
    here = f"{where}:{number}"
    to_s = _factor(here, names[roles["time"]], _SECONDS, time_unit, "s or ms", "time-unit")
    to_mm = _factor(here, names[roles["amplitude"]], MM, unit, "mm or cm", "unit")
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


def _header(lines: list[str]) -> tuple[int, str, list[str]] | None:
    """Line, separator and names of the first row that names time and amplitude."""
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER], 1):
        for separator in _SEPARATORS:
            names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
            if {"time", "amplitude"} <= {_role(name) for name in names}:
                return number, separator, names
    return None


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
    words = [w for w in re.findall(r"[a-z]+", name.lower()) if w not in (*MM, *_SECONDS)]
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
