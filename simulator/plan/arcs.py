"""Arcs around a planning target: what every synthesised plan shares.

An arc is a row of control points, 10 degrees apart by default, each with its aperture and weight. A static beam for each
would let the dose ripple where beams no longer overlap, so an aperture is delivered from angles at most 5 degrees apart.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final

import numpy as np

from simulator.case.geometry import Grid, Volume
from simulator.ground.spec import CaseError, Field, Spec
from simulator.plan.aperture import Beam, Surface
from simulator.plan.arc_parts import SECTOR_DEG, Sector, ends_of, sectors
from simulator.plan.beam_model import AIR_DENSITY, FAN_STEP_MM, Apertures, BeamModel, Medium, Treatment
from simulator.plan.dose import DosePart, SplineDose
from simulator.plan.model import Design, Order, PlanModelKind
from simulator.plan.quality import Box, Plan, hottest_gy, plan_quality, ptv_doses

_FAN_BORDER_MM: Final = 60.0
_AXIAL_REACH_MM: Final = 15.0
DELIVERED_DEG: Final = 5.0
COVERED_PERCENT: Final = 95.0


class Arc(Spec):
    """Static beams evenly spread over gantry angles (IEC 61217, patient head first supine)."""

    start_deg: Annotated[float, Field(ge=-360, le=720)] = Field(
        description="gantry angle at the start (0 anterior, 90 from the patient's left)"
    )
    stop_deg: Annotated[float, Field(ge=-360, le=720)] = Field(
        description="gantry angle at the end; a full turn is 0 to 360, equal angles are one static beam"
    )
    couch_deg: Annotated[float, Field(ge=-360, le=360)] = Field(
        0.0, description="couch rotation (IEC); other than 0 makes the arc non-coplanar"
    )
    spacing_deg: Annotated[float, Field(ge=1, le=45)] = Field(10.0, description="largest angle between control points")

    @property
    def gantry_deg(self) -> np.ndarray:
        """Gantry angles (n,) of the beams, each in the middle of its share of the arc."""
        span = self.stop_deg - self.start_deg
        n = max(1, int(np.ceil(abs(span) / self.spacing_deg - 1e-9)))
        return self.start_deg + (np.arange(n) + 0.5) * span / n

    def parted(self, gantry_deg: float, widest_deg: float) -> np.ndarray:
        """Angles (n,) at most `widest_deg` apart, evenly spread over the share of the arc that a beam stands for."""
        share = (self.stop_deg - self.start_deg) / len(self.gantry_deg)
        n = max(1, int(np.ceil(abs(share) / widest_deg - 1e-9)))
        return gantry_deg + ((np.arange(n) + 0.5) / n - 0.5) * share

    @property
    def turns_deg(self) -> float:
        """Angle that the gantry turns for each control point; 0 for a static beam."""
        return abs(self.stop_deg - self.start_deg) / len(self.gantry_deg)

    @property
    def degrees_per_beam(self) -> float:
        """Arc that each beam stands for, its weight; a static beam weighs as much as one of an arc."""
        return self.turns_deg or self.spacing_deg


class ArcPlanModel(BeamModel, PlanModelKind):
    """A plan of arcs: a kind says what the beams open, in `shape`, and how much dose they give, in `rate`."""

    has_parts: ClassVar[bool] = True
    arcs: tuple[Arc, ...] = Field(
        (Arc.model_validate({"start_deg": 0, "stop_deg": 360}),),
        min_length=1,
        max_length=20,
        description="arcs; one full coplanar turn by default",
    )
    dose_grid_mm: Annotated[float, Field(ge=1, le=4)] = Field(2.0, description="dose grid spacing in mm")

    def plan(self, order: Order) -> "ArcPlan":
        """The plan that is ordered; see `plans`."""
        return self.plans([order], map)[0]

    def plans(
        self, orders: Sequence[Order], map_: Callable[..., Iterable[Any]], designs: Sequence[Design] = ()
    ) -> list["ArcPlan"]:
        """The plans of several margins around one planning target.

        They share the isocentre, the beams' directions, the dose grid and what rays meet; a plan is the same whichever
        margins are ordered with it.

        Raises
        ------
        ConfigError : no block margin gives the prescription isodose.
        CaseError : the target lies outside the density grid, or no dose reaches it.
        """
        self._require_density(orders)
        case, target = orders[0].case, orders[0].target
        shaped = [Apertures.of(design) for design in designs] or self._shaped(orders, map_)
        treatment, grid = self._treatment(target, DELIVERED_DEG), self._dose_grid(case.density, target)

        def finish(item: tuple[Order, Apertures, np.ndarray]) -> "ArcPlan":
            order, apertures, relative = item
            unscaled = SplineDose(Volume(grid, relative))
            if hottest_gy(*ptv_doses(unscaled, order.ptv), COVERED_PERCENT) <= 0:
                raise CaseError(
                    f"case {case.name!r}: no beam reaches the PTV; check the density and the target's position"
                )
            scale, held = self.rate(order, unscaled)
            dose = unscaled.scaled(scale)
            quality = plan_quality(dose, order.ptv, order.prescription, grid)
            delivery = ArcDelivery(self, treatment, grid, apertures, scale)
            return ArcPlan(dose, order.ptv, replace(quality, **held), grid, delivery=delivery)

        medium = self.medium(case.density, treatment, grid, map_)
        relative = self.deliver(medium, treatment, shaped, map_)
        return list(map_(finish, zip(orders, shaped, relative, strict=True)))

    def check(self, orders: Sequence[Order]) -> None:
        """Refuse what cannot be planned, without computing doses; see `plans`."""
        self._require_density(orders)
        self._shaped(orders, map)

    def _require_density(self, orders: Sequence[Order]) -> None:
        """Refuse a PTV beyond what was imaged."""
        for order in orders:
            if not order.case.density.grid.contains(order.ptv.surface_mm).all():
                raise CaseError(
                    f"case {order.case.name!r}: the PTV reaches beyond the density grid; image more of the patient"
                )

    def _shaped(self, orders: Sequence[Order], map_: Callable[..., Iterable[Any]]) -> list[Apertures]:
        """What the beams open at the control points of each plan."""
        case, target = orders[0].case, orders[0].target
        treatment = self._treatment(target)
        medium = self.medium(case.density, treatment, self._dose_grid(case.density, target), map_)
        return list(map_(lambda order: self.shape(medium, treatment, order), orders))

    @abstractmethod
    def shape(self, medium: Medium, treatment: Treatment, order: Order) -> Apertures:
        """The apertures and weights of all beams."""

    def rate(self, order: Order, unscaled: SplineDose) -> tuple[float, dict[str, Any]]:
        """What the dose is multiplied by, here so that 95 % of the PTV gets the prescription; what plan quality says of it."""
        return order.prescription.dose_gy / hottest_gy(*ptv_doses(unscaled, order.ptv), COVERED_PERCENT), {}

    def _treatment(self, target: Surface, widest_deg: float = np.inf) -> Treatment:
        """Beams aimed at the centre of a planning target, and how far around it their rays are traced.

        One beam for each control point, or several at most `widest_deg` apart that share its arc.
        """
        beams, fans = [], []
        control: list[int] = []
        step = np.array(FAN_STEP_MM[:2])
        for arc in self.arcs:
            for first in arc.gantry_deg:
                number = control[-1] + 1 if control else 0
                for gantry in arc.parted(float(first), widest_deg):
                    beam = Beam.at(target.centroid_mm, float(gantry), arc.couch_deg, arc.degrees_per_beam)
                    outline = beam.outline(target)
                    lower = np.array([outline.v_mm[0], outline.low_mm.min()]) - _FAN_BORDER_MM
                    upper = np.array([outline.v_mm[-1], outline.high_mm.max()]) + _FAN_BORDER_MM
                    beams.append(beam)
                    fans.append((step * np.floor(lower / step), step * np.ceil(upper / step)))
                    control.append(number)
        return Treatment(tuple(beams), tuple(fans), tuple(control))

    def _dose_grid(self, density: Volume, target: Surface) -> Grid:
        """The patient's box; along the rotation axis of coplanar arcs only as far as dose is scattered."""
        body = np.argwhere(density.values > AIR_DENSITY)
        if not len(body):
            raise CaseError("the density is air everywhere; give a CT or densities of structures")
        lower, upper = density.grid.points_mm(np.array([body.min(axis=0), body.max(axis=0)]))
        if all(arc.couch_deg == 0 for arc in self.arcs):
            reach = _AXIAL_REACH_MM + self.reach_mm
            lower[2] = max(lower[2], target.surface_mm[:, 2].min() - reach)
            upper[2] = min(upper[2], target.surface_mm[:, 2].max() + reach)
        return Grid.covering(lower, upper, self.dose_grid_mm)


