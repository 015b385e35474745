"""Volumes in NIfTI (RAS, mm), read into and written from house axes (LPS); nibabel is an extra, imported when it is needed."""

import math
from pathlib import Path
from types import ModuleType

import numpy as np

from simulator.case.geometry import Volume, in_house_axes
from simulator.ground.reading import check_room, reading
from simulator.ground.spec import CaseError, SimulatorError

SUFFIXES = (".nii", ".nii.gz")
_TO_LPS = np.array([-1.0, -1.0, 1.0])
_ALIGNED = 1e-3


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI by its name."""
    return path.name.lower().endswith(SUFFIXES)


def nifti_files(folder: Path) -> dict[str, Path]:
    """The NIfTI files in a folder, by name without suffix."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and is_nifti(path))
    return {path.name[: path.name.lower().rindex(".nii")]: path for path in files}


def read_nifti(path: Path) -> Volume:
    """A volume in house axes, its values scaled as the file says.

    Raises
    ------
    CaseError : no 3-D volume, no patient space, or oblique axes.
    """
    nibabel = _nibabel()
    with reading(path, "export the volume again"):
        image = nibabel.load(path)
        check_room(math.prod(float(n) for n in image.shape) * 8, path, "crop the volume")
        if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
            raise CaseError(f"{path}: states no patient space (sform and qform codes are 0); export it with its affine")
        values = np.asanyarray(image.dataobj)
        if values.dtype.kind not in "biuf":
            raise ValueError(f"it holds {values.dtype} where numbers are wanted")
        values = (
            values.reshape(values.shape[:3])
            if values.ndim > 3 and values.size == math.prod(values.shape[:3])
            else values
        )
        if values.ndim != 3:
            raise CaseError(f"{path}: a 3-D volume is wanted, got shape {values.shape}")
        vectors = (image.affine[:3, :3] * _TO_LPS[:, None]).T
        steps = np.linalg.norm(vectors, axis=1)
        if not np.all(steps > 0) or not np.isfinite(image.affine).all():
            raise ValueError(f"the affine {image.affine.tolist()} has no axes of an image")
        directions = vectors / steps[:, None]
        if np.abs(directions - np.rint(directions)).max() > _ALIGNED:
            raise CaseError(f"{path}: the axes are oblique; resample it along the patient's axes")
        origin = image.affine[:3, 3] * _TO_LPS
        grid, house = in_house_axes(origin, np.rint(directions), steps, values.shape, values)
        assert house is not None
        return Volume(grid, house)


def write_nifti(path: Path, volume: Volume) -> None:
    """Write a volume as NIfTI, its affine in RAS."""
    nibabel, grid = _nibabel(), volume.grid
    affine = np.diag([*(_TO_LPS * grid.spacing_mm), 1.0])
    affine[:3, 3] = _TO_LPS * grid.origin_mm
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.values.transpose(2, 1, 0)), affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError:
        raise SimulatorError(
            'NIfTI needs nibabel; run pip install ".[nifti]" in the folder of the source code'
        ) from None
    return nibabel
