"""Margins searched: shapes by the edge of one plan, sizes by plans of their own, and a study that verifies them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from simulator.answers.beyond_grid import without_unknown
from simulator.answers.margin_shapes import ISOTROPIC, Search, limits_of, search_of
from simulator.answers.margin_sizes import Saving, Sized, margin_of, saving, size_of, with_margins
from simulator.ground.parallel import Executor
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.problem.margins import margin_spread
from simulator.problem.preparation import prepare
from simulator.problem.problem import Problem
from simulator.simulation.plans import make_plan
from simulator.strategy import Strategy
from simulator.strategy.margin import FixedMargin, Margin, VanHerkMargin
from simulator.study_file.schema import StudyConfig

AS_PUBLISHED = "van Herk, as published"
_FIRST_MM = (2.0, 10.0)
_SEEDS = 2**63


@dataclass(frozen=True)
class MarginSearch:
    """Margins that were found, and the study that verifies them.

    Parameters
    ----------
    study : an ordinary one, whose courses no search has seen.
    candidates : by name, the place of its strategy in the study. sides_mm : (strategy, target, 6), margins. targets : names.
    sized : by name, those that reach the coverage. goals : the limits of the organ that was asked for.
    seeds : of the courses of the search and of those that sizes are chosen by.
    """

    study: StudyConfig
    candidates: dict[str, int]
    sides_mm: np.ndarray
    targets: tuple[str, ...]
    sized: dict[str, Sized]
    coverage: float
    goals: tuple[str, ...]
    organ: str | None
    seeds: tuple[int, int]

    def saving(self, name: str, beside: str) -> Saving:
        """What some margins save of the PTV beside others where both cover alike, in unseen courses."""
        return saving(self.sized[name], self.sized[beside], self.coverage)


def search_margins(
    config: StudyConfig,
    *,
    strategy: str | None = None,
    organ: str | None = None,
    coverage: float | None = None,
    largest_mm: float = 20.0,
    executor: Executor,
    stage: Callable[[str], None] = lambda _: None,
) -> MarginSearch:
    """The six margins of the smallest PTV that covers, and those that spare an organ best; isotropic and van Herk's beside.

    Of several targets each gets the shape that covers it with an equal share of the risk, and all together the size with which
    they are covered as the decision asks; isotropic margins are the same for all. A target with a margin of its own keeps it.

    Parameters
    ----------
    strategy : whose motion management, guidance and PRV are meant; not needed where all strategies share them.
    organ : with limits on doses to a volume in cc; margins away from it make no larger a PTV than isotropic ones.
    coverage : wanted share of courses; that of `decision.probability` by default.

    Raises
    ------
    ConfigError : a study that cannot be searched, or a coverage that cannot be reached.
    """
    wanted = config.decision.probability if coverage is None else coverage
    own = _strategy(config, strategy)
    _require_searchable(config, wanted, largest_mm)
    config = config.model_copy(update={"decide": False})
    plain = config.model_copy(update={"precision": None, "sampling": "pseudo-random", "maps": None})
    shapes_seed, sizes_seed = ((config.seed + k) % _SEEDS for k in (1, 2))
    stage("a first plan")
    searches = _searches(plain, own, organ, wanted, largest_mm, shapes_seed, executor)
    stage("shapes of margins")
    shapes = _together({target: search.shapes(mm, organ) for target, (mm, search) in searches.items()}, wanted)
    sized = {}
    for name, shape_mm in shapes.items():
        stage(f"plans, {name}")
        sized[name] = size_of(
            plain, own, name, shape_mm, coverage=wanted, largest_mm=largest_mm,
            seeds=(sizes_seed, config.seed), executor=executor,
        )  # fmt: skip
    recipe = _recipe(wanted)
    margins: dict[str, Margin] = {AS_PUBLISHED: recipe}
    margins |= {name: _written(name, one.sides_mm(wanted)) for name, one in sized.items()}
    different = [margin for i, margin in enumerate(margins.values()) if margin not in [*margins.values()][:i]]
    study = with_margins(config, own, different, config.seed, wanted)
    study = study.model_copy(update={"name": f"{config.name}-margins"})
    problem = prepare(study)
    sides = np.array([[ptv.margin_mm for ptv in request.ptvs] for request in problem.requests])
    goals = tuple(goal.text for goal in limits_of(problem, organ)) if organ else ()
    places = {name: different.index(margin) for name, margin in margins.items()}
    names = tuple(target.name for target in problem.targets)
    return MarginSearch(study, places, sides, names, sized, wanted, goals, organ, (shapes_seed, sizes_seed))


def _recipe(coverage: float) -> VanHerkMargin:
    return VanHerkMargin(coverage_percent=round(100 * coverage, 6))


def _written(name: str, sides_mm: Mapping[str, np.ndarray]) -> Margin:
    """Margins as one would plan them, to a tenth of a mm."""
    if name == ISOTROPIC:
        return FixedMargin(margin_mm=(round(float(next(iter(sides_mm.values()))[0]), 1),) * 3)
    return margin_of(sides_mm, 1)


def _together(shapes: Mapping[str, dict[str, np.ndarray]], coverage: float) -> dict[str, dict[str, np.ndarray]]:
    """By name the shapes of all targets: isotropic ones are the same for all, others each target's own."""
    largest_mm = np.max([own[ISOTROPIC] for own in shapes.values()], axis=0)
    if not largest_mm.any():
        raise ConfigError(
            f"margins: the planning target is covered in {100 * coverage:g} % of courses without any margin; there is "
            "nothing to search"
        )
    alike = {target: own | {ISOTROPIC: largest_mm} for target, own in shapes.items()}
    names = dict.fromkeys(name for own in shapes.values() for name in own)
    return {name: {target: own.get(name, shapes[target][ISOTROPIC]) for target, own in alike.items()} for name in names}