@dataclass(frozen=True)
class ArcDelivery:
    """Apertures and beam weights as planned, to be delivered to a patient who is not where the plan expects."""

    model: ArcPlanModel
    treatment: Treatment
    grid: Grid
    apertures: Apertures
    scale: float

    def dose(self, density: Volume) -> SplineDose:
        """Dose in a density (relative to water), the beams standing where they were planned."""
        medium = self.model.medium(density, self.treatment, self.grid, map)
        (relative,) = self.model.deliver(medium, self.treatment, [self.apertures], map)
        return SplineDose(Volume(self.grid, relative * np.float32(self.scale)))

    def parts(
        self, density: Volume, beam_on_s: float, box_mm: Box, widest_deg: float = SECTOR_DEG
    ) -> tuple[DosePart, ...]:
        """What each sector of the arcs gives, in the order of delivery; see `simulator.plan.arc_parts`.

        Parameters
        ----------
        box_mm : lower and upper corner (3,) of where the doses are asked for.
        """
        treatment = self.treatment
        degrees = [arc.turns_deg for arc in self.model.arcs for _ in arc.gantry_deg]
        some = sectors(treatment.control, self.apertures.weight, degrees, widest_deg)
        medium = self.model.medium(density, treatment, self.grid, map).within(*box_mm)

        def dose(sector: Sector) -> SplineDose:
            beams = tuple(treatment.beams[i] for i in sector.beams)
            fans = tuple(treatment.fans[i] for i in sector.beams)
            rows, weight = self.apertures.rows[sector.aperture], self.apertures.weight[sector.aperture]
            own = replace(medium, rays=tuple(medium.rays[i] for i in sector.beams))
            alone = Treatment(beams, fans, (0,) * len(beams))
            (relative,) = self.model.deliver(own, alone, [Apertures((rows,), (weight * sector.share,))], map)
            return SplineDose(Volume(medium.grid, relative * np.float32(self.scale))).compact()

        ends = ends_of(some, beam_on_s).tolist()
        return tuple(
            DosePart(dose(sector), begin, end) for sector, begin, end in zip(some, [0.0, *ends[:-1]], ends, strict=True)
        )


@dataclass(frozen=True)
class ArcPlan(Plan):
    """A synthesised plan that can be delivered again."""

    delivery: ArcDelivery = field(kw_only=True)

    def parts_in(self, density: Volume, beam_on_s: float, box_mm: Box) -> tuple[DosePart, ...]:
        """Sectors of the arcs."""
        return self.delivery.parts(density, beam_on_s, box_mm)

    def dose_on(self, density: Volume) -> SplineDose:
        """See `Plan`."""
        return self.delivery.dose(density)

    def scaled(self, factor: float) -> "ArcPlan":
        """See `Plan`."""
        again = replace(self.delivery, scale=self.delivery.scale * factor)
        return self if factor == 1 else replace(self, dose=self.dose.scaled(factor), delivery=again)
