"""Required margins, and what published recipes give for the same errors."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from simulator.population.required_margin import (
    Chain,
    along_chain,
    falls_along,
    interpolation_error,
    margin_chains,
    margin_of_all,
    required_margin,
)
from simulator.population.unequal import numbers_of_courses
from simulator.problem.margins import margin_spread
from simulator.problem.problem import Problem
from simulator.problem.target import Target
from simulator.results.registry import DIRECTIONS, group
from simulator.strategy.margin import Margin, MarginRecipe, published_recipes


def margins_group(problem: Problem, values: np.ndarray) -> xr.Dataset:
    """Required margins: for each motion strategy and guidance, and each chain of candidate margins.

    Of several targets that are wanted together each takes an equal share of the risk: the n-th root of the wanted joint
    probability.
    """
    rule = problem.config.decision
    share = 1.0 if rule.coverage == "each" else 1 / len(problem.targets)
    probability = rule.probability**share
    recipes = recipes_of(problem)
    rows = []
    for target, at, chain in margin_families(problem):
        strategy = problem.strategies[at[0]]
        excesses = excesses_of(problem, target, values, at)
        falls = falls_along(excesses)
        found = required_margin(margin_of_all(excesses, chain.size_mm), probability)
        bounds = (np.nan,) * 3 if falls else (found.at, found.low, found.high)
        rows.append(
            {
                "motion": strategy.motion.label(),
                "guidance": strategy.guidance.label() + strategy.prv_words() + _for(problem, target),
                "target": target.name,
                "smallest_mm": chain.sides_mm[0],
                "largest_mm": chain.sides_mm[-1],
                **{
                    key: along_chain(chain.sides_mm, chain.size_mm, bound)
                    for key, bound in zip(("required_mm", "low_mm", "high_mm"), bounds, strict=True)
                },
                "falls": falls,
                "interpolation_mm": np.nan
                if falls
                else chain.growth * interpolation_error(excesses, chain.size_mm, probability),
                "recipe_mm": _recipes_mm(problem, target, at[0]),
            }
        )
    sides = ("smallest_mm", "largest_mm", "required_mm", "low_mm", "high_mm")
    empty = dict.fromkeys(sides, (0, len(DIRECTIONS))) | {"recipe_mm": (0, len(recipes), len(DIRECTIONS))}
    arrays = {
        key: np.array([r[key] for r in rows]) if rows else np.zeros(empty.get(key, (0,)))
        for key in ("motion", "guidance", "target", *sides, "falls", "interpolation_mm", "recipe_mm")
    }
    for key in ("motion", "guidance", "target"):
        arrays[key] = arrays[key].astype(str).astype(object)
    arrays["recipe_penumbra_mm"] = np.array(problem.setting.penumbra_sd_mm)
    return group("margins", arrays, {"recipe": list(recipes), "direction": list(DIRECTIONS)})


def _for(problem: Problem, target: Target) -> str:
    """Which of several targets a margin is for."""
    return f", for {target.name}" if len(problem.targets) > 1 else ""


def margins_of_courses(problem: Problem, values: np.ndarray) -> Iterator[tuple[Chain, np.ndarray | None]]:
    """By chain of candidates the margin that each course needs, in mm along it; None where larger candidates cover less."""
    for target, at, chain in margin_families(problem):
        excesses = excesses_of(problem, target, values, at)
        yield chain, None if falls_along(excesses) else margin_of_all(excesses, chain.size_mm)


def margin_families(problem: Problem) -> Iterator[tuple[Target, list[int], Chain]]:
    """By target, strategies that differ by a constant margin alone, smallest first, and their margins: one chain where
    candidates are nested, else one for each axis."""
    families: dict[tuple[str, str, float], list[int]] = {}
    for i, strategy in enumerate(problem.strategies):
        if strategy.margin.is_constant:
            families.setdefault((strategy.motion.label(), strategy.guidance.label(), strategy.prv_mm), []).append(i)
    for target in problem.targets:
        candidate_mm = np.array([request.ptvs[target.number].margin_mm for request in problem.requests])
        for members in families.values():
            for nested in margin_chains(candidate_mm[members]):
                at = [members[i] for i in nested]
                yield target, at, Chain.of(candidate_mm[at])


def excesses_of(problem: Problem, target: Target, values: np.ndarray, at: list[int]) -> list[np.ndarray]:
    """By wanted goal of a target, how far each course that all have lies on the right side of the limit, (strategy, course)."""
    column, n_courses = problem.column, numbers_of_courses(values[at]).min()
    excesses = []
    for goal in target.wanted:
        drawn = values[at][:, :n_courses, column[goal.metric.label]].astype(np.float64)
        sign = 1.0 if goal.operator in (">=", ">") else -1.0
        shown = goal.in_goal_unit(drawn, target.prescription.dose_gy)
        excesses.append(sign * (shown - goal.limit) + 1e-6 * abs(goal.limit))
    return excesses


def _recipes_mm(problem: Problem, target: Target, strategy: int) -> np.ndarray:
    """Margins of the published recipes for the same errors, (recipe, direction); NaN where there is none."""
    spread = margin_spread(problem.setting, problem.strategies[strategy], target.name)
    recipes = [recipe for _, recipe in recipes_of(problem).values()]
    return np.stack([np.full(6, np.nan) if r is None else r.directions(spread).ravel() for r in recipes])


def recipes_of(problem: Problem) -> dict[str, tuple[type[MarginRecipe], Margin | None]]:
    """By name, the published recipes for the wanted coverage and the plan's isodose."""
    coverage, isodose = problem.config.decision.probability, problem.config.prescription.isodose_percent
    return published_recipes(100 * coverage, isodose)
