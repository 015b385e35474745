"""Conformal arcs: a synthesised SBRT dose for any planning target and margin.

Each control point of the arcs opens on the PTV as it sees it, row by row along the rotation axis as a multileaf collimator
shapes it: its silhouette scaled along the rotation axis, so that either end moves out by the axial margin, and opened by
the block margin. Beams weigh as many degrees as they stand for. The total is scaled so that 95 % of the PTV receives the
prescription.

The block margin decides how inhomogeneous the dose is; `auto` finds the one whose maximum dose puts the prescription on
its isodose. The isodoses of coplanar arcs fall off faster along the rotation axis, where every beam has its edge, than
across it; `auto` finds the axial margin that gives the ends of the PTV the mean dose of its sides (3 mm on 80 %).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from scipy.ndimage import map_coordinates

from simulator.case.anatomy import Case
from simulator.case.geometry import Grid, Volume
from simulator.ground.spec import ConfigError, Field
from simulator.kernels.beams import add_beam_at_points, see_points
from simulator.plan.aperture import Beam, Outline, opened_together
from simulator.plan.arcs import COVERED_PERCENT, DELIVERED_DEG, ArcDelivery, ArcPlan, ArcPlanModel
from simulator.plan.beam_model import Apertures, Medium, Treatment
from simulator.plan.dose import SplineDose
from simulator.plan.model import Design, Order
from simulator.plan.prescription import Prescription
from simulator.plan.quality import Plan, Planned, hottest_gy, plan_quality, ptv_doses
from simulator.plan.shared_arcs import AllTargets, factors_for_all, in_passes
from simulator.plan.targets import TargetVolume
from simulator.plan.together import bridge_cc_of, quality_of_sum
from simulator.strategy import Strategy

_MAX_TRIAL_POINTS: Final = 6_000
_GOLDEN_RATIO: Final = (5**0.5 - 1) / 2
_BLOCK_LIMITS_MM: Final = (-10.0, 15.0)
_FIRST_BLOCK_MM: Final = -1.2
_ISODOSE_PERCENT_PER_MM: Final = 8.0
_MAX_TRIALS: Final = 20
_ISODOSE_TOLERANCE_PERCENT: Final = 0.05
_AXIAL_LIMITS_MM: Final = (0.0, 10.0)
_FIRST_AXIAL_MM: Final = 3.0
_AXIAL_TOLERANCE_MM: Final = 0.1
_ENDS_PERCENT_PER_MM: Final = 9.0
_ENDS: Final = (0.85, 1.0)
_SIDES: Final = (0.0, 0.3)
_MAX_SURFACE_POINTS: Final = 800


class ConformalArc(ArcPlanModel):
    """A synthesised SBRT plan: see the module's docstring for the model and its sources."""

    model: Literal["conformal-arc"] = "conformal-arc"
    block_margin_mm: Annotated[float, Field(ge=-30, le=30)] | Literal["auto"] = Field(
        "auto",
        description="opening of the aperture beyond the PTV in mm; auto: whatever gives the prescription isodose",
    )
    axial_margin_mm: Annotated[float, Field(ge=0, le=30)] | Literal["auto"] = Field(
        "auto",
        description="further opening at the ends of the PTV along the rotation axis in mm, where coplanar arcs fall off "
        "faster; auto: whatever gives the ends as much dose as the sides",
    )

    arcs_for: Literal["each", "all"] = Field(
        "each",
        description="of several targets: arcs around each of them, one after the other, or around all of them at once, "
        "whose leaf pairs open over what lies between the targets that they meet",
    )

    @property
    def treats_each(self) -> bool:
        """Whether each of several targets has arcs of its own."""
        return self.arcs_for == "each"

    def describe(self, case: Case, strategies: Sequence[Strategy]) -> list[str]:
        """What arcs that treat all targets open."""
        shared = (
            "One set of arcs treats all targets at once; leaf pairs open over what lies between those that they meet."
        )
        return [] if self.treats_each or not case.others else [shared]

    def beam_gy(self, of_targets: Sequence[float], of_study: float) -> float:
        """Arcs for all give the lowest dose to all at once, and the rest to one target after the other."""
        lowest = 0.0 if self.treats_each else min(of_targets)
        return lowest + sum(gy - lowest for gy in of_targets)

    def plans_of_targets(
        self,
        orders: Sequence[Sequence[Order]],
        map_: Callable[..., Iterable[Any]],
        designs: Sequence[Sequence[Design]],
        *,
        in_turn: bool,
    ) -> list[Plan]:
        """See `PlanModelKind`; with `arcs_for: all` see `simulator.plan.shared_arcs`."""
        if self.treats_each or len(orders) == 1:
            return super().plans_of_targets(orders, map_, designs, in_turn=in_turn)
        for of_target in orders:
            self._require_density(of_target)
        density = orders[0][0].case.density
        aimed = AllTargets.of([of_target[0].target for of_target in orders])
        grid, planned, delivered = (
            self._dose_grid(density, aimed), self._treatment(aimed), self._treatment(aimed, DELIVERED_DEG),
        )  # fmt: skip
        of_control, of_beams = (self.medium(density, t, grid, map_) for t in (planned, delivered))
        found: list[Plan] = []
        for ordered in zip(*orders, strict=True):
            alone = list(map_(lambda order: self.shape(of_control, planned, order), ordered))
            rows = tuple(opened_together(some) for some in zip(*(one.rows for one in alone), strict=True))
            apertures = [Apertures(rows, alone[0].weight), *alone]
            relative = self.deliver(of_beams, delivered, apertures, map_)
            found.append(self._for_all(ordered, delivered, apertures, relative, grid))
        return found

    def _for_all(
        self,
        orders: Sequence[Order],
        treatment: Treatment,
        apertures: Sequence[Apertures],
        relative: Sequence[np.ndarray],
        grid: Grid,
    ) -> ArcPlan:
        """The plan of shared apertures and of those of each target, from their unscaled doses."""
        doses = [SplineDose(Volume(grid, one)) for one in relative]
        at_ptv, volumes = [], []
        for order in orders:
            gy, volume = zip(*(ptv_doses(dose, order.ptv) for dose in doses), strict=True)
            at_ptv.append(np.stack(gy))
            volumes.append(volume[0])
        wanted_gy = np.array([order.prescription.dose_gy for order in orders])
        factors = factors_for_all(at_ptv, volumes, wanted_gy, [order.case.target for order in orders])
        dose = SplineDose(Volume(grid, np.asarray(np.tensordot(factors, relative, axes=1), np.float32)))
        planned, alone_gy = [], []
        for k, (order, own) in enumerate(zip(orders, doses[1:], strict=True)):
            d95_gy = hottest_gy(at_ptv[k][1 + k], volumes[k], COVERED_PERCENT)
            alone = own.scaled(order.prescription.dose_gy / d95_gy)
            of_alone, of_sum = (plan_quality(one, order.ptv, order.prescription, grid) for one in (alone, dose))
            planned.append(Planned(order.ptv, quality_of_sum(of_alone, of_sum)))
            alone_gy.append(alone.on_grid(grid))
        bridge_cc = bridge_cc_of(dose.on_grid(grid), alone_gy, float(wanted_gy.min()) / 2, grid)
        delivery = ArcDelivery(self, treatment, grid, in_passes(apertures, factors), 1.0)
        first, *others = planned
        return ArcPlan(dose, first.ptv, first.quality, grid, tuple(others), bridge_cc, delivery=delivery)

    def shape(self, medium: Medium, treatment: Treatment, order: Order) -> Apertures:
        """The apertures of all beams for a PTV."""
        ptv, prescription = order.ptv, order.prescription
        outlines = [beam.outline(ptv) for beam in treatment.beams]
        block, axial = self.block_margin_mm, self.axial_margin_mm
        if block == "auto" or axial == "auto":
            block, axial = self._solved_margins(_Trial(self, medium, treatment.beams, outlines, ptv), prescription)
        rows = tuple(outline.stretched(axial).opened(block) for outline in outlines)
        return Apertures(rows, tuple(beam.weight for beam in treatment.beams))

    def _solved_margins(self, trial: "_Trial", prescription: Prescription) -> tuple[float, float]:
        """Block and axial margin in mm; each as it is fixed, or solved for the other."""
        block = _FIRST_BLOCK_MM if self.block_margin_mm == "auto" else self.block_margin_mm
        axial = _FIRST_AXIAL_MM if self.axial_margin_mm == "auto" else self.axial_margin_mm
        for _ in range(_MAX_TRIALS):
            if self.block_margin_mm == "auto":
                block = _block_margin(trial, block, axial, prescription)
            if self.axial_margin_mm != "auto":
                break
            step = -trial.ends_percent(block, axial) / _ENDS_PERCENT_PER_MM
            following = float(np.clip(axial + step, *_AXIAL_LIMITS_MM))
            if abs(following - axial) < _AXIAL_TOLERANCE_MM:
                break
            axial = following
        return block, axial


