"""Two courses of each strategy, looked at: where the target went, fraction by fraction, and what that cost."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from simulator.ground.conventions import AXES
from simulator.ground.parallel import Executor, SerialExecutor, in_order
from simulator.plan.quality import Plan
from simulator.population.bands import at_percentile
from simulator.population.unequal import numbers_of_courses
from simulator.problem.problem import Problem
from simulator.results.registry import group
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.one_course import errors_of_course, values_by_fraction
from simulator.simulation.work import prepare_work

PERCENTILES = (5.0, 50.0)
MOST_STRATEGIES, MOST_MAPS = 12, 4


def metric_looked_at(problem: Problem) -> str:
    """What courses are ranked by: the target's D98%, or the metric of its first goal where it has none."""
    usual = f"{problem.targets[0].name} D98%"
    return usual if usual in problem.column else problem.wanted[0].metric.label


def courses_group(
    problem: Problem,
    values: np.ndarray,
    rank: Sequence[int] | np.ndarray,
    plan_of: Callable[[int], Plan],
    executor: Executor,
) -> xr.Dataset:
    """The group courses of the results.

    Parameters
    ----------
    values : (strategy, course, metric). rank : of each strategy, 1 for the first.
    plan_of : plan of a strategy, asked for the first few of them alone, as it may have to be made again.
    """
    label = metric_looked_at(problem)
    of_metric = values[:, :, problem.column[label]]
    chosen = np.array(
        [
            [at_percentile(own[:n], p) for p in PERCENTILES]
            for own, n in zip(of_metric, numbers_of_courses(values), strict=True)
        ]
    )
    errors = [[_errors_mm(problem, i, course) for course in row.tolist()] for i, row in enumerate(chosen)]
    n_fractions = problem.config.prescription.fractions
    by_fraction = np.full((*chosen.shape, n_fractions), np.nan, np.float32)
    closely = [i for i in range(len(chosen)) if rank[i] <= MOST_STRATEGIES]
    mapped = [i for i in closely if rank[i] <= MOST_MAPS]

    def look(i: int) -> tuple[np.ndarray, np.ndarray]:
        """The metric by fraction and, of mapped strategies, the dose of each course."""
        plan, courses = plan_of(i), chosen[i].tolist()
        doses = [_dose_gy(problem, i, plan, course) for course in courses if i in mapped]
        return np.stack([_value_by_fraction(problem, i, plan, course, label) for course in courses]), np.array(doses)

    found = dict(zip(closely, in_order(executor, look, closely), strict=True))
    for i, (of_fractions, _) in found.items():
        by_fraction[i] = of_fractions
    dataset = group(
        "courses",
        {
            "course": chosen,
            "value": np.take_along_axis(of_metric, chosen, axis=1),
            "error_mm": np.array([[list(by_source.values()) for by_source in row] for row in errors]),
            "fraction_value": by_fraction,
            "dose_gy": np.stack([found[i][1] for i in mapped]),
        },
        {
            "strategy": [s.label() for s in problem.strategies],
            "mapped_strategy": [problem.strategies[i].label() for i in mapped],
            **dict(zip("xyz", problem.map_frame.grid.axes_mm, strict=True)),
            "percentile": PERCENTILES,
            "source": list(errors[0][0]),
            "fraction": np.arange(1, n_fractions + 1),
            "axis": AXES,
        },
    )
    return dataset.assign_attrs(metric=label)


def _errors_mm(problem: Problem, strategy: int, course: int) -> dict[str, np.ndarray]:
    """Displacement (fraction, 3) of the target by source."""
    draws = course_draws(problem, course, 1)
    own = problem.strategies[strategy]
    return errors_of_course(problem, own, draws, deliver_courses(problem, own, draws), 0).by_source_mm


def _dose_gy(problem: Problem, strategy: int, plan: Plan, course: int) -> np.ndarray:
    """Dose to the tissue of each voxel in a course, float32 (z, y, x)."""
    delivery = deliver_courses(problem, problem.strategies[strategy], course_draws(problem, course, 1))
    return problem.map_frame.course_gy(plan.dose, delivery.motion)


def _value_by_fraction(problem: Problem, strategy: int, plan: Plan, course: int, label: str) -> np.ndarray:
    """The metric (fraction,) that a course had if all of its fractions were like each of them."""
    target, own, draws = problem.targets[0], problem.strategies[strategy], course_draws(problem, course, 1)
    alone = replace(
        problem, targets=(target,), structures=tuple(s for s in problem.structures if s.name == target.name)
    )
    delivery = deliver_courses(problem, own, draws)
    work = prepare_work(alone, own, plan, [delivery], SerialExecutor())
    found = values_by_fraction(work.tissues[target.name], delivery.motion(target.name), draws)
    return found[:, alone.column[label]]
