"""Voxel data of DICOM files in house axes: CT in HU, RTDOSE in its own unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulator.case.contours import GAP_FACTOR, slice_spacing
from simulator.case.dicom_files import DicomFile
from simulator.case.geometry import Grid, Volume, in_house_axes
from simulator.spec import CaseError

_ALIGNED = 1e-3
_POSITION_MM = 0.02


@dataclass(frozen=True)
class DoseHeader:
    """What an RTDOSE says of itself, checked later by whoever uses it."""

    units: str
    kind: str
    summation: str
    scaling: float


def dose_header(file: DicomFile) -> DoseHeader:
    """Units, type, summation type and scaling of an RTDOSE; empty or nan where it does not say."""
    get = file.header.get
    return DoseHeader(
        str(get("DoseUnits") or "").upper(),
        str(get("DoseType") or "").upper(),
        str(get("DoseSummationType") or "").upper(),
        float(get("DoseGridScaling") or np.nan),
    )


def dose_grid(file: DicomFile) -> Grid:
    """The grid of an RTDOSE, from its header alone.

    Raises
    ------
    CaseError : oblique orientation or frames at uneven distances.
    """
    return _placed(file, None)[0]


def read_dose(file: DicomFile) -> Volume:
    """The values of an RTDOSE times its scaling, in its own unit.

    Raises
    ------
    CaseError : no scaling, oblique orientation or frames at uneven distances.
    """
    scaling = dose_header(file).scaling
    if not np.isfinite(scaling):
        raise CaseError(f"RTDOSE {file.name} has no DoseGridScaling; export it again")
    raw = file.with_pixels().pixel_array
    frames = raw[None] if raw.ndim == 2 else raw
    grid, values = _placed(file, frames)
    assert values is not None
    return Volume(grid, (values * scaling).astype(np.float32))


def _placed(file: DicomFile, frames: np.ndarray | None) -> tuple[Grid, np.ndarray | None]:
    header = file.header
    row, column, normal = directions(file)
    position = np.array(header.ImagePositionPatient, float)
    stated = header.get("GridFrameOffsetVector")
    offsets = np.atleast_1d(np.array(0.0 if stated is None else stated, float))
    if abs(offsets[0]) > _POSITION_MM:
        if abs(offsets[0] - position[2]) > _POSITION_MM:
            raise CaseError(
                f"RTDOSE {file.name}: GridFrameOffsetVector begins with {offsets[0]:g}, neither 0 (relative) nor the "
                f"z of the first plane, {position[2]:g} mm; export the dose again"
            )
        offsets = (offsets - offsets[0]) * normal[2]
    steps = np.diff(offsets)
    if len(steps) and np.ptp(steps) > _POSITION_MM:
        raise CaseError(
            f"RTDOSE {file.name}: its planes are {abs(steps).min():g} to {abs(steps).max():g} mm apart; "
            "export the dose on a grid with even spacing"
        )
    thickness = float(header.get("SliceThickness") or header.PixelSpacing[0])
    step = float(steps.mean()) if len(steps) else thickness
    spacing = np.array([step, float(header.PixelSpacing[0]), float(header.PixelSpacing[1])])
    shape = (len(offsets), int(header.Rows), int(header.Columns))
    return in_house_axes(position, np.array([normal, column, row]), spacing, shape, frames)


def directions(file: DicomFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors along a row, down a column and from plane to plane, each along a patient axis.

    Raises
    ------
    CaseError : the image planes are oblique.
    """
    cosines = np.array(file.header.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0), float)
    rounded = np.rint(cosines)
    if np.abs(cosines - rounded).max() > _ALIGNED or np.abs(rounded).sum() != 2:
        shown = ", ".join(f"{c:.3g}" for c in cosines)
        raise CaseError(
            f"{file.kind} {file.name} is oblique (ImageOrientationPatient {shown}); "
            "resample it along the patient's axes before export"
        )
    return rounded[:3], rounded[3:], np.cross(rounded[:3], rounded[3:])


