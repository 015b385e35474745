"""The fractions of a patient that lie behind: what their images showed, and what was done about it."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np

from simulator.conventions import in_axes
from simulator.spec import BeforeValidator, Field, NonNegativeMm3, Spec
from simulator.strategy import Strategy


def _every_axis(value: Any) -> Any:
    """A finding has three axes: one number for all of them would be a slip."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"3 values wanted (LR, AP, SI), got {value}")
    return value


_Shift = Annotated[float, Field(ge=-100, le=100)]
_Found = Annotated[tuple[_Shift, _Shift, _Shift], BeforeValidator(_every_axis)]


class ObservedFraction(Spec):
    """The image before the beam of one fraction, and the couch movement that followed it."""

    match: Literal["bone", "target"] = Field(
        description="what was matched: bone sees setup alone, the target setup and baseline shift"
    )
    shift_mm: _Found = Field(
        description="error found (LR, AP, SI) in mm before any correction: where the matched anatomy lay less where it was "
        "planned, left, posterior and superior positive"
    )
    match_mm: NonNegativeMm3 | None = Field(
        None, description="error of this match per axis, one SD in mm; that of the delivered guidance by default"
    )
    corrected_mm: _Found | None = Field(
        None,
        description="what was corrected (LR, AP, SI) in mm, with the signs of shift_mm; what the delivered guidance would do "
        "by default",
    )


class Observed(Spec):
    """What is known of this patient from the fractions that lie behind: courses are drawn given it.

    Each strategy of the study is what may follow; fractions that lie behind are those of the delivered one.
    """

    delivered: str | None = Field(
        None,
        description="name, as in the results, of the strategy delivered so far; needed where the study has several",
    )
    fractions: Annotated[tuple[ObservedFraction, ...], Field(max_length=100)] = Field(
        description="what the image of each fraction showed, from the first one on without a gap"
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
        guidance = delivered.guidance
        for i, image in enumerate(self.fractions):
            where = f"observed.fractions.{i}"
            sees = guidance.match_error_mm is not None and guidance.matches_target == (image.match == "target")
            if image.match_mm is None and not sees:
                raise ValueError(
                    f"{where}.match_mm: the delivered guidance {guidance.label()} has no match on {image.match} whose error "
                    "could be taken; write it here, one SD per axis in mm"
                )
            if image.corrected_mm is None and not sees and guidance.match_error_mm is not None:
                raise ValueError(
                    f"{where}.corrected_mm: the delivered guidance {guidance.label()} does not match {image.match}, so it does "
                    "not say what followed from this image; write what was corrected, [0, 0, 0] if nothing"
                )
        treated = Treated(delivered, self.fractions)
        for strategy in candidates:
            treated.check(strategy)
        return treated

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
            near = difflib.get_close_matches(self.delivered, by_label, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(map(repr, by_label))}"
            raise ValueError(f"observed.delivered: {self.delivered!r} is not a strategy of this study{hint}")
        return by_label[self.delivered]


@dataclass(frozen=True)
class Treated:
    """Fractions that lie behind, and the strategy that delivered them."""

    strategy: Strategy
    images: tuple[ObservedFraction, ...]

    @property
    def n_fractions(self) -> int:
        """How many."""
        return len(self.images)

    @cached_property
    def shift_mm(self) -> np.ndarray:
        """What the images showed, (fraction, 3)."""
        return np.array([image.shift_mm for image in self.images])

    @cached_property
    def match_mm(self) -> np.ndarray:
        """One SD of their match errors, (fraction, 3)."""
        own = self.strategy.guidance.match_error_mm
        return np.array([own if image.match_mm is None else image.match_mm for image in self.images], float)

    @cached_property
    def on_target(self) -> np.ndarray:
        """Which were matched on the target, boolean (fraction,)."""
        return np.array([image.match == "target" for image in self.images])

    def is_continued_by(self, strategy: Strategy) -> bool:
        """Whether a strategy goes on as before, but for its margin."""
        return (strategy.motion, strategy.guidance) == (self.strategy.motion, self.strategy.guidance)

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
        if guidance.fractions_before_correction() and np.any(self.on_target != guidance.matches_target):
            match = "target" if guidance.matches_target else "bone"
            raise ValueError(
                f"observed: the guidance {guidance.label()} of {strategy.label()!r} goes by images matched on {match}, and not "
                f"all of the fractions that lie behind were; give it `match: {self.images[0].match}`, or leave it out"
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
        found = "; ".join(
            f"{in_axes(image.shift_mm)} mm matched on {image.match}"
            + ("" if image.corrected_mm is None else f" and corrected by {in_axes(image.corrected_mm)} mm")
            for image in self.images
        )
        return f"Errors found, fraction by fraction (LR, AP, SI): {found}."
