"""A case from a folder of DICOM-RT files: RTSTRUCT and, where wanted, CT, RTDOSE and RTPLAN of one patient.

Privacy: nothing here copies the patient's name, ID or birth date into a case or a message, unless the user asks to
keep the name with `keep_identity`.
"""

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.case.anatomy import Case, ImportedDose, PlanFacts, flaw_of_dose
from simulator.case.cells import Region
from simulator.case.contours import ContourRegion, drawn_spacing, slice_spacing
from simulator.case.density import AIR_DENSITY, density_of_hu
from simulator.case.dicom_files import DicomFile, choose, items, listing, of_kind, refuse_several, scan
from simulator.case.dicom_grids import ct_heights, dose_header, has_grid, read_ct, read_dose
from simulator.case.dicom_planes import with_whole_doses
from simulator.case.dicom_plans import choose_plan_and_structures, misfit, plan_facts, refuse_misfit
from simulator.case.dicom_rois import Roi, elsewhere, namesakes, rois_of
from simulator.case.dicom_slices import ct_series
from simulator.case.geometry import Grid, Volume, cropped
from simulator.case.naming import StructureNames, select_structures
from simulator.case.sources import DicomCase, DoseIs
from simulator.case.structures import Structure
from simulator.ground.files import digest_of
from simulator.ground.spec import CaseError

_DENSITY_GRID_MM = 2.5


def load_dicom(asked: DicomCase) -> Case:
    """The patient in the folder that a study names, with subfolders; what is not CT, RTSTRUCT, RTDOSE or RTPLAN is ignored.

    Several doses are several plans'; beam doses are summed when every treatment beam of the plan has one.

    Raises
    ------
    CaseError : what is missing or inconsistent, and how to mend it.
    """
    files = _readable_files(asked.dicom)
    plans = of_kind(files, "RTPLAN")
    plan, structure_set, dose_files = _chosen(files, plans, asked)
    facts = plan_facts(plan) if plan else None
    by_plan = _plans_of_doses(plans, structure_set, dose_files)
    doses = _read_doses(dose_files, facts, by_plan, asked.dose_is)
    ct_slices = ct_series(files, structure_set)
    for file in ct_slices:
        _require_same_patient(file, structure_set, "take what is another patient's out of the folder")
    drawn = _Drawn.on(structure_set, ct_heights(ct_slices), _frames_used(dose_files, ct_slices, plan), asked)
    names = drawn.names
    kept = select_structures(drawn.regions, drawn.kinds, drawn.problems, names, asked.target, asked.structures)

    notes = {"RTSTRUCT": structure_set.uid} | ({"RTPLAN": plan.uid} if plan else {})
    notes |= {f"RTDOSE {dose.label}": dose.uid for dose in doses}
    identifying = () if asked.keep_identity else tuple(notes)
    notes |= drawn.remarks(kept) | _rejected(structure_set, plan)
    _check_dose_covers(kept, doses, notes)
    external = next((s.region for s in kept.values() if s.role == "external"), None)
    density = _density(ct_slices, external, kept, doses, notes)
    density = _with_densities(density, {names.find(n): v for n, v in asked.densities.items()}, drawn.regions, notes)
    return Case(
        name=_case_name(structure_set, asked.keep_identity),
        structures=kept,
        target=names.find(asked.target),
        density=density,
        doses=tuple(doses),
        plan=facts,
        plans=tuple(by_plan.values()),
        frame_uids=frozenset(structure_set.frame_uids),
        left_out=drawn.problems | {name: names.refusal(name) for name in names.namesakes if name not in kept},
        provenance=notes,
        identifying=identifying,
        inputs=_inputs([structure_set, *(p for p in plans if p is plan or p.uid in by_plan), *ct_slices], dose_files),
    )


def _rejected(*files: DicomFile | None) -> dict[str, str]:
    """A note on each file that was turned down in the planning system."""
    status = {file.kind: str(file.header.get("ApprovalStatus") or "").strip().upper() for file in files if file}
    return {f"approval of {kind}": "REJECTED in the planning system" for kind in status if status[kind] == "REJECTED"}


def _readable_files(folder: str) -> Sequence[DicomFile]:
    files = with_whole_doses(scan(folder))
    for file in files:
        if file.problem:
            raise CaseError(file.problem)
    if not of_kind(files, "RTSTRUCT"):
        found = ", ".join(sorted({f.kind for f in files})) or "no DICOM-RT file at all"
        raise CaseError(f"{folder}: no RTSTRUCT (structure set) found; the folder has: {found}")
    return files


