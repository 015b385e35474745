"""Counter-based random streams: any course of any source can be drawn alone, in any order, on any worker."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from simulator.conventions import Stream

_NUMBERS_PER_STEP = 4
_LEAST_STRIDE = 64


def uniforms(seed: int, stream: Stream, first_course: int, n_courses: int, n_numbers: int) -> np.ndarray:
    """Uniform numbers in (0, 1) of one source for a run of courses.

    Philox (Salmon 2011, doi:10.1145/2063384.2063405) keyed by (seed, stream); the counter is the course's number
    times a stride, so that course c gets the same numbers whoever asks. Asking for more numbers leaves the first ones
    as they were up to 64 numbers a course, then up to each further power of two.

    Returns
    -------
    float64 (n_courses, n_numbers).
    """
    stride = _LEAST_STRIDE
    while stride < n_numbers:
        stride *= 2
    counter = first_course * (stride // _NUMBERS_PER_STEP)
    generator = np.random.Philox(key=np.array([seed, int(stream)], np.uint64), counter=counter)
    raw = generator.random_raw(n_courses * stride).reshape(n_courses, stride)[:, :n_numbers]
    return ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(seed: int, stream: Stream, first_course: int, n_courses: int, n_numbers: int) -> np.ndarray:
    """Standard normal numbers, float64 (n_courses, n_numbers), by inversion of `uniforms`."""
    return ndtri(uniforms(seed, stream, first_course, n_courses, n_numbers))


@dataclass(frozen=True)
class Draws:
    """The random numbers of a run of courses, `first_course` to `first_course + n_courses - 1`."""

    seed: int
    first_course: int
    n_courses: int

    def normals(self, stream: Stream, *shape: int) -> np.ndarray:
        """Standard normal numbers of one source, float64 (n_courses, *shape)."""
        flat = normals(self.seed, stream, self.first_course, self.n_courses, math.prod(shape))
        return flat.reshape(self.n_courses, *shape)

    def uniforms(self, stream: Stream, *shape: int) -> np.ndarray:
        """Uniform numbers in (0, 1) of one source, float64 (n_courses, *shape)."""
        flat = uniforms(self.seed, stream, self.first_course, self.n_courses, math.prod(shape))
        return flat.reshape(self.n_courses, *shape)
