"""Image guidance: what the couch does about the errors that were seen. A protocol never sees a later fraction."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from simulator.ground.conventions import Stream, Streams, in_axes
from simulator.ground.spec import Field, NonNegativeMm3, SdDeg3, Spec, model_validator
from simulator.strategy.margin import Spread

_TRIAL_COURSES = 4000
_MATCH_MM = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class GuidanceNoise:
    """Standard normal numbers (course, fraction, 3) of the image match and of the couch.

    Parameters
    ----------
    apart_mm : (target, course, fraction, 3), what each target is off beside the whole that was seen, where a match is a
        compromise of several; None where it is not.
    """

    match: np.ndarray
    couch: np.ndarray
    apart_mm: np.ndarray | None = None


class GuidanceKind(Spec):
    """A kind of image guidance; as it stands here, the couch corrects nothing.

    A new kind has its name in `kind: Literal["..."]`, `describe`, `correct`, and each other method in which it differs.
    Margin recipes need `residual` only where there is a closed form.
    """

    streams: ClassVar[Streams] = {
        "image guidance": (
            Stream.GUIDANCE,
            Stream.GUIDANCE_AGAIN,
            Stream.COUCH,
            Stream.COUCH_AGAIN,
            Stream.GUIDANCE_ROTATION,
        )
    }
    name: str | None = Field(None, description="name in tables; the kind by default")

    @abstractmethod
    def describe(self) -> str:
        """One sentence for the report."""

    @property
    def matches_target(self) -> bool:
        """Whether the image match sees the target rather than bone."""
        return False

    @property
    def match_weights(self) -> Mapping[str, float]:
        """Of several targets, those that the match is a compromise of, by weight; none: the first target alone."""
        return {}

    @property
    def match_error_mm(self) -> tuple[float, float, float] | None:
        """Error of the match before the beam per axis, one SD in mm; None where nothing is imaged."""
        return None

    @property
    def image_every_s(self) -> float | None:
        """Time of treatment between further images during the beam; None without."""
        return None

    def correct(self, seen_mm: np.ndarray, noise: GuidanceNoise) -> np.ndarray:
        """Couch correction at the begin of each fraction.

        Parameters
        ----------
        seen_mm : (course, fraction, 3), what the matched anatomy is off its planned place before any correction.

        Returns
        -------
        float64 (course, fraction, 3) in mm; row f depends on rows up to f alone.
        """
        return np.zeros_like(seen_mm)

    def correct_again(self, seen_mm: np.ndarray, noise: GuidanceNoise) -> np.ndarray:
        """Further correction (course, fraction, 3) in mm after an image during the beam; none by default."""
        return np.zeros_like(seen_mm)

    @property
    def corrects_rotation(self) -> bool:
        """Whether the couch takes rotations out."""
        return False

    def rotation_left_deg(self, rotation_deg: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Rotation (course, fraction, 3) in degrees after correction: all of it without a 6D couch."""
        return rotation_deg

    def fractions_before_correction(self) -> int:
        """How many fractions pass before the first that is corrected."""
        return 0

    def residual(self, patient: Spread, target: Spread) -> Spread:
        """What is left of setup error and of the target's shift against bone, for margin recipes.

        Closed form where there is one, else from 4,000 trial courses of this protocol.
        """
        trial = np.random.default_rng(0)
        n = patient.n_fractions
        shape = (_TRIAL_COURSES, n, 3)

        def errors(spread: Spread) -> np.ndarray:
            course = trial.standard_normal((_TRIAL_COURSES, 1, 3)) * spread.systematic_mm
            return course + trial.standard_normal(shape) * spread.random_mm

        bone, inside = errors(patient), errors(target)
        noise = GuidanceNoise(trial.standard_normal(shape), trial.standard_normal(shape))
        left = bone + inside - self.correct(bone + inside * self.matches_target, noise)
        within = left.var(axis=1, ddof=1).mean(axis=0) if n > 1 else np.zeros(3)
        between = np.maximum(left.mean(axis=1).var(axis=0) - within / n, 0)
        return Spread(np.sqrt(between), np.sqrt(within), n)

    def label(self) -> str:
        """Name in tables."""
        return self.name or self.kind  # type: ignore[attr-defined]


class NoGuidance(GuidanceKind):
    """Skin marks and lasers only: the couch corrects nothing."""

    kind: Literal["none"] = "none"

    def residual(self, patient: Spread, target: Spread) -> Spread:
        """Setup and the target's own shift."""
        return patient.plus(target)

    def describe(self) -> str:
        """One sentence for the report."""
        return "none: no image guidance"


