"""What one does not know: probabilities under each of the errors that may be, from the same courses by weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from simulator.answers.unknown import N_POSSIBLE, Doubted, Unknown, doubted_errors, parts_of, unknown_of
from simulator.ground.once import cached_property
from simulator.population.logistic import chance, logistic_coefficients, quadratic
from simulator.population.reweighting import (
    LEAST_EFFECTIVE,
    TOO_FEW,
    Weighted,
    effective_courses,
    is_enough,
    together,
    weighted,
    weighted_means,
)
from simulator.problem.problem import Problem
from simulator.sampling.streams import Draws
from simulator.simulation.courses import course_draws
from simulator.uncertainty.source import RandomNumbers

_N_MORE = 16384
_TO_SPARE = 1.05
_MOST_VALUES = 20_000_000
_MOST_SCATTER = 5.0
_ENDS = (0.025, 0.975)
_OTHER_SEED = 2**63 + 2**62  # seeds of studies are below 2^63, those of the uncertainty budget from there on

Draw = Callable[[int, int], RandomNumbers]


@dataclass(frozen=True)
class Interval:
    """What is known of probabilities.

    Parameters
    ----------
    low, high : 2.5 and 97.5 % over what errors may be; plug_in : if they were as stated. NaN where courses are too few.
    effective : courses of equal weight that all but 5 % of the possible errors have.
    """

    low: np.ndarray
    high: np.ndarray
    plug_in: np.ndarray
    effective: float


@dataclass(frozen=True)
class Knowledge:
    """What is not known of a study's errors, and its courses.

    Parameters
    ----------
    draws, more : random numbers of some of the courses, and of others that nobody simulates, given the first and how many.
    """

    errors: tuple[Doubted, ...]
    draws: Draw
    more: Draw
    n_fractions: int
    _effective: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> "Knowledge | None":
        """That of a study; None where its errors are taken as exact."""
        errors = doubted_errors(problem.setting)
        if not errors:
            return None
        seed = problem.config.seed + _OTHER_SEED
        return cls(
            errors,
            lambda first, n: course_draws(problem, first, n),
            lambda first, n: Draws(seed, first, n),
            problem.setting.n_fractions,
        )

    @cached_property
    def parts(self) -> tuple[Unknown, ...]:
        """What the uncertainty budget tells apart."""
        return tuple(part for whole in self._wholes for part in parts_of(whole))

    @cached_property
    def _wholes(self) -> tuple[Unknown, ...]:
        return unknown_of(self.errors)

    def effective(self, n_courses: int, part: Unknown | None = None) -> np.ndarray:
        """Courses of equal weight for each possible error, and for the stated one, (draw + 1,)."""
        key = (n_courses, part.name if part else "")
        if key not in self._effective:
            parts = (part,) if part else self._wholes
            self._effective[key] = effective_courses(lambda k, n: self._weights(parts, self.draws, k, n), n_courses)
        return self._effective[key]

    def interval(self, met: np.ndarray, part: Unknown | None = None) -> Interval:
        """What is known of probabilities (...), from boolean (..., course).

        Where too few courses count under all possible errors at once, those of each part alone are put together.

        Parameters
        ----------
        part : alone is unknown, the rest being as likely as it is; all by default.
        """
        columns, at_once = met.reshape(-1, met.shape[-1]).T, max(1, _MOST_VALUES // met.shape[-1])
        pieces, effective = self._pieces(len(columns), part)
        found = []
        for first in range(0, max(columns.shape[1], 1), at_once):
            some = columns[:, first : first + at_once]
            p = together([self._probabilities(some, piece) for piece in pieces])
            found.append([*np.quantile(p[:N_POSSIBLE], _ENDS, axis=0), p[N_POSSIBLE]])
        low, high, plug_in = (np.concatenate(ends).reshape(met.shape[:-1]) for ends in zip(*found, strict=True))
        known = 1.0 if _are_enough(effective) else np.nan
        stated = 1.0 if all(one[N_POSSIBLE] >= LEAST_EFFECTIVE for one in effective) else np.nan
        return Interval(known * low, known * high, stated * plug_in, _fewest(effective))

    def courses_wanted(self, n_courses: int, *, at_once: bool = True) -> int:
        """With how many courses intervals are known, as far as some of them tell: these themselves, or a little more than
        would just do.

        Parameters
        ----------
        at_once : all that is unknown at once, else each part alone.
        """
        wanted = [None] if at_once else list(self.parts)
        effective = [self.effective(n_courses, part) for part in wanted]
        if _are_enough(effective):
            return n_courses
        return int(np.ceil(n_courses * max(LEAST_EFFECTIVE * _TO_SPARE / _fewest(effective), 1.0)))

    def _pieces(self, n_courses: int, part: Unknown | None) -> tuple[list[tuple[Unknown, ...]], list[np.ndarray]]:
        """What is unknown at once, and effective courses (draw + 1,) of each: all of it, or its parts one by one."""
        if part is not None:
            return [(part,)], [self.effective(n_courses, part)]
        at_once = self.effective(n_courses)
        if _are_enough([at_once]):
            return [self._wholes], [at_once]
        return [(one,) for one in self.parts], [self.effective(n_courses, one) for one in self.parts]

    def _weights(self, parts: tuple[Unknown, ...], draws: Draw, first: int, n: int) -> np.ndarray:
        numbers, by_name = draws(first, n), {part.shifts.name: part for part in parts}
        densities = (one.density(by_name, numbers, self.n_fractions) for one in self.errors)
        return reduce(np.multiply, (density for density in densities if density is not None))

    def _probabilities(self, met: np.ndarray, parts: tuple[Unknown, ...]) -> np.ndarray:
        """Probabilities (draw + 1, column) of columns (course, column): a smooth function of the shifts, averaged over many
        more of them than were simulated, and how courses differ from it."""
        features = self._features(self.draws(0, len(met)))
        beta = logistic_coefficients(features, met)
        left = weighted(met - chance(features, beta), lambda k, n: self._weights(parts, self.draws, k, n))
        others = chance(self._features(self.more(0, _N_MORE)), beta)
        expected = weighted_means(others, lambda k, n: self._weights(parts, self.more, k, n))
        return Weighted(expected + left.mean, left.noise).without_noise()

    def _features(self, numbers: RandomNumbers) -> np.ndarray:
        """What outcomes may depend on: mean shifts of a course by source and target, and how much its days scatter."""
        found = [np.ones((numbers.n_courses, 1))]
        for met in (met for one in self.errors for met in one.met if met.shifts.is_uncertain):
            shifts, (course, fraction) = met.shifts, met.drawn(numbers, self.n_fractions)
            sd = np.sqrt(shifts.systematic**2 + shifts.random**2 / self.n_fractions)
            moves, random = sd > 0, shifts.random > 0
            found.append(quadratic((course + fraction.mean(axis=1) - shifts.mean)[:, moves] / sd[moves]))
            if random.any() and self.n_fractions > 1:
                days = (fraction - fraction.mean(axis=1, keepdims=True))[..., random] / shifts.random[random]
                found.append(np.minimum(days.std(axis=(1, 2)), _MOST_SCATTER)[:, None])
        return np.concatenate(found, axis=1)


def _are_enough(effective: list[np.ndarray]) -> bool:
    return all(is_enough(one[:N_POSSIBLE]) for one in effective)


def _fewest(effective: list[np.ndarray]) -> float:
    """Courses of equal weight that all but 5 % of the possible errors have."""
    return min(float(np.quantile(one[:N_POSSIBLE], TOO_FEW)) for one in effective)
