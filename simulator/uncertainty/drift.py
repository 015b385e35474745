"""Drift: the patient moves on the couch between the image and the end of the beam."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulator.ground.conventions import Stream, Streams, in_axes
from simulator.ground.spec import Field, Mm3, NonNegativeMm3, model_validator
from simulator.uncertainty.knowledge import Known
from simulator.uncertainty.shifts import LogSize
from simulator.uncertainty.source import RandomNumbers, Source


@dataclass(frozen=True)
class DriftPath:
    """Drift of a run of courses, drawn before the times of the session are known.

    Parameters
    ----------
    rate_mm_per_min : (course, fraction, 3).
    steps : standard normal numbers (course, fraction, instant, 3) of the Brownian part.
    brownian_mm : (3,), standard deviation after one minute.
    """

    rate_mm_per_min: np.ndarray
    steps: np.ndarray
    brownian_mm: np.ndarray

    def at(self, time_min: np.ndarray) -> np.ndarray:
        """Displacement (course, fraction, instant, 3) in mm at ascending times (course, fraction, instant) since the
        image."""
        waits = np.diff(time_min, axis=-1, prepend=0.0)
        walk = np.cumsum(np.sqrt(waits)[..., None] * self.steps, axis=2) * self.brownian_mm
        return self.rate_mm_per_min[:, :, None, :] * time_min[..., None] + walk


class Drift(Source):
    """Movement of the whole patient after imaging: v t + s W(t), with v ~ N(mean, sd²) per fraction and Brownian W.

    Source: growth with time, Hoogeman 2008, Int J Radiat Oncol Biol Phys 70:609 (1.2 mm in 15 min, supine; as quoted
    in the reference sheet); 0.9 mm per axis at 10-15 min, Wang 2009, doi:10.1016/j.ijrobp.2008.09.040.
    """

    streams: ClassVar[Streams] = {
        "drift": (Stream.DRIFT_RATE, Stream.DRIFT_WALK, Stream.DRIFT_SIZE),
        "what is not known of drift": (Stream.DRIFT_KNOWN,),
    }
    mean_mm_per_min: Mm3 = Field((0, 0, 0), description="mean velocity per axis (LR, AP, SI) in mm/min, LPS signs")
    sd_mm_per_min: NonNegativeMm3 = Field(
        (0, 0, 0), description="SD of the velocity between fractions per axis in mm/min (0.08 for supine patients)"
    )
    brownian_mm_per_sqrt_min: NonNegativeMm3 = Field(
        (0, 0, 0), description="SD of the Brownian part after one minute per axis in mm; it grows with sqrt(time)"
    )

    known: Known | None = Field(
        None,
        description="`factor` alone: within what factor the drift, mean and spread alike, is known; exact when absent",
    )

    @model_validator(mode="after")
    def _is_known_to_a_factor(self) -> "Drift":
        if self.known is not None:
            there = (*self.mean_mm_per_min, *self.sd_mm_per_min, *self.brownian_mm_per_sqrt_min)
            self.known.check_factor("the drift", any(there))
        return self

    def draw(self, numbers: RandomNumbers, n_fractions: int, n_instants: int) -> DriftPath:
        """The drift of a run of courses."""
        rate = numbers.normals(Stream.DRIFT_RATE, n_fractions, 3) * self.sd_mm_per_min + np.asarray(
            self.mean_mm_per_min
        )
        steps = np.zeros((numbers.n_courses, n_fractions, n_instants, 3))
        if any(self.brownian_mm_per_sqrt_min):
            steps = numbers.normals(Stream.DRIFT_WALK, n_fractions, n_instants, 3)
        for size in self.not_exact():
            factor = size.factor(numbers)[:, None, None]
            rate, steps = rate * factor, steps * factor[..., None]
        return DriftPath(rate, steps, np.asarray(self.brownian_mm_per_sqrt_min, float))

    def not_exact(self) -> tuple[LogSize, ...]:
        """The logarithm of the drift over the stated one."""
        return LogSize.of("drift", self.known, Stream.DRIFT_SIZE, Stream.DRIFT_KNOWN)

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"Drift of the whole patient after imaging: velocity {in_axes(self.mean_mm_per_min)} +/- "
            f"{in_axes(self.sd_mm_per_min)} mm/min and a Brownian part of {in_axes(self.brownian_mm_per_sqrt_min)} mm "
            f"after one minute{f', {self.known.describe()}' if self.known else ''}."
        )
