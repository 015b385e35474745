"""Importance sampling: courses with larger systematic errors than the population has, and the weights that make up for it."""

from dataclasses import dataclass

import numpy as np

from simulator.ground.conventions import Stream
from simulator.sampling.streams import Draws

SCALES = (1.0, 1.4, 1.9, 2.5)
_NUMBERS = 3


@dataclass(frozen=True)
class WidenedDraws:
    """Random numbers whose systematic errors are stretched: course c by `SCALES[c % 4]`.

    A defensive mixture (Hesterberg 1995, doi:10.1080/00401706.1995.10484303) with balance-heuristic weights (Veach & Guibas
    1995, doi:10.1145/218380.218498): no weight exceeds the number of scales.

    Parameters
    ----------
    streams : those that are stretched, of the first target; each has three numbers per course.
    """

    seed: int
    first_course: int
    n_courses: int
    streams: tuple[Stream, ...]

    def part(self, start: int, n_courses: int) -> "WidenedDraws":
        """Those of some of the courses, counted from the first of these."""
        return WidenedDraws(self.seed, self.first_course + start, n_courses, self.streams)

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Normal numbers of one source, float64 (n_courses, *shape)."""
        plain = self._plain.normals(stream, *shape, of=of)
        if of or stream not in self.streams:
            return plain
        return plain * self._scale.reshape(-1, *[1] * len(shape))

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Uniform numbers in (0, 1), float64 (n_courses, *shape)."""
        return self._plain.uniforms(stream, *shape, of=of)

    @property
    def component(self) -> np.ndarray:
        """Which scale each course has, int (n_courses,)."""
        return (self.first_course + np.arange(self.n_courses)) % len(SCALES)

    def weights(self) -> np.ndarray:
        """Density of the population over that of the mixture, (n_courses,)."""
        square = sum(np.square(self.normals(s, _NUMBERS)).sum(axis=1) for s in self.streams)
        n = _NUMBERS * len(self.streams)
        ratios = [np.exp(0.5 * square * (1 - s**-2)) * s**-n for s in SCALES]
        return len(SCALES) / np.sum(ratios, axis=0)

    @property
    def _plain(self) -> Draws:
        return Draws(self.seed, self.first_course, self.n_courses)

    @property
    def _scale(self) -> np.ndarray:
        return np.array(SCALES)[self.component]
