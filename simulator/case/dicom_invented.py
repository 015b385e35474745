"""An invented patient as a DICOM-RT folder, to try what one's own folder would do: nobody's data, written when asked for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from scipy.special import ndtr, ndtri

from simulator.ground.files import claim

MARGINS_MM = (3, 5, 8)
DOSE_GY, FRACTIONS, ISODOSE_PERCENT, PENUMBRA_SD_MM = 50.0, 5, 80.0, 5.0
CENTRE_MM, RADIUS_MM = (8.0, -12.0, 4.0), 9.0
_ROOT = "1.2.826.0.1.99.20"
_FRAME, _STUDY = f"{_ROOT}.1", f"{_ROOT}.2"
_CLASS = {
    "RTDOSE": "1.2.840.10008.5.1.4.1.1.481.2",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
    "RTPLAN": "1.2.840.10008.5.1.4.1.1.481.5",
}
_Z_MM = np.arange(-60, 63, 3.0)
_SPACING_MM = 2.5


def invented_patient(folder: str | Path) -> Path:
    """Write a node of 18 mm beside oesophagus and cord, and one plan for each margin of 3, 5 and 8 mm.

    Contours are circles on slices of 3 mm; doses fall off radially from the node as the error function does (5 mm), 50 Gy in
    5 fractions on the 80 % isodose. There is no CT.

    Parameters
    ----------
    folder : a new or an empty one, or one of an earlier invented patient.

    Raises
    ------
    ConfigError : a folder with other files.
    """
    place = Path(folder)
    claim(place)
    _save(place / "RS.invented.dcm", "RTSTRUCT", f"{_ROOT}.3", _structures())
    for number, margin_mm in enumerate(MARGINS_MM, 1):
        plan, dose = f"{_ROOT}.4.{number}", f"{_ROOT}.5.{number}"
        _save(place / f"RP.PTV_{margin_mm}mm.dcm", "RTPLAN", plan, _plan(margin_mm))
        _save(place / f"RD.PTV_{margin_mm}mm.dcm", "RTDOSE", dose, _dose(margin_mm, plan))
    return place


def dose_gy(distance_mm: np.ndarray, margin_mm: float) -> np.ndarray:
    """Dose at a distance from the node's centre: the prescription isodose lies at its radius plus the margin."""
    half_mm = RADIUS_MM + margin_mm + ndtri(ISODOSE_PERCENT / 100) * PENUMBRA_SD_MM
    return DOSE_GY / (ISODOSE_PERCENT / 100) * ndtr((half_mm - distance_mm) / PENUMBRA_SD_MM)


def _structures() -> dict[str, Any]:
    """Everything that was drawn, and its PTVs."""
    balls = {"GTV": RADIUS_MM} | {f"PTV_{m}mm": RADIUS_MM + m for m in MARGINS_MM}
    columns = {"BODY": (0.0, 0.0, 110.0), "Esophagus": (2.0, 16.0, 8.0), "SpinalCord": (0.0, 45.0, 6.0)}
    kinds = {"GTV": "GTV", "BODY": "EXTERNAL"} | {name: "PTV" for name in balls if name != "GTV"}
    drawn: dict[str, list[np.ndarray]] = {
        name: _slices(*CENTRE_MM[:2], partial(_of_ball, r)) for name, r in balls.items()
    }
    drawn |= {name: _slices(x, y, partial(_of_column, r)) for name, (x, y, r) in columns.items()}
    rois, contours, observations = [], [], []
    for number, (name, polygons) in enumerate(drawn.items(), 1):
        rois.append(_item(ROINumber=number, ReferencedFrameOfReferenceUID=_FRAME, ROIName=name))
        kind = kinds.get(name, "ORGAN")
        observations.append(_item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType=kind))
        contours.append(_item(ReferencedROINumber=number, ContourSequence=[_contour(p) for p in polygons]))
    return {
        "StructureSetLabel": "invented",
        "ReferencedFrameOfReferenceSequence": [_item(FrameOfReferenceUID=_FRAME)],
        "StructureSetROISequence": rois,
        "ROIContourSequence": contours,
        "RTROIObservationsSequence": observations,
    }


def _of_ball(radius_mm: float, z: float) -> float:
    return float(np.sqrt(max(radius_mm**2 - (z - CENTRE_MM[2]) ** 2, 0.0)))


def _of_column(radius_mm: float, z: float) -> float:
    return radius_mm


def _slices(x: float, y: float, radius_at: Callable[[float], float]) -> list[np.ndarray]:
    """A circle (point, 3) in mm on each slice that has one."""
    angle = 2 * np.pi * np.arange(90) / 90
    around = np.stack([np.cos(angle), np.sin(angle), np.zeros(90)], axis=1)
    return [np.array([x, y, z]) + radius_at(z) * around for z in _Z_MM if radius_at(z) > 0]


def _contour(points: np.ndarray) -> Dataset:
    data = [f"{v:.3f}" for v in points.ravel()]
    return _item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(points), ContourData=data)


def _plan(margin_mm: float) -> dict[str, Any]:
    """An RTPLAN that prescribes to its PTV; it has no beams."""
    number = 2 + MARGINS_MM.index(margin_mm)
    target = _item(DoseReferenceNumber=1, DoseReferenceStructureType="VOLUME", DoseReferenceType="TARGET")
    target.ReferencedROINumber, target.TargetPrescriptionDose = number, DOSE_GY
    return {
        "RTPlanLabel": f"PTV_{margin_mm}mm",
        "FractionGroupSequence": [_item(FractionGroupNumber=1, NumberOfFractionsPlanned=FRACTIONS)],
        "DoseReferenceSequence": [target],
        "ReferencedStructureSetSequence": [_reference("RTSTRUCT", f"{_ROOT}.3")],
    }


def _dose(margin_mm: float, plan: str) -> dict[str, Any]:
    """The planned dose on 41 x 41 x 41 voxels about the node."""
    offset = _SPACING_MM * (np.arange(41) - 20)
    z, y, x = np.meshgrid(offset, offset, offset, indexing="ij")
    scaling = 1e-3
    pixels = np.rint(dose_gy(np.sqrt(x**2 + y**2 + z**2), margin_mm) / scaling).astype("<u2")
    return {
        "NumberOfFrames": 41,
        "Rows": 41,
        "Columns": 41,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelRepresentation": 0,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "ImagePositionPatient": [c + offset[0] for c in CENTRE_MM],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [_SPACING_MM, _SPACING_MM],
        "FrameIncrementPointer": 0x3004000C,
        "GridFrameOffsetVector": [_SPACING_MM * k for k in range(41)],
        "DoseUnits": "GY",
        "DoseType": "PHYSICAL",
        "DoseSummationType": "PLAN",
        "DoseGridScaling": scaling,
        "ReferencedRTPlanSequence": [_reference("RTPLAN", plan)],
        "PixelData": pixels.tobytes(),
    }


def _item(**values: Any) -> Dataset:
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def _reference(kind: str, uid: str) -> Dataset:
    return _item(ReferencedSOPClassUID=_CLASS[kind], ReferencedSOPInstanceUID=uid)


def _save(path: Path, kind: str, uid: str, values: dict[str, Any]) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(_CLASS[kind]), UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), _item(**values), file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = _CLASS[kind], uid, kind
    file.PatientName, file.PatientID = "Invented^Patient", "INVENTED"
    file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = _STUDY, f"{uid}.0", _FRAME
    if kind == "RTDOSE":
        file["PixelData"].VR = "OW"
    file.save_as(path, enforce_file_format=True)
