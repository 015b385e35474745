"""Randomised quasi-Monte Carlo: scrambled Sobol' points for the numbers that matter most, pseudo-random ones for the rest.

The courses of a study are `N_RANDOMISATIONS` runs of 2^m, each with its own scrambling (Owen 1997,
doi:10.1214/aos/1031594731): the runs are independent, so their scatter gives error bars. Within a course the systematic
errors come first, then the mean over fractions of each random error, then what is left of it, fraction by fraction;
instants stay pseudo-random. Few points fill many dimensions badly, so dimensions are served in groups of 12, each group in
an order of its own (Latin supercube sampling, Owen 1998, doi:10.1145/272991.273010). Which dimension serves which number
depends on the study alone.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.linalg import helmert
from scipy.special import ndtri

from simulator.ground.conventions import Stream
from simulator.ground.once import cached_property
from simulator.sampling.streams import Draws
from simulator.uncertainty import Uncertainty

N_RANDOMISATIONS = 16
_BITS = 40
_GROUP = 12
_COURSE = {
    Stream.SETUP_SYSTEMATIC: 3,
    Stream.REGISTRATION: 3,
    Stream.BASELINE_COURSE: 3,
    Stream.ISOCENTRE: 3,
    Stream.DELINEATION: 9,
    Stream.RESPIRATION_COURSE: 1,
    Stream.ROTATION_SYSTEMATIC: 3,
    Stream.ORGAN_COURSE: 3,
    Stream.BASELINE_AFTER_IMAGING_COURSE: 3,
}
_FRACTION = {
    Stream.SETUP_RANDOM: 3,
    Stream.BASELINE_AFTER_IMAGING: 3,
    Stream.BASELINE_FRACTION: 3,
    Stream.GUIDANCE: 3,
    Stream.RESPIRATION_FRACTION: 1,
    Stream.DRIFT_RATE: 3,
    Stream.ROTATION_RANDOM: 3,
    Stream.ORGAN_FRACTION: 3,
}


def allowed_courses(n_courses: int) -> tuple[int, int]:
    """The numbers of courses next to a wanted one that fill every randomisation: at most, and at least, so many."""
    per_run = max(1, n_courses // N_RANDOMISATIONS)
    below = N_RANDOMISATIONS * 2 ** (per_run.bit_length() - 1)
    return below, below if below >= n_courses else 2 * below


@dataclass(frozen=True)
class SobolDraws:
    """The random numbers of a run of courses, the important ones from scrambled Sobol' points.

    Parameters
    ----------
    total_courses : of the study; `N_RANDOMISATIONS` times a power of two.
    """

    seed: int
    first_course: int
    n_courses: int
    total_courses: int
    n_fractions: int
    uncertainty: Uncertainty

    def part(self, start: int, n_courses: int) -> "SobolDraws":
        """Those of some of the courses, counted from the first of these."""
        return replace(self, first_course=self.first_course + start, n_courses=n_courses)

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Standard normal numbers of one source, float64 (n_courses, *shape)."""
        plain = self._rest.normals(stream, *shape, of=of)
        place = self._places.get((stream, of))
        if place is None:
            return plain
        n, size = self.n_courses, place.size
        if place.contrasts is None:
            flat = plain.reshape(n, -1)
            size = min(size, flat.shape[1])
            flat[:, :size] = self._points[:, place.first : place.first + size]
            return flat.reshape(plain.shape)
        rotated = plain.reshape(n, self.n_fractions, -1)
        rotated[:, 0, :size] = self._points[:, place.first : place.first + size]
        contrasts = self._points[:, place.contrasts : place.contrasts + (self.n_fractions - 1) * size]
        rotated[:, 1:, :size] = contrasts.reshape(n, self.n_fractions - 1, size)
        return (_mean_first(self.n_fractions).T[None, :, :, None] * rotated[:, None]).sum(axis=2).reshape(plain.shape)

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Uniform numbers in (0, 1), pseudo-random, float64 (n_courses, *shape)."""
        return self._rest.uniforms(stream, *shape, of=of)

    @property
    def _rest(self) -> Draws:
        return Draws(self.seed, self.first_course, self.n_courses)

    def _served(self, table: dict[Stream, int]) -> list[tuple[Stream, str, int]]:
        """Streams of a table that the study has, with the structure and the numbers for each."""
        served = []
        drawn = {Stream.GUIDANCE, *(stream for some in self.uncertainty.streams().values() for stream in some)}
        for stream, size in table.items():
            if stream in drawn:
                by_organ = stream in (Stream.ORGAN_COURSE, Stream.ORGAN_FRACTION)
                served += [(stream, of, size) for of in (self.uncertainty.organs if by_organ else [""])]
        return served

    @cached_property
    def _places(self) -> dict[tuple[Stream, str], "_Place"]:
        course, fraction = self._served(_COURSE), self._served(_FRACTION)
        places, at = {}, 0
        for stream, of, size in course:
            places[stream, of] = _Place(size, at)
            at += size
        contrasts = at + sum(size for *_, size in fraction)
        for stream, of, size in fraction:
            places[stream, of] = _Place(size, at, contrasts)
            at += size
            contrasts += size * (self.n_fractions - 1)
        return places

    @cached_property
    def _points(self) -> np.ndarray:
        """Normal numbers (n_courses, dimension)."""
        per_run = self.total_courses // N_RANDOMISATIONS
        last = self.first_course + self.n_courses
        n_dimensions = sum(p.size * (1 if p.contrasts is None else self.n_fractions) for p in self._places.values())
        parts = []
        for run in range(self.first_course // per_run, -(-last // per_run)):
            begin = max(self.first_course - run * per_run, 0)
            parts.append(_normal_points(self.seed, run, per_run, n_dimensions)[begin : last - run * per_run])
        return np.concatenate(parts)


@dataclass(frozen=True)
class _Place:
    """Dimensions of a stream: `size` numbers of a course, or of a mean over fractions, from `first` on; then the contrasts
    between fractions."""

    size: int
    first: int
    contrasts: int | None = None


def _mean_first(n: int) -> np.ndarray:
    """Orthonormal rows (n, n), the first proportional to the mean."""
    return np.asarray(helmert(n, full=True))


@lru_cache(maxsize=2 * N_RANDOMISATIONS)
def _normal_points(seed: int, run: int, n_points: int, n_dimensions: int) -> np.ndarray:
    """Scrambled Sobol' nets as standard normal numbers (n_points, n_dimensions)."""
    from scipy.stats import qmc  # a second to import, which other studies need not wait for

    groups = []
    for first in range(0, n_dimensions, _GROUP):
        rng = np.random.default_rng([seed, run, first])
        net = qmc.Sobol(min(_GROUP, n_dimensions - first), scramble=True, bits=_BITS, rng=rng).random(n_points)
        groups.append(net[rng.permutation(n_points)] if first else net)
    edge = 2.0 ** -(_BITS + 1)
    return ndtri(np.clip(np.concatenate(groups, axis=1), edge, 1 - edge))
