"""The verdict on each strategy, the order of strategies, and how many courses would settle what is not known."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from simulator.answers.joint import COVERAGE, ORGANS, all_met
from simulator.answers.knowledge_group import contains, of_conditions
from simulator.metrics.goals import Goal
from simulator.population.intervals import wilson_interval
from simulator.population.unequal import numbers_of_courses
from simulator.population.verdicts import HOLDS, NOT_KNOWN, YES, courses_to_decide, decide, holds, pareto_front, widened
from simulator.problem.problem import Problem
from simulator.results.registry import group
from simulator.sampling.quasi import N_RANDOMISATIONS


def decision_group(
    problem: Problem,
    values: np.ndarray,
    joint: np.ndarray,
    ptv_cc: np.ndarray,
    labels: list[str],
    doubt: xr.Dataset | None = None,
) -> xr.Dataset:
    """The group decision of the results.

    Parameters
    ----------
    values : (strategy, course, metric). joint : boolean (strategy, joint, course). ptv_cc : (strategy,).
    doubt : what is not known of the errors; None where they are exact.
    """
    rule = problem.config.decision
    met, wanted = conditions_of(problem, values)
    ends = None if doubt is None else (of_conditions(problem, doubt, "low"), of_conditions(problem, doubt, "high"))
    n_courses = numbers_of_courses(values)
    known = holds(*widened(*problem.interval(met, n_courses[:, None]), ends), wanted)
    by_courses = known if ends is None else np.where(contains(*ends, wanted), YES, known)
    is_limit = _is_limit(problem)
    target = known[:, ~is_limit].max(axis=1)
    excess, shortfall = (_excess(problem, goals, values) for goals in (limits_of(problem), target_goals_of(problem)))
    decision = decide(target, known[:, is_limit], excess, shortfall, ptv_cc, n_courses)
    covered, spared = (joint[:, j].sum(axis=1) / n_courses for j in (COVERAGE, ORGANS))
    best = labels[int(decision.order[0])]
    recommended = best if decision.recommended is not None else ""
    dataset = group(
        "decision",
        {
            "verdict": np.array(decision.verdicts),
            "target_holds": np.array(HOLDS)[decision.target],
            "organs_hold": np.array(HOLDS)[decision.organs],
            "limits_held": (known[:, is_limit] == 0).sum(axis=1),
            "rank": np.argsort(decision.order) + 1,
            "courses_to_decide": _courses_to_decide(problem, met, wanted, by_courses, n_courses),
            "organ_risk": 1 - spared,
            "on_front": pareto_front(covered, spared),
            "wanted_probability": np.array(rule.probability),
            "recommended": np.array(recommended),
            "nearest_miss": np.array("" if recommended else best),
            **(
                {}
                if problem.looks is None
                else {"n_courses": n_courses, "stopped": _stopped(problem, known, n_courses)}
            ),
        },
        {"strategy": labels},
    )
    dataset.attrs.update(
        recommended=recommended,
        nearest_miss="" if recommended else best,
        probability=rule.probability,
        organ_probability=rule.organ_probability,
        indifference=rule.indifference,
        coverage=rule.coverage if len(problem.wanted_together) > 1 else "together",
        wanted="; ".join(g.text for g in problem.wanted),
        n_conditions=len(wanted),
        **({} if problem.looks is None else {"most_courses": problem.looks.most}),
        tied="; ".join(labels[i] for i in decision.tied),
    )
    return dataset


def undecided(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Which strategies have no settled verdict yet, boolean (strategy,), from metrics (strategy, course, metric)."""
    met, wanted = conditions_of(problem, values)
    return _is_open(problem, holds(*problem.interval(met, numbers_of_courses(values)[:, None]), wanted))


def _is_open(problem: Problem, known: np.ndarray) -> np.ndarray:
    """Whether it is not known if the target is covered, or if the limits hold, (strategy,)."""
    is_limit = _is_limit(problem)
    return (known[:, ~is_limit].max(axis=1) == NOT_KNOWN) | (known[:, is_limit].max(axis=1, initial=YES) == NOT_KNOWN)


