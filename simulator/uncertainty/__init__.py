"""Sources of geometric error: what can go wrong.

Lives here: one small file for each source, `Uncertainty`. Enters: what a study says, random numbers.
Leaves: displacements by course and fraction, and their Σ and σ, in mm.
"""

from collections.abc import Iterable

import numpy as np

from simulator.ground.conventions import Streams
from simulator.ground.spec import Field, Spec, require_named
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.delineation import Delineation
from simulator.uncertainty.drift import Drift
from simulator.uncertainty.organs import OrganMotion
from simulator.uncertainty.registration import Isocentre, Registration
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.setup import Setup
from simulator.uncertainty.shifts import Shifts
from simulator.uncertainty.source import RandomNumbers, Source, Spreads

OF_EACH_TARGET = ("baseline", "registration", "delineation")  # drawn for each of several targets by itself


class Uncertainty(Spec):
    """Every source of error; a source that is absent is zero."""

    setup: Setup | None = Field(None, description="setup error of the whole patient")
    drift: Drift | None = Field(None, description="movement of the whole patient between image and end of beam")
    baseline: Baseline | None = Field(None, description="shift of the target against bone")
    respiration: Respiration | None = Field(None, description="breathing motion of the target and tied structures")
    organs: dict[str, OrganMotion] = Field(
        default_factory=dict, description="organs that move on their own, by structure name"
    )
    registration: Registration | None = Field(None, description="co-registration error of the drawn target")
    delineation: Delineation | None = Field(None, description="delineation error of the target's surface")
    isocentre: Isocentre | None = Field(None, description="isocentre error between image and beam")

    def sources(self) -> list[Source]:
        """Those that the study has, organs left out."""
        return list(self.named_sources().values())

    def named_sources(self) -> dict[str, Source]:
        """Those that the study has, organs left out, by key."""
        every = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: source for name, source in every.items() if isinstance(source, Source)}

    def not_exact(self) -> list[Shifts]:
        """Errors of which only so much is known."""
        return [shifts for some in self.not_exact_by_key().values() for shifts in some]

    def not_exact_by_key(self) -> dict[str, tuple[Shifts, ...]]:
        """The same by key of the source."""
        found = {name: source.not_exact() for name, source in self.named_sources().items()}
        found |= {f"organs.{name}": organ.not_exact(name) for name, organ in self.organs.items()}
        return {name: shifts for name, shifts in found.items() if shifts}

    def streams(self) -> Streams:
        """The random streams of those that the study has, by name in the uncertainty budget."""
        every = (getattr(self, name) for name in type(self).model_fields)
        drawn = [one for some in every for one in (some.values() if isinstance(some, dict) else [some])]
        return {name: streams for source in drawn if source is not None for name, streams in source.streams.items()}

    def moving(self, target: str) -> dict[str, tuple[str, ...]]:
        """Structures that move within the patient, by key of the source."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        found = {name: source.moving(target) for name, source in named.items() if isinstance(source, Source)}
        return {"organs": tuple(self.organs)} | found

    def patient_mm(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """Displacement of the whole patient when imaged, float64 (course, fraction, 3) in mm."""
        shape = (numbers.n_courses, n_fractions, 3)
        return sum((source.patient_mm(numbers, n_fractions) for source in self.sources()), np.zeros(shape))

    def within_mm(self, numbers: RandomNumbers, n_fractions: int, target: str) -> dict[str, np.ndarray]:
        """By structure, its displacement within the patient when imaged, float64 (course, fraction, 3) in mm."""
        total = {target: np.zeros((numbers.n_courses, n_fractions, 3))}
        for source in self.sources():
            moved = source.within_mm(numbers, n_fractions, target)
            require_named(source, moved, (target, *source.moving(target)))
            total |= {name: total[name] + shift if name in total else shift for name, shift in moved.items()}
        return total

    def after_imaging_mm(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """The target's further displacement before the beam, float64 (course, fraction, 3) in mm."""
        shape = (numbers.n_courses, n_fractions, 3)
        return sum((source.after_imaging_mm(numbers, n_fractions) for source in self.sources()), np.zeros(shape))

    def unseen_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """Displacement of the whole patient relative to the beam that no image shows, float64 (course, 3) in mm."""
        return sum((source.unseen_mm(numbers) for source in self.sources()), np.zeros((numbers.n_courses, 3)))

    def misdrawn_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """Displacement of the true target relative to the drawn one, float64 (course, 3) in mm."""
        return sum((source.misdrawn_mm(numbers) for source in self.sources()), np.zeros((numbers.n_courses, 3)))

    def patient_sd_mm(self) -> Spreads:
        """Σ and σ per axis in mm of the whole patient when imaged, two (3,) arrays."""
        return _together(source.patient_sd_mm() for source in self.sources())

    def target_sd_mm(self) -> Spreads:
        """Σ and σ per axis in mm of the target's place within the patient when imaged, two (3,) arrays."""
        return _together(source.target_sd_mm() for source in self.sources())

    def unseen_sd_mm(self) -> Spreads:
        """Σ and σ per axis in mm of what no image before the beam shows: registration, isocentre, delineation, and the
        target's shift after imaging (drift depends on time and is left out)."""
        surface = (self.delineation or Delineation()).sd_mm
        return _together([*(source.unseen_sd_mm() for source in self.sources()), (np.full(3, surface), np.zeros(3))])

    def describe(self) -> list[str]:
        """One sentence per source for the report."""
        sentences = [source.describe() for source in self.sources()]
        sentences += [organ.describe(name) for name, organ in self.organs.items()]
        return sentences or ["No geometric error at all."]


def _together(spreads: Iterable[Spreads]) -> Spreads:
    """Independent errors together."""
    systematic, random = np.sqrt(sum((np.square(spread) for spread in spreads), np.zeros((2, 3))))
    return systematic, random
