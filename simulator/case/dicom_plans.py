"""RTPLAN: what it prescribes, whether it belongs to a structure set, and which one of several is meant."""

from collections.abc import Sequence

import numpy as np

from simulator.case.anatomy import PlanFacts
from simulator.case.dicom_beams import treatment_beams
from simulator.case.dicom_elements import Elements
from simulator.case.dicom_files import DicomFile, choose, items, refuse_several
from simulator.ground.spec import CaseError

_SAME_POINT_MM = 0.1


def plan_facts(plan: DicomFile) -> PlanFacts:
    """Fraction groups, prescriptions to targets, isocentres and treatment beams; why these could not be read, if so.

    Raises
    ------
    CaseError : an element that is no such number.
    """
    header = plan.header
    references = items(header, "DoseReferenceSequence")
    targets = [r for r in references if str(r.get("DoseReferenceType") or "TARGET").strip().upper() == "TARGET"]
    beams = [
        b
        for b in items(header, "BeamSequence") + items(header, "IonBeamSequence")
        if str(b.get("TreatmentDeliveryType") or "TREATMENT") == "TREATMENT"
    ]
    isocentres: list[np.ndarray] = []
    for point in (p for b in beams for p in _isocentres(b)):
        if all(np.abs(point - other).max() > _SAME_POINT_MM for other in isocentres):
            isocentres.append(point)
    try:
        delivered, unread = treatment_beams(plan), ""
    except CaseError as error:
        delivered, unread = (), str(error)
    return PlanFacts(
        label=plan.label,
        source=plan.name,
        groups=tuple(_fractions(g) for g in items(header, "FractionGroupSequence")),
        target_doses_gy=_target_doses_gy(targets),
        isocentres_mm=tuple(isocentres),
        beam_numbers=tuple(b.whole("BeamNumber") for b in beams),
        uid=plan.uid,
        target_rois=tuple(r.whole("ReferencedROINumber") for r in targets if r.get("ReferencedROINumber")),
        beams=delivered,
        beams_unread=unread,
    )


def _fractions(group: Elements) -> int | None:
    n = group.whole("NumberOfFractionsPlanned") if group.get("NumberOfFractionsPlanned") not in (None, "") else 0
    return n if n > 0 else None


def _target_doses_gy(targets: Sequence[Elements]) -> tuple[float, ...]:
    """Doses prescribed to targets, the largest first; what is said of organs at risk is a limit."""
    doses = {r.number("TargetPrescriptionDose") for r in targets if r.get("TargetPrescriptionDose")}
    return tuple(sorted((d for d in doses if d > 0), reverse=True))


def _isocentres(beam: Elements) -> list[np.ndarray]:
    points = items(beam, "ControlPointSequence") + items(beam, "IonControlPointSequence")
    return [p.numbers("IsocenterPosition", 3) for p in points[:1] if p.get("IsocenterPosition")]


def misfit(plan: DicomFile, structure_set: DicomFile, is_named: bool = False) -> str:
    """Why a plan cannot be that of a structure set; empty where nothing speaks against it.

    Parameters
    ----------
    is_named : the user has named the plan, so that it may refer to an earlier export of the structure set.
    """
    if plan.patient_id and structure_set.patient_id and plan.patient_id != structure_set.patient_id:
        return "is of another patient (PatientID)"
    if plan.frame_uids and structure_set.frame_uids and not plan.frame_uids & structure_set.frame_uids:
        return "is in another frame of reference"
    if not is_named and plan.structure_set_uid and plan.structure_set_uid != structure_set.uid:
        return "refers to another structure set"
    return ""


def choose_plan_and_structures(
    plans: list[DicomFile],
    structure_sets: list[DicomFile],
    doses: list[DicomFile],
    plan_uid: str | None,
    structure_set_uid: str | None,
) -> tuple[DicomFile | None, DicomFile]:
    """The plan, if there is one, and the structure set that belong together; no plan where several doses have each its own.

    Parameters
    ----------
    doses : those that the study names; they tell which of several plans is meant.
    plan_uid, structure_set_uid : what the study names, if it does.

    Raises
    ------
    CaseError : several fit, or none.
    """
    chosen = choose(structure_sets, structure_set_uid, "RTSTRUCT") if structure_set_uid is not None else None
    if chosen is None and len(structure_sets) == 1:
        chosen = structure_sets[0]
    if plan_uid is not None:
        plan: DicomFile | None = choose(plans, plan_uid, "RTPLAN")
    else:
        plan = _only_plan(plans, chosen, doses)
    if chosen is None:
        of_plan = [s for s in structure_sets if plan and s.uid == plan.structure_set_uid]
        if len(of_plan) != 1:
            raise refuse_several(structure_sets, "RTSTRUCT")
        chosen = of_plan[0]
    if plan and (reason := misfit(plan, chosen, plan_uid is not None)):
        raise refuse_misfit(plan, chosen, reason)
    return plan, chosen


def _only_plan(plans: list[DicomFile], structure_set: DicomFile | None, doses: list[DicomFile]) -> DicomFile | None:
    fitting = [p for p in plans if structure_set is None or not misfit(p, structure_set, is_named=True)]
    if len(fitting) > 1:
        named = [p for p in fitting if p.uid in {d.plan_uid for d in doses}]
        if len(named) == 1 and all(d.plan_uid for d in doses):
            return named[0]
        if len(doses) < 2:
            raise refuse_several(fitting, "RTPLAN")
        return None
    return next(iter(fitting or plans), None)


def refuse_misfit(plan: DicomFile, structure_set: DicomFile, reason: str) -> CaseError:
    """The error that a plan and a structure set do not belong together."""
    remedy = (
        "name it with case.rtplan if it is the right one all the same"
        if reason.startswith("refers")
        else "take it out of the folder"
    )
    return CaseError(
        f"RTPLAN {plan.name} does not belong to RTSTRUCT {structure_set.name}: it {reason}; {remedy}, or name another "
        "with case.rtplan or case.structure_set"
    )
