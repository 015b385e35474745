"""What is not known of errors, part by part, and how likely drawn errors are under each of those that may be."""

import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
from scipy.sparse.csgraph import connected_components

from simulator.sampling.courses import Setting
from simulator.uncertainty import OF_EACH_TARGET
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.possible import Possible
from simulator.uncertainty.shifts import NUMBERS, LogSize, Shifts
from simulator.uncertainty.source import RandomNumbers

N_POSSIBLE = 1024  # a power of two, for Sobol' points
_AXES = 3


def _as_they_are(numbers: RandomNumbers) -> RandomNumbers:
    return numbers


@dataclass(frozen=True)
class Met:
    """An error as the patient, or one of several targets, meets it.

    Parameters
    ----------
    numbers : the random numbers that it is drawn from, given those of some courses.
    correlation : of its numbers with those of the first target: 1 of that one itself.
    """

    shifts: Shifts
    numbers: Callable[[RandomNumbers], RandomNumbers] = _as_they_are
    correlation: float = 0.0

    def drawn(self, numbers: RandomNumbers, n_fractions: int) -> tuple[np.ndarray, np.ndarray]:
        """Its shift (course, 3), and what each fraction adds (course, fraction, 3)."""
        return self.shifts.draw(self.numbers(numbers), n_fractions)

    def normals(self, numbers: RandomNumbers, n_fractions: int) -> tuple[np.ndarray, np.ndarray]:
        """The normal numbers that both are made of."""
        assert self.shifts.of_fraction is not None
        own = self.numbers(numbers)
        return own.normals(self.shifts.of_course, _AXES), own.normals(self.shifts.of_fraction, n_fractions, _AXES)


@dataclass(frozen=True)
class Unknown:
    """One part of what is not known: Σ and the mean of an error, or its σ, or all of it.

    Parameters
    ----------
    name : as the uncertainty budget says it. possible : draws of what the error may be, after them the stated one.
    """

    name: str
    shifts: Shifts
    possible: Possible
    of_course: bool
    of_fraction: bool


@dataclass(frozen=True)
class Doubted:
    """Errors of which only so much is known, as far as drawn ones tell of them together: one error of the patient or of a
    target; one that several targets meet, each by itself; or those of targets whose shifts go together."""

    met: tuple[Met, ...]

    def density(self, parts: Mapping[str, Unknown], numbers: RandomNumbers, n_fractions: int) -> np.ndarray | None:
        """Density of drawn shifts under each possible error of some parts (by the error's name), and under the stated ones,
        over their mean; float32 (course, draw + 1). None where the parts are of other errors.

        What is not among the parts is what it is in each course.
        """
        groups = [[(met, _part_of(met, parts)) for met in group] for group in self._groups]
        logs = [_log_density(group, numbers, n_fractions) for group in groups if any(part for _, part in group)]
        if not logs:
            return None
        log = np.asarray(reduce(np.add, logs))
        log -= log[:, :N_POSSIBLE].max(axis=1, keepdims=True)
        density = np.exp(log, out=log)
        density /= density[:, :N_POSSIBLE].mean(axis=1, keepdims=True)
        return density

    @property
    def _groups(self) -> list[tuple[Met, ...]]:
        """Those whose numbers go together; of such, the first target's is first."""
        going = tuple(met for met in self.met if met.correlation)
        return [*([going] if going else []), *((met,) for met in self.met if not met.correlation)]


def _part_of(met: Met, parts: Mapping[str, Unknown]) -> Unknown | None:
    return parts.get(met.shifts.name) if met.shifts.is_uncertain else None


