"""Finding and choosing DICOM files: what a folder holds, by SOP class, and which file the study means."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from simulator.case.dicom_elements import REMEDY, Elements, is_cut_short
from simulator.reading import reading
from simulator.spec import CaseError

KINDS = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.481.5": "RTPLAN",
    "1.2.840.10008.5.1.4.1.1.481.8": "RTPLAN",
}
PLANAR_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
STUDY_KEYS = {"RTSTRUCT": "case.structure_set", "RTPLAN": "case.rtplan", "RTDOSE": "case.rtdoses"}

_STANDARD_CLASSES = "1.2.840.10008."

logging.getLogger("pydicom").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pydicom")


@dataclass(frozen=True)
class DicomFile:
    """One file: its kind by SOP class, and its header without pixels.

    Parameters
    ----------
    kind : CT, RTSTRUCT, RTDOSE or RTPLAN; empty where the file is damaged beyond telling.
    problem : why the file must not be used, as a message; empty for a sound one.
    private_class : the SOP class of a vendor, where the Modality had to tell the kind.
    """

    path: Path
    name: str
    kind: str
    header: Any
    problem: str = ""
    private_class: str = ""

    @property
    def uid(self) -> str:
        """SOP instance UID."""
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def frame_uids(self) -> frozenset[str]:
        """Frames of reference that the file is in; empty when it does not say."""
        found = {self.header.get("FrameOfReferenceUID")}
        found.update(f.get("FrameOfReferenceUID") for f in items(self.header, "ReferencedFrameOfReferenceSequence"))
        found.update(r.get("ReferencedFrameOfReferenceUID") for r in items(self.header, "StructureSetROISequence"))
        return frozenset(str(uid) for uid in found if uid)

    @property
    def patient_id(self) -> str:
        """For comparison alone: never shown."""
        return str(self.header.get("PatientID") or "").strip()

    @property
    def plan_uid(self) -> str:
        """The plan that an RTDOSE says it belongs to, or an empty text."""
        references = items(self.header, "ReferencedRTPlanSequence")
        return str(references[0].get("ReferencedSOPInstanceUID", "")) if references else ""

    @property
    def structure_set_uid(self) -> str:
        """The structure set that an RTPLAN refers to, or an empty text."""
        references = items(self.header, "ReferencedStructureSetSequence")
        return str(references[0].get("ReferencedSOPInstanceUID", "")) if references else ""

    @property
    def label(self) -> str:
        """Short description without any identity."""
        keys = {"RTPLAN": "RTPlanLabel", "RTSTRUCT": "StructureSetLabel", "RTDOSE": "DoseSummationType"}
        return str(self.header.get(keys.get(self.kind, ""), "") or "")

    def with_pixels(self) -> Any:
        """The whole data set, ready for `.pixel_array`."""
        with reading(f"{self.kind} {self.name}", REMEDY):
            data = pydicom.dcmread(self.path, force=True)
            if "TransferSyntaxUID" not in data.file_meta:
                is_implicit, is_little = data.original_encoding
                explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
                data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
        return data


def scan(folder: str | Path) -> tuple[DicomFile, ...]:
    """Every CT, RTSTRUCT, RTDOSE and RTPLAN file below a folder, sorted by path.

    The SOP class decides; the Modality only where a vendor has a class of its own. A file without the Part-10 preamble is
    read all the same.

    Raises
    ------
    CaseError : no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "does not exist"
        raise CaseError(f"DICOM folder {folder} {what}; case.dicom names a folder, relative to the study file")
    read = (read_file(path, path.relative_to(root).as_posix()) for path in sorted(root.rglob("*")) if path.is_file())
    return tuple(file for file in read if file)


