"""Why a simulated required margin differs from a recipe's: the difference in mm, cause by cause.

Each recipe's assumptions are lifted one after the other in `simulator.population.edge_model`, in the order of `CAUSES`;
what the last step leaves is the remainder. The steps sum to the difference exactly; the size of one depends on the order.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from simulator.answers.margins import margin_families, recipes_of
from simulator.answers.plan_edge import edge_of_dose, few_instants, part_percent, wanted_dose_gy
from simulator.case.geometry import Grid, Volume
from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.parallel import Executor, in_order
from simulator.metrics.goals import Goal
from simulator.plan.dose import SplineDose
from simulator.population.edge_model import PLANE_MM, Edge, blurred_plane_mm, gaussian_margin_mm, margins_of_shifts
from simulator.population.required_margin import Chain, required_margin
from simulator.problem.margins import margin_spread
from simulator.problem.problem import Problem
from simulator.problem.target import Target
from simulator.results.registry import VARIABLES
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver
from simulator.simulation.courses import course_draws

CAUSES = (
    "factors and dose edge",
    "one margin for several axes",
    "finite fractions",
    "round target",
    "part of the volume",
    "errors as delivered",
    "mean shifts",
    "shape of the dose edge",
    "not explained by these",
)
_MOST_VISITS = 60_000
_SURE_ERRORS = 3.0


def explain_margins(problem: Problem, results: xr.DataTree, executor: Executor) -> xr.Dataset:
    """The group margins with the difference between each required margin and each recipe by cause.

    NaN where the candidates do not bracket the required margin (the remainder alone), in directions that a chain does not
    vary, for wanted goals other than one D_x% or minimum dose of the target, for a wanted dose that is not between half
    the plan's maximum and all of it, and for patients some of whose fractions lie behind.
    """
    margins = results["margins"].to_dataset()
    chains = list(margin_families(problem))
    rows = in_order(executor, lambda i: _causes_mm(problem, results, i, *chains[i]), range(len(chains)))
    shape = (len(chains), margins.sizes["recipe"], len(CAUSES), margins.sizes["direction"])
    variable = VARIABLES["margins"]["cause_mm"]
    values = np.array(rows, np.float64).reshape(shape)
    attrs = {"units": variable.unit, "long_name": variable.meaning}
    return margins.assign(cause_mm=(variable.dims, values, attrs)).assign_coords(cause=list(CAUSES))


def _causes_mm(
    problem: Problem, results: xr.DataTree, row: int, target: Target, at: list[int], chain: Chain
) -> np.ndarray:
    """Differences (recipe, cause, direction) in mm."""
    recipes = recipes_of(problem)
    causes = np.full((len(recipes), len(CAUSES), 6), np.nan)
    goal = target.wanted[0]
    part = part_percent(goal)
    if len(target.wanted) > 1 or part is None or problem.setting.treated is not None:
        return causes
    margins = results["margins"].to_dataset().isel(series=row)
    if margins["falls"].item():
        return causes
    recipe_mm, required_mm = margins["recipe_mm"].values, margins["required_mm"].values
    coverage = problem.config.decision.probability
    strategy = problem.strategies[at[0]]
    spread = margin_spread(problem.setting, strategy, target.name)
    varies = np.ptp(chain.sides_mm, axis=0) > 0
    edge = _edge_of_plan(problem, results, target, goal, at, required_mm)
    radius_mm = float(np.cbrt(3 * target.structure.volume_cc / CC_PER_MM3 / (4 * np.pi)))
    if not 0.5 < edge.wanted < 1 or not edge.sd_mm > 0:
        return causes
    gaussian, several = edge.gaussian(), (spread.systematic_mm, spread.random_mm)
    counted = [kind.counted(spread) for kind, _ in recipes.values()]
    errors, which = np.unique([(c.systematic_mm, c.random_mm) for c in counted], axis=0, return_inverse=True)

    blurred = [np.repeat(edge.formula_mm(big, small, coverage), 2) for big, small in errors]
    blurred_at = [chain.sides_at(blurred_plane_mm(gaussian, chain, big, small, coverage)) for big, small in errors]
    steps = [
        gaussian_margin_mm(gaussian, chain, *several, spread.n_fractions, coverage, r, p)
        for r, p in _worlds(radius_mm, part)
    ]
    steps += _delivered(problem, target, at[0], edge, chain, radius_mm, part, results.attrs["n_courses"])
    ladder = np.array([chain.sides_at(step) for step in steps])
    for r, k in enumerate(which.ravel()):
        rungs = [recipe_mm[r], blurred[k], blurred_at[k], *ladder, required_mm]
        causes[r] = np.diff(np.array(rungs), axis=0)
    causes[:, :, ~varies] = np.nan
    causes[~np.isfinite(causes)] = np.nan
    return causes


def _worlds(radius_mm: float, part: float) -> Iterator[tuple[float, float]]:
    """Radius and part of the volume: a plane, the target as a ball, and what the goal asks of it."""
    yield PLANE_MM, 100.0
    yield radius_mm, 100.0
    yield radius_mm, part


def _delivered(
    problem: Problem,
    target: Target,
    index: int,
    edge: Edge,
    chain: Chain,
    radius_mm: float,
    part: float,
    total_courses: int,
) -> Iterator[float]:
    """Steps with the displacements that the strategy delivers: without their mean, with it, and in the plan's own dose edge.

    A mean that 3 standard errors of these courses cannot tell from zero counts as none.
    """
    gaussian, coverage = edge.gaussian(), problem.config.decision.probability
    setting, strategy = problem.setting, problem.strategies[index]
    n_courses = max(100, _MOST_VISITS // (setting.n_fractions * setting.n_instants))
    draws = course_draws(problem, 0, min(n_courses, total_courses))
    delivery = deliver(draw_courses(setting, draws), strategy, setting)
    motion = delivery.about(target.name).motion(target.name)
    shift, weight = few_instants(motion, setting.n_fractions)
    delineation = target.uncertainty.delineation
    if delineation is not None:
        drawn = np.random.default_rng(problem.config.seed).standard_normal((len(shift), 1, 3))
        shift = shift + delineation.sd_mm * drawn
    path = np.array(problem.requests[index].ptvs[target.number].target_path_mm)
    of_course = (shift * weight[..., None]).sum(axis=1) - strategy.motion.offset_mm(setting.planned, target.name)
    mean = of_course.mean(axis=0)
    mean[np.abs(mean) < _SURE_ERRORS * of_course.std(axis=0) / np.sqrt(len(shift))] = 0.0
    for one, moved in ((gaussian, shift - mean), (gaussian, shift), (edge, shift)):
        needed = margins_of_shifts(one, chain, moved, weight, path, radius_mm, part)
        yield required_margin(needed, coverage).at


def _edge_of_plan(
    problem: Problem, results: xr.DataTree, target: Target, goal: Goal, at: list[int], required_mm: np.ndarray
) -> Edge:
    """Dose against depth inside the PTV, along rays from the planning target's centre and by direction, of the candidate
    nearest to the required margin."""
    ptvs = [request.ptvs[target.number] for request in problem.requests]
    candidates = np.array([ptvs[i].margin_mm for i in at])
    finite = np.where(np.isfinite(required_mm), required_mm, np.where(required_mm > 0, 99.0, 0.0))
    nearest = at[int(np.argmin(np.abs(candidates - finite).sum(axis=1)))]
    dose = results["dose"].to_dataset().isel(strategy=nearest)
    x, y, z = (dose[axis].values.astype(float) for axis in "xyz")
    grid = Grid((x[0], y[0], z[0]), (x[1] - x[0], y[1] - y[0], z[1] - z[0]), (len(z), len(y), len(x)))
    planned = SplineDose(Volume(grid, dose["nominal"].values))
    planning_target = problem.planning_targets[problem.requests[nearest]][target.number]
    of_goal = wanted_dose_gy(goal, target), float(dose["nominal"].max())
    return edge_of_dose(planned, planning_target, ptvs[nearest].margin_mm, *of_goal)
