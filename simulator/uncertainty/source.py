"""What every source of error needs: random numbers of its own."""

from typing import Protocol

import numpy as np

from simulator.conventions import Stream


class RandomNumbers(Protocol):
    """Random numbers of a run of courses; each stream belongs to one source, or to one structure of a source."""

    @property
    def n_courses(self) -> int:
        """Number of courses."""
        ...

    def part(self, start: int, n_courses: int) -> "RandomNumbers":
        """Those of some of the courses, counted from the first of these."""
        ...

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Standard normal numbers (course, *shape); `of` names the structure that they belong to."""
        ...

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Uniform numbers in (0, 1), (course, *shape)."""
        ...


def log_normal(standard_normal: np.ndarray, cv: float) -> np.ndarray:
    """Log-normal factors with mean 1 and the given coefficient of variation."""
    variance = np.log1p(cv**2)
    return np.exp(np.sqrt(variance) * standard_normal - variance / 2)
