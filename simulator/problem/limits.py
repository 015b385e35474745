"""Goals on organs as limits that plans keep."""

import numpy as np

from simulator.case.anatomy import Case
from simulator.ground.spec import ConfigError
from simulator.metrics.contradictions import check_goals
from simulator.metrics.goals import Goal, parse_goal
from simulator.plan.sparing import Limit
from simulator.problem.checks import require_structure
from simulator.study_file.schema import StudyConfig

_OPTIMAL = "optimal"


def plan_limits(config: StudyConfig, case: Case, goals: tuple[Goal, ...]) -> tuple[tuple[Limit, ...], tuple[Goal, ...]]:
    """The limits that the study's plans keep, and the goals on organs that no plan can be made for.

    Raises
    ------
    ConfigError : a goal of `plan.limits` that is none on an organ's dose, or that contradicts another.
    """
    asked = config.plan.limiting_goals
    on_organs = [goal for goal in goals if not case.treats(goal.metric.structure) and goal.level != _OPTIMAL]
    chosen = on_organs if asked == "goals" else [_read(text, case) for text in asked]
    if asked != "goals":
        check_goals(chosen, config.prescription.dose_gy)
        _require_one_each(chosen)
    limits = [limit_of(goal, case, config.prescription.dose_gy) for goal in chosen]
    unplanned = tuple(goal for goal, limit in zip(chosen, limits, strict=True) if limit is None)
    if asked != "goals" and unplanned:
        raise ConfigError(
            f"plan.limits: {unplanned[0].text!r} is no upper limit of a dose at a volume, a volume at a dose or a mean dose "
            "of an organ, which is what plans keep"
        )
    return tuple(dict.fromkeys(limit for limit in limits if limit is not None)), unplanned


def notes_on_unplanned(goals: tuple[Goal, ...]) -> list[str]:
    """Which goals on organs plans do not keep."""
    names = ", ".join(repr(goal.text) for goal in goals)
    return [f"plans are not optimised for {names}: no upper limits at a volume or in the mean"] if goals else []


def limit_of(goal: Goal, case: Case, prescription_gy: float) -> Limit | None:
    """What a goal on an organ asks of its dose; None where that is no upper limit at a volume or in the mean."""
    metric, volume_cc = goal.metric, case.structures[goal.metric.structure].volume_cc
    is_upper = goal.operator in ("<", "<=")
    if metric.is_biological or is_upper == metric.falls_with_dose or case.treats(goal.metric.structure):
        return None
    gy = goal.limit * prescription_gy / 100 if goal.unit == "%" else goal.limit
    if metric.is_mean:
        return Limit(metric.structure, metric.name, None, gy)
    if (hot_cc := metric.hot_cc(np.array([volume_cc]))) is not None:
        return Limit(metric.structure, metric.name, float(hot_cc[0]), gy)
    if (level_gy := metric.level_gy(prescription_gy)) is not None:
        cc = goal.limit if goal.unit == "cc" else goal.limit * volume_cc / 100
        return Limit(
            metric.structure, metric.name, max(volume_cc - cc if metric.falls_with_dose else cc, 0.0), level_gy
        )
    return None


def _read(text: str, case: Case) -> Goal:
    goal = parse_goal(text)
    require_structure(case, goal)
    if case.treats(goal.metric.structure):
        raise ConfigError(
            f"plan.limits: {goal.text!r} is about the target {goal.metric.structure}; plans keep limits of organs"
        )
    goal.metric.check_volume(case.structures[goal.metric.structure].volume_cc)
    return goal


def _require_one_each(goals: list[Goal]) -> None:
    """Refuse two limits of the same metric, one of which says nothing."""
    for i, second in enumerate(goals):
        for first in goals[:i]:
            if first.metric == second.metric and first.operator[0] == second.operator[0]:
                raise ConfigError(f"plan.limits: {first.text!r} and {second.text!r} limit the same; remove one")
