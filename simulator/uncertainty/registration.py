"""Registration and isocentre: constant errors that no image guidance can see."""

import numpy as np

from simulator.conventions import Stream, in_axes
from simulator.spec import Field, Mm3, NonNegativeMm3
from simulator.uncertainty.source import RandomNumbers, Source, Spreads


class Registration(Source):
    """PET-CT or CT co-registration: the true target is the drawn one displaced by N(mean, Σ²), constant in a course.

    The anatomy, and so every organ at risk, stays as drawn; guidance aligns what was drawn.
    """

    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="mean per axis (LR, AP, SI) in mm, LPS signs")

    def misdrawn_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """The same in every fraction."""
        return np.asarray(self.mean_mm) + numbers.normals(Stream.REGISTRATION, 3) * self.systematic_mm

    def unseen_sd_mm(self) -> Spreads:
        """Σ alone."""
        return np.asarray(self.systematic_mm), np.zeros(3)

    def describe(self) -> str:
        """One sentence for the report."""
        mean = f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
        return f"Co-registration error of the target: Σ = {in_axes(self.systematic_mm)} mm{mean}."


class Isocentre(Source):
    """Distance between the isocentre of the images and that of the beam: N(mean, Σ²), constant in a course."""

    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="mean per axis (LR, AP, SI) in mm, LPS signs")

    def unseen_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """Opposite to the beam's own displacement."""
        return -(np.asarray(self.mean_mm) + numbers.normals(Stream.ISOCENTRE, 3) * self.systematic_mm)

    def unseen_sd_mm(self) -> Spreads:
        """Σ alone."""
        return np.asarray(self.systematic_mm), np.zeros(3)

    def describe(self) -> str:
        """One sentence for the report."""
        mean = f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
        return f"Isocentre error between image and beam: Σ = {in_axes(self.systematic_mm)} mm{mean}."
