"""Gating: the beam is on in a window of the breathing signal."""

from typing import Annotated, ClassVar, Literal

import numpy as np

from simulator.ground.spec import Field
from simulator.strategy.managing import (
    NO_SPREAD,
    Breath,
    Managed,
    MotionKind,
    MotionNoise,
    MotionSpread,
    free_breathing,
)


class Gating(MotionKind):
    """Beam on in a window of the breathing signal; planned on the union of the GTV over the window, or on its mean there.

    The amplitude window is a share of the day's peak-to-peak signal from the day's exhale (or inhale), the phase
    window a share of the cycle about it. Source: AAPM TG-76, Keall 2006, Med Phys 33:3874. Lujan motion with
    n > 1 flatters gating: real traces leave more motion in the window than they do.
    """

    needs_breathing_to: ClassVar[str | None] = "gate"
    named_like = "gat(ed|ing)"
    kind: Literal["gating"] = "gating"
    signal: Literal["amplitude", "phase"] = Field("amplitude", description="what the window is laid on")
    around: Literal["exhale", "inhale"] = Field("exhale", description="where the window lies")
    window_percent: Annotated[float, Field(gt=0, le=100)] = Field(
        30.0, description="width of the window: percent of the peak-to-peak signal, or of the cycle"
    )
    latency_s: Annotated[float, Field(ge=0, le=5)] = Field(
        0.1, description="delay of the beam behind the signal in s (judgement)"
    )
    plan_on: Literal["union", "mean"] = Field(
        "union", description="planning target: union of the GTV over the window, or the GTV at its mean position in it"
    )

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """The part of the planning cycle inside the window, or its mean."""
        if self.plan_on == "mean":
            return self.offset_mm(planned, target)[None]
        return planned.displacement_mm(target)[0, 0][self._is_on(planned, 0.0)[0, 0]]

    def offset_mm(self, planned: Breath, structure: str) -> np.ndarray:
        """Mean position inside the window."""
        if structure not in planned.names():
            return np.zeros(3)
        return planned.displacement_mm(structure)[0, 0][self._is_on(planned, 0.0)[0, 0]].mean(axis=0)

    def spread(self, planned: Breath, target: str) -> MotionSpread:
        """The motion left in the window, if the planning target does not contain it."""
        if self.plan_on == "union":
            return NO_SPREAD
        left = planned.displacement_mm(target)[0, 0][self._is_on(planned, 0.0)[0, 0]].std(axis=0)
        return MotionSpread(np.zeros(3), left)

    def duty_cycle(self, planned: Breath) -> float:
        """Share of the planning cycle with the beam on."""
        return float(self._is_on(planned, 0.0).mean())

    def beam_time_s(self, beam_on_s: float, planned: Breath) -> float:
        """The beam-on time divided by the duty cycle."""
        return beam_on_s / self.duty_cycle(planned)

    def manage(self, breathing: Breath, planned: Breath, target: str, noise: MotionNoise) -> Managed:
        """Only instants inside the window, as the delayed signal shows it, carry dose."""
        return free_breathing(breathing, target, self._is_on(breathing, self.latency_s).astype(float))

    def _is_on(self, breathing: Breath, lag_s: float) -> np.ndarray:
        depth = breathing.depth(lag_s)
        distance = depth if self.around == "exhale" else 1 - depth
        if self.signal == "phase":
            rank = np.argsort(np.argsort(distance, axis=-1, kind="stable"), axis=-1)
            return rank < max(1, round(self.window_percent / 100 * depth.shape[-1]))
        is_on = distance <= self.window_percent / 100
        return is_on | (distance == distance.min(axis=-1, keepdims=True))

    def describe(self) -> str:
        """One sentence for the report."""
        of = "of the peak-to-peak signal" if self.signal == "amplitude" else "of the cycle"
        return (
            f"{self.label()}: beam on in the {self.window_percent:g} % {of} at {self.around}, {self.latency_s:g} s late; "
            f"planned on the {'union of the GTV over' if self.plan_on == 'union' else 'GTV at its mean position in'} the window"
        )
