"""Strategies: a margin, a way to manage motion and an image-guidance protocol, three independent roles."""

from simulator.spec import Spec
from simulator.strategy.guidance import Guidance
from simulator.strategy.margin import Margin
from simulator.strategy.motion import Motion


class Strategy(Spec):
    """One candidate: margin, motion management and guidance."""

    margin: Margin
    motion: Motion
    guidance: Guidance

    def label(self) -> str:
        """Name in tables and results, for example "itv, 5 mm, online-target"."""
        return f"{self.motion.label()}, {self.margin.label()}, {self.guidance.label()}"
