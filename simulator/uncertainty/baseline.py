"""Baseline shift of the target: its time-averaged place within the patient differs from the plan."""

from typing import ClassVar

import numpy as np

from simulator.ground.conventions import Stream, Streams, in_axes
from simulator.ground.spec import Field, Mm3, NonNegativeMm3, model_validator
from simulator.uncertainty.knowledge import VARIANCE_SHAPE, Known, VarianceShape, restless
from simulator.uncertainty.shifts import Shifts
from simulator.uncertainty.source import RandomNumbers, Source, Spreads


class Baseline(Source):
    """Shift of the target against bone: N(mean, Σ²) per course plus N(0, σ²) per fraction, and a further shift between
    image and beam, N(mean, Σ²) per course plus N(0, sd²) per fraction, which only a later image can see.

    Organs may follow it: see `organs.NAME.correlation`. Source of the typical values: the site studies in configs.
    """

    streams: ClassVar[Streams] = {
        "target shift, course": (Stream.BASELINE_COURSE,),
        "target shift, fraction": (Stream.BASELINE_FRACTION, Stream.BASELINE_SCALE),
        "target shift after imaging, course": (Stream.BASELINE_AFTER_IMAGING_COURSE,),
        "target shift after imaging, fraction": (Stream.BASELINE_AFTER_IMAGING, Stream.AFTER_IMAGING_SCALE),
        "what is not known of the target's shift": (Stream.BASELINE_KNOWN,),
        "what is not known of the target's shift after imaging": (Stream.AFTER_IMAGING_KNOWN,),
    }
    mean_mm: Mm3 = Field((0, 0, 0), description="mean shift per axis (LR, AP, SI) in mm, LPS signs")
    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ of the shift per axis, one SD in mm")
    random_mm: NonNegativeMm3 = Field((0, 0, 0), description="σ of the shift per axis, one SD in mm")
    after_imaging_mean_mm: Mm3 = Field(
        (0, 0, 0), description="mean shift between image and beam per axis in mm, LPS signs"
    )
    after_imaging_systematic_mm: NonNegativeMm3 = Field(
        (0, 0, 0), description="Σ of the shift between image and beam per axis, one SD in mm: what stays with a patient"
    )
    after_imaging_sd_mm: NonNegativeMm3 = Field(
        (0, 0, 0), description="SD of the shift between image and beam from fraction to fraction per axis in mm"
    )

    patient_variance_shape: VarianceShape = VARIANCE_SHAPE
    known: Known | None = Field(
        None, description="what is known of systematic_mm, random_mm and mean_mm; taken as exact when absent"
    )
    after_imaging_known: Known | None = Field(
        None, description="what is known of the shift between image and beam; taken as exact when absent"
    )

    @model_validator(mode="after")
    def _is_about_errors(self) -> "Baseline":
        if self.known is not None:
            self.known.check(self.systematic_mm, self.random_mm)
            self.known.check_shape(self.patient_variance_shape)
        if self.after_imaging_known is not None:
            self.after_imaging_known.check(
                self.after_imaging_systematic_mm, self.after_imaging_sd_mm, key="after_imaging_known"
            )
            self.after_imaging_known.check_shape(self.patient_variance_shape)
        return self

    def within_mm(self, numbers: RandomNumbers, n_fractions: int, target: str) -> dict[str, np.ndarray]:
        """The shift of the target when imaged."""
        if self._imaged().is_drawn:
            own, daily = self._imaged().draw(numbers, n_fractions)
            return {target: own[:, None, :] + daily}
        course = np.asarray(self.mean_mm) + numbers.normals(Stream.BASELINE_COURSE, 3) * self.systematic_mm
        fraction = numbers.normals(Stream.BASELINE_FRACTION, n_fractions, 3) * self.random_mm
        return {target: course[:, None, :] + fraction}

    def after_imaging_mm(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """The further shift."""
        if self._after().is_drawn:
            own, daily = self._after().draw(numbers, n_fractions)
            return own[:, None, :] + daily
        course = numbers.normals(Stream.BASELINE_AFTER_IMAGING_COURSE, 3) * self.after_imaging_systematic_mm
        since = numbers.normals(Stream.BASELINE_AFTER_IMAGING, n_fractions, 3) * self.after_imaging_sd_mm
        return course[:, None, :] + since + np.asarray(self.after_imaging_mean_mm)

    def followed(self, numbers: RandomNumbers, n_fractions: int) -> tuple[np.ndarray, np.ndarray]:
        """What organs follow: the shift of the course less its mean (course, 3) and that of each fraction
        (course, fraction, 3), each over its stated SD: standard normal numbers where Σ and σ are exact."""
        normal = numbers.normals(Stream.BASELINE_COURSE, 3), numbers.normals(Stream.BASELINE_FRACTION, n_fractions, 3)
        if not self._imaged().is_drawn:
            return normal
        own, daily = self._imaged().draw(numbers, n_fractions)
        shifts = zip((own - self.mean_mm, daily), (self.systematic_mm, self.random_mm), normal, strict=True)
        course, fraction = (np.where(sd, np.divide(mm, np.where(sd, sd, 1.0)), z) for mm, sd, z in shifts)
        return course, fraction

    def not_exact(self) -> tuple[Shifts, ...]:
        """The shift when imaged and the one after it."""
        return tuple(one for one in self.shifts() if one.is_uncertain)

    def shifts(self) -> tuple[Shifts, Shifts]:
        """The same, exact ones among them."""
        return self._imaged(), self._after()

    def _imaged(self) -> Shifts:
        return Shifts(
            self._owned("target shift") if self.known else "target shift",
            "mm",
            (self.mean_mm, self.systematic_mm, self.random_mm),
            of_course=Stream.BASELINE_COURSE,
            of_fraction=Stream.BASELINE_FRACTION,
            of_knowledge=Stream.BASELINE_KNOWN,
            of_scale=Stream.BASELINE_SCALE,
            known=self.known,
            shape=self.patient_variance_shape,
            parts=(self._owned("target shift, course"), self._owned("target shift, fraction")),
        )

    def _after(self) -> Shifts:
        return Shifts(
            self._owned("target shift after imaging") if self.after_imaging_known else "target shift after imaging",
            "mm",
            (self.after_imaging_mean_mm, self.after_imaging_systematic_mm, self.after_imaging_sd_mm),
            of_course=Stream.BASELINE_AFTER_IMAGING_COURSE,
            of_fraction=Stream.BASELINE_AFTER_IMAGING,
            of_knowledge=Stream.AFTER_IMAGING_KNOWN,
            of_scale=Stream.AFTER_IMAGING_SCALE,
            known=self.after_imaging_known,
            shape=self.patient_variance_shape,
            parts=(
                self._owned("target shift after imaging, course"),
                self._owned("target shift after imaging, fraction"),
            ),
        )

    def target_sd_mm(self) -> Spreads:
        """Of the shift when imaged."""
        return np.asarray(self.systematic_mm), np.asarray(self.random_mm)

    def unseen_sd_mm(self) -> Spreads:
        """Of the shift after imaging."""
        return np.asarray(self.after_imaging_systematic_mm), np.asarray(self.after_imaging_sd_mm)

    def describe(self) -> str:
        """One sentence for the report."""
        text = (
            f"Baseline shift of the target against bone: Σ = {in_axes(self.systematic_mm)} mm, "
            f"σ = {in_axes(self.random_mm)} mm"
        )
        text += f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
        text += f", {self.known.describe()}" if self.known else ""
        if any((*self.after_imaging_mean_mm, *self.after_imaging_systematic_mm, *self.after_imaging_sd_mm)):
            text += (
                f"; between image and beam it moves by {in_axes(self.after_imaging_mean_mm)} mm, "
                f"Σ = {in_axes(self.after_imaging_systematic_mm)} mm, σ = {in_axes(self.after_imaging_sd_mm)} mm"
            )
            text += f", {self.after_imaging_known.describe()}" if self.after_imaging_known else ""
        text += f"; {restless(self.patient_variance_shape)}" if self.patient_variance_shape is not None else ""
        return text + "."