def ct_heights(slices: Sequence[DicomFile]) -> np.ndarray:
    """Position of each CT slice along the direction from slice to slice, in mm, ascending."""
    return np.sort([_height(f) for f in slices])


def missing_heights(heights: np.ndarray) -> list[float]:
    """Positions in mm where a slice lacks, judged from ascending positions of the others."""
    spacing = slice_spacing(heights)
    if spacing is None:
        return []
    lacking: list[float] = []
    for low, high in pairwise(heights):
        if high - low > GAP_FACTOR * spacing:
            n = max(2, round((high - low) / spacing))
            lacking += [float(low + (high - low) * i / n) for i in range(1, n)]
    return lacking


def read_ct(slices: Sequence[DicomFile]) -> Volume:
    """CT numbers in HU of one series, float32; slices at uneven distances are resampled to the smallest one.

    Raises
    ------
    CaseError : oblique or unequal slices, two slices at one position, or a missing slice.
    """
    ordered = sorted(slices, key=_height)
    heights = ct_heights(ordered)
    first = ordered[0]
    row, column, normal = directions(first)
    for f in ordered[1:]:
        if _plane(f) != _plane(first):
            raise CaseError(
                f"CT slices {first.name} and {f.name} differ in size, spacing or orientation; keep one series"
            )
    if np.any(np.diff(heights) < _POSITION_MM):
        twice = heights[1:][np.diff(heights) < _POSITION_MM]
        raise CaseError(f"CT: two slices at {_listed(twice)} mm; keep one series (one breathing phase) in the folder")
    lacking = missing_heights(heights)
    if lacking:
        axis = "xyz"[int(np.argmax(np.abs(normal)))]
        positions = [h * float(normal.sum()) for h in lacking]
        raise CaseError(
            f"CT: {len(lacking)} missing slice(s) at {axis} = {_listed(positions)} mm "
            f"({len(heights)} slices read); copy the missing files, or remove the CT and give case.densities"
        )
    hu = np.stack([_hu(f) for f in ordered])
    step = float(np.diff(heights).min())
    if np.ptp(np.diff(heights)) > _POSITION_MM:
        even = np.arange(heights[0], heights[-1] + 0.5 * step, step)
        above = np.clip(np.searchsorted(heights, even), 1, len(heights) - 1)
        share = np.clip((even - heights[above - 1]) / np.diff(heights)[above - 1], 0, 1).astype(np.float32)
        hu = hu[above - 1] * (1 - share)[:, None, None] + hu[above] * share[:, None, None]
    else:
        step = float(np.diff(heights).mean())
    spacing = np.array([step, *map(float, first.header.PixelSpacing)])
    position = np.array(first.header.ImagePositionPatient, float)
    grid, values = in_house_axes(position, np.array([normal, column, row]), spacing, hu.shape, hu)
    assert values is not None
    return Volume(grid, values)


def _height(file: DicomFile) -> float:
    return float(np.dot(directions(file)[2], np.array(file.header.ImagePositionPatient, float)))


def _plane(file: DicomFile) -> tuple:
    header = file.header
    in_plane = np.array(header.ImagePositionPatient, float) @ np.array(directions(file)[:2]).T
    spacing = tuple(round(float(s), 4) for s in header.PixelSpacing)
    return int(header.Rows), int(header.Columns), spacing, tuple(np.round(in_plane, 1))


def _hu(file: DicomFile) -> np.ndarray:
    data = file.with_pixels()
    slope, intercept = float(data.get("RescaleSlope", 1) or 1), float(data.get("RescaleIntercept", 0) or 0)
    return (data.pixel_array * slope + intercept).astype(np.float32)


def _listed(values: Sequence[float] | np.ndarray) -> str:
    shown = [f"{v:g}" for v in np.round(values, 2)]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")
