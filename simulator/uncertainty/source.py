"""What every source of error needs: random numbers of its own."""

from typing import Protocol

import numpy as np

from simulator.conventions import Stream


class RandomNumbers(Protocol):
    """Random numbers of a run of courses; each stream belongs to one source."""

    def normals(self, stream: Stream, *shape: int) -> np.ndarray:
        """Standard normal numbers (course, *shape)."""
        ...

    def uniforms(self, stream: Stream, *shape: int) -> np.ndarray:
        """Uniform numbers in (0, 1), (course, *shape)."""
        ...
