"""What every DICOM file that is written says of itself: patient, study, series and equipment."""

import datetime
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, generate_uid

from simulator.case.anatomy import digest_of_uid
from simulator.ground.spec import CaseError

_COPIED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "SpecificCharacterSet",
)  # fmt: skip
_EMPTY = ("PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName", "OperatorsName")
_LONG_STRING = 64


def reference_header(path: Path, frame_digest: str) -> Dataset:
    """Header of a file of the patient, with a frame of reference.

    Parameters
    ----------
    frame_digest : of the frames of reference that are allowed (`Case.frame_digest`); empty when they are not known.

    Raises
    ------
    CaseError : no DICOM file, no frame of reference, or another one.
    """
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
    if frame_digest and digest_of_uid(str(header.FrameOfReferenceUID)) not in frame_digest.split(";"):
        raise CaseError(
            f"{path}: lies in another frame of reference than the structures that were simulated; "
            "what is exported would be filed under another patient or image: give a file of the same plan"
        )
    return header


def new_file(
    path: Path, sop_class: UID, syntax: UID, modality: str, known: Dataset, pseudonym: str, description: str
) -> FileDataset:
    """A file with new UIDs, and the patient, the study and the frame of reference of a known header.

    Parameters
    ----------
    known : of a file of the patient; empty for none, then the pseudonym is the patient's name and ID.
    description : of the series, at most 64 characters.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = syntax
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    now = datetime.datetime.now(datetime.UTC)
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    file.SpecificCharacterSet = "ISO_IR 192"
    file.PatientName = file.PatientID = pseudonym[:_LONG_STRING]
    for empty in _EMPTY:
        setattr(file, empty, "")
    file.StudyID = "1"
    file.StudyDate, file.StudyTime = date, time
    file.StudyInstanceUID, file.FrameOfReferenceUID = generate_uid(), generate_uid()
    file.PositionReferenceIndicator = ""
    for keyword in _COPIED:
        if keyword in known:
            setattr(file, keyword, known[keyword].value)
    file.SOPClassUID, file.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    file.Modality, file.SeriesInstanceUID, file.SeriesNumber = modality, generate_uid(), 1
    file.SeriesDescription = description
    file.Manufacturer, file.ManufacturerModelName = "simulator (research software)", "simulator"
    file.InstanceCreationDate, file.InstanceCreationTime = date, time
    file.InstanceNumber = 1
    return file


def within_long_string(before: str, name: str, after: str) -> str:
    """Three texts in the 64 characters of a DICOM long string; of the name the middle is left out where there is no room."""
    room = _LONG_STRING - len(before) - len(after)
    if len(name) > room:
        half = (room - 3) // 2
        name = f"{name[:half]}...{name[len(name) - (room - 3 - half) :]}"
    return (before + name + after).replace("\\", "/")


def save(file: FileDataset, path: Path) -> None:
    """Write the file, with the folder that it goes to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
