"""An invented 4DCT as structure sets: a node and a liver edge that breathe, a vertebra that does not."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pydicom
from dicom_factory import circle, write_phantom_dicom

PERCENTS = tuple(range(0, 100, 10))
NODE_MM, LIVER_MM, RADIUS_MM = (3.0, -20.0, 4.0), (-30.0, 0.0, -15.0), 9.0
AMPLITUDE_MM = (1.0, 3.0, 8.0)
"""Peak to peak of the node; AP trails by a quarter of a cycle, so that its hysteresis is 3 mm."""

Place = Callable[[float], tuple[float, float, float]]


def node(percent: float) -> tuple[float, float, float]:
    """Left, anterior a quarter of a cycle late, inferior at inhale."""
    angle = 2 * np.pi * percent / 100
    shift = np.array(AMPLITUDE_MM) / 2 * (np.cos(angle), -np.sin(angle), -np.cos(angle))
    return tuple(np.add(NODE_MM, shift))


def liver(percent: float) -> tuple[float, float, float]:
    """Inferior at inhale, in step with the node."""
    return tuple(np.add(LIVER_MM, (0, 0, -6 * np.cos(2 * np.pi * percent / 100))))


def ball(centre, radius=RADIUS_MM, step=1.0):
    """Contours of a sphere on slices of a fixed lattice."""
    x, y, z0 = centre
    heights = [z for z in np.arange(-60, 61, step) if abs(z - z0) < radius]
    return [circle(x, y, float(z), float(np.sqrt(radius**2 - (z - z0) ** 2)), 60) for z in heights]


def drawn(percent: float, names: Mapping[str, tuple[str, Place]] | None = None) -> dict:
    """Structures of one phase."""
    usual = {"GTV node": ("GTV", node), "Liver": ("ORGAN", liver), "Vertebra": ("ORGAN", lambda _: (0.0, 40.0, 0.0))}
    return {name: (kind, ball(place(percent))) for name, (kind, place) in (names or usual).items()}


def write_4dct(
    folder: Path,
    percents: Iterable[float] = PERCENTS,
    label: str = "T{:02.0f}",
    structures: Callable[[float], dict] = drawn,
    change: Callable[[pydicom.Dataset, float], None] = lambda data, percent: None,
) -> Path:
    """Write a structure set for each phase."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, percent in enumerate(percents):
        place = write_phantom_dicom(folder / "new", ct_z=(), doses=(), n_plans=0, structures=structures(percent))
        data = pydicom.dcmread(place / "rs_1.dcm")
        data.StructureSetLabel = label.format(percent)
        data.SOPInstanceUID = f"{data.SOPInstanceUID}.{i + 1}"
        change(data, percent)
        data.save_as(folder / f"set-{i + 1}.dcm")
    (folder / "new" / "rs_1.dcm").unlink()
    (folder / "new").rmdir()
    return folder
