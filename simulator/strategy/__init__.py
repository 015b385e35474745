"""Strategies: a margin, a way to manage motion and an image-guidance protocol, three independent roles."""

from simulator.readable import Readable
from simulator.spec import Spec
from simulator.strategy.guidance import Guidance
from simulator.strategy.margin import Margin
from simulator.strategy.motion import Motion


class Strategy(Readable, Spec):
    """One candidate: margin, motion management and guidance."""

    margin: Margin
    motion: Motion
    guidance: Guidance

    def summary(self) -> dict[str, str]:
        """The three roles."""
        return {"margin": self.margin.label(), "motion": self.motion.describe(), "guidance": self.guidance.describe()}

    def label(self) -> str:
        """Name in tables and results, for example "itv, 5 mm, online-target"."""
        return f"{self.motion.label()}, {self.margin.label()}, {self.guidance.label()}"
