"""Motion management: what is planned on, when the beam is on, and how the beam follows the target.

Every kind is a pure function of the drawn breathing and of its own random numbers, so all strategies meet the same
patients. Positions are relative to the planning anatomy, in which breathing structures lie at their time average.
"""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal, Protocol

import numpy as np

from simulator.spec import Field, Mm3, NonNegativeMm3, Spec

_Ratio = Annotated[float, Field(ge=0.01, le=5)]


class Breath(Protocol):
    """Breathing of a run of courses; the planning cycle is one course of one fraction."""

    @property
    def breath(self) -> np.ndarray:
        """Amplitude of each breath over the day's, (course, fraction, instant)."""
        ...

    def names(self) -> tuple[str, ...]:
        """Structures that breathe."""
        ...

    def displacement_mm(self, name: str, lag_s: float = 0.0) -> np.ndarray:
        """Displacement (course, fraction, instant, 3) in mm about the time average, `lag_s` before each instant."""
        ...

    def depth(self, lag_s: float = 0.0) -> np.ndarray:
        """Depth of inhalation (course, fraction, instant): 0 at exhale, 1 at the day's mean inhale."""
        ...


@dataclass(frozen=True)
class MotionNoise:
    """Standard normal numbers of a strategy's own errors.

    Parameters
    ----------
    course : (course, 2, 3). fraction : (course, fraction, n, 3), n of them. instant : (course, fraction, instant, 3).
    """

    course: np.ndarray
    fraction: np.ndarray
    instant: np.ndarray


@dataclass(frozen=True)
class Managed:
    """Breathing as a strategy leaves it.

    Parameters
    ----------
    position_mm : by structure, (course, fraction, instant, 3) relative to the planning anatomy.
    weight : (course, fraction, instant), share of the fraction's dose; sums to 1.
    imaged_mm : (course, fraction, 3), where breathing and its management put the target when it is imaged.
    followed_mm : (course, fraction, instant, 3), what the beam does about breathing; None when it stands still.
    """

    position_mm: dict[str, np.ndarray]
    weight: np.ndarray
    imaged_mm: np.ndarray
    followed_mm: np.ndarray | None = None


@dataclass(frozen=True)
class MotionSpread:
    """SD per axis (3,) in mm of the target about its planning position that the planning target does not contain."""

    systematic_mm: np.ndarray
    random_mm: np.ndarray


_NO_SPREAD = MotionSpread(np.zeros(3), np.zeros(3))


class _Kind(Spec):
    """Shared by all kinds: free breathing with the beam always on, planned at the time-averaged position."""

    name: str | None = Field(None, description="name in tables; the kind by default")

    @property
    def model_update_s(self) -> float:
        """Time between images that tell a following beam of slow shifts."""
        return float("inf")

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """Positions (n, 3) in mm whose union is the planning target."""
        return np.zeros((1, 3))

    def offset_mm(self, planned: Breath, structure: str) -> np.ndarray:
        """Where a structure lies on the images that are planned on, (3,) in mm."""
        return np.zeros(3)

    def beam_time_s(self, beam_on_s: float, planned: Breath) -> float:
        """Time from first to last beam."""
        return beam_on_s

    def n_noise(self, beam_on_s: float) -> int:
        """How many vectors of random numbers a fraction needs."""
        return 1

    def spread(self, planned: Breath, target: str) -> MotionSpread:
        """What a margin recipe has to cover besides setup and baseline."""
        return _NO_SPREAD

    def manage(self, breathing: Breath, planned: Breath, target: str, noise: MotionNoise) -> Managed:
        """Breathing as this strategy leaves it."""
        return _free(breathing, target, np.ones_like(breathing.breath))

    def label(self) -> str:
        """Name in tables."""
        return self.name or self.kind  # type: ignore[attr-defined]


class NoMotionManagement(_Kind):
    """Free breathing, planned on the GTV at its time-averaged position; margin recipes do not count breathing."""

    kind: Literal["none"] = "none"

    def describe(self) -> str:
        """One sentence for the report."""
        return "none: free breathing, planned on the GTV at its time-averaged position"


class InternalTargetVolume(_Kind):
    """Free breathing, planned on the union of the GTV over the breathing cycle (ICRU 62 ITV)."""

    kind: Literal["itv"] = "itv"

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """The whole cycle at the planning amplitude."""
        return planned.displacement_mm(target)[0, 0]

    def describe(self) -> str:
        """One sentence for the report."""
        return "itv: free breathing, planned on the union of the GTV over the breathing cycle at the planning amplitude"


