"""What organs at risk ask of a plan: limits on their doses, and the room around them for planning risk (PRV, ICRU 83)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.plan.quality import hottest_gy

_NEAR_MAXIMUM_CC: Final = 0.1


@dataclass(frozen=True)
class Limit:
    """At most a dose to the hottest part of a structure, or in the mean.

    Limits of volumes are such: V20Gy <= 10 cc says that D10cc <= 20 Gy, CV20Gy >= 700 cc that the rest gets at most 20 Gy.

    Parameters
    ----------
    structure, metric : as the goal names them. cc : the hottest part; None for the mean dose. gy : the dose at most.
    offset_mm : where the structure lies under the motion management that is planned for, from where it was imaged.
    """

    structure: str
    metric: str
    cc: float | None
    gy: float
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_near_maximum(self) -> bool:
        """Whether single points decide it: then it holds for the planning-risk volume too."""
        return self.cc is not None and self.cc <= _NEAR_MAXIMUM_CC

    def value_gy(self, dose_gy: np.ndarray, volume_cc: np.ndarray) -> float:
        """The dose that is limited, of points (n,) with volumes (n,)."""
        if self.cc is None:
            return float(np.average(dose_gy, weights=volume_cc))
        return hottest_gy(dose_gy, volume_cc, 100 * self.cc / float(volume_cc.sum()))


@dataclass(frozen=True)
class Sparing:
    """The limits that a plan keeps, and by how much organs are grown for those of single points."""

    limits: tuple[Limit, ...] = ()
    prv_mm: float = 0.0
