"""The interplay screen: courses simulated twice, with the whole dose at every instant and with the part that is on.

Both meet the same breathing at the same instants, so that their difference is interplay and nothing else. The change of a
probability is bounded by the courses of the study: those whose metric lies so close to the limit that the largest change
of the screen, in the same direction for all, would carry it across.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from simulator.ground.parallel import SerialExecutor
from simulator.metrics.goals import Goal
from simulator.plan.quality import Plan
from simulator.population.intervals import mean_interval, wilson_interval
from simulator.population.unequal import numbers_of_courses
from simulator.problem.problem import Problem
from simulator.results.registry import group
from simulator.simulation.courses import course_draws
from simulator.simulation.interplay import deliver_in_time, in_parts, parts_of
from simulator.simulation.measuring import measure_delivery
from simulator.simulation.work import prepare_work, tissue_of

_CONFIDENCE = 0.95


def screened_strategies(problem: Problem, results: xr.DataTree) -> list[int]:
    """The strategy that the decision is about: the recommended one, or the nearest miss."""
    decision = results["decision"].attrs
    labels = [strategy.label() for strategy in problem.strategies]
    return [labels.index(decision["recommended"] or decision["nearest_miss"])]


def interplay_group(
    problem: Problem, values: np.ndarray, strategies: Sequence[int], plan_of: Callable[[int], Plan]
) -> xr.Dataset:
    """The group interplay of the results.

    Parameters
    ----------
    values : of the study, (strategy, course, metric). strategies : those that are screened. plan_of : plan of a strategy.
    """
    met = tuple(s for s in problem.structures if s.name in problem.met_in_parts)
    some = replace(problem, structures=met)
    goals = [goal for goal in problem.goals if goal.metric.label in some.column]
    n_courses = numbers_of_courses(values)
    found = [_screened(some, i, plan_of(i), goals, values[i, : n_courses[i]], problem.column) for i in strategies]
    arrays = {key: np.stack([numbers[key] for numbers, _ in found]) for key in found[0][0]}
    dataset = group(
        "interplay",
        arrays,
        {
            "strategy": [problem.strategies[i].label() for i in strategies],
            "metric": some.metric_labels,
            "goal": [goal.text for goal in goals],
        },
    )
    n_pairs = min(problem.config.simulate.pairs, values.shape[1])
    return dataset.assign_attrs(
        n_pairs=n_pairs,
        n_parts=[n for _, n in found],
        instant_s=problem.config.simulate.instant_s,
        structures=", ".join(s.name for s in met),
        beyond=1 - (1 - _CONFIDENCE) ** (1 / n_pairs),
    )


def _screened(
    problem: Problem, strategy: int, plan: Plan, goals: Sequence[Goal], values: np.ndarray, column: dict[str, int]
) -> tuple[dict[str, np.ndarray], int]:
    """Numbers of one strategy from its courses (course, metric of the study), and how many parts its plan has."""
    own = problem.strategies[strategy]
    draws = course_draws(problem, 0, min(problem.config.simulate.pairs, len(values)))
    delivery = deliver_in_time(problem, own, draws)
    work = prepare_work(problem, own, plan, [delivery], SerialExecutor())
    parts = parts_of(problem, plan, work.reach)
    doses = in_parts(problem, work.doses, parts)
    tissues = {s.name: tissue_of(problem, s, doses[s.name]) for s in problem.structures}
    whole, parted = (measure_delivery(delivery, some, draws).astype(float) for some in (work.tissues, tissues))
    change = parted - whole
    mean, low, high = mean_interval(change, axis=0)
    largest = np.abs(change).max(axis=0)
    of_goals = [_of_goal(problem, goal, whole, parted, largest, values[:, column[goal.metric.label]]) for goal in goals]
    sd = change.std(axis=0, ddof=1)
    numbers = {"change": mean, "change_low": low, "change_high": high, "change_sd": sd, "largest_change": largest}
    by_goal = {key: np.array([one[key] for one in of_goals]) for key in ("probability_change", "pairs_changed")}
    by_goal |= {f"bound{end}": np.array([one[f"bound{end}"] for one in of_goals]) for end in ("", "_low", "_high")}
    return numbers | by_goal, len(parts)


def _of_goal(
    problem: Problem, goal: Goal, whole: np.ndarray, parted: np.ndarray, largest: np.ndarray, of_study: np.ndarray
) -> dict[str, float]:
    """What interplay does to the probability of one goal."""
    at, rx_gy = problem.column[goal.metric.label], problem.prescription_of(goal.metric.structure).dose_gy
    before, after = goal.is_met(whole[:, at], rx_gy), goal.is_met(parted[:, at], rx_gy)
    shifted = [goal.is_met(of_study + sign * largest[at], rx_gy) for sign in (-1, 0, 1)]
    crossing = max(int((shifted[0] != shifted[1]).sum()), int((shifted[2] != shifted[1]).sum()))
    low, high = wilson_interval(np.array(crossing), len(of_study))
    return {
        "probability_change": float(after.mean() - before.mean()),
        "pairs_changed": float((after != before).sum()),
        "bound": crossing / len(of_study),
        "bound_low": float(low),
        "bound_high": float(high),
    }
