"""Breathing of drawn courses: where each structure is at each instant, and a moment earlier."""

from dataclasses import dataclass
from math import comb
from typing import Protocol

import numpy as np


class Waveform(Protocol):
    """One breath: depth over the cycle, or a whole record."""

    def position(self, name: str, cycle: np.ndarray) -> np.ndarray:
        """Displacement (..., 3) in mm about the time average, at positions in cycles (...), at planning amplitude."""
        ...

    def depth(self, cycle: np.ndarray) -> np.ndarray:
        """Depth of inhalation (...), 0 at exhale and 1 at inhale of the planning cycle."""
        ...

    def names(self) -> tuple[str, ...]:
        """Structures that breathe."""
        ...

    def at_shares(self, share: np.ndarray) -> np.ndarray:
        """Positions in cycles that stand for shares (0-1) of the time."""
        ...

    def planning_cycles(self, n_phases: int) -> np.ndarray:
        """Positions in cycles (phase,) of equal shares of the planning cycle."""
        ...


class _OneBreath:
    """A waveform of a single cycle."""

    def at_shares(self, share: np.ndarray) -> np.ndarray:
        """See `Waveform`."""
        return share

    def planning_cycles(self, n_phases: int) -> np.ndarray:
        """From inhale on."""
        return np.arange(n_phases) / n_phases


@dataclass(frozen=True)
class LujanWave(_OneBreath):
    """cos^2n(pi t / tau): inhale at whole cycles, exhale half-way between.

    Parameters
    ----------
    vectors_mm : peak-to-peak vector towards inhale (3,) by structure.
    lag_cycles : (3,) by structure, how far each axis trails the target's signal (hysteresis).
    """

    n: int
    vectors_mm: dict[str, np.ndarray]
    lag_cycles: dict[str, np.ndarray]

    @property
    def mean_depth(self) -> float:
        """Time-averaged depth, C(2n, n) / 4^n."""
        return comb(2 * self.n, self.n) / 4**self.n

    def position(self, name: str, cycle: np.ndarray) -> np.ndarray:
        """See `Waveform`."""
        lagged = cycle[..., None] - self.lag_cycles[name]
        return self.vectors_mm[name] * (np.cos(np.pi * lagged) ** (2 * self.n) - self.mean_depth)

    def depth(self, cycle: np.ndarray) -> np.ndarray:
        """See `Waveform`."""
        return np.cos(np.pi * cycle) ** (2 * self.n)

    def names(self) -> tuple[str, ...]:
        """See `Waveform`."""
        return tuple(self.vectors_mm)


@dataclass(frozen=True)
class TraceWave:
    """A measured record, repeated end to end; its 2.5-97.5 percentile range counts as the amplitude.

    Parameters
    ----------
    depths : (sample,), 0 at the 2.5th percentile (exhale) and 1 at the 97.5th (inhale).
    cycles : length of the record in breathing cycles.
    vectors_mm, lag_cycles : as for `LujanWave`.
    """

    depths: np.ndarray
    cycles: float
    vectors_mm: dict[str, np.ndarray]
    lag_cycles: dict[str, np.ndarray]

    def position(self, name: str, cycle: np.ndarray) -> np.ndarray:
        """See `Waveform`."""
        lagged = cycle[..., None] - self.lag_cycles[name]
        return self.vectors_mm[name] * (self.depth(lagged) - self.depths.mean())

    def depth(self, cycle: np.ndarray) -> np.ndarray:
        """See `Waveform`."""
        n = len(self.depths)
        return np.interp(np.mod(cycle / self.cycles, 1.0) * n, np.arange(n + 1), np.append(self.depths, self.depths[0]))

    def names(self) -> tuple[str, ...]:
        """See `Waveform`."""
        return tuple(self.vectors_mm)

    def planning_cycles(self, n_phases: int) -> np.ndarray:
        """From exhale on, the middle of each share."""
        return self.at_shares(np.arange(n_phases) / n_phases + 0.5 / n_phases)

    def at_shares(self, share: np.ndarray) -> np.ndarray:
        """Where depths are those quantiles of the record."""
        order = np.argsort(self.depths, kind="stable")
        n = len(order)
        return order[np.minimum((share * n).astype(int), n - 1)] * self.cycles / n


@dataclass(frozen=True)
class PhaseWave(_OneBreath):
    """Phases of a 4DCT, equally spaced in time from inhale: displacement of each structure in each phase.

    Parameters
    ----------
    table_mm : (phase, 3) by structure; any reference, the average over the phases is taken off.
    target : structure whose motion along its main direction is the breathing signal.
    """

    table_mm: dict[str, np.ndarray]
    target: str

    def position(self, name: str, cycle: np.ndarray) -> np.ndarray:
        """See `Waveform`."""
        table = self.table_mm[name] - self.table_mm[name].mean(axis=0)
        return np.stack([_periodic(table[:, a], cycle) for a in range(3)], axis=-1)

    def depth(self, cycle: np.ndarray) -> np.ndarray:
        """See `Waveform`."""
        table = self.table_mm[self.target]
        along = table @ (table[0] - table[len(table) // 2])
        span = np.ptp(along)
        return _periodic((along - along.min()) / span if span else np.zeros(len(along)), cycle)

    def names(self) -> tuple[str, ...]:
        """See `Waveform`."""
        return tuple(self.table_mm)


def _periodic(values: np.ndarray, cycle: np.ndarray) -> np.ndarray:
    n = len(values)
    return np.interp(np.mod(cycle, 1.0) * n, np.arange(n + 1), np.append(values, values[0]))


@dataclass(frozen=True)
class Breathing:
    """Breathing of a run of courses.

    Parameters
    ----------
    cycle : (course, fraction, instant), where in the waveform each instant lies.
    size : (course, fraction), amplitude over planning amplitude; breath : (course, fraction, instant), of each breath.
    period_s : (course, fraction).
    """

    waveform: Waveform
    cycle: np.ndarray
    size: np.ndarray
    breath: np.ndarray
    period_s: np.ndarray

    def names(self) -> tuple[str, ...]:
        """Structures that breathe."""
        return self.waveform.names()

    def displacement_mm(self, name: str, lag_s: float = 0.0) -> np.ndarray:
        """Displacement (course, fraction, instant, 3) in mm about the time average, `lag_s` before each instant."""
        scale = self.size[..., None] * self.breath
        return scale[..., None] * self.waveform.position(name, self._earlier(lag_s))

    def depth(self, lag_s: float = 0.0) -> np.ndarray:
        """Depth of inhalation in units of the day's amplitude, `lag_s` before each instant."""
        return self.breath * self.waveform.depth(self._earlier(lag_s))

    def _earlier(self, lag_s: float) -> np.ndarray:
        return self.cycle - lag_s / self.period_s[..., None]
