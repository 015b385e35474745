"""Candidates of a study: a grid of margins, ways to manage motion and guidance, or a list written out."""

from typing import Annotated, Any

from simulator.ground.spec import Discriminator, Field, Spec, Tag, field_validator
from simulator.strategy import PrvMargin, Strategy
from simulator.strategy.guidance import Guidance
from simulator.strategy.margin import Margin, margin_read
from simulator.strategy.motion import Motion


def _kind(value: Any) -> Any:
    """A kind by its name alone, with default parameters."""
    return {"kind": value} if isinstance(value, str) else value


class StrategyGrid(Spec):
    """Candidates: every margin with every motion management and every guidance protocol."""

    margins_mm: Annotated[tuple[Margin, ...], Field(min_length=1)] = Field(
        description="margins: a number of mm, three (LR, AP, SI), a recipe's name (van-herk) or a mapping"
    )
    motion: Annotated[tuple[Motion, ...], Field(min_length=1)] = Field(
        description="motion management: names or mappings with `kind`"
    )
    guidance: Annotated[tuple[Guidance, ...], Field(min_length=1)] = Field(
        description="image guidance: names or mappings with `kind`"
    )
    prv_mm: Annotated[tuple[PrvMargin, ...], Field(min_length=1)] = Field(
        (0.0,), description="planning-risk volume: by how much organs are grown for limits of their near-maximum dose"
    )

    @field_validator("margins_mm", "motion", "guidance", "prv_mm", mode="before")
    @classmethod
    def _accept_short_forms(cls, value: Any, info: Any) -> Any:
        items = value if isinstance(value, list | tuple) else [value]
        if info.field_name == "prv_mm":
            return items
        return [margin_read(v) if info.field_name == "margins_mm" else _kind(v) for v in items]

    def candidates(self) -> list[Strategy]:
        """The grid multiplied out: motion slowest, guidance fastest."""
        return [
            Strategy(margin=margin, motion=motion, guidance=guidance, prv_mm=prv_mm)
            for motion in self.motion
            for margin in self.margins_mm
            for prv_mm in self.prv_mm
            for guidance in self.guidance
        ]


class Candidate(Spec):
    """One strategy written out."""

    margin_mm: Margin = Field(description="margin, as in `margins_mm`")
    motion: Motion = Field(description="motion management: a name or a mapping with `kind`")
    guidance: Guidance = Field(description="image guidance: a name or a mapping with `kind`")
    prv_mm: PrvMargin = Field(0.0, description="planning-risk volume, as in the grid")

    @field_validator("margin_mm", "motion", "guidance", mode="before")
    @classmethod
    def _accept_short_form(cls, value: Any, info: Any) -> Any:
        return margin_read(value) if info.field_name == "margin_mm" else _kind(value)


Candidates = Annotated[
    Annotated[StrategyGrid, Tag("grid")] | Annotated[tuple[Candidate, ...], Field(min_length=1), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "grid"),
]
