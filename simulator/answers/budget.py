"""The uncertainty budget: whose variance it is, and what the coverage would be without a source.

Pick-freeze on the study's own random streams: the courses of a second, independent seed share one source with, or lend
one source to, those of the first (Saltelli et al. 2010, doi:10.1016/j.cpc.2009.09.018). A source is removed by holding its
random numbers at their centre; its mean stays.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
import xarray as xr

from simulator.ground.conventions import Stream
from simulator.ground.parallel import Executor, in_order
from simulator.metrics.goals import Goal
from simulator.population.sensitivity import Share, first_order, total
from simulator.problem.problem import Problem
from simulator.problem.target import Target
from simulator.results.registry import group
from simulator.sampling.streams import Draws, Exchanged, TargetDraws, Which, are_numbers_of
from simulator.simulation.courses import COURSES_COMPARED, course_draws, deliver_courses, same_delivery
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.strategy import Strategy
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.source import RandomNumbers

_OTHER_SEED = 2**63
_IN_FILE_NAMES = ",'"

Numbers = tuple[frozenset[Stream], Which | None]


class Store(Protocol):
    """Where finished blocks are kept."""

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """A block; None if it is not finished."""
        ...

    def save(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep a finished block."""
        ...


def _second_draws(problem: Problem, first: int, n_courses: int) -> RandomNumbers:
    """Random numbers that no study shares: seeds of studies are below 2^63."""
    return Draws(problem.config.seed + _OTHER_SEED, first, n_courses)


def _sources(problem: Problem, strategy: Strategy) -> dict[str, Numbers]:
    """By source, the random numbers that change what a strategy delivers or what becomes of it.

    An error that one of several targets has for itself, and of which only so much is known, is a source by itself.
    """
    owners: dict[str, list[Target]] = {}
    for target in problem.targets if len(problem.targets) > 1 else ():
        doubted = (source for source in target.stated.sources.values() if source.not_exact())
        for name in itertools.chain.from_iterable(source.streams for source in doubted):
            owners.setdefault(name, []).append(target)
    named: dict[str, Numbers] = {}
    for target in problem.targets:
        errors = target.uncertainty
        follow = errors.baseline or Baseline()  # organs may follow a shift that the target itself does not have
        for name, streams in errors.model_copy(update={"baseline": follow}).streams().items():
            own = owners.get(name, [])
            is_own = any(owner is target for owner in own)
            which = partial(_are_of, [target]) if is_own else partial(_are_not_of, own) if own else None
            named[f"{target.name}: {name}" if is_own else name] = frozenset(streams), which
    others = {**strategy.guidance.streams, **problem.biology.streams, **strategy.motion.streams}
    named |= {name: (frozenset(streams), None) for name, streams in others.items()}
    return {name: numbers for name, numbers in named.items() if _acts(problem, strategy, numbers)}


def _are_of(targets: Sequence[Target], stream: Stream, of: str) -> bool:
    return any(are_numbers_of(target.number, target.name, stream, of) for target in targets)


def _are_not_of(targets: Sequence[Target], stream: Stream, of: str) -> bool:
    return not _are_of(targets, stream, of)


def _variants(problem: Problem, sources: dict[str, Numbers], first: int, n_courses: int) -> dict[str, RandomNumbers]:
    """Draws of some courses by variant: base, second, and for each source `new SOURCE` and `no SOURCE`."""
    base, second = course_draws(problem, first, n_courses), _second_draws(problem, first, n_courses)
    new = {f"new {source}": Exchanged(base, second, *numbers) for source, numbers in sources.items()}
    without = {f"no {source}": Exchanged(base, None, *numbers) for source, numbers in sources.items()}
    return {"base": base, "second": second, **new, **without}


def budget_strategies(config: StudyConfig, results: xr.DataTree) -> list[str]:
    """Labels of the strategies with an uncertainty budget: those asked for, or the one that the decision is about."""
    assert config.budget is not None
    decision = results["decision"].attrs
    return list(config.budget.strategies) or [decision["recommended"] or decision["nearest_miss"]]


def budget_group(problem: Problem, store: Store, executor: Executor, labels: list[str]) -> xr.Dataset:
    """The group budget of the results, for some of the strategies."""
    by_label = {s.label(): i for i, s in enumerate(problem.strategies)}
    found = [_budget(problem, by_label[label], store, executor) for label in labels]
    sources = list(dict.fromkeys(source for shares in found for source in shares["sources"]))
    metrics = list(dict.fromkeys(g.metric.label for g in (*problem.goals, *problem.wanted)))
    goals = [g.text for g in problem.goals]
    arrays = {}
    for key, width in (("first_order", 3), ("total", 3)):
        table = np.zeros((len(labels), len(sources), len(metrics), width), np.float32)
        for i, shares in enumerate(found):
            for source, values in zip(shares["sources"], shares[key], strict=True):
                table[i, sources.index(source)] = values
        for end, suffix in enumerate(("", "_low", "_high")):
            arrays[key + suffix] = table[..., end]
    coords: dict[str, Sequence[Any] | np.ndarray] = {
        "strategy": labels,
        "source": sources,
        "metric": metrics,
        "goal": goals,
    }
    named = {"probability": "without", "coverage": "coverage_without"}
    if len(problem.targets) > 1:
        named["target_coverage"] = "target_coverage_without"
        coords["target"] = [target.name for target in problem.targets]
    for now, key in named.items():
        arrays[now] = np.stack([shares[f"{key}_base"] for shares in found])
        arrays[key] = np.stack([_placed(shares[f"{key}_base"], shares, key, sources) for shares in found])
    dataset = group("budget", arrays, coords)
    assert problem.config.budget is not None
    dataset.attrs["n_courses"] = problem.config.budget.courses
    return dataset


