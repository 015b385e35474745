"""Motion management: what is planned on, and at which moments of the breathing the beam is on."""

from typing import Annotated, Literal

import numpy as np

from simulator.spec import Field, Spec


class NoMotionManagement(Spec):
    """Free breathing, planned on the GTV at its time-averaged position; the margin alone covers the motion."""

    kind: Literal["none"] = "none"

    def planning_path(self, breathing_path_mm: np.ndarray) -> np.ndarray:
        """Positions (n, 3) in mm whose union is the planning target: the planning position alone."""
        return np.zeros((1, 3))

    def describe(self) -> str:
        """One sentence for the report."""
        return "none: free breathing, planned on the GTV at its time-averaged position"


class InternalTargetVolume(Spec):
    """Free breathing, planned on the union of the GTV over the breathing cycle (ICRU 62 ITV)."""

    kind: Literal["itv"] = "itv"

    def planning_path(self, breathing_path_mm: np.ndarray) -> np.ndarray:
        """Positions (n, 3) in mm whose union is the planning target: the whole cycle at the planning amplitude."""
        return breathing_path_mm

    def describe(self) -> str:
        """One sentence for the report."""
        return "itv: free breathing, planned on the union of the GTV over the breathing cycle at the planning amplitude"


Motion = Annotated[NoMotionManagement | InternalTargetVolume, Field(discriminator="kind")]
