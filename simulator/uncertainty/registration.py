"""Registration and isocentre: constant errors that no image guidance can see."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from simulator.ground.conventions import Stream, Streams, in_axes
from simulator.ground.spec import Deg3, Field, Mm3, NonNegativeMm3, SdDeg3, model_validator
from simulator.uncertainty.knowledge import Known
from simulator.uncertainty.shifts import Shifts
from simulator.uncertainty.source import RandomNumbers, Source, Spreads


class _Constant(Source):
    """N(mean, Σ²), the same in every fraction of a course."""

    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="mean per axis (LR, AP, SI) in mm, LPS signs")

    known: Known | None = Field(None, description="what is known of Σ and the mean; taken as exact when absent")

    @model_validator(mode="after")
    def _is_about_errors(self) -> "_Constant":
        if self.known is not None:
            self.known.check(self.systematic_mm, ())
            if self.known.posterior is not None:
                raise ValueError("known: a posterior of shifts is for setup and baseline; say patients or factor here")
        return self

    @abstractmethod
    def _shifts(self) -> Shifts:
        """The error as it may be."""

    def not_exact(self) -> tuple[Shifts, ...]:
        """The error itself."""
        return (self._shifts(),) if self._shifts().is_uncertain else ()

    def _as(self, name: str, of_course: Stream, of_knowledge: Stream) -> Shifts:
        stated = (self.mean_mm, self.systematic_mm, (0.0, 0.0, 0.0))
        return Shifts(
            self._owned(name),
            "mm",
            stated,
            of_course=of_course,
            of_fraction=None,
            of_knowledge=of_knowledge,
            known=self.known,
        )

    def _drawn_mm(self, numbers: RandomNumbers, stream: Stream) -> np.ndarray:
        """The error (course, 3) in mm."""
        if self.known is not None:
            return self._shifts().draw(numbers, 1)[0]
        return np.asarray(self.mean_mm) + numbers.normals(stream, 3) * self.systematic_mm

    def unseen_sd_mm(self) -> Spreads:
        """Σ alone."""
        return np.asarray(self.systematic_mm), np.zeros(3)

    def _numbers(self) -> str:
        mean = f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
        known = f", {self.known.describe()}" if self.known else ""
        return f"Σ = {in_axes(self.systematic_mm)} mm{mean}{known}"


class Registration(_Constant):
    """PET-CT or CT co-registration: the true target is the drawn one displaced by N(mean, Σ²), constant in a course.

    The anatomy, and so every organ at risk, stays as drawn; guidance aligns what was drawn.
    """

    streams: ClassVar[Streams] = {
        "registration": (Stream.REGISTRATION,),
        "what is not known of registration": (Stream.REGISTRATION_KNOWN,),
    }

    def _shifts(self) -> Shifts:
        return self._as("registration", Stream.REGISTRATION, Stream.REGISTRATION_KNOWN)

    def misdrawn_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """The same in every fraction."""
        return self._drawn_mm(numbers, Stream.REGISTRATION)

    def describe(self) -> str:
        """One sentence for the report."""
        return f"Co-registration error of the target: {self._numbers()}."


class Isocentre(_Constant):
    """Distance and angle between the axes of the images and those of the beam: N(mean, Σ²), constant in a course.

    Angles are what only targets off the isocentre feel, as the off-axis Winston-Lutz test measures: couch, gantry and
    collimator together, about LR, AP and SI through the isocentre.
    """

    streams: ClassVar[Streams] = {
        "isocentre": (Stream.ISOCENTRE, Stream.ISOCENTRE_ROTATION),
        "what is not known of the isocentre": (Stream.ISOCENTRE_KNOWN,),
    }

    def _shifts(self) -> Shifts:
        return self._as("isocentre", Stream.ISOCENTRE, Stream.ISOCENTRE_KNOWN)

    systematic_deg: SdDeg3 = Field(
        (0, 0, 0), description="Σ of the angle between images and beam about LR, AP and SI, one SD in degrees"
    )
    mean_deg: Deg3 = Field((0, 0, 0), description="mean of that angle about LR, AP and SI in degrees")

    @property
    def rotates(self) -> bool:
        """Whether there is an angle at all."""
        return any((*self.systematic_deg, *self.mean_deg))

    def unseen_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """Opposite to the beam's own displacement."""
        return -self._drawn_mm(numbers, Stream.ISOCENTRE)

    def unseen_deg(self, numbers: RandomNumbers) -> np.ndarray:
        """Rotation of the patient relative to the beam that no image shows, (course, 3): opposite to the beam's own."""
        own = numbers.normals(Stream.ISOCENTRE_ROTATION, 3) * self.systematic_deg
        return -(np.asarray(self.mean_deg) + own)

    def describe(self) -> str:
        """One sentence for the report."""
        mean = f", mean {in_axes(self.mean_deg)} degrees" if any(self.mean_deg) else ""
        angle = f", turned by Σ = {in_axes(self.systematic_deg)} degrees{mean}" if self.rotates else ""
        return f"Isocentre error between image and beam: {self._numbers()}{angle}."
