"""The image slices that structures are drawn on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.case.dicom_elements import Elements
from simulator.case.dicom_files import DicomFile, items, of_kind, read_file, scan
from simulator.case.dicom_grids import directions
from simulator.case.dicom_identity import reference_header
from simulator.ground.spec import CaseError

_SAME_HEIGHT_MM = 0.01


@dataclass(frozen=True)
class ImageSlices:
    """Transverse slices of one image series.

    Parameters
    ----------
    z_mm : ascending heights (n,).
    uids : SOP instance UID of each; empty where none is known.
    sop_class, series_uid, study_uid : of the images; empty where they are not known.
    """

    z_mm: np.ndarray
    uids: tuple[str, ...] = ()
    sop_class: str = ""
    series_uid: str = ""
    study_uid: str = ""


def ct_series(files: Sequence[DicomFile], structure_set: DicomFile) -> list[DicomFile]:
    """Slices of the series that the structure set was drawn on, else of the only one in its frame of reference."""
    frames = structure_set.frame_uids
    series: dict[str, list[DicomFile]] = {}
    for f in of_kind(files, "CT"):
        if not frames or not f.frame_uids or f.frame_uids & frames:
            series.setdefault(str(f.header.get("SeriesInstanceUID", "")), []).append(f)
    drawn_on = [slices for uid, slices in series.items() if uid in _series_drawn_on(structure_set)]
    drawn_on = drawn_on or list(series.values())
    if len(drawn_on) > 1:
        drawn_on = [slices for slices in drawn_on if len(slices) > 1] or drawn_on
    if len(drawn_on) > 1:
        raise CaseError(
            f"{len(drawn_on)} CT series share the structure set's frame of reference and it does not say on which it "
            "was drawn; keep one series in the folder"
        )
    return drawn_on[0] if drawn_on else []


def _series_drawn_on(structure_set: DicomFile) -> set[str]:
    return {
        str(s.get("SeriesInstanceUID", ""))
        for frame in items(structure_set.header, "ReferencedFrameOfReferenceSequence")
        for study in items(frame, "RTReferencedStudySequence")
        for s in items(study, "RTReferencedSeriesSequence")
    } | {str(structure_set.header.get("SeriesInstanceUID", "")) if structure_set.kind == "CT" else ""} - {""}


def reference_slices(reference: Path, frame_digest: str, *folders: Path) -> ImageSlices:
    """The slices of the CT beside a file of the patient or in some folders, else those that an RTSTRUCT is drawn on.

    Raises
    ------
    CaseError : neither of them, several series, images that are not transverse, or a file that cannot be used
        (`simulator.case.dicom_identity.reference_header`).
    """
    reference_header(reference, frame_digest)
    own = read_file(reference, reference.name)
    assert own is not None
    for folder in (reference.parent, *folders):
        if found := ct_series(scan(folder), own):
            return _of_images(found)
    if own.kind == "RTSTRUCT":
        return _of_contours(own)
    raise CaseError(
        f"{reference}: no CT of its frame of reference lies in its folder, so that there are no slices to draw on; give a file "
        "beside the CT, or the RTSTRUCT"
    )


def _of_images(files: Sequence[DicomFile]) -> ImageSlices:
    for file in files:
        if abs(directions(file)[2][2]) != 1:
            raise CaseError(f"CT {file.name} is not transverse; structures can be drawn on transverse slices alone")
    ordered = sorted(files, key=lambda f: float(f.header.numbers("ImagePositionPatient", 3)[2]))
    z = np.array([f.header.numbers("ImagePositionPatient", 3)[2] for f in ordered])
    if np.any(np.diff(z) < _SAME_HEIGHT_MM):
        raise CaseError(f"CT {ordered[0].name} and others: two slices at one height; keep one series in the folder")
    header = ordered[0].header
    series, study, sop_class = (
        str(header.get(k, "")) for k in ("SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID")
    )
    return ImageSlices(z, tuple(f.uid for f in ordered), sop_class, series, study)


def _of_contours(structure_set: DicomFile) -> ImageSlices:
    """The heights at which anything is drawn, with the images that the contours name."""
    images: dict[float, Elements | None] = {}
    for roi in items(structure_set.header, "ROIContourSequence"):
        for contour in items(roi, "ContourSequence"):
            if contour.has("ContourData"):
                named = items(contour, "ContourImageSequence")
                images[round(float(contour.numbers("ContourData")[2]), 2)] = named[0] if named else None
    if not images:
        raise CaseError(
            f"RTSTRUCT {structure_set.name}: nothing is drawn in it, so that there are no slices to draw on"
        )
    z, named = np.array(sorted(images)), [images[z] for z in sorted(images)]
    if any(n is None for n in named):
        return ImageSlices(z)
    uids = tuple(str(n.get("ReferencedSOPInstanceUID", "")) for n in named if n)
    sop_class = str(named[0].get("ReferencedSOPClassUID", "")) if named[0] else ""
    series = _series_drawn_on(structure_set)
    study = str(structure_set.header.get("StudyInstanceUID", ""))
    return ImageSlices(z, uids, sop_class, series.pop() if len(series) == 1 else "", study)
