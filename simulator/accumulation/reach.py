"""How far structures are displaced over all courses of a strategy."""

from dataclasses import dataclass

import numpy as np

from simulator.sampling.tissue_motion import TissueMotion

_CELL_TOLERANCE_MM = 0.2


@dataclass(frozen=True)
class Reach:
    """Displacements that a structure meets over all courses of a strategy.

    Parameters
    ----------
    lower_mm, upper_mm : box (3,) of displacements of any of its points, the origin included.
    turn : largest norm of the linear part (rotation in radians, relative growth); 0 when all points move alike.
    """

    lower_mm: np.ndarray
    upper_mm: np.ndarray
    turn: float = 0.0

    @classmethod
    def of(cls, motion: TissueMotion, arm_mm: np.ndarray | None = None) -> "Reach":
        """The reach of a motion.

        Parameters
        ----------
        arm_mm : (3,), largest distance of a point from the motion's centre along each axis.
        """
        lower = upper = motion.shift_mm
        turn = 0.0
        if motion.linear is not None and arm_mm is not None:
            lever = np.abs(motion.linear) @ arm_mm
            lower, upper = lower - lever, upper + lever
            turn = float(np.sqrt(np.square(motion.linear).sum(axis=(-2, -1)).max()))
        return cls(
            np.minimum(lower.reshape(-1, 3).min(axis=0), 0.0), np.maximum(upper.reshape(-1, 3).max(axis=0), 0.0), turn
        )

    def union(self, other: "Reach") -> "Reach":
        """The smallest reach that contains both."""
        return Reach(
            np.minimum(self.lower_mm, other.lower_mm),
            np.maximum(self.upper_mm, other.upper_mm),
            max(self.turn, other.turn),
        )

    @property
    def is_point(self) -> bool:
        """Whether nothing but one displacement occurs."""
        return self.turn == 0 and bool(np.all(self.upper_mm - self.lower_mm == np.abs(self.lower_mm + self.upper_mm)))

    @property
    def cell_mm(self) -> float:
        """Edge of cells of points that move alike: over it, a third of the largest turn displaces by 0.2 mm."""
        return _CELL_TOLERANCE_MM / (self.turn / 3) if self.turn else np.inf
