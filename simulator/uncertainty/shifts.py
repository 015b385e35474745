"""A three-axis error of a course and of its fractions, drawn from what is known of it."""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import gammaincinv, ndtri

from simulator.ground.conventions import Stream, log_variance
from simulator.ground.spec import ConfigError
from simulator.uncertainty.knowledge import MOST_SCALE, Known
from simulator.uncertainty.possible import Possible, posterior_of, record_of
from simulator.uncertainty.source import RandomNumbers

NUMBERS = 10  # uniform numbers of a draw: 3 for Σ, 3 for σ, 3 for the mean, 1 for a place in a posterior file
_AXES = 3
_SPREAD_OF_DOUBT = 0.4

Three = tuple[float, float, float]
Stated = tuple[Three, Three, Three]


@dataclass(frozen=True)
class Shifts:
    """N(mean, Σ²) per course plus N(0, s σ²) per fraction, with s the scale of the patient's variance.

    Parameters
    ----------
    name : as the uncertainty budget says it; it also keys the random numbers of what is known.
    unit : mm or deg.
    errors : M, Σ and σ as stated, per axis.
    of_course, of_fraction : random streams of standard normal numbers; no fraction part where None.
    of_knowledge, of_scale : streams of what is known and of patients' scales.
    correlation : (3, 3) of the axes, for Σ and σ alike.
    shape : a of the scales s, inverse gamma (a, a - 1); None where s is 1.
    parts : names of the errors of courses and of fractions in the uncertainty budget; None where it has one for both.
    structure : whose own random numbers they are; the source's where empty.
    """

    name: str
    unit: str
    errors: Stated
    of_course: Stream
    of_fraction: Stream | None
    of_knowledge: Stream
    of_scale: Stream | None = None
    known: Known | None = None
    correlation: np.ndarray = field(default_factory=lambda: np.eye(_AXES))
    shape: float | None = None
    parts: tuple[str, str] | None = None
    structure: str = ""

    @property
    def mean(self) -> np.ndarray:
        """M as stated, (3,)."""
        return np.array(self.errors[0], float)

    @property
    def systematic(self) -> np.ndarray:
        """Σ as stated, (3,)."""
        return np.array(self.errors[1], float)

    @property
    def random(self) -> np.ndarray:
        """σ as stated, (3,)."""
        return np.array(self.errors[2], float)

    @property
    def is_uncertain(self) -> bool:
        """Whether it has a spread, of which only so much is known."""
        return self.known is not None and bool(np.any(self.systematic) or np.any(self.random))

    @property
    def is_drawn(self) -> bool:
        """Whether Σ or σ differ from course to course; else they are the stated ones, and `draw` is not needed."""
        return self.is_uncertain or (self.shape is not None and bool(np.any(self.random)))

    @property
    def has_scales(self) -> bool:
        """Whether patients differ in the scale of their σ²."""
        return self.shape is not None or (self.known is not None and self.known.posterior is not None)

    @property
    def part_names(self) -> tuple[str, str]:
        """What the uncertainty budget calls the errors of courses and of fractions."""
        return self.parts or (self.name, self.name)

    def draw(self, numbers: RandomNumbers, n_fractions: int) -> tuple[np.ndarray, np.ndarray]:
        """The systematic shift (course, 3) and what each fraction adds to it (course, fraction, 3)."""
        errors = self.possible(numbers.uniforms(self.of_knowledge, NUMBERS, of=self.name))
        normal = numbers.normals(self.of_course, _AXES, of=self.structure)
        course = errors.mean + np.einsum("cij,cj->ci", errors.systematic, normal)
        if self.of_fraction is None or self.of_scale is None:
            return course, np.zeros((numbers.n_courses, n_fractions, _AXES))
        scale = _scale(errors.shape, numbers.uniforms(self.of_scale, 1, of=self.name)[:, 0])
        daily = numbers.normals(self.of_fraction, n_fractions, _AXES)
        return course, np.sqrt(scale)[:, None, None] * np.einsum("cij,cfj->cfi", errors.random, daily)

    def possible(self, uniforms: np.ndarray) -> Possible:
        """Errors that may be, from uniform numbers (draw, 10); the stated ones where nothing is said of what is known."""
        if self.known is None:
            return self.stated(len(uniforms))
        if self.known.posterior is not None:
            draws = self._posterior()
            found = draws.some((uniforms[:, 9] * len(draws.shape)).astype(int))
            centre = np.median(draws.mean, axis=0)
            return Possible(found.mean - centre + self.mean, found.systematic, found.random, found.shape)
        root = root_of(self.correlation)
        systematic = self.systematic * self.known.scales(uniforms[:, :3], random=False)
        random = self.random * self.known.scales(uniforms[:, 3:6], random=True)
        off = ndtri(uniforms[:, 6:9]) @ root.T * self.known.mean_se(systematic, self.unit == "mm")
        shape = np.full(len(uniforms), self._stated_shape)
        return Possible(self.mean + off, systematic[:, :, None] * root, random[:, :, None] * root, shape)

    def stated(self, n: int = 1) -> Possible:
        """The errors as stated, `n` times."""
        root = root_of(self.correlation)
        one = Possible(
            self.mean[None],
            (self.systematic[:, None] * root)[None],
            (self.random[:, None] * root)[None],
            np.array([self._stated_shape]),
        )
        return one.some(np.zeros(n, int))

    def record(self) -> tuple[float, float]:
        """Patients and images that what is known comes from, or is worth."""
        assert self.known is not None
        if self.known.posterior is not None:
            return record_of(self.known.posterior)
        return self.known.record()

    def check(self) -> None:
        """Refuse a posterior file that is not there, or that says something else than the errors beside it.

        Raises
        ------
        ConfigError : what is wrong, without the source's key.
        """
        if self.known is None or self.known.posterior is None:
            return
        draws = self._posterior()
        for key, stated, root in (("Σ", self.systematic, draws.systematic), ("σ", self.random, draws.random)):
            sd = np.sqrt((root**2).sum(axis=2))
            for axis, letters in enumerate(("LR", "AP", "SI")):
                low, median, high = np.quantile(sd[:, axis], (0, 0.5, 1))
                if not low <= stated[axis] <= high:
                    raise ConfigError(
                        f"{key} along {letters} is stated as {stated[axis]:g} {self.unit}, and every draw of "
                        f"{self.known.posterior} lies between {low:.2f} and {high:.2f}; write the median, {median:.2f}"
                    )

    @property
    def _stated_shape(self) -> float:
        if self.known is not None and self.known.posterior is not None:
            return float(np.median(self._posterior().shape))
        return np.inf if self.shape is None else self.shape

    def _posterior(self) -> Possible:
        assert self.known is not None
        assert self.known.posterior is not None
        return posterior_of(self.known.posterior, self.unit, self.known.clinic or 1)


