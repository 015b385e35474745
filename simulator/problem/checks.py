"""What is wrong with a study, found before any long work."""

from collections.abc import Collection, Sequence
from itertools import combinations

from simulator.case.anatomy import Case
from simulator.case.structures import shared_cc
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.metrics.contradictions import check_goals
from simulator.metrics.goals import Goal, parse_goal
from simulator.plan.model import PlanModelKind
from simulator.problem.margins import planned_alike
from simulator.problem.problem import Problem
from simulator.strategy.guidance import Guidance
from simulator.study_file.schema import StudyConfig

_APART, _WITHIN = 0.02, 0.98
_NEARLY_ONE = 0.999


def check_plans(problem: Problem) -> None:
    """Refuse plans that cannot be made, before any is.

    Raises
    ------
    ConfigError, CaseError : see the plan's model.
    """
    plan = problem.config.plan
    if plan.prv == "unknown" and any(strategy.prv_mm for strategy in problem.strategies):
        raise ConfigError(
            f"strategies.prv_mm: plans of the model {plan.model} know no organs; take `plan: {{model: inverse-arc}}`, or leave "
            "prv_mm out"
        )
    for same in planned_alike(problem.requests):
        for target in problem.targets:
            orders = problem.orders(same, target)
            same[0].model.check(orders)
            if problem.config.simulate.interplay not in (False, "auto"):
                same[0].model.check_parts(orders)


def check_plans_are_used(models: Sequence[tuple[PlanModelKind, Collection[PlanModelKind]]]) -> None:
    """Refuse plans that are of no candidate at any point of a study.

    Parameters
    ----------
    models : at each point the plan's model, and what of it is each candidate's own.

    Raises
    ------
    ConfigError : see the plan's model.
    """
    for model in {model for model, _ in models}:
        model.check_all_used({own for other, of_candidates in models if other == model for own in of_candidates})


def targets_chosen(case: Case, names: Sequence[str]) -> Case:
    """The case with several targets.

    Raises
    ------
    ConfigError : one of them is no structure, or two overlap without one lying in the other.
    """
    for name in names:
        if name not in case.structures:
            reason = case.left_out.get(name, f"not in case {case.name!r}; it has: {', '.join(case.structures)}")
            raise ConfigError(f"targets.{name}: {reason}{did_you_mean(name, case.structures)}")
    case = case.with_targets(names)
    for one, two in combinations(sorted(case.targets, key=lambda target: target.volume_cc), 2):
        share = shared_cc(two, one) / one.volume_cc
        if _APART < share < _WITHIN:
            raise ConfigError(
                f"targets: {100 * share:.0f} % of {one.name} lie in {two.name}; targets may lie apart, or one within the other "
                "(an integrated boost): take the shared part out of one of them"
            )
    return case


def require_structure(case: Case, goal: Goal) -> None:
    name = goal.metric.structure
    if name in case.left_out:
        raise ConfigError(f"goal {goal.text!r}: {case.left_out[name]}")
    if name not in case.structures:
        raise ConfigError(
            f"goal {goal.text!r}: structure {name!r} is not in case {case.name!r}; it has: {', '.join(case.structures)} "
            f"(names are case-sensitive; case.aliases maps a clinic's own names){did_you_mean(name, case.structures)}"
        )


def wanted_goals(config: StudyConfig, case: Case) -> tuple[Goal, ...]:
    """The goals that a strategy has to meet together for the target to count as covered."""
    targets = [target.name for target in case.targets]
    texts = config.decision.target_goals or [f"{target} D98% >= 95%" for target in targets]
    wanted = tuple(parse_goal(text) for text in texts)
    check_goals(wanted, config.prescription.dose_gy)
    for goal in wanted:
        if goal.metric.structure not in targets:
            raise ConfigError(
                f"decision.target_goals: {goal.text!r} is not about the target {', '.join(targets)}; goals on organs count "
                "as risk, write them under goals"
            )
    return wanted


def check_goal_probabilities(config: StudyConfig, goals: tuple[Goal, ...]) -> None:
    """Refuse probabilities for goals that the study does not have."""
    texts = [goal.text for goal in goals]
    for text in config.decision.goal_probability:
        if text not in texts:
            raise ConfigError(
                f"decision.goal_probability: {text!r} is not a goal of this study; `simulator check` lists them"
                f"{did_you_mean(text, texts)}"
            )


def check_targets(config: StudyConfig) -> None:
    """Refuse doubt about the errors of several targets that is not told, and isocentres of each that cannot be."""
    if config.session.isocentres == "each":
        _check_isocentres(config)
    _check_margins(config)
    if len(config.targets) < 2:
        return
    if config.decision.coverage == "each" and config.not_exact():
        raise ConfigError(
            "decision.coverage: each target by itself is not asked where errors are only so well known; take `known` out of "
            "the errors, or ask for all targets together"
        )
    first, *others = config.targets
    following = [name for name in others if config.targets[name].baseline_correlation]
    for name in following:
        _check_following(config, [first, *following], name)


