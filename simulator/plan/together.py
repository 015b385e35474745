"""Plans of several targets as one: their doses add up, each target keeping the dose that its own plan gave it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from scipy.optimize import root

from simulator.case.geometry import Grid, Volume
from simulator.ground.spec import CaseError
from simulator.plan.dose import DosePart, SumOfDoses
from simulator.plan.prescription import Prescription
from simulator.plan.quality import Box, Plan, Planned, PlanQuality, hottest_gy, plan_quality, ptv_doses

_OF_PTV: Final = (
    "ptv_v90_percent", "ptv_v100_percent", "ptv_d99_gy", "ptv_d98_gy", "ptv_d95_gy", "ptv_d2_gy", "max_gy", "isodose_percent",
    "v90_deviation", "v100_deviation",
)  # fmt: skip
_TOLERANCE = 1e-4
_ROUNDING = 1e-6
_OTHERS_GRID = "the dose grid of another target's plan; export the doses of all of them on one grid"
_COVERED_PERCENT: Final = 95.0


@dataclass(frozen=True)
class PlansInSequence(Plan):
    """Plans of several targets, delivered one after the other in every fraction.

    Parameters
    ----------
    alone : by target, each as much of it as is delivered.
    time_share : of the beam-on time that each takes, by its dose; they sum to 1.
    """

    alone: tuple[Plan, ...] = field(kw_only=True)
    time_share: tuple[float, ...] = field(kw_only=True)

    def parts_in(self, density: Volume, beam_on_s: float, box_mm: Box) -> tuple[DosePart, ...]:
        """Those of each plan in its time."""
        found: list[DosePart] = []
        began = 0.0
        for plan, share in zip(self.alone, self.time_share, strict=True):
            for part in plan.parts_in(density, share * beam_on_s, box_mm):
                found.append(replace(part, begin=began + share * part.begin, end=min(1.0, began + share * part.end)))
            began += share
        return tuple(found)

    def dose_on(self, density: Volume) -> SumOfDoses | None:
        """The sum of theirs."""
        doses = [dose for plan in self.alone if (dose := plan.dose_on(density)) is not None]
        return SumOfDoses(tuple(doses)) if len(doses) == len(self.alone) else None

    def scaled(self, factor: float) -> "PlansInSequence":
        """See `Plan`."""
        alone = tuple(plan.scaled(factor) for plan in self.alone)
        return self if factor == 1 else replace(self, dose=self.dose.scaled(factor), alone=alone)


def plans_together(
    plans: Sequence[Plan], names: Sequence[str], prescriptions: Sequence[Prescription], *, in_turn: bool
) -> Plan:
    """One plan of those of each target alone, delivered one after the other in every fraction.

    Each is scaled so that D95% of its PTV under the sum is that under it alone. Conformity and fall-off stay those of each
    target's own plan, what the PTV receives is that of the sum.

    Parameters
    ----------
    in_turn : each meets the anatomy of its own time, about an isocentre of its own; see `SumOfDoses`.

    Raises
    ------
    CaseError : the other targets' plans give a target more than its own, or no shares give all what they want.
    """
    wanted_gy = np.array([plan.quality.ptv_d95_gy for plan in plans])
    at_ptv, volumes = [], []
    for plan in plans:
        gy, volume = zip(*(ptv_doses(other.dose, plan.ptv) for other in plans), strict=True)
        at_ptv.append(np.stack(gy))
        volumes.append(volume[0])

    def lacking(shares: np.ndarray) -> np.ndarray:
        """By target, D95% of its PTV short of the wanted one, over that."""
        d95_gy = [hottest_gy(shares @ gy, volume, _COVERED_PERCENT) for gy, volume in zip(at_ptv, volumes, strict=True)]
        return 1 - np.array(d95_gy) / wanted_gy

    factor = root(lacking, np.ones(len(plans)), tol=_TOLERANCE / 10).x
    if factor.min() <= 0:
        raise CaseError(
            f"targets.{names[int(np.argmin(factor))]}: the plans of the other targets give it more than its own "
            "prescription; prescribe more to it, or treat it in a study of its own"
        )
    if np.abs(lacking(factor)).max() > _TOLERANCE:
        raise CaseError(
            f"targets: no share of each plan gives all of {', '.join(names)} their prescriptions together; treat the ones that "
            "lie closest in a study of their own"
        )
    shares = [plan.scaled(float(f)) for plan, f in zip(plans, factor, strict=True)]
    return _summed(shares, prescriptions, _covering([plan.grid for plan in plans]), in_turn=in_turn)


def added_up(plans: Sequence[Plan], prescriptions: Sequence[Prescription], *, in_turn: bool) -> Plan:
    """One plan of those of each target as they are, known where all of their grids reach.

    Raises
    ------
    CaseError : the PTV of a target lies beyond the dose grid of another.
    """
    grid = common_grid([plan.grid for plan in plans])
    if not all(grid.contains(plan.ptv.surface_mm).all() for plan in plans):
        raise CaseError(f"plan.doses: a PTV lies beyond {_OTHERS_GRID}")
    return _summed(plans, prescriptions, grid, in_turn=in_turn)


def _summed(plans: Sequence[Plan], prescriptions: Sequence[Prescription], grid: Grid, *, in_turn: bool) -> Plan:
    dose = SumOfDoses(tuple(plan.dose for plan in plans), in_turn)
    first, *others = (
        Planned(plan.ptv, quality_of_sum(plan.quality, plan_quality(dose, plan.ptv, prescription, grid)))
        for plan, prescription in zip(plans, prescriptions, strict=True)
    )
    given_gy = np.array([prescription.dose_gy for prescription in prescriptions])
    alone = [part.on_grid(grid) for part in dose.doses]
    bridge_cc = bridge_cc_of(dose.on_grid(grid), alone, float(given_gy.min()) / 2, grid)
    shares = tuple((given_gy / given_gy.sum()).tolist())
    return PlansInSequence(
        dose, first.ptv, first.quality, grid, tuple(others), bridge_cc, alone=tuple(plans), time_share=shares
    )


def one_for_all(plans: Sequence[Plan]) -> Plan:
    """One plan whose dose was made for all targets."""
    return replace(plans[0], others=tuple(Planned(plan.ptv, plan.quality) for plan in plans[1:]))


def quality_of_sum(alone: PlanQuality, of_sum: PlanQuality) -> PlanQuality:
    """What the PTV receives is that of the sum, conformity and fall-off are those of what treats its target alone."""
    return replace(alone, **{key: getattr(of_sum, key) for key in _OF_PTV})


def _covering(grids: Sequence[Grid]) -> Grid:
    """The grid that holds all of some, at the finest of their spacings."""
    ends = [grid.points_mm(np.array([[0, 0, 0], np.array(grid.shape) - 1])) for grid in grids]
    lower, upper = np.min([e[0] for e in ends], axis=0), np.max([e[1] for e in ends], axis=0)
    return Grid.covering(lower, upper, min(min(grid.spacing_mm) for grid in grids))


def common_grid(grids: Sequence[Grid]) -> Grid:
    """The grid within all of some, at the finest of their spacings.

    Raises
    ------
    CaseError : they have nothing in common.
    """
    if len(grids) == 1:
        return grids[0]
    lower = np.max([grid.origin_mm for grid in grids], axis=0)
    upper = np.min([grid.upper_mm for grid in grids], axis=0)
    spacing_mm = min(min(grid.spacing_mm) for grid in grids)
    n = np.floor((upper - lower) / spacing_mm + _ROUNDING).astype(int) + 1
    if n.min() < 1:
        raise CaseError(f"plan.doses: one dose lies beyond {_OTHERS_GRID}")
    return Grid(tuple(lower.tolist()), (spacing_mm,) * 3, tuple(n[::-1].tolist()))


def bridge_cc_of(total_gy: np.ndarray, alone_gy: Sequence[np.ndarray], level_gy: float, grid: Grid) -> float:
    """Volume of doses (z, y, x) above a level to which what treats one target alone lifts it nowhere."""
    alone = np.max(alone_gy, axis=0)
    return float(np.count_nonzero((total_gy >= level_gy) & (alone < level_gy))) * grid.voxel_cc