class _Matched(GuidanceKind):
    """Shared by all kinds that match an image."""

    match_mm: NonNegativeMm3 = Field(_MATCH_MM, description="error of the match per axis (LR, AP, SI), one SD in mm")
    couch_mm: NonNegativeMm3 = Field((0, 0, 0), description="error of a couch movement per axis, one SD in mm")

    @property
    def match_error_mm(self) -> tuple[float, float, float] | None:
        """As the key `match_mm` says."""
        return self.match_mm


class _Offline(_Matched):
    measured_fractions: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="first fractions that are imaged and not corrected"
    )
    match: Literal["bone", "target"] = Field("bone", description="anatomy that the images are matched on")

    @property
    def matches_target(self) -> bool:
        """As the key `match` says."""
        return self.match == "target"

    def fractions_before_correction(self) -> int:
        """The measured ones."""
        return self.measured_fractions


class NoActionLevel(_Offline):
    """After the first fractions every later one is corrected by their mean error: Σ² becomes (σ² + σ_match²) / N.

    Source: de Boer & Heijmen 2001 (no-action-level protocol).
    """

    kind: Literal["nal"] = "nal"

    def correct(self, seen_mm: np.ndarray, noise: GuidanceNoise) -> np.ndarray:
        """The mean of the first measured errors, from the fraction after them on."""
        n = self.measured_fractions
        correction = np.zeros_like(seen_mm)
        if n < seen_mm.shape[1]:
            measured = seen_mm[:, :n] + noise.match[:, :n] * self.match_mm
            correction[:, n:] = measured.mean(axis=1)[:, None, :] + noise.couch[:, n:] * self.couch_mm
        return correction

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.label()}: from fraction {self.measured_fractions + 1} on corrected by the mean error of the first "
            f"{self.measured_fractions}, matched on {self.match}, match error {in_axes(self.match_mm)} mm (one SD)"
        )


class ExtendedNoActionLevel(_Offline):
    """As nal, with further images: corrected by the straight line through all measured errors so far.

    Images every fifth fraction from the sixth on (`then_from: 6`) keep the weekday of the first one in daily treatment.

    Source: de Boer & Heijmen 2007, doi:10.1016/j.ijrobp.2006.11.050.
    """

    kind: Literal["enal"] = "enal"
    then_every: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="number of fractions between further images (5 is weekly in daily treatment)"
    )
    then_from: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="fraction of the first further image; by default the one after the measured fractions"
    )

    @model_validator(mode="after")
    def _further_images_follow(self) -> "ExtendedNoActionLevel":
        if self.then_from is not None and self.then_from <= self.measured_fractions:
            raise ValueError(
                f"then_from: fraction {self.then_from} is one of the {self.measured_fractions} measured ones; give a "
                f"later one, or fewer measured_fractions"
            )
        return self

    @property
    def _first_further(self) -> int:
        """Fraction of the first further image, counted from 1."""
        return self.then_from or self.measured_fractions + 1

    def is_imaged(self, fraction: np.ndarray) -> np.ndarray:
        """Which fractions, counted from 1, are imaged."""
        further = (fraction >= self._first_further) & ((fraction - self._first_further) % self.then_every == 0)
        return (fraction <= self.measured_fractions) | further

    def correct(self, seen_mm: np.ndarray, noise: GuidanceNoise) -> np.ndarray:
        """The mean of the first errors, then the line through these and the later ones, never the same fraction's."""
        n_fractions = seen_mm.shape[1]
        measured = seen_mm + noise.match * self.match_mm
        first = self.measured_fractions
        is_imaged = self.is_imaged(np.arange(n_fractions) + 1)
        correction = np.zeros_like(seen_mm)
        for f in range(first, n_fractions):
            known = np.flatnonzero(is_imaged[:f])
            mean = measured[:, known].mean(axis=1)
            if len(known) > first and len(known) > 1:
                day = known - known.mean()
                slope = np.einsum("k,cka->ca", day, measured[:, known]) / (day**2).sum()
                mean = mean + slope * (f - known.mean())
            correction[:, f] = mean + noise.couch[:, f] * self.couch_mm
        return correction

    def describe(self) -> str:
        """One sentence for the report."""
        further = ", ".join(str(self._first_further + i * self.then_every) for i in range(3))
        return (
            f"{self.label()}: nal after {self.measured_fractions} fractions, then images in fractions {further} and so on "
            f"and a linear trend, matched on {self.match}, match error {in_axes(self.match_mm)} mm (one SD)"
        )


