"""Tracking: the beam follows the target."""

from typing import Annotated, Literal

import numpy as np

from simulator.ground.conventions import in_axes
from simulator.ground.spec import Field, NonNegativeMm3
from simulator.strategy.managing import Breath, Managed, MotionKind, MotionNoise, MotionSpread, free_breathing


class Tracking(MotionKind):
    """The beam follows the target from where image guidance put it; planned on the GTV alone.

    It follows breathing with a delay (residual = latency x velocity) and a correlation-model error, and slow shifts of
    the target only as often as it is imaged again. Organs that move otherwise move relative to the beam.

    Source: latency of 0.23 s without prediction, PMC4182919; RMS errors below 1.5 mm, PMC2953601.
    """

    named_like = "track"
    kind: Literal["tracking"] = "tracking"
    latency_s: Annotated[float, Field(ge=0, le=5)] = Field(
        0.1, description="delay left after prediction in s (judgement: 0.23 s without)"
    )
    error_systematic_mm: NonNegativeMm3 = Field(
        (0.3, 0.3, 0.3), description="Σ of the correlation model per axis in mm (judgement)"
    )
    error_mm: NonNegativeMm3 = Field(
        (0.6, 0.6, 0.6), description="SD of the tracking error from instant to instant per axis in mm (phantom: 0.64)"
    )
    reimaging_interval_s: Annotated[float, Field(ge=1, le=7200)] = Field(
        60.0, description="time between images that tell the model of slow shifts, in s (judgement)"
    )

    @property
    def model_update_s(self) -> float:
        """As the key `reimaging_interval_s` says."""
        return self.reimaging_interval_s

    def spread(self, planned: Breath, target: str) -> MotionSpread:
        """The tracking error; the delay is left out."""
        return MotionSpread(np.asarray(self.error_systematic_mm), np.asarray(self.error_mm))

    def manage(self, breathing: Breath, planned: Breath, target: str, noise: MotionNoise) -> Managed:
        """Free breathing, followed by the beam."""
        free = free_breathing(breathing, target, np.ones_like(breathing.breath))
        error = (noise.course[:, 0] * self.error_systematic_mm)[:, None, None, :] + noise.instant * self.error_mm
        seen = breathing.displacement_mm(target, self.latency_s) if target in breathing.names() else 0.0
        return Managed(free.position_mm, free.weight, free.imaged_mm, seen - free.imaged_mm[:, :, None, :] + error)

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.label()}: the beam follows the target {self.latency_s:g} s late with an error of "
            f"{in_axes(self.error_systematic_mm)} mm (Σ) and {in_axes(self.error_mm)} mm (SD in time), slow shifts every "
            f"{self.reimaging_interval_s:g} s; planned on the GTV alone"
        )