def _stopped(problem: Problem, known: np.ndarray, n_courses: np.ndarray) -> np.ndarray:
    """What is to be said beside the probabilities of strategies that were stopped; empty for the others."""
    is_early = ~_is_open(problem, known) & (n_courses < problem.config.courses)
    return np.array(
        [f"stopped after {n} courses, settled" if e else "" for n, e in zip(n_courses, is_early, strict=True)]
    )


def _is_limit(problem: Problem) -> np.ndarray:
    """Which of the conditions are on organs: the wanted coverage comes first, then the goals that are asked for."""
    asked = [g for g, p in zip(problem.goals, problem.asked, strict=True) if not np.isnan(p)]
    of_organs = [problem.target_named(g.metric.structure) is None for g in asked]
    return np.array([False] * len(problem.wanted_together) + of_organs)


def conditions_of(problem: Problem, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each condition is met, boolean (strategy, condition, course), and the wanted probabilities (condition,)."""
    asked = [(g, p) for g, p in zip(problem.goals, problem.asked, strict=True) if not np.isnan(p)]
    coverage = [list(goals) for goals in problem.wanted_together]
    met = np.stack([all_met(problem, values, goals) for goals in [*coverage, *([g] for g, _ in asked)]], axis=1)
    return met, np.array([problem.config.decision.probability] * len(coverage) + [p for _, p in asked])


def numbers_of_limits(problem: Problem) -> list[int]:
    """Which goals are mandatory limits on organs."""
    asked = enumerate(zip(problem.goals, problem.asked, strict=True))
    return [k for k, (g, p) in asked if not np.isnan(p) and problem.target_named(g.metric.structure) is None]


def limits_of(problem: Problem) -> list[Goal]:
    """The mandatory limits on organs."""
    return [problem.goals[k] for k in numbers_of_limits(problem)]


def target_goals_of(problem: Problem) -> list[Goal]:
    """What is asked of the targets, each once."""
    asked = zip(problem.goals, problem.asked, strict=True)
    own = [g for g, p in asked if not np.isnan(p) and problem.target_named(g.metric.structure) is not None]
    return list({goal.text: goal for goal in [*problem.wanted, *own]}.values())


def _excess(problem: Problem, goals: Sequence[Goal], values: np.ndarray) -> np.ndarray:
    """Sum over goals of how far each is missed, relative to its limit, (strategy, course)."""
    total = np.zeros(values.shape[:2])
    for goal in goals:
        drawn = values[:, :, problem.column[goal.metric.label]].astype(np.float64)
        total += goal.excess(drawn, problem.prescription_of(goal.metric.structure).dose_gy) / (goal.limit or 1.0)
    return total


def _courses_to_decide(
    problem: Problem, met: np.ndarray, wanted: np.ndarray, known: np.ndarray, n_courses: np.ndarray
) -> np.ndarray:
    """Courses of a new run that would settle what is not known of each strategy, (strategy,); 0 where all is known.

    Courses that tell more than independent ones, as Sobol' points do, count by the width of their interval beside Wilson's.
    """
    n, n_met = n_courses[:, None], met.sum(axis=-1)
    low, high = problem.interval(met, n)
    plain_low, plain_high = wilson_interval(n_met, n)
    courses = courses_to_decide(n_met / n, wanted, problem.config.decision.indifference)
    courses = courses * ((high - low) / (plain_high - plain_low)) ** 2
    most = np.where(known == NOT_KNOWN, np.maximum(courses, n), 0.0).max(axis=1)
    if problem.config.sampling == "sobol":
        finite = np.isfinite(most) & (most > 0)
        most[finite] = N_RANDOMISATIONS * 2 ** np.ceil(np.log2(most[finite] / N_RANDOMISATIONS))
    return np.ceil(most)
