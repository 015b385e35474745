"""Finding and choosing DICOM files: what a folder holds, by SOP class, and which file the study means."""

import gzip
import io
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from simulator.case.dicom_elements import REMEDY, Elements, is_cut_short, pixel_bytes
from simulator.ground.reading import check_room, reading
from simulator.ground.spec import CaseError

KINDS = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.481.5": "RTPLAN",
    "1.2.840.10008.5.1.4.1.1.481.8": "RTPLAN",
}
STUDY_KEYS = {"RTSTRUCT": "case.structure_set", "RTPLAN": "case.rtplan", "RTDOSE": "case.rtdoses"}

LOCALIZER = "CT localizer"
_STANDARD_CLASSES = "1.2.840.10008."
_GZIP = b"\x1f\x8b"
_MOST_BYTES = 1 << 30

logging.getLogger("pydicom").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pydicom")


@dataclass(frozen=True)
class DicomFile:
    """One file: its kind by SOP class, and its header without pixels.

    Parameters
    ----------
    kind : CT, RTSTRUCT, RTDOSE or RTPLAN; the name of any other SOP class; empty where the file is damaged beyond telling.
    problem : why the file must not be used, as a message; empty for a sound one.
    private_class : the SOP class of a vendor, where the Modality had to tell the kind.
    planes : the files of a dose that was exported plane by plane, this one first.
    """

    path: Path
    name: str
    kind: str
    header: Any
    problem: str = ""
    private_class: str = ""
    planes: tuple["DicomFile", ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that belongs to it."""
        return tuple(plane.path for plane in self.planes) or (self.path,)

    @property
    def uid(self) -> str:
        """SOP instance UID."""
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def frame_uids(self) -> frozenset[str]:
        """Frames of reference that the file is in; empty when it does not say."""
        found = [self.header.get("FrameOfReferenceUID")]
        found += [f.get("FrameOfReferenceUID") for f in items(self.header, "ReferencedFrameOfReferenceSequence")]
        found += [r.get("ReferencedFrameOfReferenceUID") for r in items(self.header, "StructureSetROISequence")]
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
            data = pydicom.dcmread(_uncompressed(self.path), force=True)
            if "TransferSyntaxUID" not in data.file_meta:
                is_implicit, is_little = data.original_encoding
                explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
                data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
        return data


def scan(folder: str | Path) -> tuple[DicomFile, ...]:
    """Every DICOM file below a folder, sorted by path; only CT, RTSTRUCT, RTDOSE and RTPLAN are read further.

    The SOP class decides; the Modality only where a vendor has a class of its own. A file without the Part-10 preamble, or
    compressed with gzip, is read all the same.

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
    """The header of one file, or the problem with it; None when it is not DICOM."""
    is_dicom = True
    try:
        with reading(name, "copy it again, or take it out of the folder"):
            with path.open("rb") as file:
                start = file.read(132)
            if start[:2] == _GZIP:
                is_dicom = False
                with gzip.open(path) as file:
                    start = file.read(132)
            is_dicom = start[128:] == b"DICM"
            if not is_dicom and start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
                return None
            source = _uncompressed(path)
            data = pydicom.dcmread(source, stop_before_pixels=True, force=True)
            sop_class = str(data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID", ""))
            is_private = not sop_class.startswith(_STANDARD_CLASSES)
            kind = str(data.get("Modality", "")) if is_private else KINDS.get(sop_class, "")
            n_bytes = path.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
            if is_dicom and not sop_class and not kind:
                raise ValueError("it has no SOP class")
            is_cut = is_cut_short(data, n_bytes, pixel_bytes(data) if kind == "CT" else 0)
            if kind == "CT" and "LOCALIZER" in map(str, data.get("ImageType") or ()):
                kind = LOCALIZER
    except CaseError as error:
        return DicomFile(path, name, "", Elements(Dataset(), name), str(error)) if is_dicom else None
    if kind not in KINDS.values():
        kind = kind or UID(sop_class).name.removesuffix(" Storage")
        return DicomFile(path, name, kind, Elements(data, f"{kind} {name}")) if kind else None
    problem = f"{kind} {name}: the file is cut short; copy it again, or take it out of the folder" if is_cut else ""
    return DicomFile(path, name, kind, Elements(data, f"{kind} {name}"), problem, sop_class if is_private else "")


def _uncompressed(path: Path) -> Path | io.BytesIO:
    """What to read a file from: itself, or its content where it is compressed with gzip."""
    with path.open("rb") as file:
        if file.read(2) != _GZIP:
            return path
    with gzip.open(path) as file:
        content = file.read(_MOST_BYTES + 1)
    check_room(len(content), path.name, "take it out of the folder")
    return io.BytesIO(content)


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
