"""Conformal arcs: a synthesised SBRT dose for any planning target and margin.

Each beam of the arcs opens on the PTV as it sees it, row by row along the rotation axis as a multileaf collimator
shapes it, widened by the block margin (and along the rotation axis by the axial margin besides); beams weigh as many
degrees as they stand for. The total is scaled so that 95 % of the PTV receives the prescription.
The block margin decides how inhomogeneous the dose is; `auto` finds the one whose maximum dose puts the prescription on
its isodose. The axial margin of 1.5 mm is a calibration: the isodoses of coplanar arcs fall off faster along the
rotation axis than across it, and that opening brings R100 to 0.99-1.04 (spheres of 1.8 to 51 cc in water).
"""

from typing import Annotated, Final, Literal

import numpy as np
from scipy.ndimage import map_coordinates

from simulator.kernels.beams import add_beam_at_points, see_points
from simulator.plan.aperture import Beam, Outline
from simulator.plan.arcs import COVERED_PERCENT, ArcPlanModel, Order
from simulator.plan.beam_model import Apertures, Medium, Treatment
from simulator.plan.prescription import Prescription
from simulator.plan.quality import hottest_gy
from simulator.plan.targets import TargetVolume
from simulator.spec import ConfigError, Field

_MAX_TRIAL_POINTS: Final = 6_000
_GOLDEN_RATIO: Final = (5**0.5 - 1) / 2
_BLOCK_LIMITS_MM: Final = (-10.0, 15.0)
_FIRST_TRIALS_MM: Final = (1.0, 2.0)
_MAX_TRIALS: Final = 20
_ISODOSE_TOLERANCE_PERCENT: Final = 0.05


class ConformalArc(ArcPlanModel):
    """A synthesised SBRT plan: see the module's docstring for the model and its sources."""

    model: Literal["conformal-arc"] = "conformal-arc"
    block_margin_mm: Annotated[float, Field(ge=-30, le=30)] | Literal["auto"] = Field(
        "auto",
        description="opening of the aperture beyond the PTV in mm; auto: whatever gives the prescription isodose",
    )
    axial_margin_mm: Annotated[float, Field(ge=0, le=30)] = Field(
        1.5,
        description="further opening along the rotation axis: coplanar arcs fall off faster there (calibrated to R100)",
    )

    def shape(self, medium: Medium, treatment: Treatment, order: Order) -> Apertures:
        """The apertures of all beams for a PTV."""
        ptv, prescription = order.ptv, order.prescription
        outlines = [beam.outline(ptv) for beam in treatment.beams]
        tall = [outline.stretched(self.axial_margin_mm) for outline in outlines]
        block = self.block_margin_mm
        if block == "auto":
            narrowest = min(outline.half_width_mm for outline in outlines)
            block = self._solve_block_margin(medium, treatment.beams, tall, narrowest, ptv, prescription)
        rows = tuple(outline.opened(block) for outline in tall)
        return Apertures(rows, tuple(beam.weight for beam in treatment.beams))

    def _solve_block_margin(
        self,
        medium: Medium,
        beams: tuple[Beam, ...],
        outlines: list[Outline],
        narrowest_mm: float,
        ptv: TargetVolume,
        prescription: Prescription,
    ) -> float:
        """Block margin in mm that makes D95% of the PTV the prescription isodose of its maximum (secant steps)."""
        filled = np.argwhere(ptv.occupancy > 0)
        n = min(len(filled), _MAX_TRIAL_POINTS)
        some = filled[(np.arange(n) * _GOLDEN_RATIO % 1 * len(filled)).astype(int)]
        volume = ptv.occupancy[tuple(some.T)].astype(np.float64)
        points = ptv.lattice.points_mm(some)
        lung = map_coordinates(medium.lung, medium.grid.index_zyx(points).T, order=1, mode="nearest")
        water = np.zeros(len(points), np.float32)
        border = 2 * ptv.lattice.spacing_mm[0]
        seen, open_dose = np.empty((len(beams), len(points), 2)), np.empty((len(beams), len(points)), np.float32)
        for beam, rays, *found in zip(beams, medium.rays, seen, open_dose, strict=True):
            see_points(points, *beam.geometry, *rays.arrays, *found)

        def isodose_percent(block_margin_mm: float) -> float:
            dose = np.zeros(len(points))
            near = max(border, border - block_margin_mm)
            for beam, outline, *found in zip(beams, outlines, seen, open_dose, strict=True):
                rows = outline.opened(block_margin_mm)
                for share, of in ((lung, self.primary), (water, self.scatter)):
                    add_beam_at_points(dose, *found, share, *of(rows, beam.weight, near).arrays)
            return 100 * hottest_gy(dose, volume, COVERED_PERCENT) / float(dose.max())

        wanted = prescription.isodose_percent
        lowest = max(_BLOCK_LIMITS_MM[0], 1.0 - narrowest_mm)
        before, here = (float(np.clip(m, lowest, _BLOCK_LIMITS_MM[1])) for m in _FIRST_TRIALS_MM)
        isodose_before, isodose = isodose_percent(before), isodose_percent(here)
        for _ in range(_MAX_TRIALS):
            if abs(isodose - wanted) < _ISODOSE_TOLERANCE_PERCENT:
                return here
            slope = max((isodose - isodose_before) / (here - before), 0.5) if here != before else 10.0
            following = float(np.clip(here + (wanted - isodose) / slope, lowest, _BLOCK_LIMITS_MM[1]))
            if following == here:
                break
            before, isodose_before, here = here, isodose, following
            isodose = isodose_percent(here)
        raise ConfigError(
            f"prescription.isodose_percent: {wanted:g} % cannot be had for a PTV of {ptv.volume_cc:.1f} cc, "
            f"the nearest is {isodose:.1f} %; prescribe to that, or fix plan.block_margin_mm"
        )
