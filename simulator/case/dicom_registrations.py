"""A folder of spatial registrations: where planned isocentres came to lie in daily images, and how patients had turned.

Files are told by number in the order of paths, as names of files and folders might be patients'.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from simulator.case.dicom_files import DicomFile, of_kind, read_file
from simulator.case.dicom_plans import plan_facts
from simulator.case.dicom_rigid import frames_of, plan_to_image
from simulator.ground.spec import CaseError

_RIGID, _DEFORMABLE = "Spatial Registration", "Deformable Spatial Registration"
_SAME_POINT_MM = 0.1

Point = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class RegisteredImage:
    """What one registration says, in DICOM patient coordinates.

    Parameters
    ----------
    patient : number from 0 in the order of files.
    file : number from 1 in the order of paths.
    when : date and time of the registration as DICOM writes them; empty where it does not say.
    isocentre_mm : (3,) where the planned isocentre lies in the daily image.
    shift_mm : (3,) that place less the machine's isocentre.
    rotation_deg : (3,) of the patient about LR, then AP, then SI, through the isocentre.
    """

    patient: int
    file: int
    when: str
    isocentre_mm: np.ndarray
    shift_mm: np.ndarray
    rotation_deg: np.ndarray


def read_registrations(
    folder: Path, isocentre_mm: Point | None = None, image_isocentre_mm: Point | None = None
) -> tuple[list[RegisteredImage], list[str]]:
    """Every registration of a daily image to a plan below a folder, and notes on what is left out.

    Parameters
    ----------
    isocentre_mm : that of patients whose RTPLAN is not in the folder.
    image_isocentre_mm : the machine's isocentre in the coordinates of the daily images; by default that of the plan.

    Raises
    ------
    CaseError : what is wrong, in which file or of which patient by number, and how to mend it.
    """
    numbered = _read(folder)
    registrations = of_kind(list(numbered.values()), _RIGID)
    key_of, told = _patients(folder, registrations)
    notes = [told, *(file.problem for file in numbered.values() if file.problem)]
    images, elsewhere = [], []
    for patient, key in enumerate(dict.fromkeys(map(key_of, registrations))):
        own = {i: file for i, file in numbered.items() if key_of(file) == key}
        related = {i: frames_of(file) for i, file in own.items() if file.kind == _RIGID}
        frame, centre = _planned(
            f"{folder}: patient {patient + 1}", list(own.values()), list(related.values()), isocentre_mm
        )
        for i, matrices in related.items():
            if frame not in matrices:
                elsewhere.append(i)
                continue
            to_image = plan_to_image(matrices, frame)
            there = to_image[:3, :3] @ centre + to_image[:3, 3]
            wanted = centre if image_isocentre_mm is None else np.asarray(image_isocentre_mm)
            turn = Rotation.from_matrix(to_image[:3, :3]).as_euler("xyz", degrees=True)
            images.append(RegisteredImage(patient, i, _when(own[i]), there, there - wanted, turn))
    if elsewhere:
        numbers = ", ".join(map(str, elsewhere))
        notes.append(f"files {numbers}: registered to another frame of reference than the plan's; left out")
    return images, notes


def _read(folder: Path) -> dict[int, DicomFile]:
    """The DICOM files below a folder by number; one without rigid registrations, or with others, is refused."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.as_posix())
    found = {i: file for i, path in enumerate(paths, 1) if (file := read_file(path, f"file {i}"))}
    for file in of_kind(list(found.values()), _DEFORMABLE):
        raise CaseError(
            f"{folder}: {file.name}, in the order of paths, is a deformable registration, which has no one shift; export the "
            "rigid registration of that image in its place"
        )
    if not of_kind(list(found.values()), _RIGID):
        raise CaseError(
            f"{folder}: no spatial registration (DICOM REG) among {len(paths)} files; name the folder that holds them"
        )
    return found


def _patients(folder: Path, registrations: Sequence[DicomFile]) -> tuple[Callable[[DicomFile], str], str]:
    """What tells patients apart, and a sentence about it: PatientID, or subfolders where it is one for all or lacking."""

    def subfolder(file: DicomFile) -> str:
        parts = file.path.relative_to(folder).parts
        return parts[0] if len(parts) > 1 else ""

    ids, folders = ({of(file) for file in registrations} for of in (lambda file: file.patient_id, subfolder))
    if "" not in ids and (len(ids) > 1 or len(folders) == 1):
        return lambda file: file.patient_id, "patients are told apart by PatientID"
    if "" in folders:
        stray = next(file.name for file in registrations if not subfolder(file))
        raise CaseError(
            f"{folder}: whose is {stray}, in the order of paths? PatientID does not tell; give each patient a subfolder"
        )
    return subfolder, "patients are told apart by subfolder, since PatientID does not tell them"


def _planned(
    where: str,
    files: Sequence[DicomFile],
    related: Sequence[dict[str, np.ndarray]],
    isocentre_mm: Point | None,
) -> tuple[str, np.ndarray]:
    """Frame of reference and isocentre of a patient's plan.

    Without an RTPLAN the frame is that of the RTSTRUCT, or else the one that all registrations share.
    """
    seen = [set(matrices) for matrices in related]
    in_any, in_all = set.union(*seen), set.intersection(*seen)
    plans = [p for p in files if p.kind == "RTPLAN" and not p.problem and (not p.frame_uids or p.frame_uids & in_any)]
    centres: list[np.ndarray] = []
    for point in (point for plan in plans for point in plan_facts(plan).isocentres_mm):
        if all(np.abs(point - other).max() > _SAME_POINT_MM for other in centres):
            centres.append(point)
    if len(centres) > 1:
        raise CaseError(f"{where}: {len(centres)} isocentres in RTPLANs; leave only the RTPLAN that was treated")
    if not centres and isocentre_mm is None:
        raise CaseError(f"{where}: no RTPLAN with an isocentre; add it to the folder, or say --isocentre X,Y,Z in mm")
    drawn = [s for s in files if s.kind == "RTSTRUCT"]
    candidates = (
        in_any.intersection(*(p.frame_uids for p in plans if p.frame_uids))
        if any(p.frame_uids for p in plans)
        else set(),
        in_any.intersection(*(s.frame_uids for s in drawn)) if drawn else set(),
        in_all if len(seen) > 1 else set(),
    )
    frame = next((frames for frames in candidates if frames), set())
    if len(frame) != 1:
        raise CaseError(f"{where}: which image of a registration is the plan's? add the RTPLAN, or the RTSTRUCT")
    return frame.pop(), centres[0] if centres else np.asarray(isocentre_mm, float)


def _when(file: DicomFile) -> str:
    return "".join(str(file.header.get(key) or "") for key in ("ContentDate", "ContentTime"))
