"""Baseline shift of the target: its time-averaged place within the patient differs from the plan."""

from typing import ClassVar

import numpy as np

from simulator.conventions import Stream, Streams, in_axes
from simulator.spec import Field, Mm3, NonNegativeMm3
from simulator.uncertainty.source import RandomNumbers, Source, Spreads


class Baseline(Source):
    """Shift of the target against bone: N(mean, Σ²) per course plus N(0, σ²) per fraction, and a further shift between
    image and beam, N(mean, Σ²) per course plus N(0, sd²) per fraction, which only a later image can see.

    Organs may follow it: see `organs.NAME.correlation`. Source of the typical values: the site studies in configs.
    """

    streams: ClassVar[Streams] = {
        "target shift, course": (Stream.BASELINE_COURSE,),
        "target shift, fraction": (Stream.BASELINE_FRACTION,),
        "target shift after imaging, course": (Stream.BASELINE_AFTER_IMAGING_COURSE,),
        "target shift after imaging, fraction": (Stream.BASELINE_AFTER_IMAGING,),
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

    def within_mm(self, numbers: RandomNumbers, n_fractions: int, target: str) -> dict[str, np.ndarray]:
        """The shift of the target when imaged."""
        course = np.asarray(self.mean_mm) + numbers.normals(Stream.BASELINE_COURSE, 3) * self.systematic_mm
        fraction = numbers.normals(Stream.BASELINE_FRACTION, n_fractions, 3) * self.random_mm
        return {target: course[:, None, :] + fraction}

    def after_imaging_mm(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """The further shift."""
        course = numbers.normals(Stream.BASELINE_AFTER_IMAGING_COURSE, 3) * self.after_imaging_systematic_mm
        since = numbers.normals(Stream.BASELINE_AFTER_IMAGING, n_fractions, 3) * self.after_imaging_sd_mm
        return course[:, None, :] + since + np.asarray(self.after_imaging_mean_mm)

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
        if any((*self.after_imaging_mean_mm, *self.after_imaging_systematic_mm, *self.after_imaging_sd_mm)):
            text += (
                f"; between image and beam it moves by {in_axes(self.after_imaging_mean_mm)} mm, "
                f"Σ = {in_axes(self.after_imaging_systematic_mm)} mm, σ = {in_axes(self.after_imaging_sd_mm)} mm"
            )
        return text + "."
