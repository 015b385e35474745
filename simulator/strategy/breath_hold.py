"""Breath-hold: the beam is on while the patient holds their breath."""

from math import ceil
from typing import Annotated, Literal

import numpy as np

from simulator.conventions import in_axes
from simulator.spec import Field, Mm3, NonNegativeMm3
from simulator.strategy.managing import Breath, Managed, MotionKind, MotionNoise, MotionSpread


class BreathHold(MotionKind):
    """Beam on during breath-holds; planned on the GTV in breath-hold, at `depth` between exhale (0) and inhale (1).

    The target misses its planned place by N(0, Σ²) per course and N(0, σ²) per hold, and creeps within each hold;
    breathing structures miss theirs in proportion to their amplitude. Holds share the dose evenly. The image is taken in a
    hold of its own and shows its time average: half of the day's creep.

    Source of the default Σ and σ: mediastinal nodes in deep inspiration, Josipovic, PMC6913352 table 3.
    """

    kind: Literal["breath-hold"] = "breath-hold"
    depth: Annotated[float, Field(ge=-2, le=5)] = Field(
        0.0, description="where breath is held: 0 exhale, 1 inhale of the planning cycle; above 1 deep inspiration"
    )
    systematic_mm: NonNegativeMm3 = Field((1.0, 1.1, 1.2), description="Σ of the hold position per axis in mm")
    hold_mm: NonNegativeMm3 = Field((0.7, 0.9, 1.0), description="σ between holds per axis in mm")
    creep_mean_mm: Mm3 = Field(
        (0, 0, 0), description="mean motion from begin to end of a hold per axis in mm, LPS signs"
    )
    creep_sd_mm: NonNegativeMm3 = Field((0, 0, 0), description="SD between fractions of that motion per axis in mm")
    hold_s: Annotated[float, Field(ge=1, le=1800)] = Field(20.0, description="length of a hold in s (judgement)")
    pause_s: Annotated[float, Field(ge=0, le=600)] = Field(20.0, description="pause between holds in s (judgement)")
    geometry_mm: dict[str, Mm3] = Field(
        default_factory=dict,
        description="planned shift (LR, AP, SI) in mm in breath-hold of structures that do not breathe in this study",
    )

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """The position in breath-hold."""
        return self.offset_mm(planned, target)[None]

    def offset_mm(self, planned: Breath, structure: str) -> np.ndarray:
        """The planned position in breath-hold."""
        own = np.asarray(self.geometry_mm.get(structure, (0, 0, 0)), float)
        if structure not in planned.names():
            return own
        path, depth = planned.displacement_mm(structure)[0, 0], planned.depth()[0, 0]
        exhale, inhale = path[np.argmin(depth)], path[np.argmax(depth)]
        return exhale + self.depth * (inhale - exhale) + own

    def n_holds(self, beam_on_s: float) -> int:
        """Number of holds."""
        return max(1, ceil(beam_on_s / self.hold_s))

    def beam_time_s(self, beam_on_s: float, planned: Breath) -> float:
        """The beam-on time and the pauses between holds."""
        return beam_on_s + (self.n_holds(beam_on_s) - 1) * self.pause_s

    def n_noise(self, beam_on_s: float) -> int:
        """Creep, the hold of the image, and every hold."""
        return 2 + self.n_holds(beam_on_s)

    def spread(self, planned: Breath, target: str) -> MotionSpread:
        """Reproducibility of the hold; the mean creep is left out."""
        return MotionSpread(np.asarray(self.systematic_mm), np.hypot(self.hold_mm, np.asarray(self.creep_sd_mm) / 2))

    def manage(self, breathing: Breath, planned: Breath, target: str, noise: MotionNoise) -> Managed:
        """Every structure in its planned hold position plus its share of the target's miss."""
        n_holds, n_instants = noise.fraction.shape[2] - 2, breathing.breath.shape[2]
        hold = ((np.arange(n_instants) + 0.5) / n_instants * n_holds).astype(int)
        first, n_in_hold = np.searchsorted(hold, hold), np.bincount(hold, minlength=n_holds)[hold]
        within = (np.arange(n_instants) - first + 0.5) / n_in_hold
        weight = np.broadcast_to(1 / n_in_hold / (1 / n_in_hold).sum(), breathing.breath.shape)
        creep = np.asarray(self.creep_mean_mm) + noise.fraction[:, :, 0] * self.creep_sd_mm
        course = (noise.course[:, 0] * self.systematic_mm)[:, None, :]
        imaged = course + noise.fraction[:, :, 1] * self.hold_mm + creep / 2
        miss = course[:, :, None, :] + (noise.fraction[:, :, 2:] * self.hold_mm)[:, :, hold]
        miss = miss + creep[:, :, None, :] * within[:, None]
        own = _amplitude_mm(planned, target)
        position = {}
        for name in dict.fromkeys((target, *breathing.names(), *self.geometry_mm)):
            share = 1.0 if name == target or own == 0 else _amplitude_mm(planned, name) / own
            position[name] = self.offset_mm(planned, name) + share * miss
        return Managed(position, weight, self.offset_mm(planned, target) + imaged)

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.label()}: holds of {self.hold_s:g} s at depth {self.depth:g} (0 exhale, 1 inhale), "
            f"Σ = {in_axes(self.systematic_mm)} mm, σ = {in_axes(self.hold_mm)} mm between holds, creep "
            f"{in_axes(self.creep_mean_mm)} +/- {in_axes(self.creep_sd_mm)} mm; planned on the GTV in breath-hold"
        )


def _amplitude_mm(planned: Breath, name: str) -> float:
    if name not in planned.names():
        return 0.0
    return float(np.linalg.norm(np.ptp(planned.displacement_mm(name)[0, 0], axis=0)))
