"""Writing dose maps as DICOM RTDOSE, for planning systems."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from simulator.case.dicom_identity import new_file, reference_header, save
from simulator.case.geometry import Grid
from simulator.ground.spec import CaseError

_RT_DOSE = UID("1.2.840.10008.5.1.4.1.1.481.2")
_RT_PLAN = UID("1.2.840.10008.5.1.4.1.1.481.5")
_LARGEST = 2**16 - 1


def write_rtdose(
    path: Path,
    dose_gy: np.ndarray,
    grid: Grid,
    *,
    kind: str,
    description: str,
    comment: str,
    pseudonym: str,
    reference: Path | None = None,
    frame_digest: str = "",
) -> None:
    """Write a dose map as RTDOSE (DICOM PS3.3 A.18.3) with 16-bit pixels and new UIDs.

    Doses are rounded to 1/65535 of the largest. No map is the dose of an RTPLAN: its summation type is MULTI_PLAN, which
    demands references to two plans or more, so it names two that do not exist.

    Parameters
    ----------
    dose_gy : (z, y, x), at least 0.
    kind : DoseType, PHYSICAL, or ERROR for a standard deviation.
    description, comment : of the series and of the dose, at most 64 characters each.
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
    known = reference_header(reference, frame_digest) if reference is not None else Dataset()
    file = new_file(path, _RT_DOSE, ExplicitVRLittleEndian, "RTDOSE", known, pseudonym, description)
    file.ContentDate, file.ContentTime = file.InstanceCreationDate, file.InstanceCreationTime
    _dose(file, dose_gy, grid, kind, comment)
    save(file, path)


def _dose(file: FileDataset, dose_gy: np.ndarray, grid: Grid, kind: str, comment: str) -> None:
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
    file.DoseUnits, file.DoseType, file.DoseComment = "GY", kind, comment
    file.DoseSummationType = "MULTI_PLAN"
    file.ReferencedRTPlanSequence = [_no_plan(), _no_plan()]
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OW"


def _no_plan() -> Dataset:
    """Reference to a plan that does not exist: no clinical plan has this dose."""
    plan = Dataset()
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = _RT_PLAN, generate_uid()
    return plan
