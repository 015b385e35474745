"""Metrics that are probabilities of a response; `biology` has the models and their parameters."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from simulator.metrics.metric import CourseDoses, Metric


@dataclass(frozen=True, kw_only=True)
class ResponseProbability(Metric):
    """Probability of a response in percent.

    Parameters
    ----------
    scale : factor on all doses.
    """

    limit_units: ClassVar[tuple[str, ...]] = ("%",)

    scale: float = 1.0

    @property
    def name(self) -> str:
        """As it is written; says the scale of the dose where there is one."""
        return super().name if self.scale == 1 else f"{super().name}[dose x {self.scale:g}]"

    def at_scale(self, scale: float) -> tuple[Metric, float]:
        """The response to the scaled dose."""
        return replace(self, scale=self.scale * scale), 1.0

    def of(self, doses: CourseDoses) -> np.ndarray:
        """From the dose of each fraction at each point."""
        if doses.fractions is None:
            raise ValueError(f"{self.label} needs the dose of each fraction")
        return 100.0 * doses.responses[self.response].probability(doses.fractions.scaled(self.scale), doses.volume_cc)


@dataclass(frozen=True, kw_only=True)
class TumourControlProbability(ResponseProbability):
    """Probability that no clonogenic cell of the tumour survives."""

    spelling = example = "TCP"
    response = "tcp"


@dataclass(frozen=True, kw_only=True)
class ComplicationProbability(ResponseProbability):
    """Probability of a complication."""

    spelling = example = "NTCP"
    response = "ntcp"

    def without_target(self, drawn_cc: float) -> float:
        """The worst."""
        return 100.0
