"""RTPLAN: the control points of its treatment beams. What a control point does not say stays as it was before."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from simulator.case.dicom_files import DicomFile, items
from simulator.case.treatment_beams import TreatmentBeam
from simulator.ground.spec import CaseError

_AXIS: Final = {"X": "x", "ASYMX": "x", "Y": "y", "ASYMY": "y", "MLCX": "leaves"}
_MODIFIERS: Final = {"NumberOfWedges": "wedges", "NumberOfBlocks": "blocks", "NumberOfCompensators": "compensators"}
_OPEN_MM = 200.0
_PER_MINUTE = 60.0


def treatment_beams(plan: DicomFile) -> tuple[TreatmentBeam, ...]:
    """The photon beams of one fraction, in the order of the plan.

    Raises
    ------
    CaseError : it has none that can be delivered again, or says too little.
    """
    groups = items(plan.header, "FractionGroupSequence")
    if len(groups) != 1:
        raise CaseError(f"RTPLAN {plan.name} has {len(groups)} fraction groups, one is wanted")
    positions = {str(p.get("PatientPosition") or "HFS") for p in items(plan.header, "PatientSetupSequence")}
    if positions - {"HFS"}:
        raise CaseError(f"RTPLAN {plan.name}: the patient lies {', '.join(sorted(positions))}, only HFS is known")
    metersets = {
        r.whole("ReferencedBeamNumber"): r.number("BeamMeterset")
        for r in items(groups[0], "ReferencedBeamSequence")
        if r.get("BeamMeterset")
    }
    beams = [
        b
        for b in items(plan.header, "BeamSequence")
        if str(b.get("TreatmentDeliveryType") or "TREATMENT") == "TREATMENT"
    ]
    found = [_beam(b, metersets[b.whole("BeamNumber")], plan) for b in beams if b.whole("BeamNumber") in metersets]
    if not found:
        raise CaseError(f"RTPLAN {plan.name} has no photon beam with monitor units (BeamMeterset)")
    return tuple(found)


def _beam(beam: Any, monitor_units: float, plan: DicomFile) -> TreatmentBeam:
    number, points = beam.whole("BeamNumber"), items(beam, "ControlPointSequence")
    where = f"RTPLAN {plan.name}: beam {number}"
    if str(beam.get("RadiationType") or "PHOTON") != "PHOTON":
        raise CaseError(f"{where} is of {str(beam.get('RadiationType')).lower()}s, only photons are known")
    if unknown := [what for key, what in _MODIFIERS.items() if beam.get(key) and beam.whole(key)]:
        raise CaseError(f"{where} has {' and '.join(unknown)}, which are not known")
    devices = {str(d.get("RTBeamLimitingDeviceType")): d for d in items(beam, "BeamLimitingDeviceSequence")}
    if "MLCX" not in devices or set(devices) - set(_AXIS):
        raise CaseError(f"{where} has {', '.join(devices) or 'no devices'}; one MLCX, with jaws or without, is known")
    if len(points) < 2:
        raise CaseError(f"{where} has fewer than two control points")
    edges_mm = devices["MLCX"].numbers("LeafPositionBoundaries")
    shapes = _shapes(points, len(edges_mm) - 1, where)
    delivered = np.array([p.number("CumulativeMetersetWeight") for p in points])
    if delivered[0] != 0 or delivered[-1] <= 0 or np.any(np.diff(delivered) < 0):
        raise CaseError(f"{where}: CumulativeMetersetWeight does not rise from 0")
    rate = points[0].number("DoseRateSet") / _PER_MINUTE if points[0].get("DoseRateSet") else 0.0
    return TreatmentBeam(
        number=number,
        name=str(beam.get("BeamName") or number),
        energy_mv=points[0].number("NominalBeamEnergy"),
        monitor_units=monitor_units,
        delivered=delivered / delivered[-1],
        gantry_deg=_gantry_deg(points),
        collimator_deg=_kept(points, "BeamLimitingDeviceAngle"),
        couch_deg=_kept(points, "PatientSupportAngle"),
        leaves_mm=shapes["leaves"].reshape(len(points), 2, -1).transpose(0, 2, 1),
        leaf_edges_mm=edges_mm,
        jaws_x_mm=shapes["x"],
        jaws_y_mm=shapes["y"],
        isocentre_mm=points[0].numbers("IsocenterPosition", 3),
        source_mm=beam.number("SourceAxisDistance"),
        monitor_units_per_s=rate or None,
    )


def _shapes(points: Sequence[Any], n_pairs: int, where: str) -> dict[str, np.ndarray]:
    """Positions (point, n) of jaws along x and y and of leaves; jaws that the beam does not have stand wide open."""
    now = {"x": np.array([-_OPEN_MM, _OPEN_MM]), "y": np.array([-_OPEN_MM, _OPEN_MM])}
    wanted = {"x": 2, "y": 2, "leaves": 2 * n_pairs}
    rows: dict[str, list[np.ndarray]] = {key: [] for key in wanted}
    for point in points:
        for device in items(point, "BeamLimitingDevicePositionSequence"):
            key = _AXIS.get(str(device.get("RTBeamLimitingDeviceType")), "")
            now |= {key: device.numbers("LeafJawPositions", wanted[key])} if key else {}
        if "leaves" not in now:
            raise CaseError(f"{where}: its first control point has no leaf positions")
        for key, row in rows.items():
            row.append(now[key])
    return {key: np.stack(row) for key, row in rows.items()}


def _kept(points: Sequence[Any], keyword: str) -> np.ndarray:
    """A number of each control point, as before where one does not say; 0 where none does."""
    now, values = 0.0, []
    for point in points:
        now = point.number(keyword) if point.get(keyword) not in (None, "") else now
        values.append(now)
    return np.array(values)


def _gantry_deg(points: Sequence[Any]) -> np.ndarray:
    """Gantry angles that go on where the gantry turns past 0; the shorter way where the plan names no direction."""
    angles, way = _kept(points, "GantryAngle"), "NONE"
    turned = [float(angles[0])]
    for i, step in enumerate(np.diff(angles)):
        way = str(points[i].get("GantryRotationDirection") or way)
        by = step % 360 if way == "CW" else -(-step % 360) if way == "CC" else (step + 180) % 360 - 180
        turned.append(turned[-1] + float(by))
    return np.array(turned)
