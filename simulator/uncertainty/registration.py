"""Registration and isocentre: constant errors that no image guidance can see."""

import numpy as np

from simulator.conventions import Stream, in_axes
from simulator.spec import Field, Mm3, NonNegativeMm3, Spec
from simulator.uncertainty.source import RandomNumbers


class Registration(Spec):
    """PET-CT or CT co-registration: the true target is the drawn one displaced by N(mean, Σ²), constant in a course.

    The anatomy, and so every organ at risk, stays as drawn; guidance aligns what was drawn.
    """

    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="mean per axis (LR, AP, SI) in mm, LPS signs")

    def draw(self, numbers: RandomNumbers) -> np.ndarray:
        """Displacement of the true target, float64 (course, 3) in mm."""
        return np.asarray(self.mean_mm) + numbers.normals(Stream.REGISTRATION, 3) * self.systematic_mm

    def describe(self) -> str:
        """One sentence for the report."""
        mean = f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
        return f"Co-registration error of the target: Σ = {in_axes(self.systematic_mm)} mm{mean}."


class Isocentre(Spec):
    """Distance between the isocentre of the images and that of the beam: N(mean, Σ²), constant in a course."""

    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="mean per axis (LR, AP, SI) in mm, LPS signs")

    def draw(self, numbers: RandomNumbers) -> np.ndarray:
        """Displacement of the beam, float64 (course, 3) in mm."""
        return np.asarray(self.mean_mm) + numbers.normals(Stream.ISOCENTRE, 3) * self.systematic_mm

    def describe(self) -> str:
        """One sentence for the report."""
        mean = f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
        return f"Isocentre error between image and beam: Σ = {in_axes(self.systematic_mm)} mm{mean}."
