"""What every source of error is asked, and what it needs: random numbers of its own."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np

from simulator.ground.conventions import Stream, Streams
from simulator.ground.spec import PrivateAttr, Spec

if TYPE_CHECKING:
    from simulator.uncertainty.shifts import Shifts


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


Spreads = tuple[np.ndarray, np.ndarray]
_NONE = np.zeros(3)


class Source(Spec):
    """A source of error.

    A new one has `describe`, draws what it displaces in the methods below that are its own, each from a random stream of its
    own (`simulator.ground.conventions.Stream`), and says with the same words what margin recipes have to count (`..._sd_mm`);
    then it is one line in `Uncertainty`. Displacements are of anatomy, delivery minus planning; zeros (3,) stand for none.

    Attributes
    ----------
    streams : the random streams that it draws from, by name in the uncertainty budget.
    """

    streams: ClassVar[Streams]
    _owner: str = PrivateAttr("")

    def owned_by(self, target: str) -> Self:
        """The same as the error of one of several targets alone, so that what is not known of it is not that of the others."""
        own = self.model_copy()
        own._owner = target
        return own

    def _owned(self, name: str) -> str:
        """The name of an error of which only so much is known."""
        return f"{self._owner}: {name}" if self._owner else name

    @abstractmethod
    def describe(self) -> str:
        """One sentence for the report."""

    def moving(self, target: str) -> tuple[str, ...]:
        """Structures that it moves within the patient."""
        return ()

    def patient_mm(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """The whole patient (course, fraction, 3), as an image before the beam shows it."""
        return _NONE

    def within_mm(self, numbers: RandomNumbers, n_fractions: int, target: str) -> dict[str, np.ndarray]:
        """By structure, its displacement within the patient (course, fraction, 3), as an image before the beam shows it."""
        return {}

    def after_imaging_mm(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """The target's further displacement (course, fraction, 3) before the beam, which only images during the beam see."""
        return _NONE

    def unseen_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """The whole patient relative to the beam (course, 3), which no image shows."""
        return _NONE

    def misdrawn_mm(self, numbers: RandomNumbers) -> np.ndarray:
        """The true target relative to the drawn one (course, 3), which no image shows."""
        return _NONE

    def not_exact(self) -> "tuple[Shifts, ...]":
        """Its errors of which only so much is known (`known`)."""
        return ()

    def patient_sd_mm(self) -> Spreads:
        """Σ and σ per axis in mm of the whole patient when imaged, two (3,) arrays."""
        return _NONE, _NONE

    def target_sd_mm(self) -> Spreads:
        """Σ and σ per axis in mm of the target's place within the patient when imaged, two (3,) arrays."""
        return _NONE, _NONE

    def unseen_sd_mm(self) -> Spreads:
        """Σ and σ per axis in mm of the target's displacement that no image before the beam shows, two (3,) arrays."""
        return _NONE, _NONE
