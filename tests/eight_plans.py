"""A synthetic patient as a planning system exports one: margins of 2, 4, 6 and 8 mm, with and without an ITV, eight plans.

GTV: sphere of 12 mm at (5, -3, 6), which breathes by 8 mm along z; ITV: the union of its places. Every plan gives 50 Gy in 5
fractions to the 80 % isodose, which is the surface of its PTV; beyond it the dose falls like a Gaussian edge of 4 mm SD.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from dicom_changes import change
from dicom_factory import GTV_CENTRE, GTV_RADIUS, ROOT, circle, write_phantom_dicom
from pydicom.dataset import Dataset
from scipy.special import ndtr, ndtri

MARGINS_MM = (2, 4, 6, 8)
ITV_HALF_MM = 4.0
RX_GY, ISODOSE_PERCENT, EDGE_SD_MM = 50.0, 80.0, 4.0
SLICE_MM = 3
HEIGHTS_MM = tuple(float(z) for z in range(-39, 52, SLICE_MM))
PLANS = [(motion, margin) for motion in ("none", "itv") for margin in MARGINS_MM]


def ptv_name(motion: str, margin_mm: float) -> str:
    """What the clinic calls the PTV."""
    return f"PTV_{'ITV' if motion == 'itv' else ''}{margin_mm:g}mm"


def discs(radius_mm: float, half_mm: float) -> dict[float, float]:
    """Radius in every slice of a sphere about the GTV's centre, drawn out by `half_mm` up and down."""
    away = {z: max(abs(z - GTV_CENTRE[2]) - half_mm, 0) for z in HEIGHTS_MM}
    return {z: np.sqrt(radius_mm**2 - d**2) for z, d in away.items() if d < radius_mm}


def capsule(radius_mm: float, half_mm: float) -> list[np.ndarray]:
    """Its contours."""
    return [circle(*GTV_CENTRE[:2], z, r) for z, r in discs(radius_mm, half_mm).items()]


def capsule_cc(radius_mm: float, half_mm: float) -> float:
    """Its volume in cc, as drawn: discs of a slice's thickness."""
    return sum(np.pi * r**2 * SLICE_MM for r in discs(radius_mm, half_mm).values()) / 1000


def half_mm_of(motion: str) -> float:
    """How far what is planned on is drawn out."""
    return ITV_HALF_MM if motion == "itv" else 0.0


def dose_of(motion: str, margin_mm: float) -> Callable[..., np.ndarray]:
    """Planned dose in Gy at x, y, z in mm."""
    radius_mm = GTV_RADIUS + margin_mm + EDGE_SD_MM * ndtri(ISODOSE_PERCENT / 100)

    def gray(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        along = np.maximum(np.abs(z - GTV_CENTRE[2]) - half_mm_of(motion), 0)
        away = np.sqrt((x - GTV_CENTRE[0]) ** 2 + (y - GTV_CENTRE[1]) ** 2 + along**2)
        return RX_GY / (ISODOSE_PERCENT / 100) * ndtr((radius_mm - away) / EDGE_SD_MM)

    return gray


def write_eight_plans(folder: str | Path) -> Path:
    """CT, RTSTRUCT, and an RTPLAN rp_n.dcm with its RTDOSE rd_n.dcm for each of `PLANS`."""
    drawn = {
        "BODY": ("EXTERNAL", [circle(0, 0, z, 60) for z in HEIGHTS_MM]),
        "GTV": ("GTV", capsule(GTV_RADIUS, 0)),
        "ITV": ("CTV", capsule(GTV_RADIUS, ITV_HALF_MM)),
        "Oesophagus": ("ORGAN", [circle(-14, 12, z, 6) for z in HEIGHTS_MM]),
        "SpinalCord": ("ORGAN", [circle(0, 38, z, 5) for z in HEIGHTS_MM]),
    }
    drawn |= {ptv_name(m, mm): ("PTV", capsule(GTV_RADIUS + mm, half_mm_of(m))) for m, mm in PLANS}
    grid = {"origin": (-54.0, -57.0, -42.0), "shape": (33, 37, 37), "spacing": (3.0, 3.0, 3.0)}
    doses = [{"plan": i, "values": dose_of(*plan), **grid} for i, plan in enumerate(PLANS, 1)]
    path = write_phantom_dicom(folder, ct_z=HEIGHTS_MM, structures=drawn, n_plans=len(PLANS), doses=doses)
    for i, (motion, margin) in enumerate(PLANS, 1):

        def of_this_margin(plan: Dataset, label: str = f"{'ITV ' if motion == 'itv' else ''}{margin:g} mm") -> None:
            plan.RTPlanLabel = label
            plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = f"{ROOT}.3.1"

        change(path / f"rp_{i}.dcm", of_this_margin)
    return path
