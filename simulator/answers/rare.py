"""Rare events: the probability of missing a goal that brute force would need many thousand courses to see missed."""

import numpy as np

from simulator.answers.beyond_grid import without_unknown
from simulator.ground.conventions import Stream
from simulator.ground.parallel import in_order, local_executor
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.population.importance import RareEvent, weighted_probability
from simulator.problem.preparation import prepare
from simulator.sampling.streams import Draws, Exchanged
from simulator.sampling.widened import SCALES, WidenedDraws
from simulator.simulation.courses import COURSES_COMPARED, deliver_courses, same_delivery
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.study_file.schema import StudyConfig

_CANDIDATES = (Stream.SETUP_SYSTEMATIC, Stream.BASELINE_COURSE, Stream.REGISTRATION)
_LEAST_COURSES = 2 * len(SCALES)  # two of each scale: a variance needs them


def rare_event_probability(
    study: StudyConfig,
    strategy: str,
    goal: str,
    *,
    courses: int = 2000,
    seed: int | None = None,
    workers: int | None = None,
) -> RareEvent:
    """Probability that a strategy misses a goal, by importance sampling over the systematic errors.

    Setup, baseline shift and registration of a course are drawn wider than they are, and weighted. This pays where a rare large
    systematic error is what misses the goal; where many sources have to conspire, `RareEvent.effective_courses` falls below
    `courses`, and brute force is better.

    Parameters
    ----------
    strategy, goal : as named in the results of the study.
    seed : replaces that of the study.

    Raises
    ------
    ConfigError : unknown strategy or goal, too few courses, or no systematic error that acts on the strategy.
    """
    if courses < _LEAST_COURSES:
        raise ConfigError(f"rare events: {courses} courses give no interval; simulate {_LEAST_COURSES} or more")
    if study.observed is not None and study.observed.fractions:
        raise ConfigError(
            "rare events: courses given observed fractions are not drawn wider; take observed out, or simulate more courses"
        )
    problem = without_unknown(prepare(study))
    labels, goals = [s.label() for s in problem.strategies], [g.text for g in problem.goals]
    chosen, wanted = (
        labels.index(_known("strategy", strategy, labels)),
        goals.index(_known("goal", " ".join(goal.split()), goals)),
    )
    start = study.seed if seed is None else seed
    first, second = (Draws(start + k, 0, COURSES_COMPARED) for k in (0, 1))
    acting = tuple(
        s
        for s in _CANDIDATES
        if not same_delivery(problem, problem.strategies[chosen], first, Exchanged(first, second, frozenset({s})))
    )
    if not acting:
        raise ConfigError(
            f"rare events: no systematic error acts on {strategy!r}, so there is nothing to widen; simulate more courses"
        )
    size = study.numerics.block_courses
    blocks = [WidenedDraws(start, at, min(size, courses - at), acting) for at in range(0, courses, size)]
    plan = make_plan(problem, problem.requests[chosen])
    with local_executor(workers) as executor:
        deliveries = executor.map(lambda some: deliver_courses(problem, problem.strategies[chosen], some), blocks)
        work = prepare_work(problem, problem.strategies[chosen], plan, deliveries, executor).for_metrics()
        values = np.concatenate(in_order(executor, work.metrics_of, blocks))
    one = problem.goals[wanted]
    drawn = values[:, problem.metric_labels.index(one.metric.label)].astype(np.float64)
    missed = ~one.is_met(drawn, problem.prescription_of(one.metric.structure).dose_gy)
    weight, component = (
        np.concatenate([of(b) for b in blocks]) for of in (WidenedDraws.weights, lambda b: b.component)
    )
    return weighted_probability(missed, weight, component)


def _known(kind: str, name: str, names: list[str]) -> str:
    if name not in names:
        raise ConfigError(f"rare events: no {kind} {name!r} in this study{did_you_mean(name, names, 0.3)}")
    return name
