"""Inverse-planned arcs: a synthesised SBRT dose that covers the PTV and spares organs.

Every control point of the arcs opens one or two apertures of a multileaf collimator (`passes`), whose leaf positions and
weights are optimised on the beam model (`simulator.plan.leaves`) for penalties of the points of the PTV, the target, the
organs that have limits and the tissue around (`simulator.plan.penalties`). Limits that are missed weigh more from stage to
stage.

The prescription rule is exact, at the doses of the finished plan: D95% of the PTV equals the prescription where no limit is
missed by that; else the dose is the largest at which every limit holds, down to the floor, where a given part of the PTV
gets 90 % of the prescription. Limits that are missed there give way, and plan quality names them. Whether another plan would
keep such a limit is judged by the plan that was found, whose penalties come close to those of free fluence maps.

Weights of the penalties are judgements: uniform dose in the PTV first, then limits, a hot target (`isodose_percent`), and a
steep fall-off all around.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from simulator.case.anatomy import Case
from simulator.case.structures import shared_cc
from simulator.ground.spec import ConfigError, Field
from simulator.kernels.beams import see_points
from simulator.plan.aperture import Outline, Rows
from simulator.plan.arcs import COVERED_PERCENT, ArcPlanModel
from simulator.plan.beam_model import Apertures, Medium, Treatment
from simulator.plan.dose import SplineDose
from simulator.plan.leaves import Blur, Leaves, Machine, SeenPoints, optimised
from simulator.plan.model import Design, Order
from simulator.plan.penalties import AtLeast, AtLeastBut, AtMost, AtMostBeyond, MeanAtMost, Penalty
from simulator.plan.planning_points import DoseAt, OrganPoints, Points, is_free, joined, points_around, points_of_target
from simulator.plan.prescription import Prescription
from simulator.plan.quality import Plan, hottest_gy, ptv_doses
from simulator.plan.sparing import Limit, Sparing
from simulator.strategy import Strategy

_PTV_POINTS, _TARGET_POINTS = 2000, 300
_STAGES: Final = (50, 30, 30, 30)
_HEAVIER: Final = 4.0
_REACH_MM: Final = 6.0
_OPEN_MM: Final = 1.0
_OVERLAP_MM: Final = 2.0
_LEAST_GAP_MM: Final = 1.0
_LEAF_MM_PER_DEG: Final = 25.0 / 3.0  # 25 mm/s at a turn in two minutes
_WEIGHTS: Final = (0.2, 4.0)
_V90: Final = 0.9
_SLACK_GY: Final = 0.3
_MARGIN: Final = 1.005
_HOT: Final = 0.92
_WITHIN: Final = 0.99
_NEAR_LIMIT: Final = 0.8
_THINNED: Final = 8
_ROUNDING: Final = 1e-6


class InverseArc(ArcPlanModel):
    """Arcs planned for the limits of organs: see the module's docstring."""

    memory_mb = 450
    is_optimised = True
    prv = "planned on"

    model: Literal["inverse-arc"] = "inverse-arc"
    passes: Annotated[int, Field(ge=1, le=2)] = Field(
        2, description="apertures per gantry angle: two come close to free fluence, one takes less time"
    )
    leaf_mm: Annotated[float, Field(ge=1, le=20)] = Field(5.0, description="width of leaves at the isocentre in mm")
    limits: Literal["goals"] | tuple[str, ...] = Field(
        "goals", description="goals on organs that plans keep; `goals`: those of the study that are not marked optimal"
    )
    priority: Literal["organs", "target"] = Field(
        "organs",
        description="organs: the dose is lowered until every limit holds; target: D95% of the PTV is always the prescription",
    )
    coverage_floor_percent: Annotated[float, Field(gt=0, le=100)] = Field(
        90.0, description="share of the PTV that gets 90 % of the prescription before an organ limit gives way to it"
    )

    @property
    def plan_seconds(self) -> float:
        """Measured."""
        return 4.0 * self.passes

    @property
    def limiting_goals(self) -> tuple[str, ...] | Literal["goals"]:
        """As the key `limits` says."""
        return self.limits

    def describe(self, case: Case, strategies: Sequence[Strategy]) -> list[str]:
        """What plans are optimised for, and the prescription rule."""
        limits = "the mandatory goals on organs" if self.limits == "goals" else ", ".join(self.limits)
        grown = sorted({f"{s.prv_mm:g}" for s in strategies if s.prv_mm})
        prv = f", those of near-maximum doses with organs grown by {' or '.join(grown)} mm" if grown else ""
        floor = f"{self.coverage_floor_percent:g} % of the PTV get {100 * _V90:g} % of it"
        rule = (
            "always"
            if self.priority == "target"
            else f"unless a limit holds the dose down, which it does until {floor}"
        )
        opened = "one aperture" if self.passes == 1 else "two apertures"
        return [
            f"Plans are arcs with {opened} at each gantry angle, optimised for the PTV and for {limits}{prv}; D95% of the PTV "
            f"is the prescription, {rule}"
        ]

    def check(self, orders: Sequence[Order]) -> None:
        """Refuse what cannot be planned, without optimising.

        Raises
        ------
        ConfigError : a limit on an organ that holds all of the target or lies within it, or a PRV that no limit knows.
        """
        self._require_density(orders)
        for sparing in dict.fromkeys(order.sparing for order in orders):
            if sparing.prv_mm > 0 and not any(limit.is_near_maximum for limit in sparing.limits):
                raise ConfigError(
                    f"strategies.prv_mm: {sparing.prv_mm:g} mm around organs without a limit of their near-maximum dose "
                    "(D0.035cc, D0.1cc); add such a goal, or leave prv_mm out"
                )
            for limit in sparing.limits:
                self._require_room(orders[0].case, limit, orders[0].prescription)

    def _require_room(self, case: Case, limit: Limit, prescription: Prescription) -> None:
        """Refuse a limit on tissue that is the target itself."""
        structure = case.structures[limit.structure]
        common_cc = shared_cc(structure, case.gtv)
        holds, lies_within = (common_cc >= _WITHIN * s.volume_cc for s in (case.gtv, structure))
        if limit.gy < prescription.dose_gy and (
            (holds and limit.cc is not None and limit.cc < common_cc) or (lies_within and not holds)
        ):
            which = f"holds all of {case.target}" if holds else f"lies within {case.target}"
            raise ConfigError(
                f"plan.limits: {limit.structure} {limit.metric} of at most {limit.gy:g} Gy cannot be planned for, "
                f"{limit.structure} {which}; contour it without {case.target}, or name other goals in plan.limits"
            )

    def design(self, orders: Sequence[Order], map_: Callable[..., Iterable[Any]]) -> list[Design]:
        """Leaf positions and weights at every control point, and its angles."""
        angles = np.array([(gantry, arc.couch_deg) for arc in self.arcs for gantry in arc.gantry_deg] * self.passes)
        of_beams = {"gantry_deg": angles[:, 0], "couch_deg": angles[:, 1]}
        self._require_density(orders)
        return [apertures.arrays | of_beams for apertures in self._shaped(orders, map_)]

    def shape(self, medium: Medium, treatment: Treatment, order: Order) -> Apertures:
        """The apertures and weights of all beams, optimised."""
        leaves = self.optimise(self.task(medium, treatment, order), self.machine())
        rows = [
            Rows(leaves.edge_mm, leaves.low_mm[b, a], leaves.high_mm[b, a])
            for a in range(self.passes)
            for b in range(len(leaves.weight))
        ]
        return Apertures(tuple(rows), tuple(float(w) for w in leaves.weight.T.ravel()))

    def machine(self) -> Machine:
        """Leaf speed and dose rates of a common linear accelerator (judgement)."""
        travel = [_LEAF_MM_PER_DEG * arc.degrees_per_beam for arc in self.arcs for _ in arc.gantry_deg]
        last = np.cumsum([len(arc.gantry_deg) for arc in self.arcs]) - 1
        travel_mm = np.array(travel)
        travel_mm[last] = np.inf
        return Machine(travel_mm, _WEIGHTS)

    def task(self, medium: Medium, treatment: Treatment, order: Order) -> "PlanningTask":
        """What is optimised: penalties, points as the beams see them, and where leaves begin."""
        beams = treatment.beams
        outlines = [beam.outline(order.ptv) for beam in beams]
        lower = np.min([[o.v_mm[0], o.low_mm.min()] for o in outlines], axis=0) - _REACH_MM
        upper = np.max([[o.v_mm[-1], o.high_mm.max()] for o in outlines], axis=0) + _REACH_MM
        first, last = np.floor(lower[0] / self.leaf_mm), np.ceil(upper[0] / self.leaf_mm)
        edge_mm = self.leaf_mm * np.arange(first, last + 1)
        reach = np.array([edge_mm[0], lower[1]]), np.array([edge_mm[-1], upper[1]])

        def see(mm: np.ndarray) -> SeenPoints:
            seen, open_dose = np.empty((len(beams), len(mm), 2)), np.empty((len(beams), len(mm)), np.float32)
            for beam, rays, *found in zip(beams, medium.rays, seen, open_dose, strict=True):
                see_points(mm, *beam.geometry, *rays.arrays, *found)
            return SeenPoints(seen, open_dose, self._blurs(medium, mm), reach, _besides_gy(order, mm))

        aims, start = self._aims(order), self._start(outlines, edge_mm)
        points = see(aims.points.mm)
        gy, volume_cc = (points.dose(start) - points.besides_gy)[aims.ptv], aims.points.volume_cc[aims.ptv]
        return PlanningTask(aims, points, start.scaled(aims.rx_gy / hottest_gy(gy, volume_cc, COVERED_PERCENT)), see)

    def _blurs(self, medium: Medium, mm: np.ndarray) -> tuple[Blur, ...]:
        """The beam model at points: Gaussians and their shares."""
        lung = map_coordinates(medium.lung, medium.grid.index_zyx(mm).T, order=1, mode="nearest").astype(np.float32)
        shares = self.shares(lung).astype(np.float32)
        return tuple(
            Blur(float(sd), 0.25 * float(sd), np.ascontiguousarray(share))
            for sd, share in zip(self.spreads_mm, shares.T, strict=True)
        )

    def _start(self, outlines: Sequence[Outline], edge_mm: np.ndarray) -> Leaves:
        """Apertures on the PTV's silhouette; of two passes, each on one half of it, as equal ones would stay equal."""
        middle = 0.5 * (edge_mm[1:] + edge_mm[:-1])
        low, high = (np.empty((len(outlines), self.passes, len(middle))) for _ in range(2))
        for b, outline in enumerate(outlines):
            at = np.clip(middle, outline.v_mm[0], outline.v_mm[-1])
            left = np.interp(at, outline.v_mm, outline.low_mm) - _OPEN_MM
            right = np.interp(at, outline.v_mm, outline.high_mm) + _OPEN_MM
            centre = 0.5 * (left + right)
            is_shut = np.abs(middle - at) > 0.5 * self.leaf_mm
            low[b], high[b] = (
                np.where(is_shut, centre - 0.5 * _LEAST_GAP_MM, left),
                np.where(is_shut, centre + 0.5 * _LEAST_GAP_MM, right),
            )
            if self.passes == 2:
                high[b, 0], low[b, 1] = (
                    np.minimum(high[b, 0], centre + _OVERLAP_MM),
                    np.maximum(low[b, 1], centre - _OVERLAP_MM),
                )
        per_deg = np.array([arc.degrees_per_beam for arc in self.arcs for _ in arc.gantry_deg])
        return Leaves(edge_mm, low, high, np.repeat(per_deg[:, None], self.passes, axis=1))

    def _aims(self, order: Order) -> "Aims":
        """Penalties and their points."""
        rx, ptv = order.prescription, order.ptv
        parts = {"PTV": points_of_target(ptv, _PTV_POINTS), "target": points_of_target(order.target, _TARGET_POINTS)}
        parts["around"], distance_mm = points_around(order.case, ptv)
        surface = cKDTree(ptv.surface_mm[::_THINNED])
        limits, keys = order.sparing.limits, [_key(limit, order.sparing) for limit in order.sparing.limits]
        organs = _organs(order)
        of_limits = {
            key: organs[limit.structure].of_limit(limit).thinned_away_from(surface)
            for key, limit in dict(zip(keys, limits, strict=True)).items()
        }
        every = [*parts.values(), *of_limits.values()]
        ends = np.cumsum([0, *(len(p.volume_cc) for p in every)])
        at = dict(zip((*parts, *of_limits), (slice(a, b) for a, b in pairwise(ends)), strict=True))
        ptv_cc = float(parts["PTV"].volume_cc.sum())

        def about(name: str) -> tuple[slice, np.ndarray]:
            return at[name], parts[name].volume_cc

        cold_cc = (1 - self.coverage_floor_percent / 100) * ptv_cc
        cap = rx.dose_gy * (0.15 + 0.85 * np.exp(-0.085 * distance_mm)) + _besides_gy(order, parts["around"].mm)
        of_plan: list[Penalty] = [
            AtLeast(*about("PTV"), _MARGIN * rx.dose_gy, 300.0, ptv_cc),
            AtMost(*about("PTV"), rx.highest_gy, 20.0, ptv_cc),
            AtLeast(
                *about("target"), max(_HOT * rx.highest_gy, rx.dose_gy), 3.0, float(parts["target"].volume_cc.sum())
            ),
            AtMost(*about("around"), cap, 3.0, ptv_cc),
        ]
        floor = AtLeastBut(*about("PTV"), _MARGIN * _V90 * rx.dose_gy, 300.0, ptv_cc, cold_cc)
        of_organs = [
            _penalty(limit, at[key], of_limits[key].volume_cc) for key, limit in zip(keys, limits, strict=True)
        ]
        return Aims(rx.dose_gy, joined(*every), at["PTV"], tuple(of_plan), floor, limits, tuple(of_organs), organs)

    def optimise(self, task: "PlanningTask", machine: Machine) -> Leaves:
        """In stages: limits that are missed, or the floor where that is missed, weigh more in the next."""
        aims, leaves = task.aims, task.start
        for stage, iterations in enumerate(_STAGES):
            if stage > 0:
                aims = aims.stricter(task.points.dose(leaves), partial(task.dose_at, leaves))
            leaves, _ = optimised(task.points, aims.penalties, aims.rx_gy, leaves, machine, iterations)
        return leaves

    def together(self, plans: Sequence[Plan], orders: Sequence[Order], *, in_turn: bool) -> Plan:
        """The plan of all targets; limits that the sum of their doses misses give way too, and are named for each."""
        plan = super().together(plans, orders, in_turn=in_turn)
        missed = [
            limit
            for order in orders
            for limit, organ in ((limit, _organs(order)[limit.structure]) for limit in order.sparing.limits)
            if organ.value_gy(limit, plan.dose.at) > limit.gy * (1 + _ROUNDING)
        ]
        given_up = _names(list(dict.fromkeys(missed)))
        first, *others = (replace(one.quality, given_up=given_up) for one in plan.planned)
        return replace(
            plan,
            quality=first,
            others=tuple(replace(one, quality=own) for one, own in zip(plan.others, others, strict=True)),
        )

    def rate(self, order: Order, unscaled: SplineDose) -> tuple[float, dict[str, Any]]:
        """The prescription rule of the module's docstring."""
        rx, limits = order.prescription.dose_gy, order.sparing.limits
        ptv_gy, ptv_cc = ptv_doses(unscaled, order.ptv)
        wanted = rx / hottest_gy(ptv_gy, ptv_cc, COVERED_PERCENT)
        floor = min(_V90 * rx / hottest_gy(ptv_gy, ptv_cc, self.coverage_floor_percent), wanted)
        organs, allowed = _organs(order), {}
        for limit in limits:
            organ = organs[limit.structure]
            points = organ.of_limit(limit)
            value_gy = limit.value_gy(unscaled.at(points.mm), points.volume_cc)
            if wanted * value_gy > _NEAR_LIMIT * limit.gy:
                value_gy = organ.value_gy(limit, unscaled.at)
            allowed[limit] = limit.gy / value_gy if value_gy > 0 else np.inf
        lowest = wanted if self.priority == "target" else floor
        scale = max(min([wanted, *allowed.values()]), lowest)
        given_up = [limit for limit, most in allowed.items() if most < scale * (1 - 1e-9)]
        holding = [limit for limit, most in allowed.items() if most == scale and scale < wanted]
        free = np.ones(order.ptv.lattice.shape, bool)
        for limit in limits:
            if limit.gy < rx:
                region = order.case.structures[limit.structure].region
                free &= is_free(order.ptv, region, np.array(limit.offset_mm), order.sparing.prv_mm)
        free = free[order.ptv.occupancy > 0]
        free_cc = float(ptv_cc[free].sum())
        return scale, {
            "limited_by": _names(holding),
            "given_up": _names(given_up),
            "ptv_free_percent": 100 * free_cc / float(ptv_cc.sum()),
            "ptv_free_v100_percent": 100 * float(ptv_cc[free & (scale * ptv_gy >= rx)].sum()) / free_cc
            if free_cc
            else float("nan"),
        }


