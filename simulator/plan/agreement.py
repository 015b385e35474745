"""Whether a study and the RTPLAN whose dose it uses say the same."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates

from simulator.case.anatomy import Case, ImportedDose, PlanFacts
from simulator.case.geometry import Grid, Volume
from simulator.case.structures import Structure, sample_structure
from simulator.ground.spec import ConfigError
from simulator.plan.dose import LimitedSplineDose, TrilinearDose
from simulator.plan.prescription import Prescription

_SAME_DOSE = 0.005
_SAME_ISODOSE_PERCENT = 2.0
_USUAL_MEAN = (0.8, 1.7)
_POSSIBLE_MEAN = (0.02, 10.0)
_FAR_MM = 150.0
_MOST_GY = 1000.0
_OPEN_PERCENT, _FEW_POINTS, _BORDER_NODES = 2.5, 1000, 8


def contradictions(facts: PlanFacts, prescription: Prescription, key: str = "prescription") -> list[str]:
    """Where a study's prescription is not that of an RTPLAN, by key of the study.

    Parameters
    ----------
    key : where the study has the dose.
    """
    found = []
    same = [abs(dose - prescription.dose_gy) <= _SAME_DOSE * dose for dose in facts.target_doses_gy]
    if facts.target_doses_gy and not any(same):
        theirs = " and ".join(f"{dose:g}" for dose in facts.target_doses_gy)
        found.append(f"{key}.dose_gy is {prescription.dose_gy:g} Gy, RTPLAN {facts.source} prescribes {theirs} Gy")
    if facts.fractions not in (None, prescription.fractions):
        groups = f" ({' + '.join(map(str, facts.groups))})" if len(facts.groups) > 1 else ""
        found.append(
            f"prescription.fractions is {prescription.fractions}, RTPLAN {facts.source} has {facts.fractions}{groups} "
            "fractions"
        )
    return found


def check_agreement(
    case: Case, target: Structure, doses: Sequence[ImportedDose], prescription: Prescription, key: str
) -> list[str]:
    """What to note of a study on imported doses that treat a target.

    Parameters
    ----------
    prescription : of the target, with its dose under a key of the study.

    Raises
    ------
    ConfigError : the study contradicts the RTPLAN of a dose that it uses, and does not say that it means to; or the dose in
        the target is of another order than the prescription.
    """
    notes: list[str] = []
    for dose in doses:
        found = contradictions(dose.plan, prescription, key) if dose.plan else []
        if found and not prescription.overrides_plan:
            raise ConfigError(
                f"{'; '.join(found)}, and its dose {dose.label!r} is used; change the study, or write "
                "prescription.overrides_plan: true if it is meant so"
            )
        notes += [f"{'; '.join(found)}; the study's own holds (prescription.overrides_plan)"] if found else []
        notes += dose.plan.remarks if dose.plan else []
        if dose.plan is None and case.plans:
            notes.append(
                f"dose {dose.label!r} is not of one RTPLAN of the folder: its prescription, fractions and isocentre are not "
                "compared; name it with plan under plan.doses"
            )
        notes += [*_notes_on_dose(target, dose, prescription, key), *_notes_on_grid(target, dose, prescription)]
    return notes


def _notes_on_dose(target: Structure, dose: ImportedDose, prescription: Prescription, key: str) -> list[str]:
    mean_gy, highest_gy = _mean_in_gy(target, dose), float(dose.dose_gy.values.max())
    share = mean_gy / prescription.dose_gy
    said = (
        f"dose {dose.label!r}: the mean in {target.name} is {mean_gy:.4g} Gy, {100 * share:.3g} % of its prescription of "
        f"{prescription.dose_gy:g} Gy"
    )
    if not _POSSIBLE_MEAN[0] < share < _POSSIBLE_MEAN[1]:
        raise ConfigError(f"{said}; change {key}.dose_gy, or export the dose of the whole course in Gy")
    if not _USUAL_MEAN[0] < share < _USUAL_MEAN[1]:
        return [said]
    if highest_gy > _MOST_GY:
        return [f"dose {dose.label!r} goes up to {highest_gy:.4g} Gy: is its DoseGridScaling wrong?"]
    isodose = 100 * prescription.dose_gy / highest_gy
    if abs(isodose - prescription.isodose_percent) > _SAME_ISODOSE_PERCENT:
        return [
            f"{key}.isodose_percent is {prescription.isodose_percent:g}, but {prescription.dose_gy:g} Gy are "
            f"{isodose:.0f} % of the highest dose of {dose.label!r}, {highest_gy:.4g} Gy; imported doses are not rescaled"
        ]
    return []


def _notes_on_grid(target: Structure, dose: ImportedDose, prescription: Prescription) -> list[str]:
    """That the grid is too coarse for a target, where it leaves open how the dose runs between its nodes."""
    volume, points = _around(target, dose.dose_gy), sample_structure(target, max_points=_FEW_POINTS).points_mm
    spline = LimitedSplineDose(volume)
    between_gy = np.abs(TrilinearDose(spline, volume.grid).at(points) - spline.at(points))
    percent = 100 * float(np.percentile(between_gy, 95)) / prescription.dose_gy
    if percent <= _OPEN_PERCENT:
        return []
    step = " x ".join(f"{s:g}" for s in dict.fromkeys(volume.grid.spacing_mm))
    return [
        f"dose {dose.label!r}: its grid of {step} mm is coarse for {target.name} ({target.volume_cc:.2g} cc): between nodes, "
        f"linear and spline interpolation differ by up to {percent:.1f} % of the prescription, and neither is known to be "
        "right; export it on a finer grid (TG-101: 2 mm or less), or see with simulate.model_error what it does to the answer"
    ]


def _around(target: Structure, dose: Volume) -> Volume:
    """The part of a dose around a target."""
    grid, border = dose.grid, _BORDER_NODES * np.array(dose.grid.spacing_mm)
    lower, upper = target.region.bounds_mm
    ends = grid.index_zyx(np.array([lower - border, upper + border]))
    first = np.clip(np.floor(ends[0]).astype(int), 0, np.array(grid.shape) - 1)
    last = np.clip(np.ceil(ends[1]).astype(int), first, np.array(grid.shape) - 1)
    box = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
    x, y, z = (float(v) for v in grid.points_mm(first))
    values = dose.values[box]
    return Volume(Grid((x, y, z), grid.spacing_mm, values.shape), values)


def _mean_in_gy(target: Structure, dose: ImportedDose) -> float:
    """Mean dose at nodes of the dose grid inside a target, or at its centre if it is smaller than a voxel."""
    grid, occupancy = dose.dose_gy.grid, target.region.occupancy(dose.dose_gy.grid)
    if occupancy.sum() > 1:
        return float(np.average(dose.dose_gy.values, weights=occupancy))
    centre = grid.index_zyx(target.centroid_mm[None])
    return float(map_coordinates(dose.dose_gy.values, centre.T, order=1, mode="nearest")[0])


def isocentre_of(case: Case, doses: Sequence[ImportedDose]) -> tuple[np.ndarray | None, list[str]]:
    """The isocentre that the plans of imported doses share, None where they do not say or differ; and what to note."""
    names = ", ".join(target.name for target in case.targets)
    points = [p for dose in doses for p in (dose.plan.isocentres_mm if dose.plan else ())]
    if not points:
        return None, []
    if np.ptp(points, axis=0).max() > 1.0:
        return None, [
            f"the plans of the doses have several isocentres: rotations turn about the centre of {names}; "
            "uncertainty.setup.isocentre_mm says otherwise"
        ]
    away_mm = float(np.linalg.norm(points[0] - np.mean([target.centroid_mm for target in case.targets], axis=0)))
    where = ", ".join(f"{v:.1f}" for v in points[0])
    far = f", {away_mm:.0f} mm from the centre of {names}" if away_mm > _FAR_MM else ""
    outside = "" if case.holds(points[0]) else ", which lies outside of the body"
    return points[0], [f"rotations turn about the plan's isocentre ({where}) mm{far}{outside}"]