@dataclass(frozen=True)
class _Seen:
    """Points of the PTV, their share of lung, and where and with what open dose each beam sees them."""

    lung: np.ndarray
    places: np.ndarray
    open_dose: np.ndarray

    @classmethod
    def of(cls, points_mm: np.ndarray, medium: Medium, beams: tuple[Beam, ...]) -> "_Seen":
        lung = map_coordinates(medium.lung, medium.grid.index_zyx(points_mm).T, order=1, mode="nearest")
        places = np.empty((len(beams), len(points_mm), 2))
        open_dose = np.empty((len(beams), len(points_mm)), np.float32)
        for beam, rays, *found in zip(beams, medium.rays, places, open_dose, strict=True):
            see_points(points_mm, *beam.geometry, *rays.arrays, *found)
        return cls(lung, places, open_dose)


class _Trial:
    """The dose of trial margins at some points in the PTV and on its surface."""

    def __init__(
        self,
        model: ConformalArc,
        medium: Medium,
        beams: tuple[Beam, ...],
        outlines: list[Outline],
        ptv: TargetVolume,
    ) -> None:
        filled = np.argwhere(ptv.occupancy > 0)
        some = filled[_spread(len(filled), _MAX_TRIAL_POINTS)]
        self.ptv_cc = ptv.volume_cc
        self.narrowest_mm = min(outline.half_width_mm for outline in outlines)
        self._model, self._beams, self._outlines = model, beams, outlines
        self._volume = ptv.occupancy[tuple(some.T)].astype(np.float64)
        self._border_mm = 2 * ptv.lattice.spacing_mm[0]
        self._inside = _Seen.of(ptv.lattice.points_mm(some), medium, beams)
        axis = np.sum([beam.weight * beam.axes[1] for beam in beams], axis=0)
        height = ptv.surface_mm @ axis
        height = np.abs(2 * (height - height.min()) / np.ptp(height) - 1)
        ends, sides = (np.flatnonzero((height >= low) & (height <= high)) for low, high in (_ENDS, _SIDES))
        ends, sides = (part[_spread(len(part), _MAX_SURFACE_POINTS)] for part in (ends, sides))
        self._n_ends = len(ends)
        self._surface = _Seen.of(ptv.surface_mm[np.concatenate([ends, sides])], medium, beams)

    def isodose_percent(self, block_mm: float, axial_mm: float) -> float:
        """D95% of the PTV in percent of its maximum."""
        dose = self._dose(self._inside, block_mm, axial_mm)
        return 100 * hottest_gy(dose, self._volume, COVERED_PERCENT) / float(dose.max())

    def ends_percent(self, block_mm: float, axial_mm: float) -> float:
        """Mean dose at the ends of the PTV along the rotation axis above that at its sides, in percent of the latter."""
        dose = self._dose(self._surface, block_mm, axial_mm)
        return float(100 * dose[: self._n_ends].mean() / dose[self._n_ends :].mean() - 100)

    def _dose(self, seen: _Seen, block_mm: float, axial_mm: float) -> np.ndarray:
        dose = np.zeros(len(seen.lung))
        near = max(self._border_mm, self._border_mm - block_mm)
        for beam, outline, *found in zip(self._beams, self._outlines, seen.places, seen.open_dose, strict=True):
            rows = outline.stretched(axial_mm).opened(block_mm)
            for of in (self._model.primary, self._model.scatter):
                add_beam_at_points(dose, *found, seen.lung, *of(rows, beam.weight, near).arrays)
        return dose


