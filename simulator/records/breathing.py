"""Breathing records: depth of inhalation through time, whatever file they came from."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulator.ground.spec import CaseError, ConfigError

REMEDY = "correct that line, or export the record again"
INHALE = ("plus", "minus")
MM = {"mm": 1.0, "cm": 10.0}
GAP_S = 1.0
_SHORTEST_STEP_S, _LONGEST_STEP_S = 1e-3, 0.5
_LEAST_RANGE_MM, _FARTHEST_MM = 0.1, 300.0
_AT_ONE_END = 0.1
_CLEARLY = 0.2
_SKEWED = 0.3
_RATE_OFF = 0.2


@dataclass(frozen=True)
class Samples:
    """A record as its file has it; of the columns that it may lack, those that it lacks are None.

    Parameters
    ----------
    line : (n,) of the file. time_s, value_mm : (n,).
    phase : (n,) in radians, 0 at inhale. valid, beam_on : boolean (n,).
    rate_hz : as the header says. inhale : plus or minus, where names say it.
    patient : a code for comparison alone, never shown.
    """

    line: np.ndarray
    time_s: np.ndarray
    value_mm: np.ndarray
    phase: np.ndarray | None = None
    valid: np.ndarray | None = None
    beam_on: np.ndarray | None = None
    rate_hz: float | None = None
    inhale: str | None = None
    patient: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BreathingRecord:
    """Depth of inhalation (n,) in mm, greater is deeper, at times (n,) in s.

    Parameters
    ----------
    beam_on : boolean (n,), None where the record does not say.
    direction : unit vector (3,) towards inhale where the record is of a point in the patient, else None: a marker on the skin.
    """

    time_s: np.ndarray
    depth_mm: np.ndarray
    beam_on: np.ndarray | None = None
    direction: np.ndarray | None = None
    patient: str = ""
    notes: tuple[str, ...] = ()

    @property
    def rate_hz(self) -> float:
        """Usual sampling rate."""
        return 1 / float(np.median(np.diff(self.time_s)))

    @property
    def duration_s(self) -> float:
        """From the first sample to the last."""
        return float(self.time_s[-1] - self.time_s[0])

    def pieces(self) -> list[slice]:
        """Parts without a gap."""
        ends = [0, *(np.flatnonzero(np.diff(self.time_s) > GAP_S) + 1), len(self.time_s)]
        return [slice(a, b) for a, b in pairwise(ends)]


def breathing_record(where: str, samples: Samples, inhale: str | None = None) -> BreathingRecord:
    """The record, with what is odd in it as notes.

    Parameters
    ----------
    inhale : plus or minus, where the record does not say it; overrides what it says.

    Raises
    ------
    CaseError, ConfigError : it cannot be one of breathing, or does not say which way inhale is.
    """
    _check_times(where, samples)
    notes = [*samples.notes, *_on_rate(samples)]
    kept = np.ones(len(samples.time_s), bool) if samples.valid is None else samples.valid
    if kept.sum() < 2:
        raise CaseError(f"{where}: no sample is flagged as valid (validflag 0); export a record that was tracked")
    if not kept.all():
        notes.append(f"{(~kept).sum()} of {len(kept)} samples are flagged as not valid, and are left out")
    time_s, value = samples.time_s[kept], samples.value_mm[kept]
    low, high = np.percentile(value, (2.5, 97.5))
    if high - low < _LEAST_RANGE_MM:
        raise CaseError(f"{where}: it moves by {high - low:.2g} mm only; a record of breathing is wanted")
    if np.ptp(value) > _FARTHEST_MM:
        raise CaseError(f"{where}: it moves by {np.ptp(value):.3g} mm; correct its unit")
    phase = None if samples.phase is None else samples.phase[kept]
    sign, said = _sign(where, value / (high - low), phase, samples.inhale, inhale)
    notes += said
    steps = np.diff(time_s)
    if (gaps := steps > GAP_S).any():
        longest = int(np.argmax(steps))
        notes.append(
            f"gaps of more than {GAP_S:g} s: {gaps.sum()}, the longest of {steps[longest]:.1f} s after {time_s[longest]:.1f} s"
            "; breaths across them are left out"
        )
    beam_on = None if samples.beam_on is None else samples.beam_on[kept]
    if beam_on is not None and beam_on.all() == beam_on.any():
        notes.append(f"the beam flag is always {'on' if beam_on.all() else 'off'}: no gating in this record")
        beam_on = None
    depth = sign * value
    depth = depth - np.median(depth)
    if beam_on is not None:
        low, high = np.percentile(depth[beam_on], (5, 95))
        notes.append(
            f"the beam is on in {100 * beam_on.mean():.0f} % of the time, at depths of {low:.1f} to {high:.1f} mm (5 to 95 %) "
            "about the median"
        )
    return BreathingRecord(time_s, depth, beam_on, None, samples.patient, tuple(notes))


def _check_times(where: str, samples: Samples) -> None:
    time_s, value = samples.time_s, samples.value_mm
    if len(time_s) < 2:
        raise CaseError(f"{where}: {len(time_s)} samples; an empty record, export it again")
    finite = np.isfinite(time_s) & np.isfinite(value)
    if not finite.all():
        raise CaseError(f"{where}:{samples.line[int(np.argmin(finite))]}: a value is not finite; {REMEDY}")
    steps = np.diff(time_s)
    if not (steps > 0).all():
        raise CaseError(f"{where}:{samples.line[int(np.argmin(steps > 0)) + 1]}: time does not increase; {REMEDY}")
    typical = float(np.median(steps))
    if not _SHORTEST_STEP_S <= typical <= _LONGEST_STEP_S:
        said = f", and its header says {samples.rate_hz:g} samples per second" if samples.rate_hz else ""
        raise CaseError(f"{where}: samples are {typical:.3g} s apart{said}; correct the unit of time")


def _on_rate(samples: Samples) -> list[str]:
    """Whether header and times agree on the sampling."""
    typical = 1 / float(np.median(np.diff(samples.time_s)))
    if samples.rate_hz and abs(typical / samples.rate_hz - 1) > _RATE_OFF:
        return [f"the header says {samples.rate_hz:g} samples per second, the times {typical:.3g}: times are taken"]
    return []


def _sign(
    where: str, value: np.ndarray, phase: np.ndarray | None, named: str | None, asked: str | None
) -> tuple[int, list[str]]:
    """Plus or minus one that makes greater deeper, and how that is known; `value` in units of its range."""
    if asked is not None and asked not in INHALE:
        raise ConfigError(f"--inhale: {asked!r} is none? say plus or minus")
    dwells = float(np.mean(((value - value.mean()) / value.std()) ** 3))
    by_phase = None if phase is None else _inhale_by_phase(value, phase)
    known = asked or by_phase or named
    if known is None:
        hint = (
            f"it dwells at its {'low' if dwells > 0 else 'high'} values, as breathing does at exhale: that speaks for "
        )
        hint = f" ({hint}{'plus' if dwells > 0 else 'minus'})" if abs(dwells) > _SKEWED else ""
        raise ConfigError(f"{where}: which way is inhale? add --inhale plus or --inhale minus{hint}")
    how = "--inhale" if asked else "its phase, 0 at inhale" if by_phase else "its name"
    notes = [f"inhale is {known}, by {how}"]
    if asked and by_phase and asked != by_phase:
        notes.append(f"its phase says that inhale is {by_phase}: 0 is inhale by convention; look again at --inhale")
    sign = 1 if known == "plus" else -1
    if sign * dwells < -_SKEWED:
        notes.append("it dwells at inhale, unlike breathing: is the direction right, or is it a breath hold?")
    return sign, notes


def _inhale_by_phase(value: np.ndarray, phase: np.ndarray) -> str | None:
    """Plus or minus by where the signal is at phase 0 and at half a cycle; None where the phase does not tell."""
    turns = phase / (2 * np.pi)
    near = [np.abs((turns - at + 0.5) % 1 - 0.5) < _AT_ONE_END for at in (0.0, 0.5)]
    if not all(n.any() for n in near):
        return None
    apart = float(value[near[0]].mean() - value[near[1]].mean())
    return None if abs(apart) < _CLEARLY else "plus" if apart > 0 else "minus"
