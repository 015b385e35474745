"""Setup error: where the whole patient lies relative to the plan."""

from typing import Annotated, ClassVar

import numpy as np

from simulator.ground.conventions import Stream, Streams, in_axes
from simulator.ground.spec import (
    Deg3,
    Field,
    Mm3,
    NonNegativeMm3,
    PositionMm3,
    SdDeg3,
    field_validator,
    model_validator,
)
from simulator.uncertainty.knowledge import VARIANCE_SHAPE, Known, VarianceShape, restless
from simulator.uncertainty.shifts import Shifts, root_of
from simulator.uncertainty.source import RandomNumbers, Source, Spreads

Correlation = Annotated[float, Field(ge=-1, le=1)]


class Setup(Source):
    """Pose of the whole patient before any image guidance: N(mean, Σ²) per course plus N(0, σ²) per fraction.

    Translations along and rotations about the three axes; `correlation` couples the translations. Rotations are
    full rotation matrices about the isocentre, first about LR, then AP, then SI.

    Source: van Herk 2000, doi:10.1016/S0360-3016(00)00518-6 (Σ and σ as population SD of means and RMS of SDs).
    """

    streams: ClassVar[Streams] = {
        "setup, systematic": (Stream.SETUP_SYSTEMATIC,),
        "setup, random": (Stream.SETUP_RANDOM, Stream.SETUP_SCALE),
        "rotation": (Stream.ROTATION_SYSTEMATIC, Stream.ROTATION_RANDOM),
        "what is not known of setup": (Stream.SETUP_KNOWN,),
    }
    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    random_mm: NonNegativeMm3 = Field((0, 0, 0), description="σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="population mean per axis (LR, AP, SI) in mm, LPS signs")
    correlation: tuple[Correlation, Correlation, Correlation] = Field(
        (0, 0, 0), description="correlation of the axes LR-AP, LR-SI and AP-SI, for Σ and for σ alike"
    )
    systematic_deg: SdDeg3 = Field(
        (0, 0, 0), description="Σ of rotations about LR (pitch), AP (yaw) and SI (roll), one SD in degrees"
    )
    random_deg: SdDeg3 = Field(
        (0, 0, 0), description="σ of rotations about LR (pitch), AP (yaw) and SI (roll), one SD in degrees"
    )
    mean_deg: Deg3 = Field((0, 0, 0), description="population mean of rotations about LR, AP and SI in degrees")
    isocentre_mm: PositionMm3 | None = Field(
        None,
        description="centre of rotation (x, y, z) in mm, DICOM patient coordinates; by default the isocentre of an imported "
        "plan, else the target's centre",
    )
    patient_variance_shape: VarianceShape = VARIANCE_SHAPE
    known: Known | None = Field(
        None, description="what is known of Σ, σ and the means, of shifts and rotations; taken as exact when absent"
    )

    @field_validator("correlation")
    @classmethod
    def _is_possible(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if np.linalg.eigvalsh(_matrix(value)).min() < -1e-9:
            raise ValueError(f"no three axes can have the correlations {list(value)}; lower one of them")
        return value

    @model_validator(mode="after")
    def _is_about_errors(self) -> "Setup":
        if self.known is not None:
            systematic, random = ((*self.systematic_mm, *self.systematic_deg), (*self.random_mm, *self.random_deg))
            self.known.check(systematic, random, np.linalg.eigvalsh(_matrix(self.correlation)).tolist())
            self.known.check_shape(self.patient_variance_shape)
        return self

    @property
    def rotates(self) -> bool:
        """Whether any rotation occurs."""
        return any((*self.systematic_deg, *self.random_deg, *self.mean_deg))

    def patient_mm(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """Displacement of the patient, float64 (course, fraction, 3) in mm."""
        if self._shifts().is_drawn:
            own, daily = self._shifts().draw(numbers, n_fractions)
            return own[:, None, :] + daily
        course = self._correlated(numbers.normals(Stream.SETUP_SYSTEMATIC, 3)) * self.systematic_mm
        fraction = self._correlated(numbers.normals(Stream.SETUP_RANDOM, n_fractions, 3)) * self.random_mm
        return (np.asarray(self.mean_mm) + course)[:, None, :] + fraction

    def draw_rotation(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """Rotation of the patient about (LR, AP, SI), float64 (course, fraction, 3) in degrees."""
        if self._turns().is_drawn:
            own, daily = self._turns().draw(numbers, n_fractions)
            return own[:, None, :] + daily
        course = np.asarray(self.mean_deg) + numbers.normals(Stream.ROTATION_SYSTEMATIC, 3) * self.systematic_deg
        fraction = numbers.normals(Stream.ROTATION_RANDOM, n_fractions, 3) * self.random_deg
        return course[:, None, :] + fraction

    def patient_sd_mm(self) -> Spreads:
        """Of the translations."""
        return np.asarray(self.systematic_mm), np.asarray(self.random_mm)

    def _correlated(self, normals: np.ndarray) -> np.ndarray:
        if not any(self.correlation):
            return normals
        return normals @ root_of(_matrix(self.correlation)).T

    def not_exact(self) -> tuple[Shifts, ...]:
        """Shifts and rotations."""
        return tuple(one for one in (self._shifts(), self._turns()) if one.is_uncertain)

    def _shifts(self) -> Shifts:
        return Shifts(
            "setup",
            "mm",
            (self.mean_mm, self.systematic_mm, self.random_mm),
            of_course=Stream.SETUP_SYSTEMATIC,
            of_fraction=Stream.SETUP_RANDOM,
            of_knowledge=Stream.SETUP_KNOWN,
            of_scale=Stream.SETUP_SCALE,
            known=self.known,
            correlation=_matrix(self.correlation),
            shape=self.patient_variance_shape,
            parts=("setup, systematic", "setup, random"),
        )

    def _turns(self) -> Shifts:
        return Shifts(
            "rotation",
            "deg",
            (self.mean_deg, self.systematic_deg, self.random_deg),
            of_course=Stream.ROTATION_SYSTEMATIC,
            of_fraction=Stream.ROTATION_RANDOM,
            of_knowledge=Stream.SETUP_KNOWN,
            of_scale=Stream.SETUP_SCALE,
            known=self.known,
        )

    def describe(self) -> str:
        """One sentence for the report."""
        text = (
            f"Setup error of the whole patient: Σ = {in_axes(self.systematic_mm)} mm, σ = {in_axes(self.random_mm)} mm"
        )
        if any(self.mean_mm):
            text += f", mean {in_axes(self.mean_mm)} mm"
        text += " (LR, AP, SI; one standard deviation)"
        if self.rotates:
            text += f"; rotations Σ = {in_axes(self.systematic_deg)}, σ = {in_axes(self.random_deg)} degrees"
            text += f", mean {in_axes(self.mean_deg)}" if any(self.mean_deg) else ""
        if self.patient_variance_shape is not None:
            text += f"; {restless(self.patient_variance_shape)}"
        if self.known is not None:
            text += f"; {self.known.describe()}"
        return text + "."


def _matrix(correlation: tuple[float, float, float]) -> np.ndarray:
    xy, xz, yz = correlation
    return np.array([[1, xy, xz], [xy, 1, yz], [xz, yz, 1.0]])
