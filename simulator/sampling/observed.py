"""Courses given what the images of the first fractions showed.

What a match sees is linear in standard normal numbers z of setup, baseline shift and motion management, y = m + z A + e with
the match error e. Drawn numbers are corrected by what their own images miss of those that were taken (Matheron's rule,
Journel & Huijbregts 1978): z' = z + (y - m - z A - e) (A'A + E)^-1 A' is a draw from the Gaussian distribution of z given y.
That is exact, whatever z was drawn from, so seeds, blocks and Sobol' points stay what they are. Numbers that no match sees
(registration, delineation, isocentre, shift after imaging, drift) keep their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import chdtrc

from simulator.ground.conventions import AXES, Stream, in_axes
from simulator.ground.once import cached_property
from simulator.ground.spec import ConfigError
from simulator.sampling.courses import Setting, draw_courses
from simulator.sampling.seen import seen_mm
from simulator.sampling.streams import Draws
from simulator.strategy.observed import Treated
from simulator.uncertainty.source import RandomNumbers

_OF_COURSE = (Stream.SETUP_SYSTEMATIC, Stream.BASELINE_COURSE, Stream.MOTION_COURSE)
_OF_FRACTION = (Stream.SETUP_RANDOM, Stream.BASELINE_FRACTION, Stream.MOTION_FRACTION)
_KINDS = ("bone", "target")
_TRIALS, _OTHER_MM, _ROUNDING = 64, 0.3, 1e-9
_UNLIKELY = 0.001
_DIGITS = 12  # linear algebra may differ in the last ones between processors


@dataclass(frozen=True)
class Law:
    """What the images of the fractions that lie behind say of the random numbers.

    Parameters
    ----------
    n_fractions : of the whole course.
    at : what was looked at, bone (0) or target (1), and in which fraction, int (finding, 2); the target last.
    shift_mm, expected_mm, match_mm : (number seen,), three for each finding: what images showed, what they show without errors,
        and one SD of the match error.
    response_mm : by stream, (number drawn, number seen), what a number of 1 adds to what is seen.
    """

    n_fractions: int
    at: np.ndarray
    shift_mm: np.ndarray
    expected_mm: np.ndarray
    match_mm: np.ndarray
    response_mm: Mapping[Stream, np.ndarray]

    @cached_property
    def gain(self) -> dict[Stream, np.ndarray]:
        """By stream, (number seen, number drawn), what a mm missed adds to a number."""
        return {stream: np.round(self._inverse @ some.T, _DIGITS) for stream, some in self.response_mm.items()}

    @cached_property
    def _covariance(self) -> np.ndarray:
        return sum((r.T @ r for r in self.response_mm.values()), np.diag(self.match_mm**2))

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.pinv(self._covariance, rcond=_ROUNDING, hermitian=True)

    @property
    def _missed_mm(self) -> np.ndarray:
        return self.shift_mm - self.expected_mm

    def check(self) -> None:
        """Refuse findings that the study's errors cannot give.

        Raises
        ------
        ConfigError : the fraction and axis.
        """
        left_mm = np.abs(self._missed_mm - self._covariance @ self._inverse @ self._missed_mm)
        if left_mm.max() > 1e-6:
            worst = int(np.argmax(left_mm))
            kind, fraction = _KINDS[self.at[worst // 3, 0]], self.at[worst // 3, 1]
            raise ConfigError(
                f"observed.fractions.{fraction}.{kind}_mm: {self.shift_mm[worst]:g} mm on {AXES[worst % 3]} cannot happen in "
                f"this study, whose errors leave no room for it; give uncertainty or {kind}_match_mm a spread there"
            )

    @property
    def probability(self) -> float:
        """Probability of findings as unlikely as these, or more, in the population."""
        square = float(self._missed_mm @ self._inverse @ self._missed_mm)
        return float(chdtrc(np.linalg.matrix_rank(self._covariance, tol=_ROUNDING, hermitian=True), square))

    def patient(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD (3,) in mm of the errors that stay with the patient: of the target, or of bone where only it was seen."""
        last = slice(-3, None)
        own = {stream: self.response_mm[stream] for stream in _OF_COURSE if stream in self.response_mm}
        shared = sum((r.T @ r[:, last] for r in own.values()), np.zeros((len(self.shift_mm), 3)))
        mean = self.expected_mm[last] + shared.T @ self._inverse @ self._missed_mm
        prior = sum((r[:, last].T @ r[:, last] for r in own.values()), np.zeros((3, 3)))
        left = np.diag(prior - shared.T @ self._inverse @ shared)
        return mean, np.sqrt(np.maximum(left, 0))

    def describe(self) -> str:
        """What is known of the patient, in a sentence for the report."""
        mean, sd = (in_axes((np.round(mm, 1) + 0.0).tolist()) for mm in self.patient())
        what = "the target" if self.at[-1, 0] else "bone"
        return (
            f"Given these images, the error of {what} that stays with this patient, before any correction, is "
            f"{mean} mm, known to {sd} mm (one SD); registration, delineation and what happens after the image stay unseen."
        )

    @property
    def warning(self) -> str:
        """A remark where the images do not look like those of the study's population; else empty."""
        if self.probability >= _UNLIKELY:
            return ""
        return (
            f"observed: fewer than {100 * _UNLIKELY:g} % of the study's patients show errors as unlikely as these; look at "
            "their signs and axes, and at Σ, σ and the match errors"
        )


