"""Shifts of patients from registrations of daily images to plans."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from simulator.ground.conventions import AXES
from simulator.ground.spec import CaseError
from simulator.records.record import ShiftRecord

_FARTHEST_MM, _MOST_DEG = 50.0, 30.0
_NEAR_MM, _STILL_DEG = 10.0, 1e-3


def registered_shifts(
    where: str,
    *,
    patient: np.ndarray,
    file: np.ndarray,
    when: Sequence[str],
    isocentre_mm: np.ndarray,
    shift_mm: np.ndarray,
    rotation_deg: np.ndarray,
    notes: Sequence[str],
) -> ShiftRecord:
    """A record of images in the order of time; days are fractions, and without dates each image is one.

    Parameters
    ----------
    where : the folder, for messages.
    patient, file : (image,) their numbers.
    when : date and time as DICOM writes them.
    isocentre_mm : (image, 3) where the planned isocentre lies in the image.
    shift_mm, rotation_deg : (image, 3) of the patient, DICOM axes.

    Raises
    ------
    CaseError : one patient; shifts or rotations that no setup error is.
    """
    if len(np.unique(patient)) < 2:
        raise CaseError(f"{where}: one patient; a spread between patients needs 2 or more")
    said = [*notes]
    usual = np.abs(np.median(shift_mm, axis=0)).max()
    from_origin, off = (float(np.median(np.linalg.norm(values, axis=1))) for values in (isocentre_mm, shift_mm))
    remedy = "if images have the machine's isocentre at their origin, add --image-isocentre 0,0,0"
    if usual > _FARTHEST_MM:
        place = ", ".join(f"{v + 0.0:.0f}" for v in np.median(isocentre_mm, axis=0).round())
        raise CaseError(
            f"{where}: planned isocentres lie {usual:.0f} mm off in the images as a rule, at ({place}) on the median; {remedy}"
        )
    if off > _NEAR_MM and from_origin < off / 2:
        said.append(
            f"isocentres lie nearer to the origin of the images (median {from_origin:.1f} mm) than to where they were planned "
            f"({off:.1f} mm): {remedy}"
        )
    if (turned := np.flatnonzero(np.abs(rotation_deg).max(axis=1) > _MOST_DEG)).size:
        raise CaseError(
            f"{where}: file {file[turned[0]]}, in the order of paths, turns the patient by more than {_MOST_DEG:g} degrees: "
            "are plan and image in the same orientation? take it out of the folder, or register again"
        )
    if still := [axis for axis, own in zip(AXES, rotation_deg.T, strict=True) if np.abs(own).max() < _STILL_DEG]:
        said.append(f"registrations never turn about {', '.join(still)}: rotations are not used")
    days = [_day(text) for text in when]
    dated = all(day is not None for day in days)
    if not dated:
        said.append("a registration has no date: each image counts as a fraction, in the order of files")
    order = np.lexsort((file, np.array(when) if dated else file, patient))
    day = np.array(days, float)[order] if dated else None
    patient = patient[order]
    return ShiftRecord(
        patient,
        _fractions(patient, day if day is not None else np.arange(len(patient))),
        np.zeros(len(patient), int),
        shift_mm[order],
        None if still else rotation_deg[order],
        None if day is None else day - day.min(),
        file[order],
        tuple(said),
        place="file",
    )


def _day(when: str) -> int | None:
    try:
        return datetime.strptime(when[:8], "%Y%m%d").toordinal()
    except ValueError:
        return None


def _fractions(patient: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Numbers of fractions from 1: each patient's days in their order."""
    number = np.empty(len(patient), int)
    for p in np.unique(patient):
        number[patient == p] = np.unique(day[patient == p], return_inverse=True)[1] + 1
    return number