class _Online(_Matched):
    action_level_mm: Annotated[float, Field(ge=0, le=50)] = Field(
        0.0,
        description="errors up to this length (3-D) are left alone, which leaves part of the systematic error; 0: none",
    )
    couch: Literal["4D", "6D"] = Field("4D", description="6D also corrects rotations")
    rotation_match_deg: SdDeg3 = Field(
        (0.4, 0.4, 0.4), description="rotation left by a 6D couch about (LR, AP, SI), one SD in degrees"
    )
    reimage_every_min: Annotated[float, Field(ge=0.1, le=120)] | None = Field(
        None, description="minutes of treatment between further images and corrections during the beam"
    )

    @property
    def image_every_s(self) -> float | None:
        """As the key `reimage_every_min` says."""
        return None if self.reimage_every_min is None else 60 * self.reimage_every_min

    def correct(self, seen_mm: np.ndarray, noise: GuidanceNoise) -> np.ndarray:
        """What the match showed, where it exceeds the action level; without one, the couch moves in every fraction."""
        measured = seen_mm + noise.match * self.match_mm
        each = measured if noise.apart_mm is None else measured + noise.apart_mm
        length_mm = np.linalg.norm(each, axis=-1, keepdims=True)
        length_mm = length_mm if noise.apart_mm is None else length_mm.max(axis=0)
        is_moved = (length_mm > self.action_level_mm) | (self.action_level_mm == 0)
        return np.where(is_moved, measured + noise.couch * self.couch_mm, 0.0)

    def correct_again(self, seen_mm: np.ndarray, noise: GuidanceNoise) -> np.ndarray:
        """As at the begin of the fraction, if there are images during the beam."""
        return self.correct(seen_mm, noise)

    @property
    def corrects_rotation(self) -> bool:
        """With a 6D couch."""
        return self.couch == "6D"

    def rotation_left_deg(self, rotation_deg: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """What a 6D couch leaves; everything with a 4D couch."""
        return normals * self.rotation_match_deg if self.corrects_rotation else rotation_deg

    def residual(self, patient: Spread, target: Spread) -> Spread:
        """Match and couch error; with an action level, what it lets through besides."""
        if self.action_level_mm:
            return super().residual(patient, target)
        left = Spread(np.zeros(3), np.hypot(self.match_mm, self.couch_mm), patient.n_fractions)
        return left if self.matches_target else left.plus(target)

    def _details(self) -> str:
        text = f"match error {in_axes(self.match_mm)} mm (one SD), {self.couch} couch"
        text += f", action level {self.action_level_mm:g} mm" if self.action_level_mm else ""
        text += f", imaged again every {self.reimage_every_min:g} min" if self.reimage_every_min else ""
        return text


class OnlineBone(_Online):
    """Every fraction is imaged and the bony anatomy put back to its planned place, up to a match error N(0, σ²).

    The target's own shift against bone stays. Source: de Boer & Heijmen 2001 (online protocols); the default error
    is that of a cone-beam match and the couch together on a humanoid phantom, 0.8 to 1.2 mm (one SD) in each direction
    (an ESTRO abstract on the intrafraction variability of peripheral lung tumours); soft tissue is no better.
    """

    kind: Literal["online-bone"] = "online-bone"

    def describe(self) -> str:
        """One sentence for the report."""
        return f"{self.label()}: daily match on bone, {self._details()}"


class OnlineTarget(_Online):
    """Every fraction is imaged and the target's time-averaged position put back, up to a match error N(0, σ²).

    The dose follows the target, so organs that did not move with it are displaced relative to the beam. The default
    error is that of `online-bone`.
    """

    kind: Literal["online-target"] = "online-target"
    targets: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=dict,
        description="of several targets, those that are matched, by weight: the couch takes out the weighted mean of what they "
        "are off, which leaves the least weighted sum of squares; an action level looks at the one that is off most. The first "
        "target alone when absent",
    )

    @property
    def matches_target(self) -> bool:
        """It does."""
        return True

    @property
    def match_weights(self) -> Mapping[str, float]:
        """As the key `targets` says."""
        return self.targets

    def describe(self) -> str:
        """One sentence for the report."""
        total = sum(self.targets.values())
        of = [f"{name} ({weight / total:.0%})" for name, weight in self.targets.items()]
        what = f"a compromise of {', '.join(of)}" if len(of) > 1 else [*self.targets, "the target"][0]
        return f"{self.label()}: daily match on {what}, {self._details()}"


Guidance = Annotated[
    NoGuidance | NoActionLevel | ExtendedNoActionLevel | OnlineBone | OnlineTarget, Field(discriminator="kind")
]
