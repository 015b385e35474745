"""A case: one patient's (or phantom's) planning anatomy and any imported plans."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.case.geometry import Grid, Volume
from simulator.case.structures import Structure
from simulator.case.treatment_beams import TreatmentBeam
from simulator.ground.readable import Readable
from simulator.ground.spec import CaseError

_NEGATIVE = 0.01


@dataclass(frozen=True)
class PlanFacts:
    """What an RTPLAN says of a course.

    Parameters
    ----------
    label, source, uid : the plan's own name, its file, and its SOP instance UID.
    groups : fractions of each fraction group; None where it does not say.
    target_doses_gy : prescribed doses of its targets, the largest first.
    isocentres_mm : the different ones of its treatment beams.
    target_rois : numbers of the structures that it prescribes to.
    beams : its photon beams, where they could be read; beams_unread : why they could not.
    """

    label: str
    source: str
    groups: tuple[int | None, ...] = ()
    target_doses_gy: tuple[float, ...] = ()
    isocentres_mm: tuple[np.ndarray, ...] = ()
    beam_numbers: tuple[int, ...] = ()
    uid: str = ""
    target_rois: tuple[int, ...] = ()
    beams: tuple[TreatmentBeam, ...] = field(default=(), compare=False, repr=False)
    beams_unread: str = field(default="", compare=False, repr=False)

    @property
    def fractions(self) -> int | None:
        """Fractions of all groups, delivered one after the other; None where a group does not say."""
        return sum(filter(None, self.groups)) if self.groups and None not in self.groups else None

    @property
    def windows(self) -> np.ndarray:
        """Shares (beam, 2), 0-1, of a fraction's beam-on time between which each beam is delivered: by monitor units, and by
        dose rates where the plan says all of them.
        """
        rates = [beam.monitor_units_per_s for beam in self.beams]
        known = [rate for rate in rates if rate is not None]
        units = np.array([beam.monitor_units for beam in self.beams])
        seconds = units / np.array(known) if len(known) == len(rates) else units
        ends = np.cumsum(seconds) / seconds.sum()
        return np.stack([np.append(0.0, ends[:-1]), np.append(ends[:-1], 1.0)], axis=1)

    @property
    def prescription_gy(self) -> float | None:
        """The largest dose prescribed to a target."""
        return max(self.target_doses_gy, default=None)

    @property
    def isocentre_mm(self) -> np.ndarray | None:
        """The isocentre that all treatment beams share."""
        return self.isocentres_mm[0] if len(self.isocentres_mm) == 1 else None

    @property
    def remarks(self) -> list[str]:
        """What is not plain in the plan, for the user to judge."""
        found = []
        if len(self.groups) > 1:
            parts = " + ".join("?" if n is None else str(n) for n in self.groups)
            found.append(f"{len(self.groups)} fraction groups ({parts} fractions), taken one after the other")
        if len(self.target_doses_gy) > 1:
            found.append(f"several target doses: {', '.join(f'{d:g}' for d in self.target_doses_gy)} Gy")
        if len(self.isocentres_mm) > 1:
            found.append(f"{len(self.isocentres_mm)} isocentres")
        return [f"RTPLAN {self.source}: {remark}" for remark in found]


@dataclass(frozen=True)
class ImportedDose:
    """A planned dose read from disk: total of the course in Gy.

    Parameters
    ----------
    plan : what its own RTPLAN says, where there is one.
    source : its file.
    plan_uid : the RTPLAN that it refers to; empty where it refers to none.
    beams_gy : doses float32 (z, y, x) by number of the beam, where each has an RTDOSE of its own.

    Raises
    ------
    CaseError : values that are no dose.
    """

    label: str
    dose_gy: Volume
    uid: str = ""
    plan: PlanFacts | None = None
    source: str = ""
    plan_uid: str = ""
    beams_gy: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def why_no_parts(self) -> str:
        """Why it is not known when which part of it is delivered; empty where it is: beam by beam."""
        if not self.beams_gy:
            return "it is one dose of all beams"
        if self.plan is None or not self.plan.beams:
            return self.plan.beams_unread if self.plan else "it has no RTPLAN"
        if lacking := set(self.beams_gy) - {beam.number for beam in self.plan.beams}:
            return f"its RTPLAN does not say the monitor units of beam {', '.join(map(str, sorted(lacking)))}"
        turning = [beam.name for beam in self.plan.beams if np.ptp(beam.gantry_deg)]
        return f"the gantry turns during beam {', '.join(turning)}" if turning else ""

    def __post_init__(self) -> None:
        if reason := flaw_of_dose(self.dose_gy.values):
            raise CaseError(f"dose {self.label!r}: {reason}")


def flaw_of_dose(dose_gy: np.ndarray) -> str:
    """Why values cannot be the dose of a course in Gy, and what to do; empty for a sound dose."""
    n_bad = int(np.count_nonzero(~np.isfinite(dose_gy)))
    if n_bad:
        return f"{n_bad} of {dose_gy.size} voxels are NaN or infinite; write 0 where no dose was computed"
    low, high = float(dose_gy.min()), float(dose_gy.max())
    if high <= 0:
        return f"no voxel is above 0 Gy (the highest is {high:g}); export the dose again"
    if low < -_NEGATIVE * high:
        return f"it goes down to {low:g} Gy; export the dose itself, not a difference"
    return ""


def digest_of_uid(uid: str) -> str:
    """A DICOM UID, made unreadable."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


