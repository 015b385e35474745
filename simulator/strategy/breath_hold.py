"""Breath-hold: the beam is on while the patient holds their breath."""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal

import numpy as np

from simulator.ground.conventions import in_axes
from simulator.ground.spec import Field, Mm3, NonNegativeMm3
from simulator.strategy.managing import Breath, Managed, MotionKind, MotionNoise, MotionSpread


class BreathHold(MotionKind):
    """Beam on during breath-holds; planned on the GTV in breath-hold, at `depth` between exhale (0) and inhale (1).

    The target misses its planned place by N(0, Σ²) per course and N(0, σ²) per hold, and creeps within each hold;
    breathing structures miss theirs in proportion to their amplitude. Holds share the dose evenly. The image is taken in a
    hold of its own and shows its time average: half of the day's creep.

    Source of the default Σ and σ: mediastinal nodes in deep inspiration, Josipovic, PMC6913352 table 3.
    """

    named_like = r"breath|(?<![a-z])d?(i|e)?bh(?![a-z])"
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

    def moving(self) -> dict[str, tuple[str, ...]]:
        """Those with a planned shift of their own."""
        return {"geometry_mm": tuple(self.geometry_mm)}

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
        """Every structure in its planned hold position plus its share of the target's miss.

        Errors are (course, 1 or fraction, 1 or hold or instant, 3): systematic, of a hold, and of the creep within it.
        """
        of_creep, of_image, of_holds = np.split(noise.fraction, (1, 2), axis=2)
        holds = _Holds.of(of_holds.shape[2], breathing.breath.shape[2])
        systematic = noise.course[:, 0, None, None] * self.systematic_mm
        creep = np.asarray(self.creep_mean_mm) + of_creep * self.creep_sd_mm
        imaged = systematic + of_image * self.hold_mm + creep / 2
        missed = systematic + (of_holds * self.hold_mm)[:, :, holds.number] + creep * holds.elapsed[:, None]
        return Managed(
            {
                name: self.offset_mm(planned, name) + _share(planned, name, target) * missed
                for name in dict.fromkeys((target, *breathing.names(), *self.geometry_mm))
            },
            np.broadcast_to(holds.weight, breathing.breath.shape),
            self.offset_mm(planned, target) + imaged[:, :, 0],
        )

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.label()}: holds of {self.hold_s:g} s at depth {self.depth:g} (0 exhale, 1 inhale), "
            f"Σ = {in_axes(self.systematic_mm)} mm, σ = {in_axes(self.hold_mm)} mm between holds, creep "
            f"{in_axes(self.creep_mean_mm)} +/- {in_axes(self.creep_sd_mm)} mm; planned on the GTV in breath-hold"
        )


@dataclass(frozen=True)
class _Holds:
    """Instants of a fraction in holds, which follow each other and share the dose evenly.

    Parameters
    ----------
    number : int (instant,), the hold of each instant. elapsed : (instant,), the share of that hold which has passed.
    weight : (instant,), sums to 1.
    """

    number: np.ndarray
    elapsed: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, n_holds: int, n_instants: int) -> "_Holds":
        """Instants in the middle of equal shares of the beam."""
        instant = np.arange(n_instants)
        number = ((instant + 0.5) / n_instants * n_holds).astype(int)
        first_in_hold, n_in_hold = np.searchsorted(number, number), np.bincount(number)[number]
        weight = 1 / n_in_hold
        return cls(number, (instant - first_in_hold + 0.5) / n_in_hold, weight / weight.sum())


def _share(planned: Breath, name: str, target: str) -> float:
    """Part of the target's miss that a structure makes too: that of its amplitude, all where the target does not breathe."""
    of_target = _amplitude_mm(planned, target)
    return 1.0 if name == target or of_target == 0 else _amplitude_mm(planned, name) / of_target


def _amplitude_mm(planned: Breath, name: str) -> float:
    if name not in planned.names():
        return 0.0
    return float(np.linalg.norm(np.ptp(planned.displacement_mm(name)[0, 0], axis=0)))