@dataclass(frozen=True)
class LogSize(Shifts):
    """Logarithm of a factor on the first axis, N(M, Σ²) per course, of which M is known to a factor."""

    @classmethod
    def of(
        cls,
        name: str,
        known: Known | None,
        of_course: Stream,
        of_knowledge: Stream,
        *,
        cv: float = 0.0,
        structure: str = "",
    ) -> "tuple[LogSize, ...]":
        """That of an error whose size is known to a factor; none where it is exact.

        Without a spread `cv` between courses, 40 % of the doubt's SD stand for one: else each course would belong to one
        size alone, and no other course would tell of it.
        """
        if known is None:
            return ()
        assert known.factor is not None
        variance, log_sd = log_variance(cv), known.log_sd
        sd = np.sqrt(variance) if variance else _SPREAD_OF_DOUBT * log_sd
        own = known if variance else Known(factor=known.factor ** np.sqrt(1 - _SPREAD_OF_DOUBT**2))
        stated = ((-float(variance) / 2, 0.0, 0.0), (float(sd), 0.0, 0.0), (0.0, 0.0, 0.0))
        return (cls(name, "log", stated, of_course, None, of_knowledge, known=own, structure=structure),)

    def factor(self, numbers: RandomNumbers) -> np.ndarray:
        """Size over the stated one, (course,)."""
        return np.exp(self.draw(numbers, 1)[0][:, 0])

    def possible(self, uniforms: np.ndarray) -> Possible:
        """M from the seventh of the uniform numbers (draw, 10)."""
        assert self.known is not None
        stated, off = self.stated(len(uniforms)), self.known.log_sd * ndtri(uniforms[:, 6:9])
        off = np.clip(off, -np.log(MOST_SCALE), np.log(MOST_SCALE)) * (1, 0, 0)
        return Possible(stated.mean + off, stated.systematic, stated.random, stated.shape)

    def record(self) -> tuple[float, float]:
        """No record: a size is measured, or judged."""
        return np.nan, np.nan


def _scale(shape: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Scale of each patient's variance, mean 1, at most 25."""
    finite = np.where(np.isinf(shape), 2.0, shape)
    gamma = np.maximum(gammaincinv(finite, 1 - uniforms), 1e-12)
    return np.where(np.isinf(shape), 1.0, np.minimum((finite - 1) / gamma, MOST_SCALE**2))


def root_of(correlation: np.ndarray) -> np.ndarray:
    """The symmetric root's factor of a correlation matrix: root @ root.T is the matrix."""
    variance, axes = np.linalg.eigh(correlation)
    return np.asarray(axes * np.sqrt(np.maximum(variance, 0)))
