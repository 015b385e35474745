"""A kind of image guidance that the simulator does not have."""

from typing import Literal

import numpy as np

from simulator.ground.spec import Field
from simulator.strategy.guidance import GuidanceKind, GuidanceNoise


class Now(GuidanceKind):
    """Every so many fractions bone is put back to its planned place without any error."""

    kind: Literal["now-and-then"] = "now-and-then"
    every: int = Field(1, description="fractions from one correction to the next")

    def correct(self, seen_mm: np.ndarray, noise: GuidanceNoise) -> np.ndarray:
        """What was seen, in some of the fractions."""
        is_corrected = np.arange(seen_mm.shape[1]) % self.every == 0
        return seen_mm * is_corrected[:, None]

    def describe(self) -> str:
        """One sentence for the report."""
        return f"{self.label()}: perfect match on bone every {self.every} fractions"