@dataclass(frozen=True)
class PlanningTask:
    """What is optimised.

    Parameters
    ----------
    points : of the aims, as the beams see them; `see` does so with others. start : where leaves begin.
    """

    aims: "Aims"
    points: SeenPoints
    start: Leaves
    see: Callable[[np.ndarray], SeenPoints]

    def dose_at(self, leaves: Leaves, mm: np.ndarray) -> np.ndarray:
        """Dose (n,) of leaves at points (n, 3)."""
        return self.see(mm).dose(leaves)


@dataclass(frozen=True)
class Aims:
    """Penalties of a plan and the points that they are about.

    Parameters
    ----------
    ptv : which points are the PTV's. of_plan, floor, of_organs : penalties, the last of `limits` in their order.
    organs : by name.
    """

    rx_gy: float
    points: Points
    ptv: slice
    of_plan: tuple[Penalty, ...]
    floor: Penalty
    limits: tuple[Limit, ...]
    of_organs: tuple[Penalty, ...]
    organs: dict[str, OrganPoints]

    @property
    def penalties(self) -> tuple[Penalty, ...]:
        """All of them."""
        return *self.of_plan, self.floor, *self.of_organs

    def stricter(self, dose_gy: np.ndarray, dose_at: DoseAt) -> "Aims":
        """With more weight on limits that a dose (point,) misses, or on the floor where it is missed.

        Doses of limits that are close are told from more points, and penalties then begin where those say.
        """
        is_cold = bool(np.any(self.floor.excess_gy(dose_gy[self.ptv]) < 0))
        organs = []
        for limit, penalty in zip(self.limits, self.of_organs, strict=True):
            value_gy = limit.value_gy(dose_gy[penalty.points], penalty.volume_cc)
            if value_gy > _NEAR_LIMIT * limit.gy:
                exact_gy = self.organs[limit.structure].value_gy(limit, dose_at)
                penalty = replace(penalty, gy=(limit.gy - _slack_gy(limit)) * value_gy / exact_gy)
                penalty = penalty.heavier(_HEAVIER) if exact_gy > limit.gy and not is_cold else penalty
            organs.append(penalty)
        floor = self.floor.heavier(_HEAVIER**2) if is_cold else self.floor
        return replace(self, of_organs=tuple(organs), floor=floor)


