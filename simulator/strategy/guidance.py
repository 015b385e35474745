"""Image guidance: what the couch does about the errors that were seen before each fraction."""

from typing import Annotated, Literal

import numpy as np

from simulator.spec import Field, NonNegativeMm3, Spec
from simulator.strategy.margin import Spread


class NoGuidance(Spec):
    """Skin marks and lasers only: the couch corrects nothing."""

    kind: Literal["none"] = "none"

    def correct(self, patient_mm: np.ndarray, target_mm: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Correction (course, fraction, 3) in mm: zero."""
        return np.zeros_like(patient_mm)

    def residual(self, patient: Spread, target: Spread) -> Spread:
        """What is left for the margin: setup and the target's own motion."""
        return Spread(
            np.hypot(patient.systematic_mm, target.systematic_mm), np.hypot(patient.random_mm, target.random_mm)
        )

    def describe(self) -> str:
        """One sentence for the report."""
        return "none: no image guidance"


class OnlineBone(Spec):
    """Every fraction is imaged and the bony anatomy put back to its planned place, up to a match error N(0, σ²).

    The target's own shift against bone stays. Source: de Boer & Heijmen 2001 (online protocols); the default residual
    is the 1.5 mm 3-D RMS left after correction in Wang 2009, doi:10.1016/j.ijrobp.2008.09.040, 0.87 mm per axis.
    """

    kind: Literal["online-bone"] = "online-bone"
    match_mm: NonNegativeMm3 = Field(
        (0.87, 0.87, 0.87), description="match and couch error per axis (LR, AP, SI), one SD in mm"
    )

    def correct(self, patient_mm: np.ndarray, target_mm: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Correction (course, fraction, 3) in mm: what the bones showed."""
        return patient_mm + noise * self.match_mm

    def residual(self, patient: Spread, target: Spread) -> Spread:
        """What is left for the margin: the match error and the target's own motion."""
        return Spread(target.systematic_mm, np.hypot(self.match_mm, target.random_mm))

    def describe(self) -> str:
        """One sentence for the report."""
        return f"online-bone: daily match on bone, residual {_axes(self.match_mm)} mm (one SD)"


class OnlineTarget(Spec):
    """Every fraction is imaged and the target's time-averaged position put back, up to a match error N(0, σ²).

    The dose follows the target, so organs that did not move with it are displaced relative to the beam. The default
    residual is that of `online-bone`.
    """

    kind: Literal["online-target"] = "online-target"
    match_mm: NonNegativeMm3 = Field(
        (0.87, 0.87, 0.87), description="match and couch error per axis (LR, AP, SI), one SD in mm"
    )

    def correct(self, patient_mm: np.ndarray, target_mm: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Correction (course, fraction, 3) in mm: what the target showed."""
        return patient_mm + target_mm + noise * self.match_mm

    def residual(self, patient: Spread, target: Spread) -> Spread:
        """What is left for the margin: the match error alone."""
        return Spread(np.zeros(3), np.asarray(self.match_mm, float))

    def describe(self) -> str:
        """One sentence for the report."""
        return f"online-target: daily match on the target, residual {_axes(self.match_mm)} mm (one SD)"


def _axes(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"


Guidance = Annotated[NoGuidance | OnlineBone | OnlineTarget, Field(discriminator="kind")]