def _chosen(
    files: Sequence[DicomFile], plans: list[DicomFile], asked: DicomCase
) -> tuple[DicomFile | None, DicomFile, list[DicomFile]]:
    """The plan, the structure set and the doses that are asked for or belong together."""
    doses = [choose(of_kind(files, "RTDOSE"), uid, "RTDOSE") for uid in asked.rtdoses or ()]
    plan, structure_set = choose_plan_and_structures(
        plans, of_kind(files, "RTSTRUCT"), doses, asked.rtplan, asked.structure_set
    )
    if asked.rtdoses is None:
        doses = _doses_of_plan(of_kind(files, "RTDOSE"), plan)
    for dose in doses:
        _require_same_frame(dose, structure_set)
    return plan, structure_set, doses


@dataclass(frozen=True)
class _Drawn:
    """What a structure set draws: by standard name regions, interpreted types, and reasons for having no region."""

    rois: Sequence[Roi]
    names: StructureNames
    regions: dict[str, ContourRegion]
    kinds: dict[str, str]
    problems: dict[str, str]

    @classmethod
    def on(cls, structure_set: DicomFile, image_z_mm: np.ndarray, frames: frozenset[str], asked: DicomCase) -> "_Drawn":
        """On images at some heights; in the frames of reference that are used, else in the target's."""
        rois = rois_of(structure_set)
        names = StructureNames([r.name for r in rois], asked.aliases, f"RTSTRUCT {structure_set.name}", namesakes(rois))
        spacing = slice_spacing(image_z_mm) or min(
            filter(None, (drawn_spacing(r.contours) for r in rois)), default=None
        )
        drawn = cls(rois, names, {}, {}, {})
        for roi in rois:
            name = names.standard[roi.name]
            drawn.kinds[name] = roi.kind
            try:
                drawn.regions[name] = roi.region(name, spacing, asked.end_caps, image_z_mm)
            except CaseError as problem:
                drawn.problems[name] = f"{names.where}: {problem}"
        target = names.find(asked.target)
        of_target = frozenset(r.frame_uid for r in rois if names.standard[r.name] == target and r.frame_uid)
        for roi in elsewhere(rois, frames or of_target):
            name = names.standard[roi.name]
            drawn.regions.pop(name, None)
            drawn.problems[name] = (
                f"{names.where}: structure {name!r} is drawn in another frame of reference than the dose or the CT; "
                "register it to the planning CT and export it again"
            )
        return drawn

    def remarks(self, kept: Container[str]) -> dict[str, str]:
        """What the user should know of the structures that are kept, and which are not."""
        gaps = [
            f"{n} z {low:g} to {high:g} mm" for n, r in self.regions.items() for low, high in r.gaps_mm if n in kept
        ]
        standard = self.names.standard
        unread = [f"{standard[r.name]}: {r.remark}" for r in self.rois if r.remark and standard[r.name] in kept]
        found = {
            "structures left out": self.problems.values(),
            "contours left out": unread,
            "gaps between slices, left empty": gaps,
        }
        return {what: "; ".join(which) for what, which in found.items() if which}


def _inputs(files: Sequence[DicomFile], doses: Sequence[DicomFile]) -> dict[str, str]:
    """Digest of every file that the case was made of; of several doses, each with the label that a study knows it by."""
    roles = [(file, file.kind) for file in files]
    labels = [f"RTDOSE {Path(dose.name).stem}" if len(doses) > 1 else "RTDOSE" for dose in doses]
    roles += [(plane, label) for dose, label in zip(doses, labels, strict=True) for plane in dose.planes or (dose,)]
    return {file.name: f"{role} {digest_of(file.path)}" for file, role in roles}


def _case_name(file: DicomFile, keep_identity: bool) -> str:
    if keep_identity and file.header.get("PatientName"):
        return str(file.header.PatientName)
    study = str(file.header.get("StudyInstanceUID") or file.uid)
    return "case-" + hashlib.sha256(study.encode()).hexdigest()[:8]


def _frames_used(doses: list[DicomFile], ct_slices: list[DicomFile], plan: DicomFile | None) -> frozenset[str]:
    """The frames of reference that structures have to be drawn in: those of the doses, else of the CT, else of the plan."""
    for files in (doses, ct_slices[:1], [plan] if plan else []):
        if frames := frozenset(uid for file in files for uid in file.frame_uids):
            return frames
    return frozenset()


def _doses_of_plan(doses: list[DicomFile], plan: DicomFile | None) -> list[DicomFile]:
    """The plan dose or, without one, all beam doses; beam doses beside a plan dose are parts of it, never added."""
    doses = [d for d in doses if has_grid(d)] or doses
    own = [d for d in doses if not plan or d.plan_uid in ("", plan.uid)]
    if doses and not own:
        raise CaseError(
            f"no RTDOSE belongs to the RTPLAN {plan.label if plan else ''!r}; export the dose of that plan, "
            f"or name one of another plan with case.rtdoses:\n{listing(doses)}"
        )
    whole = [d for d in own if dose_header(d).summation != "BEAM"]
    if len(whole) > 1 or (not whole and len({d.plan_uid for d in own}) > 1):
        raise refuse_several(own, "RTDOSE")
    return whole or own


