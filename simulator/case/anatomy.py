"""A case: one patient's (or phantom's) planning anatomy and any imported plans."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from simulator.case.geometry import Volume
from simulator.case.structures import Structure
from simulator.spec import CaseError


@dataclass(frozen=True)
class ImportedDose:
    """A planned dose read from disk: total of the course in Gy."""

    label: str
    dose_gy: Volume
    uid: str = ""


def digest_of_frame(uid: str) -> str:
    """A frame of reference, made unreadable."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Case:
    """Geometry, density and imported doses in one frame of reference.

    Parameters
    ----------
    name : pseudonym; never the patient's name or ID.
    structures : by name, in the order in which reports list them.
    target : name of the target structure.
    density : mass density relative to water (lung about 0.26), unit-free.
    isocentre_mm : from the plan, or None.
    doses : imported dose distributions.
    frame_uids : DICOM frames of reference that the geometry belongs to; none for phantoms and case files.
    provenance : short facts for the report ("RTSTRUCT 1.2.3...", "analytic phantom").
    inputs : what each file was to the case, with the SHA-256 of its content, by the file's name.
    """

    name: str
    structures: dict[str, Structure]
    target: str
    density: Volume
    isocentre_mm: np.ndarray | None = None
    doses: tuple[ImportedDose, ...] = ()
    prescription_gy: float | None = None
    fractions: int | None = None
    frame_uids: frozenset[str] = frozenset()
    provenance: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def frame_digest(self) -> str:
        """What results keep of the frames of reference, to tell patients apart without naming one; empty without frames."""
        return ";".join(sorted(digest_of_frame(uid) for uid in self.frame_uids))

    def structure(self, name: str) -> Structure:
        """The structure of that name; `CaseError` names the ones that exist."""
        try:
            return self.structures[name]
        except KeyError:
            known = ", ".join(self.structures) or "none"
            raise CaseError(f"structure {name!r} is not in case {self.name!r}; it has: {known}") from None

    @property
    def gtv(self) -> Structure:
        """The target structure."""
        return self.structure(self.target)
