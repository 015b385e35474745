"""An RTPLAN between its control points: what is delivered, for how long, and in which groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.case.treatment_beams import TreatmentBeam

_ROUND: Final = 1e-9


@dataclass(frozen=True)
class MachineSpeeds:
    """The fastest that a machine delivers: monitor units, gantry and leaves, each per second."""

    monitor_units_per_s: float
    gantry_deg_per_s: float
    leaves_mm_per_s: float


@dataclass(frozen=True)
class Segments:
    """What one beam delivers between control points that follow each other, each standing for the means of its two ends.

    Parameters
    ----------
    beam : that they are of.
    gantry_deg, collimator_deg : (segment,).
    leaves_mm : (segment, pair, 2), no farther open than the jaws along the leaves. jaws_mm : (segment, 2) across the leaves.
    monitor_units, seconds : (segment,), of one fraction.
    """

    beam: TreatmentBeam
    gantry_deg: np.ndarray
    collimator_deg: np.ndarray
    leaves_mm: np.ndarray
    jaws_mm: np.ndarray
    monitor_units: np.ndarray
    seconds: np.ndarray

    def __getitem__(self, some: slice) -> "Segments":
        own = (self.gantry_deg, self.collimator_deg, self.leaves_mm, self.jaws_mm, self.monitor_units, self.seconds)
        return Segments(self.beam, *(values[some] for values in own))


def segments_of(beam: TreatmentBeam, speeds: MachineSpeeds) -> Segments:
    """The segments of a beam; each takes as long as the slowest of dose, gantry and leaves."""
    units = beam.monitor_units * np.diff(beam.delivered)
    rate = min(beam.monitor_units_per_s or np.inf, speeds.monitor_units_per_s)
    turned, travelled = np.abs(np.diff(beam.gantry_deg)), np.abs(np.diff(beam.leaves_mm, axis=0)).max(axis=(1, 2))
    seconds = np.max([units / rate, turned / speeds.gantry_deg_per_s, travelled / speeds.leaves_mm_per_s], axis=0)
    seconds = np.where(units > 0, seconds, 0.0)
    low, high = (_middle(beam.jaws_x_mm)[:, [i]] for i in (0, 1))
    return Segments(
        beam=beam,
        gantry_deg=_middle(beam.gantry_deg),
        collimator_deg=_middle(beam.collimator_deg),
        leaves_mm=np.stack([np.clip(_middle(beam.leaves_mm)[..., i], low, high) for i in (0, 1)], axis=-1),
        jaws_mm=_middle(beam.jaws_y_mm),
        monitor_units=units,
        seconds=seconds,
    )


def groups_of(segments: Sequence[Segments], longest_s: float) -> list[Segments]:
    """Segments of a beam that follow each other, as many together as some seconds hold; those without dose are left out."""
    groups = []
    for of_beam in segments:
        begins, together_s = [0], 0.0
        for i, own_s in enumerate(of_beam.seconds):
            if i > begins[-1] and together_s + own_s > longest_s * (1 + _ROUND):
                begins.append(i)
                together_s = 0.0
            together_s += own_s
        ends = [*begins[1:], len(of_beam.seconds)]
        groups += [of_beam[a:b] for a, b in zip(begins, ends, strict=True) if of_beam.monitor_units[a:b].sum() > 0]
    return groups


def windows(groups: Sequence[Segments]) -> list[tuple[float, float]]:
    """Between which shares (0-1) of a fraction's beam-on time each group is delivered."""
    ends = np.cumsum([group.seconds.sum() for group in groups])
    ends = ends / ends[-1]
    ends[-1] = 1.0
    return [(float(a), float(b)) for a, b in zip([0.0, *ends[:-1]], ends, strict=True)]


def _middle(values: np.ndarray) -> np.ndarray:
    return (values[1:] + values[:-1]) / 2
