"""Writing structures as DICOM RTSTRUCT, for planning systems.

Contours are CLOSED_PLANAR, the one type that every system reads; a hole is joined to the outline around it by a keyhole, as
DICOM asks of this type (PS3.3 C.8.8.6.3).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from simulator.case.dicom_identity import new_file, reference_header, save
from simulator.case.dicom_slices import ImageSlices
from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.spec import CaseError

_RT_STRUCTURE_SET = UID("1.2.840.10008.5.1.4.1.1.481.3")
_STUDY = UID("1.2.840.10008.3.1.2.3.1")
_LONGEST_NAME, _LONGEST_LABEL = 16, 16


@dataclass(frozen=True)
class DrawnRoi:
    """A structure to write.

    Parameters
    ----------
    name : at most 16 characters (AAPM TG-263).
    kind : RT ROI interpreted type: GTV, CTV or PTV.
    description : what it is, in a sentence.
    colour : red, green and blue of 255.
    polygons : on each slice that it meets, by the number of the slice, closed polygons (n, 2) of (x, y) in mm.
    """

    name: str
    kind: str
    description: str
    colour: tuple[int, int, int]
    polygons: dict[int, list[np.ndarray]]

    def volume_cc(self, z_mm: np.ndarray) -> float:
        """Volume of the slabs, each from half-way to the slice below to half-way to the slice above."""
        thick = np.gradient(z_mm) if len(z_mm) > 1 else np.ones(1)
        return CC_PER_MM3 * sum(
            abs(float(np.sum(p[:, 0] * np.roll(p[:, 1], -1) - p[:, 1] * np.roll(p[:, 0], -1)))) / 2 * float(thick[k])
            for k, own in self.polygons.items()
            for p in own
        )


def write_rtstruct(
    path: Path,
    rois: Sequence[DrawnRoi],
    slices: ImageSlices,
    *,
    name: str,
    description: str,
    pseudonym: str,
    reference: Path | None = None,
    frame_digest: str = "",
) -> None:
    """Write structures as RTSTRUCT (DICOM PS3.3 A.19.3) with new UIDs.

    Parameters
    ----------
    name, description : of the structure set and of the series, at most 64 characters each.
    pseudonym, reference, frame_digest : as in `simulator.case.dicom_write.write_rtdose`.

    Raises
    ------
    CaseError : names that are too long or double, or a reference that cannot be used or is another patient's.
    """
    names = [roi.name for roi in rois]
    if len(set(names)) < len(names) or max(map(len, names)) > _LONGEST_NAME:
        raise CaseError(f"{path}: names of structures have at most 16 characters and differ; got {', '.join(names)}")
    known = reference_header(reference, frame_digest) if reference is not None else Dataset()
    file = new_file(path, _RT_STRUCTURE_SET, ImplicitVRLittleEndian, "RTSTRUCT", known, pseudonym, description)
    file.StructureSetLabel, file.StructureSetName = "simulator", name
    file.StructureSetDate, file.StructureSetTime = file.InstanceCreationDate, file.InstanceCreationTime
    file.ApprovalStatus = "UNAPPROVED"
    file.ReferencedFrameOfReferenceSequence = [_frame(file, slices)]
    file.StructureSetROISequence = [_roi(file, number, roi) for number, roi in enumerate(rois, 1)]
    file.ROIContourSequence = [_drawn(number, roi, slices) for number, roi in enumerate(rois, 1)]
    file.RTROIObservationsSequence = [_observation(number, roi) for number, roi in enumerate(rois, 1)]
    save(file, path)


def _frame(file: FileDataset, slices: ImageSlices) -> Dataset:
    """The frame of reference, with the images that the structures are drawn on."""
    frame = _item(FrameOfReferenceUID=file.FrameOfReferenceUID)
    if slices.series_uid and slices.study_uid:
        images = [_image(slices, k) for k in range(len(slices.uids))]
        series = _item(SeriesInstanceUID=slices.series_uid, ContourImageSequence=images)
        study = _item(ReferencedSOPClassUID=_STUDY, ReferencedSOPInstanceUID=slices.study_uid)
        study.RTReferencedSeriesSequence = [series]
        frame.RTReferencedStudySequence = [study]
    return frame


def _image(slices: ImageSlices, k: int) -> Dataset:
    return _item(ReferencedSOPClassUID=slices.sop_class, ReferencedSOPInstanceUID=slices.uids[k])


def _roi(file: FileDataset, number: int, roi: DrawnRoi) -> Dataset:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=file.FrameOfReferenceUID,
        ROIName=roi.name,
        ROIDescription=roi.description,
        ROIGenerationAlgorithm="AUTOMATIC",
    )


def _drawn(number: int, roi: DrawnRoi, slices: ImageSlices) -> Dataset:
    contours = [_contour(p, slices, k) for k, own in sorted(roi.polygons.items()) for p in own]
    return _item(ROIDisplayColor=list(roi.colour), ContourSequence=contours, ReferencedROINumber=number)


def _contour(polygon: np.ndarray, slices: ImageSlices, k: int) -> Dataset:
    z = format_number_as_ds(float(slices.z_mm[k]))
    contour = _item(
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(polygon),
        ContourData=_flat((f"{x:.3f}", f"{y:.3f}", z) for x, y in polygon),
    )
    if slices.uids:
        contour.ContourImageSequence = [_image(slices, k)]
    return contour


def _observation(number: int, roi: DrawnRoi) -> Dataset:
    label = roi.name[:_LONGEST_LABEL]
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=label,
        RTROIInterpretedType=roi.kind,
        ROIInterpreter="",
    )


def _flat(points: Iterable[tuple[str, str, str]]) -> list[str]:
    return [value for point in points for value in point]


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
