"""Counter-based random streams: any course of any source can be drawn alone, in any order, on any worker."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from simulator.ground.conventions import Stream
from simulator.uncertainty.source import RandomNumbers

_NUMBERS_PER_STEP = 4
_LEAST_STRIDE = 64
_TARGET = "target "

Which = Callable[[Stream, str], bool]


def uniforms(seed: int, stream: int, first_course: int, n_courses: int, n_numbers: int) -> np.ndarray:
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
    generator = np.random.Philox(key=np.array([seed, stream], np.uint64), counter=counter)
    raw = generator.random_raw(n_courses * stride).reshape(n_courses, stride)[:, :n_numbers]
    return ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(seed: int, stream: int, first_course: int, n_courses: int, n_numbers: int) -> np.ndarray:
    """Standard normal numbers, float64 (n_courses, n_numbers), by inversion of `uniforms`."""
    return ndtri(uniforms(seed, stream, first_course, n_courses, n_numbers))


@dataclass(frozen=True)
class Draws:
    """The random numbers of a run of courses, `first_course` to `first_course + n_courses - 1`.

    A source that acts on several structures has one stream for each, keyed by the structure's name: adding an organ
    changes nobody else's numbers.
    """

    seed: int
    first_course: int
    n_courses: int

    def part(self, start: int, n_courses: int) -> "Draws":
        """Those of some of the courses, counted from the first of these."""
        return Draws(self.seed, self.first_course + start, n_courses)

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Standard normal numbers of one source, float64 (n_courses, *shape)."""
        return self._draw(normals, stream, shape, of)

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Uniform numbers in (0, 1) of one source, float64 (n_courses, *shape)."""
        return self._draw(uniforms, stream, shape, of)

    def _draw(self, law: Callable[..., np.ndarray], stream: Stream, shape: tuple[int, ...], of: str) -> np.ndarray:
        key = int(stream) + (zlib.crc32(of.encode()) << 16 if of else 0)
        flat = law(self.seed, key, self.first_course, self.n_courses, math.prod(shape))
        return flat.reshape(self.n_courses, *shape)


_AGAINST_BONE = frozenset(
    {
        Stream.BASELINE_COURSE,
        Stream.BASELINE_FRACTION,
        Stream.BASELINE_AFTER_IMAGING,
        Stream.BASELINE_AFTER_IMAGING_COURSE,
    }
)
_OF_KNOWLEDGE = frozenset(
    {
        Stream.BASELINE_KNOWN,
        Stream.AFTER_IMAGING_KNOWN,
        Stream.REGISTRATION_KNOWN,
        Stream.DELINEATION_KNOWN,
        Stream.DELINEATION_SIZE,
    }
)


@dataclass(frozen=True)
class TargetDraws:
    """Random numbers of a target's own; what all targets share is drawn without it.

    What is not known of an error belongs to the error, by its name, whichever targets meet it.

    Parameters
    ----------
    number : of the target; those of number 0 are the `base` itself.
    correlation : of its shifts against bone with those of number 0.
    """

    base: RandomNumbers
    number: int
    correlation: float = 0.0

    @property
    def n_courses(self) -> int:
        """Number of courses."""
        return self.base.n_courses

    def part(self, start: int, n_courses: int) -> "TargetDraws":
        """Those of some of the courses, counted from the first of these."""
        return TargetDraws(self.base.part(start, n_courses), self.number, self.correlation)

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Standard normal numbers of one source, float64 (n_courses, *shape)."""
        own = self.base.normals(stream, *shape, of=self._key(stream, of))
        if not self.correlation or stream not in _AGAINST_BONE:
            return own
        first = self.base.normals(stream, *shape, of=of)
        return self.correlation * first + np.sqrt(1 - self.correlation**2) * own

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Uniform numbers in (0, 1) of one source, float64 (n_courses, *shape)."""
        return self.base.uniforms(stream, *shape, of=self._key(stream, of))

    def _key(self, stream: Stream, of: str) -> str:
        return of if stream in _OF_KNOWLEDGE else f"{_prefix(self.number)}{of}"


def _prefix(number: int) -> str:
    """How the names of a target's own random numbers begin."""
    return "" if number == 0 else f"{_TARGET}{number}/"


def are_numbers_of(number: int, target: str, stream: Stream, of: str) -> bool:
    """Whether some random numbers are those of a target's own errors, or of what is not known of them."""
    if stream in _OF_KNOWLEDGE:
        return of.startswith(f"{target}: ")
    return of.startswith(_prefix(number)) and (number > 0 or not of.startswith(_TARGET))


@dataclass(frozen=True)
class Exchanged:
    """Random numbers in which some streams come from elsewhere.

    Parameters
    ----------
    other : where `streams` come from; None holds them at their centre (normal 0, uniform 1/2).
    which : of these streams, given a stream and whose numbers are asked for; all by default.
    """

    base: RandomNumbers
    other: RandomNumbers | None
    streams: frozenset[Stream]
    which: Which | None = None

    @property
    def n_courses(self) -> int:
        """Number of courses."""
        return self.base.n_courses

    def part(self, start: int, n_courses: int) -> "Exchanged":
        """Those of some of the courses, counted from the first of these."""
        other = self.other.part(start, n_courses) if self.other else None
        return replace(self, base=self.base.part(start, n_courses), other=other)

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Standard normal numbers, or 0, float64 (n_courses, *shape)."""
        if self._keeps(stream, of):
            return self.base.normals(stream, *shape, of=of)
        return self.other.normals(stream, *shape, of=of) if self.other else np.zeros((self.n_courses, *shape))

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Uniform numbers in (0, 1), or 1/2, float64 (n_courses, *shape)."""
        if self._keeps(stream, of):
            return self.base.uniforms(stream, *shape, of=of)
        return self.other.uniforms(stream, *shape, of=of) if self.other else np.full((self.n_courses, *shape), 0.5)

    def _keeps(self, stream: Stream, of: str) -> bool:
        return stream not in self.streams or (self.which is not None and not self.which(stream, of))
