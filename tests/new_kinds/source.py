"""A source of error that the simulator does not have."""

from typing import ClassVar

import numpy as np

from simulator.ground.conventions import Stream, Streams
from simulator.ground.spec import Field, Mm3, NonNegativeMm3
from simulator.uncertainty.source import RandomNumbers, Source, Spreads


class Sag(Source):
    """A structure hangs elsewhere by N(mean, Σ²) per course."""

    streams: ClassVar[Streams] = {"sag": (Stream.SAG,)}
    structure: str = Field(description="name of the structure")
    mean_mm: Mm3 = Field((0, 0, 0), description="mean per axis in mm")
    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis in mm")

    def moving(self, target: str) -> tuple[str, ...]:
        """The structure that sags."""
        return (self.structure,)

    def within_mm(self, numbers: RandomNumbers, n_fractions: int, target: str) -> dict[str, np.ndarray]:
        """The same in every fraction."""
        course = np.asarray(self.mean_mm) + numbers.normals(Stream.SAG, 3) * self.systematic_mm
        return {self.structure: np.repeat(course[:, None], n_fractions, axis=1)}

    def target_sd_mm(self) -> Spreads:
        """Σ alone."""
        return np.asarray(self.systematic_mm), np.zeros(3)

    def describe(self) -> str:
        """One sentence for the report."""
        return f"{self.structure} sags."
