"""The small patient of `dicom_factory` with an RTPLAN that an engine can deliver, and what it computed of it, once.

A third of an arc and a static beam with a turned collimator, leaves of 5 mm, 10 MV. `python tests/delivered_plans.py`
computes the recorded doses again with the engine (extra `engine`): PyDoseRT 1.5.0, machine elekta_10MV, Gy of one fraction.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from dicom_changes import change, item
from dicom_factory import GTV_CENTRE, write_phantom_dicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from simulator.case.geometry import Volume
from simulator.case.treatment_beams import TreatmentBeam
from simulator.plan.engine.segments import MachineSpeeds, Segments

RECORDED = Path(__file__).parent / "data" / "engine_doses.npz"
ORIGIN_MM, STEP_MM, SHAPE = (-51.0, -53.0, -28.0), 4.0, (15, 26, 26)
FRACTIONS, FACTOR = 5, 1.04
EDGES_MM = np.arange(-200.0, 200.1, 5.0)
RADIUS_MM = 17.0


def recorded_gy() -> np.ndarray:
    """Dose float32 (part, z, y, x) of one fraction."""
    with np.load(RECORDED) as arrays:
        return arrays["parts_gy"].astype(np.float32)


def write_delivered_plan(folder: Path, wanted_gy: np.ndarray | None = None) -> Path:
    """Write the patient; the planning system's dose is what was recorded, times a factor, or some (z, y, x) in Gy."""
    gy = FRACTIONS * FACTOR * recorded_gy().sum(axis=0) if wanted_gy is None else wanted_gy
    options = {
        "origin": ORIGIN_MM,
        "spacing": (STEP_MM,) * 3,
        "shape": SHAPE,
        "values": lambda x, y, z: gy.astype(np.float64),
    }
    write_phantom_dicom(folder, ct_z=np.arange(-33.0, 34.0, 3.0), doses=[options], fractions=FRACTIONS)
    change(folder / "rp_1.dcm", _with_beams)
    return folder


def _with_beams(data: Dataset) -> None:
    arc = [(float(angle), "CW" if angle != 70 else "NONE", 0.0) for angle in (310, 330, 350, 10, 30, 50, 70)]
    beams = [beam_of(1, arc), beam_of(2, [(200.0, "NONE", 30.0)] * 2)]
    data.BeamSequence = DicomSequence([*beams, item(BeamNumber=9, TreatmentDeliveryType="SETUP")])
    data.FractionGroupSequence[0].ReferencedBeamSequence = DicomSequence(
        [item(ReferencedBeamNumber=1, BeamMeterset="900"), item(ReferencedBeamNumber=2, BeamMeterset="300")]
    )


def beam_of(number: int, points: Sequence[tuple[float, str, float]]) -> Dataset:
    control = []
    for i, (gantry, way, collimator) in enumerate(points):
        along = item(RTBeamLimitingDeviceType="MLCX", LeafJawPositions=_opening())
        jaw = item(RTBeamLimitingDeviceType="ASYMY", LeafJawPositions=[-20, 20])
        point = item(
            ControlPointIndex=i,
            GantryAngle=gantry,
            GantryRotationDirection=way,
            CumulativeMetersetWeight=round(i / (len(points) - 1), 6),
            BeamLimitingDevicePositionSequence=DicomSequence([jaw, along] if i == 0 else [along]),
        )
        if i == 0:
            point.NominalBeamEnergy, point.DoseRateSet, point.BeamLimitingDeviceAngle = 10, 600, collimator
            point.PatientSupportAngle, point.IsocenterPosition = 0, list(GTV_CENTRE)
        control.append(point)
    return item(
        BeamNumber=number,
        BeamName=f"beam {number}",
        RadiationType="PHOTON",
        TreatmentDeliveryType="TREATMENT",
        SourceAxisDistance=1000,
        BeamLimitingDeviceSequence=DicomSequence(
            [
                item(RTBeamLimitingDeviceType="ASYMY", NumberOfLeafJawPairs=1),
                item(
                    RTBeamLimitingDeviceType="MLCX", NumberOfLeafJawPairs=80, LeafPositionBoundaries=EDGES_MM.tolist()
                ),
            ]
        ),
        ControlPointSequence=DicomSequence(control),
    )


def _opening() -> list[float]:
    """Leaves around a circle: all of the one bank, then all of the other."""
    middle = (EDGES_MM[1:] + EDGES_MM[:-1]) / 2
    half = np.sqrt(np.clip(RADIUS_MM**2 - middle**2, 0, None)).round(3)
    return [*(-half).tolist(), *half.tolist()]


class Recorded:
    """An engine that gives what another one once computed, whatever the density; it remembers those that it was asked for."""

    speeds = MachineSpeeds(10.0, 6.0, 22.5)

    def __init__(self) -> None:
        self.densities: list[Volume] = []

    def check(self, beams: Sequence[TreatmentBeam]) -> None:
        """Nothing is refused."""

    def dose_gy(self, density: Volume, group: Segments) -> np.ndarray:
        """The part that begins at the group's first gantry angle, on whatever grid holds its own."""
        self.densities.append(density)
        part = 6 if group.beam.number == 2 else int((group.gantry_deg[0] - 310) // 20)
        gy = np.zeros(density.grid.shape, np.float32)
        first = np.rint(density.grid.index_zyx(np.array(ORIGIN_MM))).astype(int)
        gy[tuple(slice(a, a + n) for a, n in zip(first, SHAPE, strict=True))] = recorded_gy()[part]
        return gy


if __name__ == "__main__":
    import tempfile

    from simulator.case.dicom import load_dicom
    from simulator.case.sources import DicomCase
    from simulator.plan.delivered import DeliveredDoses, _Delivery

    with tempfile.TemporaryDirectory() as place:
        write_delivered_plan(Path(place), np.ones(SHAPE))
        case = load_dicom(DicomCase(dicom=place, target="GTV"))
    model = DeliveredDoses.model_validate({"machine": "elekta_10MV"})
    parts_gy = _Delivery.of(model, case).parts_gy(case.density) / FRACTIONS
    print(parts_gy.shape, parts_gy.sum(axis=0).max())
    RECORDED.parent.mkdir(exist_ok=True)
    np.savez_compressed(RECORDED, parts_gy=parts_gy.astype(np.float16))