def _require_same_patient(file: DicomFile, structure_set: DicomFile, remedy: str) -> None:
    if file.patient_id and structure_set.patient_id and file.patient_id != structure_set.patient_id:
        raise CaseError(
            f"{file.kind} {file.name} is of another patient (PatientID) than RTSTRUCT {structure_set.name}; {remedy}"
        )


def _require_same_frame(dose: DicomFile, structure_set: DicomFile) -> None:
    remedy = (
        "choose the matching pair with case.rtdoses and case.structure_set, or take the other files out of the folder"
    )
    _require_same_patient(dose, structure_set, remedy)
    if dose.frame_uids and structure_set.frame_uids and not dose.frame_uids & structure_set.frame_uids:
        raise CaseError(
            f"RTDOSE {dose.name} is in another frame of reference ({', '.join(dose.frame_uids)}) than RTSTRUCT "
            f"{structure_set.name} ({', '.join(structure_set.frame_uids)}); export both from one plan, or choose the "
            "matching pair with case.rtdoses and case.structure_set"
        )


def _plans_of_doses(
    plans: Sequence[DicomFile], structure_set: DicomFile, doses: Sequence[DicomFile]
) -> dict[str, PlanFacts]:
    """By UID, the plans that doses refer to; and where one refers to none of them, the others that fit the structures."""
    referred = {dose.plan_uid for dose in doses}
    own = [plan for plan in plans if plan.uid in referred]
    for plan in own:
        if reason := misfit(plan, structure_set, is_named=True):
            raise refuse_misfit(plan, structure_set, reason)
    if not referred <= {plan.uid for plan in own}:
        own += [p for p in plans if p.uid not in referred and not misfit(p, structure_set, is_named=True)]
    return {plan.uid: plan_facts(plan) for plan in own}


def _read_doses(
    files: list[DicomFile], plan: PlanFacts | None, by_plan: Mapping[str, PlanFacts], dose_is: DoseIs | None
) -> list[ImportedDose]:
    """The doses, each with what its own plan says; `plan` where it names none."""
    for file in files:
        _require_usable(file, dose_is)
    beam_doses = [f for f in files if dose_header(f).summation == "BEAM"]
    if beam_doses and len(beam_doses) < len(files):
        raise CaseError(
            "case.rtdoses mixes beam doses with others; a beam dose is already part of its plan's dose:\n"
            + listing(files)
        )
    plans = [
        None if dose_header(f).summation == "MULTI_PLAN" else by_plan.get(f.plan_uid, None if f.plan_uid else plan)
        for f in files
    ]
    volumes = [_course_total(f, own or plan, dose_is) for f, own in zip(files, plans, strict=True)]
    if not beam_doses:
        return [
            ImportedDose(
                Path(f.name).stem if len(files) > 1 else f.label or "RTDOSE", v, f.uid, own, f.name, f.plan_uid
            )
            for f, v, own in zip(files, volumes, plans, strict=True)
        ]
    numbers = _beams_of(beam_doses, plan)
    if any(v.grid != volumes[0].grid for v in volumes):
        raise CaseError("the beam doses are on different grids; export the plan dose instead:\n" + listing(files))
    of_beams = {number: volume.values for number, volume in zip(numbers, volumes, strict=True)}
    total = Volume(volumes[0].grid, np.stack(list(of_beams.values())).sum(axis=0, dtype=np.float32))
    return [
        ImportedDose(
            f"sum of {len(files)} beam doses",
            total,
            files[0].uid,
            plans[0],
            plan_uid=files[0].plan_uid,
            beams_gy=of_beams,
        )
    ]