def _besides_gy(order: Order, mm: np.ndarray) -> np.ndarray:
    """What the plans of other targets give at points (n, 3)."""
    return np.zeros(len(mm)) if order.besides is None else order.besides.at(mm)


def _slack_gy(limit: Limit) -> float:
    """By how much the optimiser stays below a limit."""
    return min(_SLACK_GY, 0.02 * limit.gy)


def _penalty(limit: Limit, points: slice, volume_cc: np.ndarray) -> Penalty:
    """What missing a limit costs."""
    own_cc, gy = float(volume_cc.sum()), limit.gy - _slack_gy(limit)
    if limit.cc is None:
        return MeanAtMost(points, volume_cc, gy, 30.0, own_cc)
    per_cc = min(own_cc, max(0.3, limit.cc))
    if limit.is_near_maximum:
        return AtMost(points, volume_cc, gy, 30.0, per_cc)
    return AtMostBeyond(points, volume_cc, gy, 30.0, per_cc, 0.95 * limit.cc)


def _key(limit: Limit, sparing: Sparing) -> tuple[str, bool]:
    """Limits with the same key are about the same points."""
    return limit.structure, limit.is_near_maximum and sparing.prv_mm > 0


def _organs(order: Order) -> dict[str, OrganPoints]:
    """The organs that have limits."""
    return {
        limit.structure: OrganPoints.of(
            order.case.structures[limit.structure].region, np.array(limit.offset_mm), order.ptv, order.sparing.prv_mm
        )
        for limit in {limit.structure: limit for limit in order.sparing.limits}.values()
    }


def _names(limits: Sequence[Limit]) -> str:
    return ", ".join(f"{limit.structure} {limit.metric}" for limit in limits)
