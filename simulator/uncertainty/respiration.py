"""Respiration: the breathing motion of the target and of the structures that move with it."""

from math import gcd
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from simulator.ground.conventions import Stream, Streams, in_axes, log_normal
from simulator.ground.spec import Deg3, Field, Mm3, NonNegativeMm3, Spec, field_validator, model_validator
from simulator.uncertainty.breathing import Breathing, LujanWave, PhaseWave, TraceWave, Waveform
from simulator.uncertainty.knowledge import Known
from simulator.uncertainty.shifts import LogSize
from simulator.uncertainty.source import RandomNumbers, Source

_PLANNING_PHASES = 40
_DEGREES = 360.0
_BREATHS_DRAWN = 64
_Cv = Annotated[float, Field(ge=0, le=2)]


class TiedStructure(Spec):
    """Breathing of a structure that follows the target's breathing signal."""

    amplitude_mm: NonNegativeMm3 = Field(description="peak-to-peak amplitude per axis (LR, AP, SI) in mm")
    lag_deg: Deg3 = Field(
        (0, 0, 0), description="how far each axis trails the breathing signal, in degrees of the cycle (hysteresis)"
    )


class Respiration(Source):
    """Breathing about the time-averaged position, which is the planning anatomy.

    Waveform: Lujan u(t) = f A (cos^2n(pi t / tau - phi) - mean) towards inhale, with A the peak-to-peak amplitude per
    axis; or a measured record (`trace`) in place of cos^2n; or the phases of a 4DCT (`phases_mm`). The factor
    f = f_course f_fraction f_breath is log-normal (never negative). Instants sample the waveform evenly (a Lujan cycle
    from a random starting phase, a record by quantiles of depth), so few of them give its exact mean; their order
    within the session is scrambled.

    Source: Lujan 1999, doi:10.1118/1.598577; moments in closed form (mean C(2n,n)/4^n of A).
    """

    streams: ClassVar[Streams] = {
        "breathing": (
            Stream.RESPIRATION_COURSE,
            Stream.RESPIRATION_FRACTION,
            Stream.RESPIRATION_PHASE,
            Stream.RESPIRATION_BREATH,
            Stream.RESPIRATION_PERIOD,
        ),
        "what is not known of breathing": (Stream.RESPIRATION_KNOWN,),
    }
    amplitude_mm: NonNegativeMm3 = Field(
        (0, 0, 0), description="peak-to-peak amplitude of the target per axis (LR, AP, SI) in mm, as planned on"
    )
    lag_deg: Deg3 = Field(
        (0, 0, 0), description="how far each axis of the target trails the breathing signal, in degrees (hysteresis)"
    )
    n: Literal[1, 2, 3, 4] = Field(
        2, description="exponent of cos^2n; larger n dwells longer at exhale (1 suits gated treatments)"
    )
    period_s: Annotated[float, Field(ge=1, le=30)] = Field(
        3.5, description="length of a breathing cycle in s (3.5 s: Siva 2013)"
    )
    period_cv: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="coefficient of variation of the period between courses and again between fractions"
    )
    delivery_factor: Annotated[float, Field(ge=0.1, le=5)] = Field(
        1.0, description="mean amplitude at delivery over the planning amplitude (4DCT understates abdominal motion)"
    )
    course_cv: _Cv = Field(
        0.0,
        description="coefficient of variation of the amplitude between courses, log-normal: between patients, or for `subject: "
        "patient` how well his own amplitude is known",
    )
    fraction_cv: _Cv = Field(0.0, description="coefficient of variation of the amplitude between fractions, log-normal")
    breath_cv: _Cv = Field(0.0, description="coefficient of variation of the amplitude between breaths, log-normal")
    inhale_direction: tuple[Literal[-1, 1], Literal[-1, 1], Literal[-1, 1]] = Field(
        (1, -1, -1), description="sign of the motion towards inhale per axis in LPS: left, anterior, inferior"
    )
    structures: dict[str, TiedStructure] = Field(
        default_factory=dict,
        description="other structures that breathe: amplitude per axis in mm, or a mapping with amplitude_mm and lag_deg",
    )
    trace: str | None = Field(
        None,
        description="file with a measured record: CSV with time_s and displacement_mm (greater is deeper), or an IEC trace",
    )
    phases_mm: dict[str, Annotated[tuple[Mm3, ...], Field(min_length=2, max_length=100)]] | None = Field(
        None,
        description="4DCT phases from inhale, equally spaced in time: displacement (LR, AP, SI) in mm of each structure in "
        "each phase, the target among them; replaces the amplitudes",
    )
    known: Known | None = Field(
        None, description="`factor` alone: within what factor the amplitude at delivery is known; exact when absent"
    )

    @field_validator("structures", mode="before", json_schema_input_type=dict[str, TiedStructure | NonNegativeMm3])
    @classmethod
    def _accept_amplitudes(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: v if isinstance(v, dict | TiedStructure) else {"amplitude_mm": v} for k, v in value.items()}

    @model_validator(mode="after")
    def _one_waveform(self) -> "Respiration":
        if self.phases_mm is not None and (self.trace is not None or any(self.amplitude_mm) or self.structures):
            raise ValueError("phases_mm replaces amplitude_mm, structures and trace: give one or the other")
        if self.trace is not None and not self.moves:
            raise ValueError("trace is the shape of the breathing alone: nothing moves without amplitude_mm; give it")
        return self

    @model_validator(mode="after")
    def _is_known_to_a_factor(self) -> "Respiration":
        if self.known is not None:
            self.known.check_factor("the amplitude", self.moves)
        return self

    @property
    def moves(self) -> bool:
        """Whether anything breathes at all."""
        amplitudes = (self.amplitude_mm, *(tied.amplitude_mm for tied in self.structures.values()))
        return self.phases_mm is not None or bool(np.any(amplitudes))

    def moving(self, target: str) -> tuple[str, ...]:
        """Structures that breathe, the target first."""
        if self.phases_mm is not None:
            return tuple(self.phases_mm)
        return (target, *(name for name in self.structures if name != target))

    def waveform(self, target: str, record: tuple[np.ndarray, float] | None = None) -> Waveform:
        """The waveform at the planning amplitude.

        Parameters
        ----------
        record : depth (sample,) of `trace` in mm, greater is deeper, and its length in s; required with `trace`.
        """
        if self.phases_mm is not None:
            return PhaseWave({k: np.array(v, float) for k, v in self.phases_mm.items()}, target)
        own = TiedStructure(amplitude_mm=self.amplitude_mm, lag_deg=self.lag_deg)
        tied = {target: own, **self.structures}
        vectors = {k: np.multiply(t.amplitude_mm, self.inhale_direction).astype(float) for k, t in tied.items()}
        lags = {k: np.asarray(t.lag_deg) / _DEGREES for k, t in tied.items()}
        if self.trace is None:
            return LujanWave(self.n, vectors, lags)
        if record is None:
            raise ValueError("a study with a trace needs its record")
        depths, seconds = record
        exhale, inhale = np.percentile(depths, (2.5, 97.5))
        return TraceWave((depths - exhale) / (inhale - exhale), seconds / self.period_s, vectors, lags)

    def draw(
        self,
        numbers: RandomNumbers,
        waveform: Waveform,
        n_fractions: int,
        n_instants: int,
    ) -> Breathing:
        """The breathing of a run of courses."""
        start = numbers.uniforms(Stream.RESPIRATION_PHASE, n_fractions, 2)
        first = np.floor(start[..., :1] * n_instants)
        order = (first + np.arange(n_instants) * _scrambling_step(n_instants)) % n_instants
        share = (order + start[..., 1:]) / n_instants
        breath = np.ones((numbers.n_courses, n_fractions, n_instants))
        if self.breath_cv:
            breath = log_normal(numbers.normals(Stream.RESPIRATION_BREATH, n_fractions, n_instants), self.breath_cv)
        size, period_s = self._sizes(numbers, n_fractions), self._periods_s(numbers, n_fractions)
        return Breathing(waveform, waveform.at_shares(share), size, breath, period_s)

    def draw_in_time(self, numbers: RandomNumbers, waveform: Waveform, time_s: np.ndarray) -> Breathing:
        """The same breathing as a path in time, at ascending times (fraction, instant): from a random start of each fraction
        on it goes on without a break, and amplitudes pass from breath to breath.
        """
        n_fractions = len(time_s)
        start = numbers.uniforms(Stream.RESPIRATION_PHASE, n_fractions, 2)[..., 0]
        size, period_s = self._sizes(numbers, n_fractions), self._periods_s(numbers, n_fractions)
        passed = time_s / period_s[..., None]
        breath = np.ones(passed.shape)
        if self.breath_cv:
            number = np.floor(passed).astype(int)
            of_breath = [
                numbers.normals(Stream.RESPIRATION_BREATH, n_fractions, _BREATHS_DRAWN, of=f"breaths {k}")
                for k in range((number.max() + 1) // _BREATHS_DRAWN + 1)
            ]
            normal = np.concatenate(of_breath, axis=2)
            now, after = (np.take_along_axis(normal, number + i, axis=2) for i in (0, 1))
            turn = np.pi / 2 * (passed - number)
            breath = log_normal(np.cos(turn) * now + np.sin(turn) * after, self.breath_cv)
        return Breathing(waveform, waveform.at_shares(start)[..., None] + passed, size, breath, period_s)

    def _sizes(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """Amplitude over planning amplitude (course, fraction)."""
        course = log_normal(numbers.normals(Stream.RESPIRATION_COURSE, 1), self.course_cv)
        for size in self.not_exact():
            course = size.factor(numbers)[:, None]
        fraction = log_normal(numbers.normals(Stream.RESPIRATION_FRACTION, n_fractions), self.fraction_cv)
        return self.delivery_factor * course * fraction

    def _periods_s(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """Length of a cycle (course, fraction) in s."""
        period = self.period_s * log_normal(numbers.normals(Stream.RESPIRATION_PERIOD, n_fractions + 1), self.period_cv)
        return np.asarray(period[:, 1:] * period[:, :1] / self.period_s)

    def not_exact(self) -> tuple[LogSize, ...]:
        """The logarithm of the amplitude over the stated one."""
        return LogSize.of(
            "breathing", self.known, Stream.RESPIRATION_COURSE, Stream.RESPIRATION_KNOWN, cv=self.course_cv
        )

    def planned(self, waveform: Waveform) -> Breathing:
        """The planning cycle, as one course of one fraction."""
        cycle = waveform.planning_cycles(_PLANNING_PHASES)
        one = np.ones((1, 1))
        return Breathing(waveform, cycle[None, None], one, np.ones((1, 1, len(cycle))), one * self.period_s)

    def describe(self) -> str:
        """One sentence for the report."""
        names = [*(self.phases_mm or self.structures)]
        others = f"; {', '.join(names)} breathe with it" if names and self.phases_mm is None else ""
        if self.phases_mm is not None:
            what = f"4DCT phases of {', '.join(names)}"
        elif self.trace is not None:
            what = f"measured record, amplitude ({in_axes(self.amplitude_mm)[1:-1]}) mm (LR, AP, SI)"
        else:
            what = f"Lujan cos^{2 * self.n} motion of the target, peak to peak {in_axes(self.amplitude_mm)} mm (LR, AP, SI)"
        factor = f" times {self.delivery_factor:g} at delivery" if self.delivery_factor != 1 else ""
        known = f" {self.known.describe()}," if self.known else ""
        return (
            f"Respiration: {what}{factor},{known} amplitude varying by {self.course_cv:.0%} between courses, "
            f"{self.fraction_cv:.0%} between fractions and {self.breath_cv:.0%} between breaths{others}."
        )


def _scrambling_step(n_instants: int) -> int:
    """A step near the golden section of the cycle that visits every instant once."""
    step = max(1, round(0.618 * n_instants))
    while gcd(step, n_instants) != 1:
        step += 1
    return step