class MidVentilation(_Kind):
    """Free breathing, planned on the GTV at its time-averaged position; recipes count breathing as a random error.

    Source: van Herk 2003 and Wolthaus 2008 (as quoted in the reference sheet): the SD of the motion, 0.36 A there; here that
    of the planning cycle itself (0.3644 A for Lujan motion with n = 2).
    """

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


class Gating(_Kind):
    """Beam on in a window of the breathing signal; planned on the union of the GTV over the window, or on its mean there.

    The amplitude window is a share of the day's peak-to-peak signal from the day's exhale (or inhale), the phase
    window a share of the cycle about it. Source: AAPM TG-76, Keall 2006, Med Phys 33:3874. Lujan motion with
    n > 1 flatters gating: real traces leave more motion in the window than they do.
    """

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
            return _NO_SPREAD
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
        return _free(breathing, target, self._is_on(breathing, self.latency_s).astype(float))

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


class BreathHold(_Kind):
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
            f"Σ = {_axes(self.systematic_mm)} mm, σ = {_axes(self.hold_mm)} mm between holds, creep "
            f"{_axes(self.creep_mean_mm)} +/- {_axes(self.creep_sd_mm)} mm; planned on the GTV in breath-hold"
        )


class Tracking(_Kind):
    """The beam follows the target from where image guidance put it; planned on the GTV alone.

    It follows breathing with a delay (residual = latency x velocity) and a correlation-model error, and slow shifts of
    the target only as often as it is imaged again. Organs that move otherwise move relative to the beam.

    Source: latency of 0.23 s without prediction, PMC4182919; RMS errors below 1.5 mm, PMC2953601.
    """

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
        free = _free(breathing, target, np.ones_like(breathing.breath))
        error = (noise.course[:, 0] * self.error_systematic_mm)[:, None, None, :] + noise.instant * self.error_mm
        seen = breathing.displacement_mm(target, self.latency_s) if target in breathing.names() else 0.0
        return Managed(free.position_mm, free.weight, free.imaged_mm, seen - free.imaged_mm[:, :, None, :] + error)

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.label()}: the beam follows the target {self.latency_s:g} s late with an error of "
            f"{_axes(self.error_systematic_mm)} mm (Σ) and {_axes(self.error_mm)} mm (SD in time), slow shifts every "
            f"{self.reimaging_interval_s:g} s; planned on the GTV alone"
        )


class Compression(_Kind):
    """Abdominal compression: amplitudes shrink by a drawn factor, the target shifts; planned on the smaller ITV.

    Source of the default factors: pancreas, PMC5523845 (SI 0.61, AP 0.73, LR 0.98).
    """

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
        variance = np.log1p(self.ratio_cv**2)
        factor = np.exp(np.sqrt(variance) * noise.course[:, 1, 0] - variance / 2)[:, None, None, None]
        shift = (noise.course[:, 0] * self.systematic_mm)[:, None, :] + noise.fraction[:, :, 0] * self.random_mm
        free = _free(breathing, target, np.ones_like(breathing.breath))
        ratio = factor * np.asarray(self.ratio)
        position = {name: p * ratio + shift[:, :, None, :] for name, p in free.position_mm.items()}
        position.setdefault(target, shift[:, :, None, :])
        return Managed(position, free.weight, free.imaged_mm * ratio[:, :, 0] + shift)

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.label()}: amplitudes times {_axes(self.ratio)}, varying by {self.ratio_cv:.0%}; shift "
            f"Σ = {_axes(self.systematic_mm)} mm, σ = {_axes(self.random_mm)} mm; planned on the ITV under compression"
        )


def _free(breathing: Breath, target: str, is_on: np.ndarray) -> Managed:
    """Free breathing with the beam on at some instants."""
    weight = is_on / is_on.sum(axis=-1, keepdims=True)
    position = {name: breathing.displacement_mm(name) for name in breathing.names()}
    imaged = np.zeros((*weight.shape[:2], 3))
    if target in position:
        typical = position[target] / breathing.breath[..., None]
        imaged = (weight[..., None] * typical).sum(axis=2)
    return Managed(position, weight, imaged)


def _amplitude_mm(planned: Breath, name: str) -> float:
    if name not in planned.names():
        return 0.0
    return float(np.linalg.norm(np.ptp(planned.displacement_mm(name)[0, 0], axis=0)))


def _axes(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"


Motion = Annotated[
    NoMotionManagement | InternalTargetVolume | MidVentilation | Gating | BreathHold | Tracking | Compression,
    Field(discriminator="kind"),
]
