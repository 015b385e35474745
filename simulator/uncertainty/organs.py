"""Organs that move on their own: day-to-day shifts, peristalsis and filling."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from scipy.special import ndtr, stdtrit

from simulator.ground.conventions import Stream, Streams, in_axes, log_normal
from simulator.ground.spec import Field, Mm3, NonNegativeMm3, Spec, model_validator
from simulator.uncertainty.knowledge import Known
from simulator.uncertainty.shifts import LogSize
from simulator.uncertainty.source import RandomNumbers

_SECONDS_PER_MINUTE = 60.0
_LEAST_VOLUME_RATIO = 0.05


@dataclass(frozen=True)
class OrganPath:
    """Motion of one organ in a run of courses, drawn before the times of the session are known.

    Parameters
    ----------
    shift_mm : (course, fraction, 3).
    steps : standard normal numbers (course, fraction, instant, 3) of peristalsis, None without it.
    volume_ratio : (course, fraction), volume over planned volume when imaged; None without filling.
    follows_after_imaging : share of the target's shift between image and beam.
    """

    shift_mm: np.ndarray
    steps: np.ndarray | None
    volume_ratio: np.ndarray | None
    peristalsis_mm: np.ndarray
    peristalsis_s: float
    filling_cc_per_min: float
    follows_after_imaging: float

    def at(self, time_min: np.ndarray) -> np.ndarray:
        """Displacement (course, fraction, instant, 3) in mm at times (course, fraction, instant) since the image."""
        shift = np.broadcast_to(self.shift_mm[:, :, None, :], (*time_min.shape, 3))
        if self.steps is None:
            return shift
        kept = np.exp(-np.diff(time_min, axis=-1) * _SECONDS_PER_MINUTE / self.peristalsis_s)[..., None]
        wave = self.steps.copy()
        for k in range(1, wave.shape[2]):
            wave[:, :, k] = kept[:, :, k - 1] * wave[:, :, k - 1] + np.sqrt(1 - kept[:, :, k - 1] ** 2) * wave[:, :, k]
        return shift + wave * self.peristalsis_mm

    def scaling(self, time_min: np.ndarray, volume_cc: float) -> np.ndarray | None:
        """Linear size over planned size (course, fraction, instant); None without filling."""
        if self.volume_ratio is None:
            return None
        ratio = self.volume_ratio[..., None] + self.filling_cc_per_min * time_min / volume_cc
        return np.cbrt(np.maximum(ratio, _LEAST_VOLUME_RATIO))


class OrganMotion(Spec):
    """Own motion of an organ: shift per course and fraction, an Ornstein-Uhlenbeck wave within the fraction
    (peristalsis), and filling as scaling about the centroid with log-normal volume.

    A Student-t law has the same SD as the Gaussian but heavy tails, as bowel distances have. The shift follows the
    target's baseline shift with the correlation given.
    """

    streams: ClassVar[Streams] = {
        "organ motion and filling": (
            Stream.ORGAN_COURSE,
            Stream.ORGAN_FRACTION,
            Stream.ORGAN_PERISTALSIS,
            Stream.FILLING_COURSE,
            Stream.FILLING_FRACTION,
            Stream.ORGAN_SIZE,
        ),
        "what is not known of organ motion": (Stream.ORGAN_KNOWN,),
    }
    mean_mm: Mm3 = Field((0, 0, 0), description="mean shift per axis (LR, AP, SI) in mm, LPS signs")
    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ of the shift per axis, one SD in mm")
    random_mm: NonNegativeMm3 = Field((0, 0, 0), description="σ of the shift per axis, one SD in mm")
    degrees_of_freedom: Annotated[float, Field(gt=2, le=1000)] | None = Field(
        None,
        description="of a Student-t law for both shifts, heavier-tailed the fewer (3 for bowel); Gaussian when absent",
    )
    correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="correlation of the shifts with the target's baseline shift, per axis"
    )
    follows_after_imaging: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the target's shift between image and beam that the organ makes too"
    )
    peristalsis_mm: NonNegativeMm3 = Field((0, 0, 0), description="SD of peristalsis per axis in mm")
    peristalsis_s: Annotated[float, Field(ge=0.1, le=3600)] = Field(
        20.0, description="correlation time of peristalsis in s"
    )
    filling_course_cv: Annotated[float, Field(ge=0, le=2)] = Field(
        0.0, description="coefficient of variation of the volume between courses, log-normal"
    )
    filling_fraction_cv: Annotated[float, Field(ge=0, le=2)] = Field(
        0.0, description="coefficient of variation of the volume between fractions, log-normal"
    )
    filling_cc_per_min: Annotated[float, Field(ge=-100, le=100)] = Field(
        0.0, description="growth of the volume during the session in cc/min"
    )

    known: Known | None = Field(
        None,
        description="`factor` alone: within what factor Σ, σ and peristalsis together are known; exact when absent",
    )

    @model_validator(mode="after")
    def _is_known_to_a_factor(self) -> "OrganMotion":
        if self.known is not None:
            there = (*self.systematic_mm, *self.random_mm, *self.peristalsis_mm)
            self.known.check_factor("the organ's motion", any(there))
        return self

    def not_exact(self, name: str) -> tuple[LogSize, ...]:
        """The logarithm of the motion of the organ `name` over the stated one."""
        streams = (Stream.ORGAN_SIZE, Stream.ORGAN_KNOWN)
        return LogSize.of(f"motion of {name}", self.known, *streams, structure=name)

    def draw(
        self,
        numbers: RandomNumbers,
        name: str,
        target_course: np.ndarray,
        target_fraction: np.ndarray,
        n_instants: int,
    ) -> OrganPath:
        """The organ's motion.

        Parameters
        ----------
        target_course, target_fraction : standard normal numbers (course, 3) and (course, fraction, 3) of the target's
            baseline shift.
        """
        n_fractions = target_fraction.shape[1]
        own = np.sqrt(1 - self.correlation**2)
        course = self.correlation * target_course + own * numbers.normals(Stream.ORGAN_COURSE, 3, of=name)
        fraction = self.correlation * target_fraction + own * numbers.normals(
            Stream.ORGAN_FRACTION, n_fractions, 3, of=name
        )
        shift = (np.asarray(self.mean_mm) + self._law(course) * self.systematic_mm)[:, None, :]
        shift = shift + self._law(fraction) * self.random_mm
        steps = None
        if any(self.peristalsis_mm):
            steps = numbers.normals(Stream.ORGAN_PERISTALSIS, n_fractions, n_instants, 3, of=name)
        for size in self.not_exact(name):
            factor = size.factor(numbers)[:, None, None]
            shift = self.mean_mm + (shift - self.mean_mm) * factor
            steps = None if steps is None else steps * factor[..., None]
        volume = None
        if self.filling_course_cv or self.filling_fraction_cv or self.filling_cc_per_min:
            volume = log_normal(
                numbers.normals(Stream.FILLING_COURSE, 1, of=name), self.filling_course_cv
            ) * log_normal(numbers.normals(Stream.FILLING_FRACTION, n_fractions, of=name), self.filling_fraction_cv)
        return OrganPath(
            shift,
            steps,
            volume,
            np.asarray(self.peristalsis_mm, float),
            self.peristalsis_s,
            self.filling_cc_per_min,
            self.follows_after_imaging,
        )

    def _law(self, normals: np.ndarray) -> np.ndarray:
        """Standard normal numbers turned into numbers of the chosen law with SD 1, rank by rank."""
        nu = self.degrees_of_freedom
        if nu is None:
            return normals
        tail = stdtrit(nu, ndtr(-np.abs(normals)))
        return -np.sign(normals) * tail * np.sqrt((nu - 2) / nu)

    def describe(self, name: str) -> str:
        """One sentence for the report."""
        parts = []
        if any((*self.mean_mm, *self.systematic_mm, *self.random_mm)):
            law = f" (Student t, {self.degrees_of_freedom:g} degrees of freedom)" if self.degrees_of_freedom else ""
            mean = f", mean {in_axes(self.mean_mm)} mm" if any(self.mean_mm) else ""
            parts.append(f"shift Σ = {in_axes(self.systematic_mm)} mm, σ = {in_axes(self.random_mm)} mm{mean}{law}")
        if self.correlation:
            parts.append(f"correlation {self.correlation:g} with the target")
        if self.follows_after_imaging:
            parts.append(f"{self.follows_after_imaging:.0%} of the target's shift between image and beam")
        if any(self.peristalsis_mm):
            parts.append(f"peristalsis {in_axes(self.peristalsis_mm)} mm with a time of {self.peristalsis_s:g} s")
        if self.filling_course_cv or self.filling_fraction_cv:
            parts.append(
                f"volume varying by {self.filling_course_cv:.0%} between courses and {self.filling_fraction_cv:.0%} "
                "between fractions"
            )
        if self.known:
            parts.append(self.known.describe())
        if self.filling_cc_per_min:
            parts.append(f"filling by {self.filling_cc_per_min:g} cc/min")
        return f"{name} moves on its own: {'; '.join(parts) or 'not at all'}."
