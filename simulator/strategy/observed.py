"""The fractions of a patient that lie behind: what their images showed, and what was done about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from simulator.ground.conventions import in_axes
from simulator.ground.once import cached_property
from simulator.ground.spec import BeforeValidator, Field, NonNegativeMm3, Spec, did_you_mean, model_validator
from simulator.strategy import Strategy


def _every_axis(value: Any) -> Any:
    """A finding has three axes: one number for all of them would be a slip."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"3 values wanted (LR, AP, SI), got {value}")
    return value


_Shift = Annotated[float, Field(ge=-100, le=100)]
_Found = Annotated[
    tuple[_Shift, _Shift, _Shift], BeforeValidator(_every_axis, json_schema_input_type=tuple[_Shift, _Shift, _Shift])
]


class ObservedFraction(Spec):
    """What the image before the beam of one fraction showed, in mm (LR, AP, SI) before any correction, and what was corrected.

    Errors are where anatomy lay less where it was planned: left, posterior and superior positive.
    """

    bone_mm: _Found | None = Field(
        None, description="error of bone, which is that of setup alone; not looked at when absent"
    )
    target_mm: _Found | None = Field(
        None, description="error of the target, setup and its shift against bone together; not looked at when absent"
    )
    corrected_mm: _Found | None = Field(
        None,
        description="what was corrected, with the signs of the error; what the delivered guidance would do by default",
    )

    @model_validator(mode="after")
    def _shows_something(self) -> "ObservedFraction":
        if self.bone_mm is None and self.target_mm is None:
            raise ValueError("say what the image showed: bone_mm, target_mm or both")
        return self

    def describe(self) -> str:
        """What was found and done, in words."""
        found = {"bone": self.bone_mm, "target": self.target_mm, "corrected by": self.corrected_mm}
        return ", ".join(f"{what} {in_axes(mm)}" for what, mm in found.items() if mm is not None)


class Observed(Spec):
    """What is known of this patient from the fractions that lie behind: courses are drawn given it.

    Each strategy of the study is what may follow; the fractions that lie behind had the plan, motion management and guidance
    of the delivered one.
    """

    delivered: str | None = Field(
        None,
        description="name, as in the results, of the strategy delivered so far; needed where the study has several",
    )
    fractions: Annotated[tuple[ObservedFraction, ...], Field(max_length=100)] = Field(
        description="what the image of each fraction showed, from the first one on without a gap"
    )
    bone_match_mm: NonNegativeMm3 | None = Field(
        None, description="error of matches on bone per axis, one SD in mm; by default that of the delivered guidance"
    )
    target_match_mm: NonNegativeMm3 | None = Field(
        None,
        description="error of matches on the target per axis, one SD in mm; by default that of the delivered guidance",
    )

    def treated(self, candidates: Sequence[Strategy]) -> "Treated | None":
        """What lies behind; None without fractions.

        Raises
        ------
        ValueError : it does not go together with the strategies.
        """
        if not self.fractions:
            return None
        delivered = self._delivered(candidates)
        treated = Treated(delivered, self.fractions, *(self._match_mm(delivered, kind) for kind in ("bone", "target")))
        treated.check_corrections()
        for strategy in candidates:
            treated.check(strategy)
        return treated

    def _match_mm(self, delivered: Strategy, kind: str) -> tuple[float, float, float]:
        """Error of matches on bone or the target."""
        own: tuple[float, float, float] | None = getattr(self, f"{kind}_match_mm")
        guidance = delivered.guidance
        of_guidance = guidance.match_error_mm if guidance.matches_target == (kind == "target") else None
        is_found = any(getattr(image, f"{kind}_mm") is not None for image in self.fractions)
        if own is None and of_guidance is None and is_found:
            raise ValueError(
                f"observed.{kind}_match_mm: the delivered guidance {guidance.label()} has no match on {kind} whose error could "
                "be taken; write it here, one SD per axis in mm"
            )
        return own or of_guidance or (0.0, 0.0, 0.0)

    def _delivered(self, candidates: Sequence[Strategy]) -> Strategy:
        by_label = {strategy.label(): strategy for strategy in candidates}
        if self.delivered is None:
            if len(by_label) > 1:
                raise ValueError(
                    f"observed.delivered: {len(by_label)} strategies may follow; name the one that was delivered so far, such "
                    f"as {next(iter(by_label))!r}"
                )
            return candidates[0]
        if self.delivered not in by_label:
            hint = did_you_mean(self.delivered, by_label) or f"; it has {', '.join(map(repr, by_label))}"
            raise ValueError(f"observed.delivered: {self.delivered!r} is not a strategy of this study{hint}")
        return by_label[self.delivered]


