"""Shifts of a clinic's patients, whatever they came from."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ShiftRecord:
    """Shifts (n, 3) in mm by image, DICOM axes and signs; patients and clinics are numbers from 0 in the order of their source.

    Parameters
    ----------
    rotation_deg : about (LR, AP, SI), NaN where a row has none.
    day : days since the first image; None without dates.
    line : of the table, or number of the file in a folder.
    place : what `line` counts, as sentences have it.
    notes : what was found while it was read.
    correcting : whether names of columns speak of the couch or of corrections.
    """

    patient: np.ndarray
    fraction: np.ndarray
    clinic: np.ndarray
    shift_mm: np.ndarray
    rotation_deg: np.ndarray | None
    day: np.ndarray | None
    line: np.ndarray
    notes: tuple[str, ...] = ()
    correcting: bool = False
    place: str = "line"

    @property
    def n_patients(self) -> int:
        """How many there are."""
        return len(np.unique(self.patient))

    def taken(self, kept: np.ndarray, *notes: str) -> "ShiftRecord":
        """Some of the images, with further notes."""
        parts = {name: getattr(self, name)[kept] for name in ("patient", "fraction", "clinic", "shift_mm", "line")}
        parts["rotation_deg"] = None if self.rotation_deg is None else self.rotation_deg[kept]
        parts["day"] = None if self.day is None else self.day[kept]
        return replace(self, **parts, notes=(*self.notes, *notes))
