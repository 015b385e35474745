"""`load_case`: a case from wherever it lies, for notebooks."""

from pathlib import Path
from typing import Any

from simulator.case.anatomy import Case
from simulator.case.nifti import nifti_files
from simulator.case.sources import ArchiveCase, DicomCase


def load_case(path: str | Path, **options: Any) -> Case:
    """Read a DICOM-RT folder, a case file or a folder of NIfTI files.

    Parameters
    ----------
    path : folder of DICOM or NIfTI files, or .npz file.
    options : keys of the study file's `case` section, for example target="PTV".

    Raises
    ------
    CaseError : what is missing or inconsistent, and how to mend it.
    """
    if Path(path).is_file() or (Path(path).is_dir() and nifti_files(Path(path))):
        return ArchiveCase(file=str(path), **options).build()
    return DicomCase(dicom=str(path), **options).build()
