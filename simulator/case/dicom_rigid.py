"""The rigid transformation of one spatial registration, from the plan's frame of reference to that of the daily image.

Source: DICOM PS3.3 C.20.2: the matrix of an item takes points of its frame of reference to that of the object.
"""

import numpy as np

from simulator.case.dicom_elements import Elements
from simulator.case.dicom_files import DicomFile, items

_MATRIX, _WITHIN = "FrameOfReferenceTransformationMatrix", 1e-3


def frames_of(file: DicomFile) -> dict[str, np.ndarray]:
    """The two frames of reference that a registration relates, each with its matrix (4, 4) to that of the object.

    Raises
    ------
    CaseError : an element is missing or wrong, a matrix is not rigid, or there are more frames than two, or only one.
    """
    header, found = file.header, items(file.header, "RegistrationSequence")
    matrices = {str(item.FrameOfReferenceUID): _rigid(item) for item in found}
    if len(matrices) == 1 == len(found):
        matrices.setdefault(str(header.FrameOfReferenceUID), np.eye(4))
    if len(matrices) != 2 or len(found) > 2:
        raise header.refusal(
            "RegistrationSequence", f"relates {len(matrices)} frames of reference, a plan's and an image's wanted"
        )
    return matrices


def plan_to_image(matrices: dict[str, np.ndarray], plan_frame: str) -> np.ndarray:
    """Matrix (4, 4) from the plan to the image, whichever of them the registration takes to the other."""
    (image,) = (matrix for frame, matrix in matrices.items() if frame != plan_frame)
    return np.linalg.inv(image) @ matrices[plan_frame]


def _rigid(item: Elements) -> np.ndarray:
    """The one matrix (4, 4) of an item."""
    found = [m for r in items(item, "MatrixRegistrationSequence") for m in items(r, "MatrixSequence")]
    if len(found) != 1:
        raise item.refusal("MatrixSequence", f"has {len(found)} matrices, one wanted")
    matrix = found[0].numbers(_MATRIX, 16).reshape(4, 4)
    turn = matrix[:3, :3]
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > _WITHIN:
        raise item.refusal(_MATRIX, "does not end in 0, 0, 0, 1")
    if np.abs(turn @ turn.T - np.eye(3)).max() > _WITHIN or np.linalg.det(turn) < 0:
        raise item.refusal(_MATRIX, "is not rigid: it scales, shears or mirrors")
    return matrix
