"""Writing dose maps as DICOM RTDOSE, for planning systems."""

import datetime
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from simulator.case.anatomy import digest_of_uid
from simulator.case.geometry import Grid
from simulator.spec import CaseError

_RT_DOSE = UID("1.2.840.10008.5.1.4.1.1.481.2")
_RT_PLAN = UID("1.2.840.10008.5.1.4.1.1.481.5")
_LARGEST = 2**16 - 1
_COPIED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "SpecificCharacterSet",
)  # fmt: skip


def write_rtdose(
    path: Path,
    dose_gy: np.ndarray,
    grid: Grid,
    *,
    kind: str,
    summation: str,
    description: str,
    pseudonym: str,
    reference: Path | None = None,
    frame_digest: str = "",
) -> None:
    """Write a dose map as RTDOSE (DICOM PS3.3 A.18.3) with 16-bit pixels and new UIDs.

    Doses are rounded to 1/65535 of the largest.

    Parameters
    ----------
    dose_gy : (z, y, x), at least 0.
    kind : DoseType, PHYSICAL, or ERROR for a standard deviation.
    summation : DoseSummationType, PLAN, or MULTI_PLAN for what is made of many deliveries.
    description : of the series; the dose comment repeats it.
    pseudonym : patient name and ID without a reference.
    reference : a DICOM file of the patient (RTDOSE, RTPLAN, RTSTRUCT or CT); the map takes its patient, study and frame of
        reference, but not its plan, whose dose it is not.
    frame_digest : of the frames of reference that the map belongs to (`Case.frame_digest`); empty when it is not known.

    Raises
    ------
    CaseError : doses that cannot be stored, or a reference that is no DICOM file, has no frame of reference or another one.
    """
    if not np.isfinite(dose_gy).all() or dose_gy.min() < 0:
        raise CaseError(
            f"{path}: a dose map has to be finite and at least 0 Gy; this one holds {np.nanmin(dose_gy):g} Gy"
        )
    known = _reference(reference) if reference is not None else Dataset()
    if frame_digest and known and digest_of_uid(str(known.FrameOfReferenceUID)) not in frame_digest.split(";"):
        raise CaseError(
            f"{reference}: lies in another frame of reference than the structures that were simulated; "
            "the map would be filed under another patient or image: give a file of the same plan"
        )
    file = FileDataset(str(path), {}, file_meta=_meta(), preamble=b"\0" * 128)
    _identity(file, known, pseudonym, description)
    _dose(file, dose_gy, grid, kind, summation, description)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def _meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _RT_DOSE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _reference(path: Path) -> Dataset:
    """Header of a file of the patient."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except (OSError, pydicom.errors.InvalidDicomError) as error:
        raise CaseError(
            f"{path}: no DICOM file ({error}); give an RTDOSE, RTPLAN, RTSTRUCT or CT of the patient"
        ) from None
    if "FrameOfReferenceUID" not in header:
        frames = header.get("ReferencedFrameOfReferenceSequence") or []
        if not frames:
            raise CaseError(f"{path}: has no frame of reference; give an RTDOSE, RTPLAN, RTSTRUCT or CT of the patient")
        header.FrameOfReferenceUID = frames[0].FrameOfReferenceUID
    return header


def _identity(file: Dataset, known: Dataset, pseudonym: str, description: str) -> None:
    """Patient, study, series and equipment."""
    now = datetime.datetime.now(datetime.UTC)
    file.SpecificCharacterSet = "ISO_IR 192"
    file.PatientName, file.PatientID = pseudonym, pseudonym
    for empty in (
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
        "OperatorsName",
    ):
        setattr(file, empty, "")
    file.StudyID = "1"
    file.StudyDate, file.StudyTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    file.StudyInstanceUID, file.FrameOfReferenceUID = generate_uid(), generate_uid()
    file.PositionReferenceIndicator = ""
    for keyword in _COPIED:
        if keyword in known:
            setattr(file, keyword, known[keyword].value)
    file.SOPClassUID, file.SOPInstanceUID = _RT_DOSE, file.file_meta.MediaStorageSOPInstanceUID
    file.Modality, file.SeriesInstanceUID, file.SeriesNumber = "RTDOSE", generate_uid(), 1
    file.SeriesDescription = description[:64]
    file.Manufacturer, file.ManufacturerModelName = "simulator (research software)", "simulator"
    file.InstanceCreationDate, file.InstanceCreationTime = file.ContentDate, file.ContentTime = (
        now.strftime("%Y%m%d"),
        now.strftime("%H%M%S"),
    )
    file.InstanceNumber = 1


def _dose(file: Dataset, dose_gy: np.ndarray, grid: Grid, kind: str, summation: str, description: str) -> None:
    """Grid, units and pixels."""
    highest = float(dose_gy.max())
    scaling = highest / _LARGEST if highest > 0 else 1.0
    file.DoseGridScaling = format_number_as_ds(scaling)
    pixels = np.minimum(np.rint(dose_gy.astype(np.float64) / float(file.DoseGridScaling)), _LARGEST).astype("<u2")
    file.NumberOfFrames, file.Rows, file.Columns = dose_gy.shape
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    x, y, z = (float(v) for v in grid.spacing_mm)
    file.ImagePositionPatient = [format_number_as_ds(float(v)) for v in grid.origin_mm]
    file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    file.PixelSpacing, file.SliceThickness = [format_number_as_ds(y), format_number_as_ds(x)], format_number_as_ds(z)
    file.FrameIncrementPointer = 0x3004000C
    file.GridFrameOffsetVector = [format_number_as_ds(z * k) for k in range(dose_gy.shape[0])]
    file.DoseUnits, file.DoseType, file.DoseComment = "GY", kind, description
    file.DoseSummationType = summation
    file.ReferencedRTPlanSequence = [_no_plan()]
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OW"


def _no_plan() -> Dataset:
    """Reference to a plan that does not exist: the type demands one, and no clinical plan has this dose."""
    plan = Dataset()
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = _RT_PLAN, generate_uid()
    return plan
