"""Axes and signs of a clinic's table: which column is which axis, and which way is plus."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.ground.conventions import AXES

_WORDS = {
    "LR": "lr rl lat lateral leftright rightleft",
    "AP": "ap pa vrt vert vertical vertikal anteroposterior anteriorposterior posterioranterior",
    "SI": "si is cc lng long longitudinal superoinferior superiorinferior inferiorsuperior craniocaudal",
}
_TURNS = {"pitch": "LR", "yaw": "AP", "rtn": "AP", "roll": "SI"}
_EXAMPLE_MM = (3.0, -2.0, 1.0)


@dataclass(frozen=True)
class SignConvention:
    """What x, y, z mean in a table, and the sign of each axis against DICOM patient coordinates (LR, AP, SI).

    Parameters
    ----------
    letters : axis by letter.
    signs : plus or minus one by which a column of (LR, AP, SI) becomes DICOM's plus left, posterior, superior.
    """

    title: str
    letters: Mapping[str, str]
    signs: tuple[float, float, float]

    def axis_of(self, words: list[str]) -> tuple[str, bool] | None:
        """Axis that the words of a column's name mean, and whether it is a rotation about it."""
        joined = "".join(words)
        for axis, names in _WORDS.items():
            if joined in names.split():
                return axis, False
        if (letter := joined.removeprefix("d")) in self.letters:
            return self.letters[letter], False
        if joined in _TURNS:
            return _TURNS[joined], True
        if apart := re.fullmatch(r"(rotation|rot|r)(lr|ap|si|[xyz])", joined):
            return self.letters.get(apart[2], apart[2].upper()), True
        return None

    def to_dicom(self, values: np.ndarray) -> np.ndarray:
        """Shifts, or rotations about the axes, of columns (LR, AP, SI) in DICOM's signs.

        The change between the two systems is a rotation, so that angles follow the same signs as shifts.
        """
        return values * np.asarray(self.signs)

    def self_test(self, record: str = "table") -> tuple[str, str]:
        """Two lines to hold against one's own record: which way is plus, and a known shift read."""
        toward = [
            way if sign > 0 else other
            for sign, (way, other) in zip(
                self.signs, (("left", "right"), ("posterior", "anterior"), ("superior", "inferior")), strict=True
            )
        ]
        letters = ", ".join(f"{letter} = {axis}" for letter, axis in self.letters.items())
        table = self.to_dicom(np.array(_EXAMPLE_MM))
        back = self.to_dicom(table)
        written = ", ".join(f"{axis} {v:+g}" for axis, v in zip(AXES, table, strict=True))
        read = ", ".join(f"{axis} {v:+g}" for axis, v in zip(AXES, back, strict=True))
        return (
            f"{self.title}: plus is to the patient's {', '.join(toward)} ({letters}), head first, supine.",
            f"Self-test: a patient who lies 3 mm to his left, 2 mm anterior and 1 mm superior of his plan stands in your "
            f"{record} as {written}, and in a study (plus left, posterior, superior) as {read}.",
        )


CONVENTIONS = {
    "iec61217": SignConvention("IEC 61217", {"x": "LR", "y": "SI", "z": "AP"}, (1.0, -1.0, 1.0)),
    "dicom": SignConvention("DICOM", {"x": "LR", "y": "AP", "z": "SI"}, (1.0, 1.0, 1.0)),
}
