"""An RTDOSE exported as one file for each plane, put together as one dose."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from simulator.case.dicom_files import DicomFile, items
from simulator.case.geometry import Grid, Volume
from simulator.ground.spec import CaseError

_POSITION_MM = 0.02
_SAME_SPACING = 1e-4


def with_whole_doses(files: Sequence[DicomFile]) -> tuple[DicomFile, ...]:
    """The files of a folder, planes of one dose as one file that knows its planes."""
    groups: dict[Hashable, list[DicomFile]] = {}
    for file in files:
        if file.kind == "RTDOSE" and not file.problem and (key := _dose_of_plane(file)) is not None:
            groups.setdefault(key, []).append(file)
    of_first = {group[0].path: tuple(group) for group in groups.values() if _are_planes(group)}
    later = {plane.path for planes in of_first.values() for plane in planes[1:]}
    return tuple(replace(f, planes=of_first.get(f.path, ())) for f in files if f.path not in later)


def stacked(file: DicomFile, planes: Sequence[Volume]) -> Volume:
    """One volume of single planes.

    Raises
    ------
    CaseError : their distances differ.
    """
    origins = np.array([plane.grid.origin_mm for plane in planes])
    axis = int(np.argmax(np.ptp(origins, axis=0)))
    order = np.argsort(origins[:, axis])
    steps = np.diff(origins[order, axis])
    if np.ptp(steps) > _POSITION_MM:
        raise CaseError(
            f"RTDOSE {file.name} and {len(planes) - 1} files of other planes: they are {steps.min():g} to {steps.max():g} mm "
            "apart; copy the missing files, or export the dose as one file"
        )
    first = planes[order[0]].grid
    spacing, shape = list(first.spacing_mm), list(first.shape)
    spacing[axis], shape[2 - axis] = float(steps.mean()), len(planes)
    values = np.concatenate([planes[i].values for i in order], axis=2 - axis)
    return Volume(Grid(first.origin_mm, tuple(spacing), tuple(shape)), values)


def _dose_of_plane(file: DicomFile) -> Hashable | None:
    """What planes of one dose have in common; None for what is no single plane, or lacks what places it."""
    header = file.header
    try:
        if not header.get("Rows") or (header.get("NumberOfFrames") and header.whole("NumberOfFrames") > 1):
            return None
        spacing = tuple(np.round(header.numbers("PixelSpacing", 2) / _SAME_SPACING).astype(int).tolist())
        cosines = tuple(np.round(_cosines(file), 3).tolist())
        said = tuple(str(header.get(key) or "") for key in ("DoseUnits", "DoseType", "DoseSummationType"))
        header.numbers("ImagePositionPatient", 3)
        return (
            file.plan_uid, file.frame_uids, _beams(file), said, header.whole("Rows"), header.whole("Columns"), spacing, cosines,
        )  # fmt: skip
    except CaseError:
        return None


def _beams(file: DicomFile) -> tuple[str, ...]:
    return tuple(
        str(beam.get("ReferencedBeamNumber"))
        for plan in items(file.header, "ReferencedRTPlanSequence")
        for group in items(plan, "ReferencedFractionGroupSequence")
        for beam in items(group, "ReferencedBeamSequence")
    )


def _cosines(file: DicomFile) -> np.ndarray:
    is_stated = file.header.has("ImageOrientationPatient")
    return file.header.numbers("ImageOrientationPatient", 6) if is_stated else np.array([1.0, 0, 0, 0, 1, 0])


def _are_planes(group: Sequence[DicomFile]) -> bool:
    """Whether single planes lie one behind the other, no two at one place."""
    positions = np.array([f.header.numbers("ImagePositionPatient", 3) for f in group])
    row, column = _cosines(group[0]).reshape(2, 3)
    across = np.sort(positions @ np.cross(row, column))
    in_plane = positions @ np.array([row, column]).T
    return len(group) > 1 and bool(
        np.diff(across).min() > _POSITION_MM and np.ptp(in_plane, axis=0).max() < _POSITION_MM
    )