@dataclass(frozen=True, repr=False)
class Case(Readable):
    """Geometry, density and imported doses in one frame of reference.

    Parameters
    ----------
    name : pseudonym; never the patient's name or ID.
    structures : by name, in the order in which reports list them.
    target : name of the target structure, of several the first.
    density : mass density relative to water (lung about 0.26), unit-free.
    doses : imported dose distributions.
    plan : what the RTPLAN says; None without one, and where several doses have each its own.
    plans : every RTPLAN that a dose may be of.
    frame_uids : DICOM frames of reference that the geometry belongs to; none for phantoms and case files.
    left_out : why a structure of the patient is not among them, by name.
    provenance : short facts ("RTSTRUCT 1.2.3...", "analytic phantom").
    identifying : keys of those that are not for a report, as they lead to the patient.
    inputs : what each file was to the case, with the SHA-256 of its content, by the file's name.
    others : names of further targets.
    """

    name: str
    structures: dict[str, Structure]
    target: str
    density: Volume
    doses: tuple[ImportedDose, ...] = ()
    plan: PlanFacts | None = None
    plans: tuple[PlanFacts, ...] = ()
    frame_uids: frozenset[str] = frozenset()
    left_out: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    identifying: tuple[str, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    def summary(self) -> dict[str, str]:
        """Target, organs, density and doses."""
        doses = [f"{d.label} (at most {d.dose_gy.values.max():.3g} Gy on {d.dose_gy.grid})" for d in self.doses]
        return {
            "name": self.name,
            "target": "; ".join(f"{target.name}, {target.volume_cc:.3g} cc" for target in self.targets),
            "other structures": ", ".join(n for n in self.structures if n not in (self.target, *self.others)) or "none",
            "density": str(self.density.grid),
            "doses": "; ".join(doses) or "none",
            "from": self.description,
        }

    @property
    def description(self) -> str:
        """The facts for the report."""
        return "; ".join(f"{key}: {value}" for key, value in self.provenance.items() if key not in self.identifying)

    @property
    def frame_digest(self) -> str:
        """What results keep of the frames of reference, to tell patients apart without naming one; empty without frames."""
        return ";".join(sorted(digest_of_uid(uid) for uid in self.frame_uids))

    @property
    def prescription_gy(self) -> float | None:
        """The largest dose that the RTPLAN prescribes to a target."""
        return self.plan.prescription_gy if self.plan else None

    @property
    def fractions(self) -> int | None:
        """Fractions of the RTPLAN."""
        return self.plan.fractions if self.plan else None

    @property
    def isocentre_mm(self) -> np.ndarray | None:
        """The isocentre that the beams of the RTPLAN share."""
        return self.plan.isocentre_mm if self.plan else None

    def holds(self, point_mm: np.ndarray) -> bool:
        """Whether a point (3,) lies in the body: within its outline, or within the density's grid where none is drawn."""
        outline = next((s.region for s in self.structures.values() if s.role == "external"), None)
        if outline is None:
            return bool(self.density.grid.contains(point_mm))
        x, y, z = (float(v) for v in point_mm)
        return bool(outline.occupancy(Grid((x, y, z), (1.0, 1.0, 1.0), (1, 1, 1))) >= 0.5)

    def structure(self, name: str) -> Structure:
        """The structure of that name; `CaseError` names the ones that exist."""
        try:
            return self.structures[name]
        except KeyError:
            if name in self.left_out:
                raise CaseError(self.left_out[name]) from None
            known = ", ".join(self.structures) or "none"
            raise CaseError(f"structure {name!r} is not in case {self.name!r}; it has: {known}") from None

    @property
    def gtv(self) -> Structure:
        """The target structure, of several the first."""
        return self.structure(self.target)

    def with_targets(self, names: Sequence[str]) -> "Case":
        """The case with some of its structures as targets, the first leading.

        Raises
        ------
        CaseError : a structure is not there.
        """
        roles: dict[str, Structure] = {self.target: replace(self.gtv, role="oar")}
        roles |= {name: replace(self.structure(name), role="target") for name in names}
        return replace(self, structures=self.structures | roles, target=names[0], others=tuple(names[1:]))

    def treats(self, structure: str) -> bool:
        """Whether a structure is a target."""
        return structure == self.target or structure in self.others

    def for_target(self, name: str) -> "Case":
        """The case as a plan for one of several targets sees it."""
        return replace(self, target=name, others=()) if self.others else self

    @property
    def targets(self) -> tuple[Structure, ...]:
        """What is treated."""
        return (self.gtv, *(self.structure(name) for name in self.others))
