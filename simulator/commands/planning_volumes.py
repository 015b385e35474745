"""The volumes of a strategy: target, planning target, PTV, and the PTV for a stated probability; recipes beside them."""

from dataclasses import dataclass, replace

import numpy as np

from simulator.plan.targets import Expansion, TargetVolume, expand, planning_target
from simulator.problem.margins import PlanRequest, margin_spread
from simulator.problem.problem import Problem
from simulator.problem.target import Target
from simulator.simulation.probable_ptv import ProbablePtv, isodose_percent
from simulator.strategy import Strategy
from simulator.strategy.margin import published_recipes

LONGEST_NAME = 16
_KINDS = ("GTV", "CTV", "PTV")


@dataclass(frozen=True)
class NamedVolume:
    """A volume, its name by AAPM TG-263 (at most 16 characters), RT ROI interpreted type, and what it is.

    `is_probable` for the PTV of a stated probability.
    """

    name: str
    kind: str
    what: str
    volume: TargetVolume
    is_probable: bool = False


def volumes_of_plan(problem: Problem, strategy: Strategy, request: PlanRequest, target: Target) -> list[NamedVolume]:
    """Target as drawn, planning target where it is another volume, and PTV of a strategy."""
    (order,) = problem.orders([request], target)
    drawn = planning_target(target.structure.region, np.zeros((1, 3)))
    path = np.array(request.ptvs[target.number].target_path_mm)
    name = target.name[:LONGEST_NAME]
    kind = next((kind for kind in _KINDS if target.name.upper().startswith(kind)), "GTV")
    found = [NamedVolume(name, kind, "target as drawn", drawn)]
    if (structure := request.model.planning_structure(target.name)) is not None:
        found.append(NamedVolume("ITV", "CTV", f"planning target: {structure} as drawn", order.target))
    elif len(path) > 1:
        what = "planning target: union of the target over its planned path"
        found.append(NamedVolume("ITV", "CTV", what, order.target))
    elif path.any():
        what = "planning target: the target where it is planned on"
        found.append(NamedVolume(f"{name[:11]}_Plan", kind, what, order.target))
    ptv = request.model.ptv(order)
    margin = f"margin {strategy.margin.label()}" if ptv is order.ptv else "as drawn"
    return [*found, NamedVolume("PTV", "PTV", f"PTV of the strategy, {margin}", ptv)]


def volume_for(probability: float, ptv: ProbablePtv, n_courses: int, target: Target) -> NamedVolume:
    """The PTV for a stated probability, found from some courses."""
    what = (
        f"holds the whole target in {100 * probability:g} % of courses ({100 * ptv.held.low:.1f} to "
        f"{100 * ptv.held.high:.1f} % of unseen ones, from {n_courses}), grown for blurring at the "
        f"{isodose_percent(target):g} % isodose"
    )
    return NamedVolume(f"PTV_p{100 * probability:g}"[:LONGEST_NAME], "PTV", what, ptv.volume, is_probable=True)


def of_target(volumes: list[NamedVolume], target: Target) -> list[NamedVolume]:
    """The same of one of several targets, which stands behind the names."""
    return [volumes[0], *(replace(v, name=f"{v.name}_{target.name}"[:LONGEST_NAME]) for v in volumes[1:])]


def with_own_names(volumes: list[NamedVolume]) -> list[NamedVolume]:
    """The same, each under a name of its own: a target may be called as one of the others."""
    found: list[NamedVolume] = []
    for volume in volumes:
        is_taken = any(volume.name == other.name for other in found)
        found.append(replace(volume, name=f"{volume.name[: LONGEST_NAME - 4]}_Sim") if is_taken else volume)
    return found


def recipes_for(
    probability: float, problem: Problem, strategy: Strategy, request: PlanRequest, target: Target
) -> list[NamedVolume]:
    """PTVs by published recipes for the same coverage and isodose, around a strategy's planning target; each margin once."""
    (order,) = problem.orders([request], target)
    spread = margin_spread(problem.setting, strategy, target.name)
    found: dict[str, NamedVolume] = {}
    for name, (_, recipe) in published_recipes(100 * probability, isodose_percent(target)).items():
        if recipe is None:
            continue
        margin = recipe.directions(spread)
        what = f"margin recipe, {in_axes_mm(margin[:, 0])} (LR, AP, SI)"
        if what not in found:
            found[what] = NamedVolume(name, "PTV", what, expand(order.target, Expansion(margin[:, 0], margin[:, 1])))
    return list(found.values())


def in_axes_mm(vector_mm: np.ndarray) -> str:
    """A vector to a tenth of a mm."""
    return "(" + ", ".join(f"{mm + 0.0:.1f}" for mm in np.round(vector_mm, 1)) + ") mm"
