"""A small synthetic patient as DICOM-RT files, for tests of whatever reads them.

Body: cylinder of 50 mm radius along z. GTV: sphere of 12 mm at (5, -3, 6). SpinalCord: cylinder of 5 mm at (0, 30).
`Empty` has no contour. Planned dose in Gy: 20 + 0.1 x + 0.2 y + 0.3 z, the course's total.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

FRAME = "1.2.826.0.1.99.1"
STUDY = "1.2.826.0.1.99.2"
IDENTITY = "Doe^Jane"
PATIENT_ID = "ID-4711"
ROOT = "1.2.826.0.1.99"
GTV_CENTRE, GTV_RADIUS = (5.0, -3.0, 6.0), 12.0
ISOCENTRE = [5.0, -3.0, 6.0]
Z_MM = tuple(float(z) for z in range(-30, 31, 3))
AXIAL = (1, 0, 0, 0, 1, 0)

_CLASS = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "RTDOSE": "1.2.840.10008.5.1.4.1.1.481.2",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
    "RTPLAN": "1.2.840.10008.5.1.4.1.1.481.5",
}


def planned_dose(x, y, z):
    """The phantom's dose in Gy."""
    return 20 + 0.1 * x + 0.2 * y + 0.3 * z


def circle(x: float, y: float, z: float, radius: float, n: int = 180) -> np.ndarray:
    """A contour (n, 3) in mm whose polygon has the area of the circle."""
    angle = 2 * np.pi * np.arange(n) / n
    r = radius * np.sqrt(2 * np.pi / n / np.sin(2 * np.pi / n))
    return np.stack([x + r * np.cos(angle), y + r * np.sin(angle), np.full(n, z)], axis=1)


def phantom_structures() -> dict[str, tuple[str, list[np.ndarray]]]:
    """Interpreted type and contours by name."""
    x, y, zc = GTV_CENTRE
    half_width = {z: np.sqrt(GTV_RADIUS**2 - (z - zc) ** 2) for z in Z_MM if abs(z - zc) < GTV_RADIUS}
    return {
        "BODY": ("EXTERNAL", [circle(0, 0, z, 50) for z in Z_MM]),
        "GTV": ("GTV", [circle(x, y, z, r) for z, r in half_width.items()]),
        "SpinalCord": ("ORGAN", [circle(0, 30, z, 5) for z in Z_MM]),
        "Empty": ("ORGAN", []),
    }