@dataclass(frozen=True)
class Treated:
    """Fractions that lie behind, the strategy that delivered them, and one SD per axis of the error of matches."""

    strategy: Strategy
    images: tuple[ObservedFraction, ...]
    bone_match_mm: tuple[float, float, float]
    target_match_mm: tuple[float, float, float]

    @property
    def n_fractions(self) -> int:
        """How many."""
        return len(self.images)

    def found_mm(self, on_target: bool) -> np.ndarray:
        """The error of bone or of the target, (fraction, 3); NaN where it was not looked at."""
        found = ((image.target_mm if on_target else image.bone_mm) for image in self.images)
        return np.array([(np.nan,) * 3 if mm is None else mm for mm in found])

    @cached_property
    def is_found(self) -> np.ndarray:
        """Whether bone and target were looked at, boolean (2, fraction)."""
        return np.array([~np.isnan(self.found_mm(on_target)[:, 0]) for on_target in (False, True)])

    def is_continued_by(self, strategy: Strategy) -> bool:
        """Whether a strategy goes on as before, but for its margin."""
        return (strategy.motion, strategy.guidance) == (self.strategy.motion, self.strategy.guidance)

    def check_corrections(self) -> None:
        """Refuse images that do not say what followed from them.

        Raises
        ------
        ValueError : the delivered guidance matches what was not looked at.
        """
        guidance = self.strategy.guidance
        for i, image in enumerate(self.images):
            is_known = image.corrected_mm is not None or self.is_found[int(guidance.matches_target), i]
            if guidance.match_error_mm is not None and not is_known:
                what = "target" if guidance.matches_target else "bone"
                raise ValueError(
                    f"observed.fractions.{i}.corrected_mm: the delivered guidance {guidance.label()} matches {what}, which was "
                    f"not looked at in this image; give {what}_mm, or what was corrected, [0, 0, 0] if nothing"
                )

    def check(self, strategy: Strategy) -> None:
        """Refuse a strategy that cannot follow.

        Raises
        ------
        ValueError : it manages motion in another way, or would need images of these fractions that nobody has.
        """
        if strategy.motion != self.strategy.motion:
            raise ValueError(
                f"observed: {strategy.label()!r} manages motion otherwise than the delivered {self.strategy.label()!r}; only "
                "margin and guidance may change after a fraction, so study other motion management without observed"
            )
        guidance = strategy.guidance
        if guidance.fractions_before_correction() and not np.all(self.is_found[int(guidance.matches_target)]):
            what, other = ("target", "bone") if guidance.matches_target else ("bone", "target")
            raise ValueError(
                f"observed: the guidance {guidance.label()} of {strategy.label()!r} goes by images matched on {what}, and not "
                f"all fractions have {what}_mm; give it `match: {other}`, or leave it out"
            )

    def remark(self, n_fractions: int) -> str:
        """What probabilities mean, in a sentence."""
        n = self.n_fractions
        which = "fraction 1" if n == 1 else f"fractions 1 to {n}"
        follows = (
            f"each strategy is what may follow from fraction {n + 1} on" if n < n_fractions else "no fraction is left"
        )
        return (
            f"Courses are conditioned on the images of {which} of {n_fractions}, delivered as “{self.strategy.label()}”: "
            f"probabilities are those of this patient's whole course, and {follows}."
        )

    def describe(self) -> str:
        """What the images showed, in a sentence."""
        found = "; ".join(f"fraction {i}: {image.describe()}" for i, image in enumerate(self.images, start=1))
        return f"Errors found before any correction (LR, AP, SI) in mm: {found}."