def _check_margins(config: StudyConfig) -> None:
    """Refuse margins by target that leave a target out, or name none, or one that has its own."""
    wanted = {name for name, target in config.targets.items() if target.margin_mm is None}
    for candidate in config.candidates():
        named = candidate.margin.named
        if named and named != wanted:
            raise ConfigError(
                f"strategies: margins {candidate.margin.label()!r} have to name every target that has no margin_mm of its own "
                f"({', '.join(name for name in config.targets if name in wanted) or 'none'})"
            )


def _check_following(config: StudyConfig, together: Sequence[str], name: str) -> None:
    """Refuse that the shifts of a target go with those of the first one where no density tells how likely both are."""
    baselines = [config.targets[one].errors(config.uncertainty).baseline for one in together]
    doubted = [shifts for baseline in baselines if baseline is not None for shifts in baseline.not_exact()]
    why = {
        "patients differ in the scale of their σ² (patient_variance_shape, or that of a posterior)": any(
            shifts.has_scales for shifts in doubted
        ),
        "one shift is the other (a correlation of 1 or -1)": doubted
        and abs(config.targets[name].baseline_correlation) > _NEARLY_ONE,
    }
    for what, is_so in why.items():
        if is_so:
            raise ConfigError(
                f"targets.{name}.baseline_correlation: it is not simulated with shifts of which only so much is known, where "
                f"{what}; take `known`, or the correlation, out"
            )


def _check_isocentres(config: StudyConfig) -> None:
    setup = config.uncertainty.setup
    guidances = {candidate.guidance.label(): candidate.guidance for candidate in config.candidates()}
    compromises = [name for name, guidance in guidances.items() if guidance.match_weights]
    cannot = {
        "there is one target; name several under targets": len(config.targets) < 2,
        "one plan treats all targets; give each its own (target under plan.doses, arcs_for: each)": not config.plan.treats_each,
        "uncertainty.setup.isocentre_mm is one for all; take one of the two out": setup is not None
        and setup.isocentre_mm is not None,
        f"{', '.join(compromises)} matches several targets at once, each isocentre its own; take targets out": compromises,
        "fractions that lie behind are not simulated with it; take observed out": config.observed is not None,
    }
    for why, is_so in cannot.items():
        if is_so:
            raise ConfigError(f"session.isocentres: each target about its own, but {why}")


def check_posteriors(config: StudyConfig) -> None:
    """Refuse posterior files that are not there, or that do not belong to the errors beside them."""
    for name, doubted in config.not_exact().items():
        for shifts in doubted:
            try:
                shifts.check()
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from None


def _check_guidance(guidance: Guidance, config: StudyConfig, case: Case) -> None:
    """Refuse a protocol that never acts, or that matches what is no target."""
    n_fractions = config.prescription.fractions
    for name in guidance.match_weights:
        if not case.treats(name):
            treated = ", ".join(target.name for target in case.targets)
            raise ConfigError(
                f"strategies.guidance.{guidance.label()}.targets: {name} is no target, images are matched on bone or on "
                f"targets ({treated})"
            )
    if guidance.fractions_before_correction() >= n_fractions:
        raise ConfigError(
            f"strategies.guidance.{guidance.label()}: would correct from fraction "
            f"{guidance.fractions_before_correction() + 1} on, but prescription.fractions is {n_fractions}; measure fewer "
            "fractions (measured_fractions), or choose another guidance"
        )


def check_sources(config: StudyConfig, case: Case) -> None:
    """Refuse structures that the case does not have, and motion management that has nothing to manage."""
    uncertainty = config.uncertainty
    named = {"uncertainty.organs": tuple(uncertainty.organs)}
    named |= {f"biology.{section}": tuple(models) for section, models in config.biology.sections.items()}
    for target in case.targets:
        named |= {f"uncertainty.{key}": names for key, names in uncertainty.moving(target.name).items()}
    for strategy in config.candidates():
        motion = strategy.motion
        named |= {f"strategies.motion.{motion.label()}.{key}": names for key, names in motion.moving().items()}
        if motion.needs_breathing_to is not None and uncertainty.respiration is None:
            raise ConfigError(
                f"strategies.motion.{motion.kind}: there is no breathing to {motion.needs_breathing_to}; add "
                "uncertainty.respiration"
            )
        _check_guidance(strategy.guidance, config, case)
    for key, names in named.items():
        unknown = [name for name in names if name not in case.structures]
        if unknown and unknown[0] in case.left_out:
            raise ConfigError(f"{key}: {case.left_out[unknown[0]]}")
        if unknown:
            raise ConfigError(
                f"{key}: {', '.join(unknown)} not in case {case.name!r}; it has: {', '.join(case.structures)}"
            )
    phases = uncertainty.respiration.phases_mm if uncertainty.respiration else None
    for target in case.targets:
        if target.name in uncertainty.organs:
            raise ConfigError(
                f"uncertainty.organs: {target.name} is the target; describe its shifts under uncertainty.baseline"
            )
        if phases is not None and target.name not in phases:
            raise ConfigError(f"uncertainty.respiration.phases_mm: the target {target.name} has no phases; add them")