def _log_density(group: Sequence[tuple[Met, Unknown | None]], numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
    """Log density (course, draw) of the shifts of targets that go together; the normal numbers of an error that is exact, or as
    it was drawn, stand in its place."""
    parts = [part for _, part in group if part is not None]
    drawn = [(met.drawn if part else met.normals)(numbers, n_fractions) for met, part in group]
    course, fraction = (np.concatenate(some, axis=-1) for some in zip(*drawn, strict=True))
    possible = parts[0].possible if len(group) == 1 else _joint(group)
    log = np.zeros((1, 1), np.float32)
    if any(part.of_course for part in parts):
        log = log + possible.log_of_course(course)
    if any(part.of_fraction for part in parts):
        log = log + possible.log_of_fractions(fraction)
    return log


def _joint(group: Sequence[tuple[Met, Unknown | None]]) -> Possible:
    """What the shifts (3 per target) of several targets may be: their normal numbers are r z + sqrt(1 - r²) z', with z those
    of the first target."""
    n_draws, size = N_POSSIBLE + 1, _AXES * len(group)
    mean, systematic, random = np.zeros((n_draws, size)), *np.zeros((2, n_draws, size, size))
    for k, (met, part) in enumerate(group):
        own, r = slice(_AXES * k, _AXES * (k + 1)), met.correlation
        roots = np.eye(_AXES), np.eye(_AXES)
        if part is not None:
            mean[:, own], roots = part.possible.mean, (part.possible.systematic, part.possible.random)
        for joint, root in zip((systematic, random), roots, strict=True):
            joint[:, own, :_AXES] = r * root
            joint[:, own, own] += np.sqrt(1 - r**2) * root
    return Possible(mean, systematic, random, np.full(n_draws, np.inf))


def doubted_errors(setting: Setting) -> tuple[Doubted, ...]:
    """Errors of a study of which only so much is known, in the order of its sources."""
    by_target = [errors.not_exact_by_key() for errors in setting.targets.values()]
    met: list[Met] = []
    for key in dict.fromkeys(key for own in by_target for key in own):
        each = key in OF_EACH_TARGET
        met += _met_by_each(setting, key) if each else [Met(shifts) for shifts in by_target[0][key]]
    return tuple(_apart(met))


def _met_by_each(setting: Setting, key: str) -> list[Met]:
    """An error as each target meets it, exact ones that those of others go together with among them."""
    found: dict[Hashable, Met] = {}
    for name, errors in setting.targets.items():
        source, numbers = getattr(errors, key), partial(setting.numbers_of, name)
        if key == "baseline":
            r = 1.0 if name == setting.first else setting.baseline_correlation.get(name, 0.0)
            found |= {(name, one.of_course): Met(one, numbers, r) for one in (source or Baseline()).shifts()}
        elif source is not None:
            found |= {
                ("" if isinstance(one, LogSize) else name, one.name): Met(one, numbers) for one in source.not_exact()
            }
    return list(found.values())


def _apart(met: Sequence[Met]) -> Iterator[Doubted]:
    """Those that drawn errors tell of together; exact ones that none goes with are left out."""
    linked = np.array([_go_together(one, two) for one in met for two in met]).reshape(len(met), len(met))
    _, labels = connected_components(linked, directed=False)
    for label in dict.fromkeys(labels):
        some = tuple(one for one, own in zip(met, labels, strict=True) if own == label)
        if any(one.shifts.is_uncertain for one in some):
            yield Doubted(some)


def _go_together(one: Met, two: Met) -> bool:
    """Whether two errors are the same, or are unknown alike, or have numbers that go together."""
    is_alike = one.shifts.is_uncertain and two.shifts.is_uncertain and one.shifts.name == two.shifts.name
    follows = one.correlation and two.correlation and one.shifts.of_course == two.shifts.of_course
    return one is two or is_alike or bool(follows)


def parts_of(error: Unknown) -> list[Unknown]:
    """What the uncertainty budget tells apart."""
    first, second = error.shifts.part_names
    if first == second:
        return [replace(error, name=first)]
    parts = (replace(error, name=first, of_fraction=False), replace(error, name=second, of_course=False))
    return [part for part in parts if part.of_course or part.of_fraction]


def unknown_of(errors: Sequence[Doubted]) -> tuple[Unknown, ...]:
    """All of each error of which only so much is known."""
    named = {met.shifts.name: met.shifts for one in errors for met in one.met if met.shifts.is_uncertain}
    return tuple(_whole(shifts) for shifts in named.values())


def _whole(shifts: Shifts) -> Unknown:
    has_course, has_fraction = (bool(np.any(sd)) for sd in (shifts.systematic, shifts.random))
    return Unknown(shifts.name, shifts, _possible(shifts), has_course, has_fraction)


def _possible(shifts: Shifts) -> Possible:
    """Scrambled Sobol' draws of what an error may be, after them the stated one."""
    from scipy.stats import qmc  # a second to import, which other studies need not wait for

    rng = np.random.default_rng(zlib.crc32(shifts.name.encode()))
    uniforms = qmc.Sobol(NUMBERS, rng=rng).random(N_POSSIBLE)[rng.permutation(N_POSSIBLE)]
    edge = 2.0**-40
    return shifts.possible(np.clip(uniforms, edge, 1 - edge)).followed_by(shifts.stated())