def write_phantom_dicom(
    folder: str | Path,
    *,
    ct_z: Sequence[float] = Z_MM,
    ct_orientation: Sequence[float] = AXIAL,
    structures: dict[str, tuple[str, list[np.ndarray]]] | None = None,
    n_structure_sets: int = 1,
    n_plans: int = 1,
    fractions: int = 5,
    doses: Sequence[dict] = ({},),
    preamble: bool = True,
    modality: str | None = None,
) -> Path:
    """Write the phantom; an empty `ct_z`, `doses` or a zero count leaves that kind out.

    Parameters
    ----------
    doses : one dict of options of `write_dose` per RTDOSE.
    preamble : False writes files without the Part-10 preamble and file meta information.
    modality : a wrong Modality for every file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def save(data: Dataset, name: str) -> None:
        if modality:
            data.Modality = modality
        _save(data, folder / name, preamble)

    for i, z in enumerate(ct_z):
        save(_ct_slice(float(z), i, ct_orientation), f"ct_{i:03d}.dcm")
    for i in range(n_structure_sets):
        save(_structure_set(structures or phantom_structures(), i + 1), f"rs_{i + 1}.dcm")
    for i in range(n_plans):
        save(_plan(fractions, i + 1), f"rp_{i + 1}.dcm")
    for i, options in enumerate(doses):
        save(dose_dataset(i + 1, **options), f"rd_{i + 1}.dcm")
    return folder


def dose_dataset(
    number: int = 1,
    *,
    units: str = "GY",
    summation: str = "PLAN",
    frame: str = FRAME,
    plan: int = 1,
    beam: int | None = None,
    values: Callable[..., np.ndarray] = planned_dose,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-30.0, -35.0, -24.0),
    offsets: Sequence[float] | None = None,
    shape: tuple[int, int, int] = (17, 29, 21),
    spacing: tuple[float, float, float] = (3.0, 2.5, 3.0),
) -> Dataset:
    """An RTDOSE; shape is (planes, rows, columns), spacing (plane, row, column), offsets those of the file."""
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    stated = np.arange(shape[0]) * spacing[0] if offsets is None else np.asarray(offsets, float)
    k, j, i = np.meshgrid(*(np.arange(n) for n in (len(stated), *shape[1:])), indexing="ij")
    along = (stated - stated[0])[k]
    place = [origin[a] + along * normal[a] + j * spacing[1] * column[a] + i * spacing[2] * row[a] for a in range(3)]
    gray = values(*place)
    data = _dataset("RTDOSE", f"{ROOT}.5.{number}")
    data.FrameOfReferenceUID = frame
    data.ImageOrientationPatient = list(orientation)
    data.ImagePositionPatient = list(origin)
    data.PixelSpacing = [spacing[1], spacing[2]]
    data.SliceThickness = ""
    data.GridFrameOffsetVector = [float(v) for v in stated]
    data.FrameIncrementPointer = 0x3004000C
    data.DoseUnits, data.DoseType, data.DoseSummationType = units, "PHYSICAL", summation
    data.DoseGridScaling = 1e-6
    _pixels(data, np.round(gray / 1e-6).astype(np.uint32))
    data.NumberOfFrames = len(stated)
    reference = _reference("RTPLAN", f"{ROOT}.4.{plan}")
    if beam is not None:
        group = Dataset()
        group.ReferencedBeamSequence = DicomSequence([_item(ReferencedBeamNumber=beam)])
        group.ReferencedFractionGroupNumber = 1
        reference.ReferencedFractionGroupSequence = DicomSequence([group])
    data.ReferencedRTPlanSequence = DicomSequence([reference])
    return data


def _ct_slice(z: float, number: int, orientation: Sequence[float]) -> Dataset:
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    n, step = 64, 2.0
    start = -0.5 * (n - 1) * step * (row + column)
    j, i = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    x, y = (start[a] + j * step * column[a] + i * step * row[a] for a in (0, 1))
    hu = np.where(x**2 + y**2 <= 50**2, 14, -1000) + np.where((x > 20) & (x**2 + y**2 <= 50**2), 86, 0)
    data = _dataset("CT", f"{ROOT}.6.{number}")
    data.SeriesInstanceUID = f"{ROOT}.6"
    data.FrameOfReferenceUID = FRAME
    data.ImageOrientationPatient = list(orientation)
    data.ImagePositionPatient = [float(start[0]), float(start[1]), z]
    data.PixelSpacing = [step, step]
    data.SliceThickness = 3
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    _pixels(data, (hu + 1024).astype(np.uint16))
    return data


def _structure_set(structures: dict[str, tuple[str, list[np.ndarray]]], number: int) -> Dataset:
    data = _dataset("RTSTRUCT", f"{ROOT}.3.{number}")
    data.StructureSetLabel = f"set {number}"
    data.ReferencedFrameOfReferenceSequence = DicomSequence([_item(FrameOfReferenceUID=FRAME)])
    rois, contours, observations = [], [], []
    for i, (name, (kind, polygons)) in enumerate(structures.items(), 1):
        rois.append(_item(ROINumber=i, ReferencedFrameOfReferenceUID=FRAME, ROIName=name))
        observations.append(_item(ObservationNumber=i, ReferencedROINumber=i, RTROIInterpretedType=kind))
        drawn = _item(ReferencedROINumber=i)
        if polygons:
            drawn.ContourSequence = DicomSequence([_contour(p) for p in polygons])
        contours.append(drawn)
    data.StructureSetROISequence = DicomSequence(rois)
    data.ROIContourSequence = DicomSequence(contours)
    data.RTROIObservationsSequence = DicomSequence(observations)
    return data


def _contour(points: np.ndarray) -> Dataset:
    return _item(
        ContourGeometricType="CLOSED_PLANAR" if len(points) > 1 else "POINT",
        NumberOfContourPoints=len(points),
        ContourData=[f"{v:.4f}" for v in points.ravel()],
    )


def _plan(fractions: int, number: int) -> Dataset:
    data = _dataset("RTPLAN", f"{ROOT}.4.{number}")
    data.RTPlanLabel = f"plan {number}"
    data.FrameOfReferenceUID = FRAME
    group = _item(FractionGroupNumber=1, NumberOfFractionsPlanned=fractions)
    data.FractionGroupSequence = DicomSequence([group])
    data.DoseReferenceSequence = DicomSequence(
        [_item(DoseReferenceNumber=1, DoseReferenceType="TARGET", TargetPrescriptionDose="50")]
    )
    beams = []
    for beam, kind in ((1, "TREATMENT"), (2, "TREATMENT"), (9, "SETUP")):
        point = _item(ControlPointIndex=0, IsocenterPosition=ISOCENTRE)
        beams.append(_item(BeamNumber=beam, TreatmentDeliveryType=kind, ControlPointSequence=DicomSequence([point])))
    data.BeamSequence = DicomSequence(beams)
    data.ReferencedStructureSetSequence = DicomSequence([_reference("RTSTRUCT", f"{ROOT}.3.{number}")])
    return data


def _dataset(kind: str, uid: str) -> Dataset:
    return _item(
        SOPClassUID=_CLASS[kind],
        SOPInstanceUID=uid,
        Modality=kind,
        PatientName=IDENTITY,
        PatientID=PATIENT_ID,
        PatientBirthDate="19700102",
        StudyInstanceUID=STUDY,
        SeriesInstanceUID=f"{uid}.1",
    )


def _reference(kind: str, uid: str) -> Dataset:
    return _item(ReferencedSOPClassUID=_CLASS[kind], ReferencedSOPInstanceUID=uid)


def _item(**values) -> Dataset:
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def _pixels(data: Dataset, values: np.ndarray) -> None:
    bits = values.dtype.itemsize * 8
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    data["PixelData"].VR = "OW"


def _save(data: Dataset, path: Path, preamble: bool) -> None:
    if not preamble:
        data.save_as(path, implicit_vr=True, little_endian=True)
        return
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if data.Modality == "RTPLAN" else ImplicitVRLittleEndian
    data.file_meta = meta
    data.preamble = b"\0" * 128
    data.save_as(path, enforce_file_format=True)
