"""Free breathing with the beam always on: what is planned on differs."""

from typing import Annotated, Literal

import numpy as np

from simulator.ground.conventions import in_axes, log_normal
from simulator.ground.spec import Field, NonNegativeMm3
from simulator.strategy.managing import Breath, Managed, MotionKind, MotionNoise, MotionSpread, free_breathing

_Ratio = Annotated[float, Field(ge=0.01, le=5)]


class NoMotionManagement(MotionKind):
    """Free breathing, planned on the GTV at its time-averaged position; margin recipes do not count breathing."""

    named_like = r"no[ _-]?itv|free"
    kind: Literal["none"] = "none"

    def describe(self) -> str:
        """One sentence for the report."""
        return "none: free breathing, planned on the GTV at its time-averaged position"


class InternalTargetVolume(MotionKind):
    """Free breathing, planned on the union of the GTV over the breathing cycle (ICRU 62 ITV)."""

    kind: Literal["itv"] = "itv"

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """The whole cycle at the planning amplitude."""
        return planned.displacement_mm(target)[0, 0]

    def describe(self) -> str:
        """One sentence for the report."""
        return "itv: free breathing, planned on the union of the GTV over the breathing cycle at the planning amplitude"


class MidVentilation(MotionKind):
    """Free breathing, planned on the GTV at its time-averaged position; recipes count breathing as a random error.

    Source: van Herk 2003 and Wolthaus 2008 (as quoted in the reference sheet): the SD of the motion, 0.36 A there; here that
    of the planning cycle itself (0.3644 A for Lujan motion with n = 2).
    """

    named_like = r"mid[ _-]?(v|p)"
    kind: Literal["mid-ventilation"] = "mid-ventilation"

    def spread(self, planned: Breath, target: str) -> MotionSpread:
        """The SD of the planning cycle over time."""
        return MotionSpread(np.zeros(3), planned.displacement_mm(target)[0, 0].std(axis=0))

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            "mid-ventilation: free breathing, planned on the GTV at its time-averaged position; margin recipes count "
            "breathing as a random error"
        )


class Compression(MotionKind):
    """Abdominal compression: amplitudes shrink by a drawn factor, the target shifts; planned on the smaller ITV.

    Source of the default factors: pancreas, PMC5523845 (SI 0.61, AP 0.73, LR 0.98).
    """

    named_like = "compress"
    kind: Literal["compression"] = "compression"
    ratio: tuple[_Ratio, _Ratio, _Ratio] = Field(
        (0.98, 0.73, 0.61), description="mean amplitude under compression over that without, per axis (LR, AP, SI)"
    )
    ratio_cv: Annotated[float, Field(ge=0, le=2)] = Field(
        0.2, description="coefficient of variation of the ratio between courses, log-normal (judgement)"
    )
    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ of the shift under compression per axis in mm")
    random_mm: NonNegativeMm3 = Field((0, 0, 0), description="σ of the shift under compression per axis in mm")

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """The cycle at the compressed planning amplitude."""
        return planned.displacement_mm(target)[0, 0] * self.ratio

    def spread(self, planned: Breath, target: str) -> MotionSpread:
        """The shift under compression."""
        return MotionSpread(np.asarray(self.systematic_mm), np.asarray(self.random_mm))

    def manage(self, breathing: Breath, planned: Breath, target: str, noise: MotionNoise) -> Managed:
        """Smaller breathing about a shifted place, for every structure that breathes."""
        factor = log_normal(noise.course[:, 1, 0], self.ratio_cv)[:, None, None, None]
        shift = (noise.course[:, 0] * self.systematic_mm)[:, None, :] + noise.fraction[:, :, 0] * self.random_mm
        free = free_breathing(breathing, target, np.ones_like(breathing.breath))
        ratio = factor * np.asarray(self.ratio)
        position = {name: p * ratio + shift[:, :, None, :] for name, p in free.position_mm.items()}
        position.setdefault(target, shift[:, :, None, :])
        return Managed(position, free.weight, free.imaged_mm * ratio[:, :, 0] + shift)

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.label()}: amplitudes times {in_axes(self.ratio)}, varying by {self.ratio_cv:.0%}; shift "
            f"Σ = {in_axes(self.systematic_mm)} mm, σ = {in_axes(self.random_mm)} mm; planned on the ITV under compression"
        )
