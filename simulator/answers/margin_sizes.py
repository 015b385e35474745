"""How large margins of some shapes have to be with plans of their own, and what that saves in courses not searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from simulator.answers.beyond_grid import without_unknown
from simulator.answers.margins import excesses_of
from simulator.ground.parallel import Executor, in_order
from simulator.ground.spec import ConfigError
from simulator.population.required_margin import falls_along, margin_of_all, required_margin
from simulator.problem.preparation import prepare
from simulator.problem.problem import Problem
from simulator.sampling.streams import Draws
from simulator.simulation.courses import deliver_courses
from simulator.simulation.plans import make_plans
from simulator.simulation.work import prepare_work
from simulator.strategy import Strategy
from simulator.strategy.margin import AsymmetricMargin, Margin, TargetMargins
from simulator.study_file.schema import StudyConfig

_FACTORS, _STEP, _LEAST = (0.87, 1.0, 1.15), 1.15, 0.1
_RESAMPLED, _SEED = 2000, 7

Excesses = list[list[np.ndarray]]


@dataclass(frozen=True)
class Sized:
    """Margins of one shape in several sizes, each with a plan of its own.

    Parameters
    ----------
    shape_mm : by target six margins. factor, volume_cc : (size,), how large, and the volumes of all PTVs together.
    searched, unseen : (asked, course), the factor from which each course is covered, for what is asked of all targets in the
        same course, or of each by itself: those that the size is chosen by, and others.
    """

    shape_mm: Mapping[str, np.ndarray]
    factor: np.ndarray
    volume_cc: np.ndarray
    searched: np.ndarray
    unseen: np.ndarray

    def sides_mm(self, coverage: float) -> dict[str, np.ndarray]:
        """By target six margins that reach a coverage in the courses that the size is chosen by."""
        size = max(required_margin(needed, coverage).at for needed in self.searched)
        return {target: shape_mm * size for target, shape_mm in self.shape_mm.items()}

    def needed_cc(self, coverage: float, of: np.ndarray | None = None) -> np.ndarray:
        """PTV volume at a coverage in unseen courses; of each row of course numbers (n, course) where given."""
        drawn = self.unseen[:, None] if of is None else self.unseen[:, of]
        rank = max(1, int(np.ceil(coverage * drawn.shape[2]))) - 1
        at = np.partition(drawn, rank, axis=2)[..., rank].max(axis=0)
        cubed = np.interp(np.clip(at, self.factor[0], self.factor[-1]), self.factor, np.cbrt(self.volume_cc))
        return np.asarray(cubed**3)


@dataclass(frozen=True)
class Saving:
    """What a shape saves of the PTV beside another one where both cover alike: in cc, and as a share with its 95 % interval."""

    cc: float
    share: float
    low: float
    high: float


def saving(one: Sized, other: Sized, coverage: float) -> Saving:
    """What one shape saves beside another, on unseen courses that are resampled for both together (percentile bootstrap)."""
    rng, n = np.random.default_rng(_SEED), one.unseen.shape[1]
    drawn = rng.integers(0, n, (_RESAMPLED, n), np.int32)
    shares = 1 - one.needed_cc(coverage, drawn) / other.needed_cc(coverage, drawn)
    own_cc, other_cc = one.needed_cc(coverage)[0], other.needed_cc(coverage)[0]
    low, high = np.quantile(shares, (0.025, 0.975))
    return Saving(float(other_cc - own_cc), float(1 - own_cc / other_cc), float(low), float(high))


def size_of(
    config: StudyConfig,
    strategy: Strategy,
    name: str,
    shape_mm: Mapping[str, np.ndarray],
    *,
    coverage: float,
    largest_mm: float,
    seeds: tuple[int, int],
    executor: Executor,
) -> Sized:
    """Sizes of a shape around the one that covers, with a plan each; one size for all targets, chosen by what the decision asks
    of them.

    Parameters
    ----------
    seeds : of the courses that the size is chosen by, and of others; `config.courses` of each.

    Raises
    ------
    ConfigError : no size reaches the coverage, any does, or larger margins cover less.
    """
    factors, largest_shape_mm = list(_FACTORS), max(sides.max() for sides in shape_mm.values())
    known: dict[float, tuple[float, list[Excesses]]] = {}
    while True:
        new = [f for f in factors if f not in known]
        known |= dict(zip(new, _simulated(config, strategy, shape_mm, new, seeds, executor), strict=True))
        factor, volume_cc = np.array(factors), np.array([known[f][0] for f in factors])
        searched, unseen = (_by_size([known[f][1][i] for f in factors]) for i in (0, 1))
        if any(falls_along(goals) for goals in searched):
            raise ConfigError(
                f"margins: {name}: plans of larger margins cover less often, because they give up coverage for limits of "
                "organs; ask for less with --coverage, or take limits out of the goals that plans keep"
            )
        needed = [np.array([margin_of_all(goals, factor) for goals in some]) for some in (searched, unseen)]
        found = [[required_margin(one, coverage) for one in some] for some in needed]
        if any(f.high == np.inf for some in found for f in some):
            factors.append(factors[-1] * _STEP)
        elif any(all(f.low == -np.inf for f in some) for some in found):
            factors.insert(0, factors[0] / _STEP)
        else:
            return Sized(shape_mm, factor, volume_cc, *needed)
        if factors[-1] * largest_shape_mm > largest_mm * _STEP:
            raise ConfigError(
                f"margins: {name}: plans with margins up to {largest_mm:g} mm do not reach a coverage of {100 * coverage:g} %; "
                "ask for less with --coverage or allow more with --largest"
            )
        if factors[0] < _LEAST:
            raise ConfigError(
                f"margins: {name}: plans with margins of {factors[1] * largest_shape_mm:.1f} mm cover more than "
                f"{100 * coverage:g} % already; ask for more with --coverage"
            )


def with_margins(
    config: StudyConfig, strategy: Strategy, margins: list[Margin], seed: int, coverage: float | None = None
) -> StudyConfig:
    """The same study with other margins for the motion management and guidance of one of its strategies."""
    raw = config.model_dump()
    roles = {"motion": strategy.motion.model_dump(), "guidance": strategy.guidance.model_dump()}
    own = [{"margin_mm": m.model_dump(), **roles, "prv_mm": strategy.prv_mm} for m in margins]
    raw |= {"strategies": own, "seed": seed, "budget": None}
    if raw["maps"] is not None:
        raw["maps"]["strategies"] = ()
    if coverage is not None:
        raw["decision"]["probability"] = coverage
    return StudyConfig.model_validate(raw)


def margin_of(sides_mm: Mapping[str, np.ndarray], digits: int) -> Margin:
    """Six margins of each target as a strategy has them."""
    each = {target: asymmetric(sides, digits) for target, sides in sides_mm.items()}
    return TargetMargins(targets=each) if len(each) > 1 else next(iter(each.values()))


def asymmetric(sides_mm: np.ndarray, digits: int) -> AsymmetricMargin:
    """Six margins as a strategy has them."""
    names = ("right_mm", "left_mm", "anterior_mm", "posterior_mm", "inferior_mm", "superior_mm")
    return AsymmetricMargin(
        **{name: float(mm) for name, mm in zip(names, np.round(sides_mm, digits) + 0.0, strict=True)}
    )


def targets_alone(problem: Problem) -> Problem:
    """The same problem measuring its targets alone, which decide the coverage."""
    names = {target.name for target in problem.targets}
    return replace(problem, structures=tuple(s for s in problem.structures if s.name in names))


def _simulated(
    config: StudyConfig,
    strategy: Strategy,
    shape_mm: Mapping[str, np.ndarray],
    factors: list[float],
    seeds: tuple[int, int],
    executor: Executor,
) -> list[tuple[float, list[Excesses]]]:
    """By factor the volume of the PTVs, and by seed the excesses."""
    margins = [margin_of({target: shape * factor for target, shape in shape_mm.items()}, 3) for factor in factors]
    problem = targets_alone(without_unknown(prepare(with_margins(config, strategy, margins, seeds[0]))))
    plans = make_plans(problem, problem.requests, executor)
    n, size = config.courses, config.numerics.block_courses
    draws = [Draws(seed, at, min(size, n - at)) for seed in seeds for at in range(0, n, size)]
    deliveries = in_order(executor, partial(deliver_courses, problem, problem.strategies[0]), draws)
    found = []
    for i, plan in enumerate(plans):
        work = prepare_work(problem, problem.strategies[i], plan, deliveries, executor).for_metrics()
        values = np.concatenate(in_order(executor, work.metrics_of, draws))
        volume_cc = sum(planned.ptv.volume_cc for planned in plan.planned)
        found.append((volume_cc, [_excesses(problem, i, part) for part in (values[:n], values[n:])]))
    return found


def _excesses(problem: Problem, strategy: int, values: np.ndarray) -> Excesses:
    """By what has to be met together, the excess (course,) of each goal."""
    padded = np.broadcast_to(values, (len(problem.strategies), *values.shape))
    by_goal: dict[str, np.ndarray] = {}
    for target in problem.targets:
        found = excesses_of(problem, target, padded, [strategy])
        by_goal |= {goal.text: excess[0] for goal, excess in zip(target.wanted, found, strict=True)}
    return [[by_goal[goal.text] for goal in together] for together in problem.wanted_together]


def _by_size(sizes: Sequence[Excesses]) -> Excesses:
    """Excesses (size, course) of those (course,) of each size."""
    return [[np.stack(goal) for goal in zip(*some, strict=True)] for some in zip(*sizes, strict=True)]
