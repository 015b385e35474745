"""Whether a study and the RTPLAN whose dose it uses say the same."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates

from simulator.case.anatomy import Case, ImportedDose, PlanFacts
from simulator.case.structures import Structure
from simulator.plan.prescription import Prescription
from simulator.spec import ConfigError

_SAME_DOSE = 0.005
_SAME_ISODOSE_PERCENT = 2.0
_USUAL_MEAN = (0.8, 1.7)
_POSSIBLE_MEAN = (0.02, 10.0)
_FAR_MM = 150.0
_MOST_GY = 1000.0


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
        notes += _notes_on_dose(target, dose, prescription, key)
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
    return points[0], [f"rotations turn about the plan's isocentre ({where}) mm{far}"]
