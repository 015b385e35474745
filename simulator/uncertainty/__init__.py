"""Sources of geometric error, one small file each (PHYSICS: what can go wrong)."""

import numpy as np

from simulator.spec import Field, Spec
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.delineation import Delineation
from simulator.uncertainty.drift import Drift
from simulator.uncertainty.organs import OrganMotion
from simulator.uncertainty.registration import Isocentre, Registration
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.setup import Setup


class Uncertainty(Spec):
    """Every source of error; a source that is absent is zero."""

    setup: Setup | None = Field(None, description="setup error of the whole patient")
    drift: Drift | None = Field(None, description="movement of the whole patient between image and end of beam")
    baseline: Baseline | None = Field(None, description="shift of the target against bone")
    respiration: Respiration | None = Field(None, description="breathing motion of the target and tied structures")
    organs: dict[str, OrganMotion] = Field(
        default_factory=dict, description="organs that move on their own, by structure name"
    )
    registration: Registration | None = Field(None, description="co-registration error of the drawn target")
    delineation: Delineation | None = Field(None, description="delineation error of the target's surface")
    isocentre: Isocentre | None = Field(None, description="isocentre error between image and beam")

    def patient_sd_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Σ and σ per axis in mm of the whole patient when imaged, two (3,) arrays."""
        setup = self.setup or Setup()
        return np.asarray(setup.systematic_mm, float), np.asarray(setup.random_mm, float)

    def target_sd_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Σ and σ per axis in mm of the target's place within the patient when imaged, two (3,) arrays."""
        shift = self.baseline or Baseline()
        return np.asarray(shift.systematic_mm, float), np.asarray(shift.random_mm, float)

    def unseen_sd_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Σ and σ per axis in mm of what no image before the beam shows: registration, delineation, isocentre, and the
        target's shift after imaging (drift depends on time and is left out)."""
        registration, isocentre = self.registration or Registration(), self.isocentre or Isocentre()
        delineation = (self.delineation or Delineation()).sd_mm
        systematic = np.sqrt(
            np.square(registration.systematic_mm) + np.square(isocentre.systematic_mm) + delineation**2
        )
        return systematic, np.asarray((self.baseline or Baseline()).after_imaging_sd_mm, float)

    def describe(self) -> list[str]:
        """One sentence per source for the report."""
        sources = (
            self.setup, self.drift, self.baseline, self.respiration, self.registration, self.delineation, self.isocentre
        )  # fmt: skip
        sentences = [s.describe() for s in sources if s is not None]
        sentences += [organ.describe(name) for name, organ in self.organs.items()]
        return sentences or ["No geometric error at all."]