def read_file(path: Path, name: str) -> DicomFile | None:
    """The header of one file, or the problem with it; None when it is not CT, RTSTRUCT, RTDOSE or RTPLAN."""
    is_dicom = True
    try:
        with reading(name, "copy it again, or take it out of the folder"):
            with path.open("rb") as file:
                start = file.read(132)
            is_dicom = start[128:] == b"DICM"
            if not is_dicom and start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
                return None
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            sop_class = str(data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID", ""))
            is_private = not sop_class.startswith(_STANDARD_CLASSES)
            kind = str(data.get("Modality", "")) if is_private else KINDS.get(sop_class, "")
            is_cut = is_cut_short(data, path.stat().st_size)
    except CaseError as error:
        return DicomFile(path, name, "", Elements(Dataset(), name), str(error)) if is_dicom else None
    if kind not in KINDS.values():
        return None
    problem = f"{kind} {name}: the file is cut short; copy it again, or take it out of the folder" if is_cut else ""
    return DicomFile(path, name, kind, Elements(data, f"{kind} {name}"), problem, sop_class if is_private else "")


def of_kind(files: Sequence[DicomFile], kind: str) -> list[DicomFile]:
    """The files of one kind."""
    return [f for f in files if f.kind == kind]


def choose(candidates: Sequence[DicomFile], wanted: str, kind: str) -> DicomFile:
    """The one candidate whose UID ends in `wanted`, or whose file is called so.

    Raises
    ------
    CaseError : none or several match; the candidates are listed.
    """
    matches = [f for f in candidates if f.uid.endswith(wanted) or f"/{f.name}".endswith(f"/{wanted}")]
    if len(matches) != 1:
        problem = "no" if not matches else f"{len(matches)}"
        raise CaseError(
            f"{STUDY_KEYS[kind]}: {problem} {kind} has a UID that ends in, or a file called, {wanted!r}; there are:\n"
            + listing(candidates)
        )
    return matches[0]


def refuse_several(candidates: Sequence[DicomFile], kind: str) -> CaseError:
    """The error that asks the user to choose."""
    return CaseError(
        f"{len(candidates)} {kind} files fit; say which with {STUDY_KEYS[kind]} "
        f"(the end of the UID, or the file name):\n{listing(candidates)}"
    )


def listing(candidates: Sequence[DicomFile]) -> str:
    """One line per file: UID, label, file name."""
    return "\n".join(f"  {f.uid}  {f.label or '-'}  {f.name}" for f in candidates) or "  none"


def items(data: Any, sequence: str) -> list[Any]:
    """Items of a sequence, empty when it is absent or has no value."""
    return list(data.get(sequence) or [])


def frames_by_roi(structure_set: DicomFile) -> dict[str, frozenset[str]]:
    """Frames of reference that each ROI is drawn in, by name; empty where it does not say."""
    frames: dict[str, set[str]] = {}
    for roi in items(structure_set.header, "StructureSetROISequence"):
        own = str(roi.get("ReferencedFrameOfReferenceUID") or "")
        frames.setdefault(str(roi.get("ROIName") or "").strip(), set()).update({own} if own else ())
    return {name: frozenset(own) for name, own in frames.items()}


def rois_elsewhere(structure_set: DicomFile, frames: frozenset[str]) -> list[str]:
    """Names of the ROIs that are drawn in none of some frames of reference, or in others too."""
    return [name for name, own in frames_by_roi(structure_set).items() if own and frames and not own <= frames]


def contours_by_roi(structure_set: DicomFile) -> dict[str, tuple[str, list[np.ndarray]]]:
    """Every ROI of a structure set by name: interpreted type, and closed planar contours (n, 3) in mm.

    A name that occurs twice keeps the ROI that has contours; if both have some, the later is called `name (2)`.
    """
    header = structure_set.header
    types = {
        o.whole("ReferencedROINumber"): str(o.get("RTROIInterpretedType") or "").upper()
        for o in items(header, "RTROIObservationsSequence")
    }
    drawn = {r.whole("ReferencedROINumber"): items(r, "ContourSequence") for r in items(header, "ROIContourSequence")}
    rois: dict[str, tuple[str, list[np.ndarray]]] = {}
    for roi in items(header, "StructureSetROISequence"):
        number, name = roi.whole("ROINumber"), str(roi.get("ROIName") or f"ROI {roi.ROINumber}").strip()
        contours = [
            _points_mm(c)
            for c in drawn.get(number, [])
            if c.get("ContourGeometricType", PLANAR_TYPES[0]) in PLANAR_TYPES and c.get("ContourData")
        ]
        if name in rois and contours and rois[name][1]:
            name = f"{name} (2)"
        if name not in rois or contours:
            rois[name] = (types.get(number, ""), contours)
    return rois


def _points_mm(contour: Elements) -> np.ndarray:
    """Points (n, 3) of a contour."""
    values = contour.numbers("ContourData")
    if len(values) % 3:
        raise contour.refusal("ContourData", f"has {len(values)} numbers, three for each point wanted")
    return values.reshape(-1, 3)