def _require_usable(file: DicomFile, dose_is: DoseIs | None) -> None:
    said = dose_header(file)
    if said.units != "GY":
        raise CaseError(
            f"RTDOSE {file.name}: dose units are {said.units or 'not given'}, GY wanted; export absolute dose in Gy"
        )
    if said.kind not in ("PHYSICAL", ""):
        raise CaseError(f"RTDOSE {file.name}: dose type is {said.kind}, PHYSICAL wanted; export the physical dose")
    if said.summation not in ("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "BEAM") and dose_is is None:
        raise CaseError(
            f"RTDOSE {file.name}: dose summation type is {said.summation or 'not given'}, so it may hold the whole "
            "course or a part of it; compare its maximum with the prescription and write case.dose_is: total or "
            "case.dose_is: per-fraction"
        )


def _beams_of(beam_doses: list[DicomFile], plan: PlanFacts | None) -> list[int]:
    """The beam of each dose; all beams of one RTPLAN are wanted."""
    have = [
        int(b.ReferencedBeamNumber)
        for d in beam_doses
        for p in items(d.header, "ReferencedRTPlanSequence")
        for g in items(p, "ReferencedFractionGroupSequence")
        for b in items(g, "ReferencedBeamSequence")
    ]
    lacking = set(plan.beam_numbers) - set(have) if plan else None
    if lacking is None or lacking or len(have) != len(beam_doses) or len(set(have)) != len(have):
        what = f"beams {sorted(lacking)} have none" if lacking else "they do not match the beams of one RTPLAN"
        raise CaseError(f"only beam doses found, and {what}; export the plan dose:\n" + listing(beam_doses))
    return have


def _course_total(file: DicomFile, plan: PlanFacts | None, dose_is: DoseIs | None) -> Volume:
    volume = read_dose(file)
    if reason := flaw_of_dose(volume.values):
        raise CaseError(f"RTDOSE {file.name}: {reason}")
    if dose_is != "per-fraction":
        return volume
    if plan is None or plan.fractions is None:
        raise CaseError(
            f"RTDOSE {file.name}: case.dose_is is per-fraction, but no RTPLAN gives the number of fractions"
        )
    if len(plan.groups) > 1:
        raise CaseError(
            f"RTDOSE {file.name}: case.dose_is is per-fraction, but RTPLAN {plan.source} has {len(plan.groups)} fraction "
            "groups, and the dose may belong to one of them; export the dose of the whole plan"
        )
    return Volume(volume.grid, volume.values * np.float32(plan.fractions))


def _check_dose_covers(
    structures: Mapping[str, Structure], doses: Sequence[ImportedDose], notes: dict[str, str]
) -> None:
    for i, dose in enumerate(doses, 1):
        grid = dose.dose_gy.grid
        outside = [s for s in structures.values() if not np.all(grid.contains(np.array(s.region.bounds_mm)))]
        for s in outside:
            if s.role == "target":
                raise CaseError(
                    f"structure {s.name!r} ({_extent(*s.region.bounds_mm)}) reaches outside the dose grid of "
                    f"{dose.label!r} ({_extent(grid.origin_mm, grid.upper_mm)}); export the dose on a larger grid"
                )
        if outside:
            name = dose.label if len(doses) == 1 else f"dose {i}"
            notes[f"partly outside the dose grid of {name}"] = ", ".join(s.name for s in outside)


def _check_ct_shows_targets(ct: Grid, structures: Mapping[str, Structure]) -> None:
    for s in structures.values():
        if s.role == "target" and not ct.contains(np.mean(s.region.bounds_mm, axis=0)):
            raise CaseError(
                f"structure {s.name!r} ({_extent(*s.region.bounds_mm)}) lies outside the CT "
                f"({_extent(ct.origin_mm, ct.upper_mm)}); keep the CT that it is drawn on in the folder, or none"
            )


def _extent(lower: Sequence[float] | np.ndarray, upper: Sequence[float] | np.ndarray) -> str:
    return (
        ", ".join(f"{axis} {low:.1f} to {high:.1f}" for axis, low, high in zip("xyz", lower, upper, strict=True))
        + " mm"
    )


def _density(
    ct_slices: list[DicomFile],
    external: Region | None,
    structures: Mapping[str, Structure],
    doses: Sequence[ImportedDose],
    notes: dict[str, str],
) -> Volume:
    """From the CT within the body's box; without a CT water in the body outline, or everywhere if there is none."""
    if len(ct_slices) > 1:
        ct = read_ct(ct_slices)
        notes["density"] = f"CT, {len(ct_slices)} slices"
        _check_ct_shows_targets(ct.grid, structures)
        if external:
            ct = cropped(ct, *external.bounds_mm)
        return Volume(ct.grid, density_of_hu(ct.values))
    boxes = [external.bounds_mm] if external else [s.region.bounds_mm for s in structures.values()]
    boxes += [(np.array(d.dose_gy.grid.origin_mm), np.array(d.dose_gy.grid.upper_mm)) for d in doses]
    lower, upper = np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)
    grid = Grid.covering(lower, upper, _DENSITY_GRID_MM)
    inside = external.occupancy(grid) if external else np.ones(grid.shape, np.float32)
    why = "one CT slice only" if ct_slices else "no CT"
    notes["density"] = f"{why}: water {'inside the body outline' if external else 'everywhere'}"
    return Volume(grid, AIR_DENSITY + inside * np.float32(1 - AIR_DENSITY))


def _with_densities(
    density: Volume, overrides: Mapping[str, float], regions: Mapping[str, ContourRegion], notes: dict[str, str]
) -> Volume:
    for name, value in overrides.items():
        if name not in regions:
            raise CaseError(f"case.densities: structure {name!r} is empty; leave it out or draw it")
        share = regions[name].occupancy(density.grid)
        density = Volume(density.grid, density.values * (1 - share) + np.float32(value) * share)
        notes["density"] += f"; {name} {value:g}"
    return density