def _searches(
    config: StudyConfig,
    own: Strategy,
    organ: str | None,
    coverage: float,
    largest_mm: float,
    seed: int,
    executor: Executor,
) -> dict[str, tuple[np.ndarray, Search]]:
    """By target what van Herk's recipe gives (6,), and a search with the plan of an isotropic margin of about that size."""
    problem = _prepared(config, own, _recipe(coverage), seed)
    targets = [target for target in problem.targets if target.stated.margin_mm is None]
    if any(not target.wanted for target in targets):
        raise ConfigError(
            "margins: decision.target_goals asks nothing of a target; add a goal on it, or give it a margin_mm"
        )
    if not targets:
        raise ConfigError(
            "margins: every target has a margin_mm of its own; take it out of those whose margins are searched"
        )
    if organ is not None:
        limits_of(problem, organ)
        if len(problem.targets) > 1:
            raise ConfigError("--organ: margins away from an organ are searched for one target alone; leave it out")
    spreads = [margin_spread(problem.setting, problem.strategies[0], target.name) for target in targets]
    recipes_mm = [_recipe(coverage).directions(spread).ravel() for spread in spreads]
    first_mm = round(float(np.clip(np.mean(recipes_mm), _FIRST_MM[0], min(_FIRST_MM[1], largest_mm))), 1)
    problem = _prepared(config, own, FixedMargin(margin_mm=(first_mm,) * 3), seed)
    plan = make_plan(problem, problem.requests[0])
    share = (
        coverage ** (1 / sum(bool(target.wanted) for target in problem.targets))
        if config.decision.coverage == "together"
        else coverage
    )
    found = [
        search_of(
            problem, plan, problem.targets[target.number], organ=organ, coverage=share, largest_mm=largest_mm, seed=seed,
            executor=executor,
        )
        for target in targets
    ]  # fmt: skip
    return {
        target.name: (recipe_mm, search) for target, recipe_mm, search in zip(targets, recipes_mm, found, strict=True)
    }


def _prepared(config: StudyConfig, own: Strategy, margin: Margin, seed: int) -> Problem:
    return without_unknown(prepare(with_margins(config, own, [margin], seed)))


def _strategy(config: StudyConfig, name: str | None) -> Strategy:
    """The strategy that is named, or any where all differ in margins alone."""
    candidates = {s.label(): s for s in config.candidates()}
    if name is not None:
        if name not in candidates:
            raise ConfigError(f"--strategy: {name!r} is none of this study{did_you_mean(name, candidates, 0.3)}")
        return candidates[name]
    roles = {(s.motion.label(), s.guidance.label(), s.prv_mm): label for label, s in candidates.items()}
    if len(roles) > 1:
        raise ConfigError(
            "margins: the strategies of this study differ in more than margins; name one whose motion management and guidance "
            f"are meant, such as --strategy {next(iter(candidates))!r}"
        )
    return next(iter(candidates.values()))


def _require_searchable(config: StudyConfig, coverage: float, largest_mm: float) -> None:
    """Refuse what has no margins to search.

    Raises
    ------
    ConfigError : what of the study, and what to do.
    """
    if not 0.5 <= coverage < 1:
        raise ConfigError(f"--coverage: {coverage:g} is a share of courses from 0.5 to below 1, such as 0.9")
    if not 1 <= largest_mm <= 50:
        raise ConfigError(f"--largest: {largest_mm:g} mm is no margin to search up to; give 1 to 50 mm")
    if config.sweep:
        raise ConfigError("margins: the study is a sweep; take `sweep` out and set one value with --set")
    if config.observed is not None and config.observed.fractions:
        raise ConfigError("margins: fractions of this patient lie behind already; take `observed` out")
    if not config.plan.plans_any_margin:
        raise ConfigError(
            f"margins: plan.model {config.plan.model} has the plans of some margins alone, and a search needs those of others; "
            "set plan.model to inverse-arc or conformal-arc"
        )
