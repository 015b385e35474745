"""Strategies: a margin, a way to manage motion and an image-guidance protocol, three independent roles.

Lives here: the kinds of each role, `Strategy`, the times of a session, fractions that were observed.
Enters: what a study says; spreads, breathing and couch shifts. Leaves: margins, managed positions, and corrections, in mm.
"""

from typing import Annotated

from simulator.ground.readable import Readable
from simulator.ground.spec import Field, Spec
from simulator.strategy.guidance import Guidance
from simulator.strategy.margin import Margin
from simulator.strategy.motion import Motion

PrvMargin = Annotated[float, Field(ge=0, le=20)]


class Strategy(Readable, Spec):
    """One candidate: margin, motion management and guidance; and by how much planning grows organs (PRV), in mm."""

    margin: Margin
    motion: Motion
    guidance: Guidance
    prv_mm: PrvMargin = 0.0

    def summary(self) -> dict[str, str]:
        """The three roles."""
        prv = {"PRV": f"{self.prv_mm:g} mm"} if self.prv_mm else {}
        return {
            "margin": self.margin.label(),
            "motion": self.motion.describe(),
            "guidance": self.guidance.describe(),
            **prv,
        }

    def label(self) -> str:
        """Name in tables and results, for example "itv, 5 mm, online-target"."""
        return f"{self.motion.label()}, {self.margin.label()}, {self.guidance.label()}{self.prv_words()}"

    @property
    def roles(self) -> tuple[str, str]:
        """What courses are delivered by, as text: motion management and guidance, not the margin."""
        return self.motion.model_dump_json(), self.guidance.model_dump_json()

    def prv_words(self) -> str:
        """Its planning-risk volume after other words; empty without."""
        return f", PRV {self.prv_mm:g} mm" if self.prv_mm else ""
