"""One course of a finished study, simulated again as the study did: its metrics are those of the results bit for bit."""

import math
from pathlib import Path

import numpy as np
import xarray as xr

from simulator.answers.one_course import course_dataset
from simulator.execution.splitting import Task
from simulator.execution.unchanged import place_of, refuse_sweep, unchanged_problem
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import ConfigError, SimulatorError
from simulator.plan.quality import Plan
from simulator.population.bands import at_percentile
from simulator.population.unequal import numbers_of_courses
from simulator.problem.problem import Problem
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.one_course import doses_of_course, errors_of_course
from simulator.simulation.plans import in_turn, make_plans
from simulator.simulation.work import prepare_work


def simulate_course(
    results: xr.DataTree,
    strategy: str,
    course: int | None = None,
    *,
    percentile: float | None = None,
    of: str | None = None,
) -> xr.Dataset:
    """One course of a finished study, simulated again: its errors, metrics, DVHs and dose.

    Parameters
    ----------
    results : of a study, not of a sweep, whose files are still what they were.
    strategy : name as in the results.
    course : number of the course, from 0 on; in its place `percentile` takes the one at this percentile of a metric.
    of : that metric, such as "GTV D98%"; the target's D98% by default.

    Returns
    -------
    See `simulator.answers.one_course.course_dataset`.

    Raises
    ------
    ConfigError : no such strategy, course or metric, a sweep, or a file that the study was made of has changed.
    SimulatorError : the course has other metrics than the results, as on a processor that rounds differently.
    """
    refuse_sweep(results, "course")
    metrics = results["metrics"].to_dataset()
    place = place_of("strategy", strategy, [str(s) for s in metrics["strategy"].values], "course")
    stored = metrics["value"].isel(strategy=place)
    stored = stored.isel(course=slice(numbers_of_courses(stored.values[None])[0]))
    number = _number(results, stored, course, percentile, of)
    problem = unchanged_problem(results, "course")
    task, first, n = _where_simulated(results, problem, place, number)
    own, at = problem.strategies[place], number - first
    runs = task.blocks(problem.config.numerics.block_courses).values()
    deliveries = [deliver_courses(problem, own, course_draws(problem, *run)) for run in runs]
    draws, delivery = course_draws(problem, first, n), deliveries[list(runs).index((first, n))]
    plan = in_turn(problem, place, lambda i: _plan(problem, results, i))
    work = prepare_work(problem, own, plan, deliveries, SerialExecutor())
    doses = doses_of_course(work, draws, delivery, at)
    _require_equal(doses.values, stored.isel(course=number), f"course {number} of {strategy!r}")
    errors = errors_of_course(problem, own, draws, delivery, at)
    about = {"strategy": strategy, "course": number, "name": results.attrs["name"], "target": problem.targets[0].name}
    return course_dataset(results, problem, place, number, errors, doses).assign_attrs(about)


def _number(
    results: xr.DataTree, stored: xr.DataArray, course: int | None, percentile: float | None, of: str | None
) -> int:
    """The course that is meant, by its number or by a percentile of a metric."""
    if (course is None) == (percentile is None):
        raise ConfigError("course: name either a course by its number or a percentile of a metric")
    n = stored.sizes["course"]
    if course is not None:
        if of is not None:
            raise ConfigError("course: a metric goes with a percentile; leave one of them out")
        if not 0 <= course < n:
            raise ConfigError(f"course: no course {course} in these results, which hold courses 0 to {n - 1}")
        return course
    if percentile is None or not (math.isfinite(percentile) and 0 <= percentile <= 100):
        raise ConfigError(f"course: a percentile lies within 0 and 100, not at {percentile:g}")
    metric = place_of(
        "metric", of or str(_looked_at(results).attrs["metric"]), [str(m) for m in stored["metric"].values], "course"
    )
    return at_percentile(stored.isel(metric=metric).values, percentile)


def _looked_at(results: xr.DataTree) -> xr.Dataset:
    if "courses" not in results.children:
        raise ConfigError("course: these results do not say how their courses were simulated; run the study again")
    return results["courses"].to_dataset()


def _where_simulated(results: xr.DataTree, problem: Problem, place: int, number: int) -> tuple[Task, int, int]:
    """The task that a course was a part of, and the first course and the number of courses of its block."""
    parts = np.append(np.atleast_1d(_looked_at(results).attrs["parts"]), int(results.attrs["n_courses"])).tolist()
    part = int(np.searchsorted(parts, number, side="right")) - 1
    task = Task(Path(), place, parts[part], parts[part + 1] - parts[part])
    blocks = task.blocks(problem.config.numerics.block_courses).values()
    first, n = next(run for run in blocks if run[0] <= number < sum(run))
    return task, first, n


def _plan(problem: Problem, results: xr.DataTree, place: int) -> Plan:
    """The plan of a strategy; an optimised one from the leaves in the results."""
    designs = []
    if problem.config.plan.is_optimised:
        leaves = results["leaves"].to_dataset().isel(strategy=place)
        designs.append({str(key): leaves[key].values for key in leaves.data_vars})
    (plan,) = make_plans(problem, [problem.requests[place]], SerialExecutor(), designs)
    return plan


def _require_equal(found: np.ndarray, stored: xr.DataArray, which: str) -> None:
    differs = ~((found == stored.values) | (np.isnan(found) & np.isnan(stored.values)))
    if differs.any():
        i = int(np.argmax(differs))
        raise SimulatorError(
            f"course: {which} has {stored['metric'].values[i]} of {found[i]:.9g} here and {stored.values[i]:.9g} in the "
            "results; another processor or library rounds differently, so look at it where the study ran, or run the study "
            "again here"
        )
