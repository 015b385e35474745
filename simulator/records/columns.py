"""What the columns of a table of shifts are, from their names."""

import csv
import re
from dataclasses import dataclass, field

from simulator.ground.conventions import AXES
from simulator.ground.spec import CaseError
from simulator.records.axes import SignConvention

_SEPARATORS = (";", "\t", ",", "|")
_LINES_BEFORE_HEADER = 40
MOST_FRACTIONS = 999
_ROLES = {
    "patient": "patient patientid patientnr patientno patientnumber pat patid patnr id mrn subject case patientenid",
    "fraction": "fraction fx frac fractionnr fractionno fractionnumber fraktion session sessionnr",
    "date": "date datum day treatmentdate sessiondate imagedate",
    "clinic": "clinic centre center institution hospital klinik",
    "stage": "stage when timing scan image imagetype scantype measured type",
}
_CORRECTING = {"couch", "table", "correction", "corrections", "corr", "applied", "move", "tisch", "korrektur"}
_FILLERS = (
    "shift shifts error errors displacement translation translational trans setup delta d dev deviation fx fraction frac f "
    "couch table correction corrections corr applied move tisch korrektur deg degree degrees grad"
)
_UNIT = re.compile(r"(?<![a-z])(mm|cm)(?![a-z])")
_HOW = "name columns patient, fraction, LR, AP, SI (or x, y, z; lateral, longitudinal, vertical) in the first row"


@dataclass(frozen=True)
class Columns:
    """Where what stands, by the index of columns from 0.

    Parameters
    ----------
    roles : column of patient, fraction, date, clinic and stage, those that there are.
    shifts, turns : columns of (LR, AP, SI) by fraction; under 0 in a long table, whose rows are fractions.
    units : unit that a column's name states.
    unread : columns that are not understood, as a spreadsheet numbers them from 1.
    correcting : whether names speak of couch corrections.
    """

    line: int
    separator: str
    n: int
    roles: dict[str, int] = field(default_factory=dict)
    shifts: dict[int, dict[str, int]] = field(default_factory=dict)
    turns: dict[int, dict[str, int]] = field(default_factory=dict)
    units: dict[int, str] = field(default_factory=dict)
    unread: list[int] = field(default_factory=list)
    correcting: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether the fractions of a patient stand beside each other."""
        return set(self.shifts) != {0}


def find_columns(where: str, lines: list[str], convention: SignConvention) -> Columns:
    """The header of a table, and what separates its columns: the first line that names patients and three axes.

    Raises
    ------
    CaseError : there is none, or a column stands twice.
    """
    for number, line in enumerate(lines[:_LINES_BEFORE_HEADER], 1):
        for separator in _SEPARATORS:
            columns = _understood(f"{where}:{number}", number, separator, line, convention)
            if columns.shifts and "patient" in columns.roles:
                return _complete(f"{where}:{number}", columns)
    raise CaseError(f"{where}: no row names a patient and the axes; {_HOW}")


def _understood(where: str, number: int, separator: str, line: str, convention: SignConvention) -> Columns:
    names = next(csv.reader([line], delimiter=separator), [])
    found = Columns(number, separator, len(names))
    correcting = False
    for at, name in enumerate(names):
        text = name.strip().lower().replace("δ", " ")
        if unit := _UNIT.search(text):
            found.units[at] = unit[1]
        tokens = re.findall(r"[^\W\d_]+|\d+", _UNIT.sub(" ", text))
        words = [token for token in tokens if not token.isdigit()]
        if place := _place(tokens, words, convention):
            kind, fraction, axis = place
            group = (found.turns if kind else found.shifts).setdefault(fraction, {})
            if axis in group:
                raise CaseError(
                    f"{where}: two columns for {axis} of the same fraction (column {at + 1}); leave one of them"
                )
            group[axis] = at
            correcting |= bool(_CORRECTING & set(words))
        elif (role := _role("".join(tokens))) and role not in found.roles:
            found.roles[role] = at
        else:
            found.unread.append(at + 1)
    return Columns(
        number, separator, len(names), found.roles, found.shifts, found.turns, found.units, found.unread, correcting
    )


def _place(tokens: list[str], words: list[str], convention: SignConvention) -> tuple[bool, int, str] | None:
    """Whether a rotation, the fraction (0 where the name says none) and the axis of a column."""
    numbers = [int(token) for token in tokens if token.isdigit()]
    if not words or len(numbers) > 1 or max(numbers, default=0) > MOST_FRACTIONS:
        return None
    meant = [word for word in words if word not in _FILLERS.split()] or words
    found = convention.axis_of(words) or convention.axis_of(meant)
    return (found[1], numbers[0] if numbers else 0, found[0]) if found else None


def _role(joined: str) -> str | None:
    return next((role for role, names in _ROLES.items() if joined in names.split()), None)


def _complete(where: str, columns: Columns) -> Columns:
    for fraction, axes in columns.shifts.items():
        if missing := [axis for axis in AXES if axis not in axes]:
            of = f" of fraction {fraction}" if fraction else ""
            raise CaseError(f"{where}: no column for {' and '.join(missing)}{of}; {_HOW}")
    if 0 in columns.shifts and len(columns.shifts) > 1:
        raise CaseError(f"{where}: some columns name a fraction and others do not; number all of them, or none")
    if columns.is_wide and (both := {"fraction", "stage"} & set(columns.roles)):
        raise CaseError(f"{where}: fractions in columns and a column {both.pop()} besides; leave one of them")
    return columns