def law_of(setting: Setting) -> Law | None:
    """What the fractions that lie behind say; None without any.

    Raises
    ------
    ConfigError : the images show what the study's errors cannot give, or errors that are not Gaussian.
    """
    treated = setting.treated
    if treated is None:
        return None
    u = setting.uncertainty
    bare = replace(setting, uncertainty=u.model_copy(update={"organs": {}, "drift": None}), treated=None)
    asked = _Given(1)
    _seen(bare, treated, asked)
    sizes = {stream: asked.asked[stream] for stream in (*_OF_COURSE, *_OF_FRACTION) if stream in asked.asked}
    ends = np.cumsum([0, *sizes.values()])
    units = np.vstack([np.zeros(ends[-1]), np.eye(ends[-1])])
    given = {stream: units[:, a:b] for stream, a, b in zip(sizes, ends, ends[1:], strict=False)}
    seen = _seen(bare, treated, _Given(len(units), given))
    units_mm = np.round(seen[1:] - seen[0], _DIGITS)
    response = {stream: units_mm[a:b] for stream, a, b in zip(sizes, ends, ends[1:], strict=False)}
    at = np.argwhere(treated.is_found)
    law = Law(
        n_fractions=setting.n_fractions,
        at=at,
        shift_mm=np.stack([treated.found_mm(False), treated.found_mm(True)])[treated.is_found].ravel(),
        expected_mm=seen[0],
        match_mm=np.array([treated.bone_match_mm, treated.target_match_mm])[at[:, 0]].ravel(),
        response_mm={stream: some for stream, some in response.items() if np.any(some)},
    )
    _require_gaussian(bare, treated, law)
    law.check()
    return law


def _seen(setting: Setting, treated: Treated, numbers: RandomNumbers) -> np.ndarray:
    """What the matches of the fractions that lie behind see, (course, number seen) in mm, match errors left out."""
    courses, n = draw_courses(setting, numbers), treated.n_fractions
    both = [seen_mm(courses, treated.strategy, setting, on_target)[:, :n] for on_target in (False, True)]
    return np.stack(both, axis=1)[:, treated.is_found].reshape(numbers.n_courses, -1)


def _require_gaussian(setting: Setting, treated: Treated, law: Law) -> None:
    trial = Draws(0, 0, _TRIALS)
    seen = _seen(setting, treated, trial)
    linear = sum((_product(_flat(trial, key, some), some) for key, some in law.response_mm.items()), law.expected_mm)
    other_mm = float(np.sqrt(np.square(seen - linear).mean(axis=0).max()))
    if other_mm > _OTHER_MM:
        raise ConfigError(
            f"observed: the matches see {other_mm:.1f} mm (root mean square) that are no Gaussian setup, baseline shift or "
            f"hold, and at most {_OTHER_MM:g} mm are left out of account; lower rotations, motion in the gate or sources of "
            "your own, or take observed out"
        )


def _flat(numbers: RandomNumbers, stream: Stream, response_mm: np.ndarray) -> np.ndarray:
    """The numbers of a stream, (course, number drawn)."""
    return numbers.normals(stream, len(response_mm))


def _product(rows: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Matrix product of which each row is the same bit for bit whatever rows stand beside it."""
    total = np.zeros((len(rows), table.shape[1]))
    for j in np.flatnonzero(table.any(axis=1)):
        total += rows[:, j, None] * table[j]
    return total


@dataclass(frozen=True)
class _Given:
    """Given numbers of some streams (course, number), all others at their centre; `asked` keeps how many were asked for."""

    n_courses: int
    given: Mapping[Stream, np.ndarray] = field(default_factory=dict)
    asked: dict[Stream, int] = field(default_factory=dict)

    def part(self, start: int, n_courses: int) -> "_Given":
        """Those of some of the courses, counted from the first of these."""
        return _Given(n_courses, {stream: some[start : start + n_courses] for stream, some in self.given.items()})

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Given ones, or 0, (course, *shape)."""
        if not of:
            self.asked[stream] = int(np.prod(shape))
        if of or stream not in self.given:
            return np.zeros((self.n_courses, *shape))
        return self.given[stream].reshape(self.n_courses, *shape)

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """1/2, (course, *shape)."""
        return np.full((self.n_courses, *shape), 0.5)


@dataclass(frozen=True)
class ObservedDraws:
    """Random numbers given what images showed; those of no source that a match sees are the `base`'s own."""

    base: RandomNumbers
    law: Law

    @property
    def n_courses(self) -> int:
        """Number of courses."""
        return self.base.n_courses

    def part(self, start: int, n_courses: int) -> "ObservedDraws":
        """Those of some of the courses, counted from the first of these."""
        return ObservedDraws(self.base.part(start, n_courses), self.law)

    def normals(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Normal numbers of one source, float64 (n_courses, *shape)."""
        plain = self.base.normals(stream, *shape, of=of)
        if of or stream not in self.law.gain:
            return plain
        return plain + _product(self._missed_mm, self.law.gain[stream]).reshape(plain.shape)

    def uniforms(self, stream: Stream, *shape: int, of: str = "") -> np.ndarray:
        """Uniform numbers in (0, 1), (n_courses, *shape)."""
        return self.base.uniforms(stream, *shape, of=of)

    @cached_property
    def _missed_mm(self) -> np.ndarray:
        """What was seen less what the images of the base would have shown, (course, number seen)."""
        law = self.law
        match = [self.base.normals(Stream.GUIDANCE, law.n_fractions, 3, of=f"{kind} behind") for kind in _KINDS]
        errors = np.stack(match, axis=1)[:, *law.at.T].reshape(self.n_courses, -1) * law.match_mm
        drawn = (_product(_flat(self.base, key, some), some) for key, some in law.response_mm.items())
        seen = sum(drawn, law.expected_mm + errors)
        return law.shift_mm - seen