def _placed(base: np.ndarray, shares: dict[str, Any], key: str, sources: list[str]) -> np.ndarray:
    """Rows by source; a source that does not act on a strategy leaves it as it is."""
    table = np.repeat(np.asarray(base)[None], len(sources), axis=0)
    for source, row in zip(shares["sources"], shares[key], strict=True):
        table[sources.index(source)] = row
    return table


def _budget(problem: Problem, index: int, store: Store, executor: Executor) -> dict[str, Any]:
    """Indices (source, metric, 3) and probabilities without each source (source, goal) of one strategy."""
    strategy = problem.strategies[index]
    sources = _sources(problem, strategy)
    values = _simulate(problem, index, sources, store, executor)
    column = problem.column
    metrics = list(dict.fromkeys(g.metric.label for g in (*problem.goals, *problem.wanted)))
    at = [column[label] for label in metrics]
    rx_gy = {s.name: problem.prescription_of(s.name).dose_gy for s in problem.structures}

    def met(variant: str, goals: Sequence[Goal]) -> np.ndarray:
        drawn = [values[variant][:, column[g.metric.label]].astype(float) for g in goals]
        return np.array([g.is_met(d, rx_gy[g.metric.structure]) for g, d in zip(goals, drawn, strict=True)])

    def shares(
        of: Callable[[np.ndarray, np.ndarray], Share], source: str, partner: str
    ) -> list[tuple[float, float, float]]:
        pairs = [(values[f"new {source}"][:, j], values[partner][:, j]) for j in at]
        return [(s.value, s.low, s.high) for s in (of(*(v.astype(float) for v in pair)) for pair in pairs)]

    def of_targets(variant: str) -> np.ndarray:
        return np.array([met(variant, target.wanted).all(axis=0).mean() for target in problem.targets])

    return {
        "sources": tuple(sources),
        "first_order": [shares(first_order, source, "second") for source in sources],
        "total": [shares(total, source, "base") for source in sources],
        "without": [met(f"no {source}", problem.goals).mean(axis=1) for source in sources],
        "without_base": met("base", problem.goals).mean(axis=1),
        "coverage_without": [met(f"no {source}", problem.wanted).all(axis=0).mean() for source in sources],
        "coverage_without_base": met("base", problem.wanted).all(axis=0).mean(),
        "target_coverage_without": [of_targets(f"no {source}") for source in sources],
        "target_coverage_without_base": of_targets("base"),
    }


def _acts(problem: Problem, strategy: Strategy, numbers: Numbers) -> bool:
    """Whether other random numbers in place of some change what a strategy delivers, or what tissue makes of it."""
    base, second = (draw(problem, 0, COURSES_COMPARED) for draw in (course_draws, _second_draws))
    exchanged = Exchanged(base, second, *numbers)
    if not same_delivery(problem, strategy, base, exchanged):
        return True
    pairs = zip(_drawn_by_tissue(problem, base), _drawn_by_tissue(problem, exchanged), strict=True)
    return any(not np.array_equal(one, two) for one, two in pairs)


def _drawn_by_tissue(problem: Problem, draws: RandomNumbers) -> list[np.ndarray]:
    """Surfaces of true targets and parameters of responses in some courses."""
    surfaces = [
        target.true_target.delineation.draw(TargetDraws(draws, target.number), target.true_target.n_terms)
        for target in problem.targets
        if target.true_target is not None
    ]
    responses = [r for s in problem.structures for r in problem.biology.responses(s.name, draws).values()]
    return [*surfaces, *(np.asarray(drawn) for response in responses for drawn in vars(response).values())]


def _simulate(
    problem: Problem, index: int, sources: dict[str, Numbers], store: Store, executor: Executor
) -> dict[str, np.ndarray]:
    """Metrics (course, metric) by variant."""
    assert problem.config.budget is not None
    n_courses, size = problem.config.budget.courses, problem.config.numerics.block_courses
    draws = {
        (variant, first): some
        for first in range(0, n_courses, size)
        for variant, some in _variants(problem, sources, first, min(size, n_courses - first)).items()
    }
    plan = make_plan(problem, problem.requests[index])
    strategy = problem.strategies[index]
    deliveries = executor.map(lambda some: deliver_courses(problem, strategy, some), draws.values())
    work = prepare_work(problem, strategy, plan, deliveries, executor).for_metrics()

    def values_of(task: tuple[str, int]) -> np.ndarray:
        variant, first = task
        key = f"budget-{index:03d}-{first:08d}-{quote(variant.replace(' ', '_'), safe=_IN_FILE_NAMES)}"
        block = store.load(key)
        if block is None:
            block = {"values": work.metrics_of(draws[task])}
            store.save(key, block)
        return block["values"]

    blocks: dict[str, list[np.ndarray]] = {}
    for (variant, _), values in zip(draws, in_order(executor, values_of, draws), strict=True):
        blocks.setdefault(variant, []).append(values)
    return {variant: np.concatenate(parts) for variant, parts in blocks.items()}
