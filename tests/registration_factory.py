"""Invented spatial registrations of daily images to plans, as DICOM files."""

from pathlib import Path

import numpy as np
from dicom_factory import _item, _save
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from scipy.spatial.transform import Rotation

ROOT = "1.2.826.0.1.98"
RIGID, DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.1", "1.2.840.10008.5.1.4.1.1.66.3"
PLAN, STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.481.3"
ISOCENTRE = np.array([12.0, -140.0, 35.0])


def pose(shift_mm, turn_deg=(0, 0, 0), isocentre=ISOCENTRE, image_isocentre=None):
    """Matrix from the plan to the image: turned about the isocentre (LR, then AP, then SI), then shifted."""
    turn = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    there = np.asarray(isocentre if image_isocentre is None else image_isocentre) + np.asarray(shift_mm)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, there - turn @ isocentre
    return matrix


def registration(matrix, frame, image, direction="image to plan"):
    """A data set that relates the plan's frame of reference to that of an image, in one of the ways that the standard knows."""
    inverse, middle = np.linalg.inv(matrix), pose((3, 4, 5), (1, 2, 3), (6, 7, 8))
    registered, sources = {
        "image to plan": (frame, {frame: np.eye(4), image: inverse}),
        "plan to image": (image, {image: np.eye(4), frame: matrix}),
        "image alone": (frame, {image: inverse}),
        "plan alone": (image, {frame: matrix}),
        "both to a third": (f"{ROOT}.3", {frame: middle, image: middle @ inverse}),
    }[direction]
    data = Dataset()
    data.FrameOfReferenceUID = registered
    data.RegistrationSequence = Sequence(item(uid, one) for uid, one in sources.items())
    return data


def item(frame, *matrices):
    """An item of a registration."""
    found = Sequence(
        _item(
            FrameOfReferenceTransformationMatrixType="RIGID",
            FrameOfReferenceTransformationMatrix=[f"{v:.10g}" for v in np.ravel(m)],
        )
        for m in matrices
    )
    return _item(
        FrameOfReferenceUID=frame,
        MatrixRegistrationSequence=Sequence([_item(RegistrationTypeCodeSequence=Sequence(), MatrixSequence=found)]),
    )


def save(data, path: Path, patient, sop_class=RIGID, when=""):
    """Write a data set as a file of a patient; `when` as 20240131T0930."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.SOPClassUID, data.SOPInstanceUID = sop_class, f"{ROOT}.9.{abs(hash(str(path))) % 10**9}"
    data.Modality = {PLAN: "RTPLAN", STRUCTURES: "RTSTRUCT"}.get(sop_class, "REG")
    data.PatientName, data.PatientID = "Doe^Jane", patient
    data.ContentDate, data.ContentTime = ([*when.split("T"), ""] if when else ["", ""])[:2]
    _save(data, path, preamble=True)


def plan(frame, isocentre=ISOCENTRE):
    """An RTPLAN with an isocentre."""
    point = _item(ControlPointIndex=0, IsocenterPosition=[float(v) for v in isocentre])
    data = Dataset()
    data.FrameOfReferenceUID = frame
    data.BeamSequence = Sequence([_item(BeamNumber=1, ControlPointSequence=Sequence([point]))])
    return data


def write_clinic(
    folder, shifts_mm, turns_deg=None, *, direction="image to plan", plans=True, image_isocentre=None, ids="ID-{}"
):
    """A folder of patients, each with his registrations and plan; shifts (patient, fraction, 3), a fraction a day."""
    turns_deg = np.zeros_like(shifts_mm) if turns_deg is None else turns_deg
    for p, (shifts, turns) in enumerate(zip(shifts_mm, turns_deg, strict=True)):
        frame, centre, own = f"{ROOT}.1.{p}", ISOCENTRE + 10 * p, folder / f"Doe^Jane-{p}"
        for f, (shift, turn) in enumerate(zip(shifts, turns, strict=True)):
            data = registration(pose(shift, turn, centre, image_isocentre), frame, f"{ROOT}.2.{p}.{f}", direction)
            save(data, own / f"reg_{f}.dcm", ids.format(p), when=f"2024{1 + p % 12:02d}{1 + f:02d}T0930")
        if plans:
            save(plan(frame, centre), own / "plan.dcm", ids.format(p), PLAN)
    return folder
