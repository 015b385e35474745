"""What every kind of motion management is asked, and what it says about the breathing that it meets.

Every kind is a pure function of the drawn breathing and of its own random numbers, so all strategies meet the same
patients. Positions are relative to the planning anatomy, in which breathing structures lie at their time average.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from simulator.ground.conventions import Stream, Streams
from simulator.ground.spec import Field, Spec


class Breath(Protocol):
    """Breathing of a run of courses; the planning cycle is one course of one fraction."""

    @property
    def breath(self) -> np.ndarray:
        """Amplitude of each breath over the day's, (course, fraction, instant)."""
        ...

    def names(self) -> tuple[str, ...]:
        """Structures that breathe."""
        ...

    def displacement_mm(self, name: str, lag_s: float = 0.0) -> np.ndarray:
        """Displacement (course, fraction, instant, 3) in mm about the time average, `lag_s` before each instant."""
        ...

    def depth(self, lag_s: float = 0.0) -> np.ndarray:
        """Depth of inhalation (course, fraction, instant): 0 at exhale, 1 at the day's mean inhale."""
        ...


@dataclass(frozen=True)
class MotionNoise:
    """Standard normal numbers of a strategy's own errors.

    Parameters
    ----------
    course : (course, 2, 3). fraction : (course, fraction, n, 3), n of them. instant : (course, fraction, instant, 3).
    """

    course: np.ndarray
    fraction: np.ndarray
    instant: np.ndarray


@dataclass(frozen=True)
class Managed:
    """Breathing as a strategy leaves it.

    Parameters
    ----------
    position_mm : by structure, (course, fraction, instant, 3) relative to the planning anatomy.
    weight : (course, fraction, instant), share of the fraction's dose; sums to 1.
    imaged_mm : (course, fraction, 3), where breathing and its management put the target when it is imaged.
    followed_mm : (course, fraction, instant, 3), what the beam does about breathing; None when it stands still.
    """

    position_mm: dict[str, np.ndarray]
    weight: np.ndarray
    imaged_mm: np.ndarray
    followed_mm: np.ndarray | None = None

    def imaged_at(self, imaged_mm: np.ndarray) -> "Managed":
        """The same with the target elsewhere (course, fraction, 3) when imaged, which a following beam knows."""
        followed = self.followed_mm
        if followed is not None:
            followed = followed + (self.imaged_mm - imaged_mm)[:, :, None]
        return replace(self, imaged_mm=imaged_mm, followed_mm=followed)


@dataclass(frozen=True)
class MotionSpread:
    """SD per axis (3,) in mm of the target about its planning position that the planning target does not contain."""

    systematic_mm: np.ndarray
    random_mm: np.ndarray


NO_SPREAD = MotionSpread(np.zeros(3), np.zeros(3))


class MotionKind(Spec):
    """A kind of motion management; as it stands here, free breathing planned at its time average, the beam always on.

    A new kind has its name in `kind: Literal["..."]`, `describe`, and each method below in which it differs: what is planned
    on (`path_mm`, `offset_mm`), how long the beam takes (`beam_time_s`), what margin recipes count (`spread`), and
    where that leaves tissue and beam (`manage`). It names the structures that it moves in `moving`.

    Attributes
    ----------
    needs_breathing_to : verb that says what a study without breathing would leave it nothing for; None if it can do without.
    named_like : pattern of the names of plans that are made for it; that of its kind by default.
    """

    needs_breathing_to: ClassVar[str | None] = None
    named_like: ClassVar[str | None] = None
    streams: ClassVar[Streams] = {
        "motion management": (Stream.MOTION_COURSE, Stream.MOTION_FRACTION, Stream.MOTION_INSTANT)
    }
    name: str | None = Field(None, description="name in tables; the kind by default")

    @abstractmethod
    def describe(self) -> str:
        """One sentence for the report."""

    def moving(self) -> dict[str, tuple[str, ...]]:
        """Structures that it names, by key of the study file; it may move these beside the target and all that breathes."""
        return {}

    @property
    def model_update_s(self) -> float:
        """Time between images that tell a following beam of slow shifts."""
        return float("inf")

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """Positions (n, 3) in mm whose union is the planning target."""
        return np.zeros((1, 3))

    def offset_mm(self, planned: Breath, structure: str) -> np.ndarray:
        """Where a structure lies on the images that are planned on, (3,) in mm."""
        return np.zeros(3)

    def beam_time_s(self, beam_on_s: float, planned: Breath) -> float:
        """Time from first to last beam."""
        return beam_on_s

    def n_noise(self, beam_on_s: float) -> int:
        """How many vectors of random numbers a fraction needs."""
        return 1

    def spread(self, planned: Breath, target: str) -> MotionSpread:
        """What a margin recipe has to cover besides setup and baseline."""
        return NO_SPREAD

    def manage(self, breathing: Breath, planned: Breath, target: str, noise: MotionNoise) -> Managed:
        """Breathing as this strategy leaves it."""
        return free_breathing(breathing, target, np.ones_like(breathing.breath))

    def label(self) -> str:
        """Name in tables."""
        return self.name or self.kind  # type: ignore[attr-defined]


def free_breathing(breathing: Breath, target: str, is_on: np.ndarray) -> Managed:
    """Free breathing with the beam on at some instants."""
    weight = is_on / is_on.sum(axis=-1, keepdims=True)
    position = {name: breathing.displacement_mm(name) for name in breathing.names()}
    imaged = np.zeros((*weight.shape[:2], 3))
    if target in position:
        typical = position[target] / breathing.breath[..., None]
        imaged = (weight[..., None] * typical).sum(axis=2)
    return Managed(position, weight, imaged)
