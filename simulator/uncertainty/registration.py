"""Registration and isocentre: constant errors that no image guidance can see."""

from typing import ClassVar

import numpy as np

from simulator.conventions import Stream, Streams, in_axes
from simulator.spec import Field, Mm3, NonNegativeMm3
from simulator.uncertainty.source import RandomNumbers, Source, Spreads


class _Constant(Source):
    """N(mean, Σ²), the same in every fraction of a course."""

    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="mean per axis (LR, AP, SI) in mm, LPS signs")

    def _drawn_mm(self, numbers: RandomNumbers, stream: Stream) -> np.ndarray:
        """The error (course, 3) in mm."""
        return np.asarray(self.mean_mm) + numbers.normals(stream, 3) * self.systematic_mm

    def unseen_sd_mm(self) -> Spreads:
        """Σ alone."""
        return np.asarray(self.systematic_mm), np.zeros(3)

    def _numbers(self) -> str:
        mean = f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
        return f"Σ = {in_axes(self.systematic_mm)} mm{mean}"


class Registration(_Constant):
    """PET-CT or CT co-registration: the true target is the drawn one displaced by N(mean, Σ²), constant in a course.

    The anatomy, and so every organ at risk, stays as drawn; guidance aligns what was drawn.
    """

    streams: ClassVar[Streams] = {"registration": (Stream.REGISTRATION,)}

    def misdrawn_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """The same in every fraction."""
        return self._drawn_mm(numbers, Stream.REGISTRATION)

    def describe(self) -> str:
        """One sentence for the report."""
        return f"Co-registration error of the target: {self._numbers()}."


class Isocentre(_Constant):
    """Distance between the isocentre of the images and that of the beam: N(mean, Σ²), constant in a course."""

    streams: ClassVar[Streams] = {"isocentre": (Stream.ISOCENTRE,)}

    def unseen_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """Opposite to the beam's own displacement."""
        return -self._drawn_mm(numbers, Stream.ISOCENTRE)

    def describe(self) -> str:
        """One sentence for the report."""
        return f"Isocentre error between image and beam: {self._numbers()}."
