"""Voxel data of DICOM files in house axes: CT in HU, RTDOSE in its own unit."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from pydicom.pixels.decoders.base import get_decoder

from simulator.case.contours import GAP_FACTOR, slice_spacing
from simulator.case.dicom_elements import REMEDY
from simulator.case.dicom_files import DicomFile
from simulator.case.dicom_planes import stacked
from simulator.case.geometry import Grid, Volume, in_house_axes
from simulator.ground.reading import check_room, reading
from simulator.ground.spec import CaseError

_ALIGNED = 1e-3
_POSITION_MM = 0.02
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SMALLEST_STEP_MM = 0.05


@dataclass(frozen=True)
class DoseHeader:
    """What an RTDOSE says of itself, checked later by whoever uses it."""

    units: str
    kind: str
    summation: str
    scaling: float


def dose_header(file: DicomFile) -> DoseHeader:
    """Units, type, summation type and scaling of an RTDOSE; empty or nan where it does not say."""
    units, kind, summation = (
        str(file.header.get(key) or "").strip().upper() for key in ("DoseUnits", "DoseType", "DoseSummationType")
    )
    scaling = file.header.number("DoseGridScaling") if file.header.get("DoseGridScaling") else np.nan
    return DoseHeader(units, kind, summation, scaling)


def has_grid(file: DicomFile) -> bool:
    """Whether an RTDOSE holds a dose grid, and not only DVHs or points."""
    return bool(file.header.get("Rows"))


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
    if file.planes:
        return stacked(file, [read_dose(replace(plane, planes=())) for plane in file.planes])
    if not has_grid(file):
        raise CaseError(f"RTDOSE {file.name} holds no dose grid (DVHs alone?); export the dose itself")
    scaling = dose_header(file).scaling
    if not scaling > 0:
        raise CaseError(f"RTDOSE {file.name} has no DoseGridScaling above 0; export it again")
    grid, values = _placed(file, pixels(file))
    assert values is not None
    return Volume(grid, (values * scaling).astype(np.float32))


def pixels(file: DicomFile) -> np.ndarray:
    """Stored values (frame, row, column) of an image or a dose; their number is checked before memory is asked for.

    Raises
    ------
    CaseError : no pixels, fewer than the header states, more than there can be, colours, or an encoding that is not known.
    """
    header, where = file.header, f"{file.kind} {file.name}"
    n_frames = header.whole("NumberOfFrames") if header.get("NumberOfFrames") else 1
    shape = (n_frames, header.whole("Rows"), header.whole("Columns"))
    if min(shape) < 1:
        raise CaseError(f"{where}: NumberOfFrames, Rows and Columns are {_listed(shape)}; export it again")
    check_room(
        np.prod(shape, dtype=float) * 8, f"{where}: NumberOfFrames, Rows and Columns are {_listed(shape)}", REMEDY
    )
    with reading(f"{where}: PixelData", REMEDY):
        data = file.with_pixels()
        syntax = data.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and not get_decoder(syntax).is_available:
            raise CaseError(
                f"{where}: PixelData is compressed as {syntax.name}, which cannot be read; export it uncompressed"
            )
        if not any(key in data for key in _PIXELS):
            raise CaseError(f"{where} has no PixelData (DVHs alone?); export the {file.kind} itself")
        if not syntax.is_encapsulated and "PixelData" in data:
            stated, found = int(np.prod(shape)) * int(data.BitsAllocated) // 8, len(data.PixelData or b"")
            if found < stated:
                raise CaseError(f"{where}: PixelData is cut short, {found} of {stated} bytes; copy the file again")
        values = data.pixel_array
    if values.size != np.prod(shape):
        raise CaseError(f"{where}: PixelData has shape {_listed(values.shape)}, {_listed(shape)} wanted; {REMEDY}")
    return values.reshape(shape)


def _placed(file: DicomFile, frames: np.ndarray | None) -> tuple[Grid, np.ndarray | None]:
    header = file.header
    row, column, normal = directions(file)
    position = header.numbers("ImagePositionPatient", 3)
    n_frames = header.whole("NumberOfFrames") if header.get("NumberOfFrames") else 1
    is_stated = n_frames > 1 or header.get("GridFrameOffsetVector") is not None
    offsets = header.numbers("GridFrameOffsetVector", n_frames) if is_stated else np.zeros(1)
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
    pixel = header.numbers("PixelSpacing", 2)
    thickness = header.number("SliceThickness") if header.get("SliceThickness") else float(pixel[0])
    step = float(steps.mean()) if len(steps) else thickness
    spacing = np.array([step, *pixel])
    if min(abs(step), *pixel) < _SMALLEST_STEP_MM:
        raise CaseError(f"RTDOSE {file.name}: its voxels are {_listed(np.abs(spacing))} mm wide; export the dose again")
    shape = (len(offsets), header.whole("Rows"), header.whole("Columns"))
    return in_house_axes(position, np.array([normal, column, row]), spacing, shape, frames)


def directions(file: DicomFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors along a row, down a column and from plane to plane, each along a patient axis.

    Raises
    ------
    CaseError : the image planes are oblique.
    """
    stated = file.header.get("ImageOrientationPatient")
    cosines = file.header.numbers("ImageOrientationPatient", 6) if stated else np.array([1, 0, 0, 0, 1, 0], float)
    rounded = np.rint(cosines)
    normal = np.cross(rounded[:3], rounded[3:])
    if np.abs(cosines - rounded).max() > _ALIGNED or np.abs(rounded).sum() != 2 or not normal.any():
        shown = ", ".join(f"{c:.3g}" for c in cosines)
        raise CaseError(
            f"{file.kind} {file.name} is oblique (ImageOrientationPatient {shown}); "
            "resample it along the patient's axes before export"
        )
    return rounded[:3], rounded[3:], normal


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
    spacing = np.array([step, *first.header.numbers("PixelSpacing", 2)])
    position = first.header.numbers("ImagePositionPatient", 3)
    grid, values = in_house_axes(position, np.array([normal, column, row]), spacing, hu.shape, hu)
    assert values is not None
    return Volume(grid, values)


def _height(file: DicomFile) -> float:
    return float(np.dot(directions(file)[2], file.header.numbers("ImagePositionPatient", 3)))


def _plane(file: DicomFile) -> Hashable:
    header = file.header
    in_plane = header.numbers("ImagePositionPatient", 3) @ np.array(directions(file)[:2]).T
    spacing = tuple(round(float(s), 4) for s in header.numbers("PixelSpacing", 2))
    return header.whole("Rows"), header.whole("Columns"), spacing, tuple(np.round(in_plane, 1))


def _hu(file: DicomFile) -> np.ndarray:
    header = file.header
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if slope <= 0:
        raise header.refusal("RescaleSlope", f"is {slope:g}, above 0 wanted")
    return (pixels(file)[0] * slope + intercept).astype(np.float32)


def _listed(values: Sequence[float] | np.ndarray) -> str:
    shown = [f"{v:g}" for v in np.round(values, 2)]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")