def _spread(n: int, most: int) -> np.ndarray:
    """At most so many of n indices, evenly spread in no order (multiples of the golden ratio)."""
    return (np.arange(min(n, most)) * _GOLDEN_RATIO % 1 * n).astype(int)


def _block_margin(trial: _Trial, start_mm: float, axial_mm: float, prescription: Prescription) -> float:
    """Block margin in mm that makes D95% of the PTV the prescription isodose of its maximum (secant steps)."""
    wanted, slope = prescription.isodose_percent, _ISODOSE_PERCENT_PER_MM
    lowest = max(_BLOCK_LIMITS_MM[0], 1.0 - trial.narrowest_mm)
    here = float(np.clip(start_mm, lowest, _BLOCK_LIMITS_MM[1]))
    isodose = trial.isodose_percent(here, axial_mm)
    for _ in range(_MAX_TRIALS):
        if abs(isodose - wanted) < _ISODOSE_TOLERANCE_PERCENT:
            return here
        following = float(np.clip(here + (wanted - isodose) / slope, lowest, _BLOCK_LIMITS_MM[1]))
        if following == here:
            break
        before, isodose_before, here = here, isodose, following
        isodose = trial.isodose_percent(here, axial_mm)
        slope = max((isodose - isodose_before) / (here - before), 0.5)
    raise ConfigError(
        f"prescription.isodose_percent: {wanted:g} % cannot be had for a PTV of {trial.ptv_cc:.1f} cc, "
        f"the nearest is {isodose:.1f} %; prescribe to that, or fix plan.block_margin_mm"
    )
