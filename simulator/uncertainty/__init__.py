"""Sources of geometric error, one small file each (PHYSICS: what can go wrong)."""

import numpy as np

from simulator.spec import Field, Spec
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.setup import Setup


class Uncertainty(Spec):
    """Every source of error; a source that is absent is zero."""

    setup: Setup | None = Field(None, description="setup error of the whole patient")
    respiration: Respiration | None = Field(None, description="breathing motion of the target and tied structures")

    def patient_sd_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Σ and σ per axis in mm of the whole patient, two (3,) arrays."""
        setup = self.setup or Setup()
        return np.asarray(setup.systematic_mm, float), np.asarray(setup.random_mm, float)

    def target_sd_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Σ and σ per axis in mm of the target's time-averaged position within the patient, two (3,) arrays."""
        return np.zeros(3), np.zeros(3)

    def describe(self) -> list[str]:
        """One sentence per source for the report."""
        sources = [s.describe() for s in (self.setup, self.respiration) if s is not None]
        return sources or ["No geometric error at all."]
