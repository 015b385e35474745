"""A dose whose parts are known: what is delivered when, each on the same grid."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from simulator.case.geometry import Volume, cropped
from simulator.plan.along_beams import PlanAlongBeams
from simulator.plan.dose import DosePart, SplineDose
from simulator.plan.quality import Box, Plan

_BORDER_MM = 30.0


@dataclass(frozen=True)
class PlanInParts(Plan):
    """A planning system's plan whose parts are known.

    Parameters
    ----------
    parts_gy : float32 (part, z, y, x) in Gy, course totals. windows : (part, 2), shares (0-1) of the beam-on time.
    """

    parts_gy: np.ndarray = field(kw_only=True)
    windows: np.ndarray = field(kw_only=True)

    def parts_in(self, density: Volume, beam_on_s: float, box_mm: Box) -> tuple[DosePart, ...]:
        """What the dose is the sum of within a box, one part after the other in every fraction.

        Parameters
        ----------
        density, beam_on_s : those of the plan; it knows its own times, of which shares count.
        box_mm : lower and upper corner (3,) of where the doses are asked for.
        """
        lower_mm, upper_mm = box_mm[0] - _BORDER_MM, box_mm[1] + _BORDER_MM
        return tuple(
            DosePart(SplineDose(cropped(Volume(self.grid, gy), lower_mm, upper_mm)), float(begin), float(end))
            for gy, (begin, end) in zip(self.parts_gy, self.windows, strict=True)
        )

    def scaled(self, factor: float) -> Self:
        """The plan at another dose; what plan quality says stays that before."""
        scaled = super().scaled(factor)
        return self if factor == 1 else replace(scaled, parts_gy=self.parts_gy * np.float32(factor))


@dataclass(frozen=True)
class PlanBeamByBeam(PlanInParts, PlanAlongBeams):
    """A plan whose parts are its beams, each with a dose of its own."""
