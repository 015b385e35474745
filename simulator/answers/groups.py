"""From the metrics of every course to the answers: joint probabilities, comparison, required margins and the decision."""

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr

from simulator.conventions import percent
from simulator.metrics.goals import Goal
from simulator.population.comparison import compare_metric, distinguishable, paired_difference
from simulator.population.decision import Decision, decide
from simulator.population.required_margin import (
    Chain,
    along_chain,
    interpolation_error,
    margin_chains,
    margin_of_all,
    required_margin,
)
from simulator.problem.margins import margin_spread
from simulator.problem.problem import Problem
from simulator.results import DIRECTIONS, group
from simulator.strategy.margin import Margin, MarginRecipe, published_recipes

JOINT = ("wanted coverage", "all target goals", "all organ goals", "all goals")
_COVERAGE, _ORGANS = JOINT.index("wanted coverage"), JOINT.index("all organ goals")
_WORST_NAMED = 3


def answer_groups(problem: Problem, values: np.ndarray, ptv_cc: np.ndarray) -> dict[str, xr.Dataset]:
    """The groups joint, comparison, margins and decision of the results.

    Parameters
    ----------
    values : (strategy, course, metric). ptv_cc : (strategy,).
    """
    labels = [s.label() for s in problem.strategies]
    joint = _joint_met(problem, values)
    decision = decide(
        joint[:, _COVERAGE].mean(axis=1),
        problem.interval(joint[:, _COVERAGE])[0],
        problem.config.decision.probability,
        joint[:, _ORGANS],
        ptv_cc,
    )
    return {
        "joint": _joint_group(problem, joint, labels),
        "comparison": _comparison_group(problem, values, joint, labels),
        "margins": _margins_group(problem, values),
        "decision": _decision_group(problem, values, joint, decision, ptv_cc, labels),
    }


def goals_of(problem: Problem, joint: str) -> list[Goal]:
    """The goals that a joint probability is about; optimal goals of a library do not count, unless wanted by name."""
    binding = [g for g in problem.goals if g.level != "optimal"]
    targets = [g for g in binding if g.metric.structure == problem.case.target]
    return {
        "wanted coverage": list(problem.wanted),
        "all target goals": targets,
        "all organ goals": [g for g in binding if g not in targets],
        "all goals": binding,
    }[joint]


def _met(problem: Problem, values: np.ndarray, goals: list[Goal]) -> np.ndarray:
    """Whether all of some goals are met, boolean (strategy, course)."""
    column = problem.column
    met = np.ones(values.shape[:2], bool)
    for goal in goals:
        for i, drawn in enumerate(values):
            met[i] &= goal.is_met(drawn[:, column[goal.metric.label]].astype(np.float64), problem.prescription_gy)
    return met


def _joint_met(problem: Problem, values: np.ndarray) -> np.ndarray:
    """boolean (strategy, joint, course)."""
    return np.stack([_met(problem, values, goals_of(problem, name)) for name in JOINT], axis=1)


def _joint_group(problem: Problem, joint: np.ndarray, labels: list[str]) -> xr.Dataset:
    n_met, n_courses = joint.sum(axis=2), joint.shape[2]
    low, high = problem.interval(joint)
    members = ["; ".join(g.text for g in goals_of(problem, name)) for name in JOINT]
    return group(
        "joint",
        {"probability": n_met / n_courses, "ci_low": low, "ci_high": high, "members": np.array(members)},
        {"strategy": labels, "joint": list(JOINT)},
    )


def _comparison_group(problem: Problem, values: np.ndarray, joint: np.ndarray, labels: list[str]) -> xr.Dataset:
    column = problem.column
    metrics = list({g.metric.label: g for g in (*problem.goals, *problem.wanted)}.values())
    by_metric = [
        compare_metric(values[:, :, column[g.metric.label]], larger_is_better=g.operator in (">=", ">"))
        for g in metrics
    ]
    by_joint = [paired_difference(joint[:, j]) for j in range(len(JOINT))]
    arrays = {
        "p_better": np.stack([c.p_better for c in by_metric]),
        "difference": np.stack([c.difference for c in by_metric]),
        "difference_low": np.stack([c.low for c in by_metric]),
        "difference_high": np.stack([c.high for c in by_metric]),
        "joint_difference": np.stack([difference for difference, _, _ in by_joint]),
        "joint_low": np.stack([low for _, low, _ in by_joint]),
        "joint_high": np.stack([high for _, _, high in by_joint]),
    }
    told_apart = np.stack([distinguishable(joint[:, j]) for j in range(len(JOINT))])
    return group(
        "comparison",
        {key: array.astype(np.float32) for key, array in arrays.items()} | {"distinguishable": told_apart},
        {"metric": [g.metric.label for g in metrics], "joint": list(JOINT), "strategy": labels, "other": labels},
    )


def _margins_group(problem: Problem, values: np.ndarray) -> xr.Dataset:
    """Required margins: for each motion strategy and guidance, and each chain of candidate margins."""
    probability = problem.config.decision.probability
    recipes = recipes_of(problem)
    rows = []
    for at, chain in margin_families(problem):
        strategy = problem.strategies[at[0]]
        excesses = _excesses(problem, values, at)
        found = required_margin(margin_of_all(excesses, chain.size_mm), probability)
        bounds = (found.at, found.low, found.high)
        rows.append(
            {
                "motion": strategy.motion.label(),
                "guidance": strategy.guidance.label(),
                "smallest_mm": chain.sides_mm[0],
                "largest_mm": chain.sides_mm[-1],
                **{
                    key: along_chain(chain.sides_mm, chain.size_mm, bound)
                    for key, bound in zip(("required_mm", "low_mm", "high_mm"), bounds, strict=True)
                },
                "interpolation_mm": chain.growth * interpolation_error(excesses, chain.size_mm, probability),
                "recipe_mm": _recipes_mm(problem, at[0]),
            }
        )
    sides = ("smallest_mm", "largest_mm", "required_mm", "low_mm", "high_mm")
    empty = dict.fromkeys(sides, (0, len(DIRECTIONS))) | {"recipe_mm": (0, len(recipes), len(DIRECTIONS))}
    arrays = {
        key: np.array([r[key] for r in rows]) if rows else np.zeros(empty.get(key, (0,)))
        for key in ("motion", "guidance", *sides, "interpolation_mm", "recipe_mm")
    }
    for key in ("motion", "guidance"):
        arrays[key] = arrays[key].astype(str).astype(object)
    arrays["recipe_penumbra_mm"] = np.array(problem.setting.penumbra_sd_mm)
    return group("margins", arrays, {"recipe": list(recipes), "direction": list(DIRECTIONS)})


def margin_families(problem: Problem) -> Iterator[tuple[list[int], Chain]]:
    """Strategies that differ by a constant margin alone, smallest first, and their margins: one chain where candidates are
    nested, else one for each axis."""
    candidate_mm = np.array([r.margin_mm for r in problem.requests])
    families: dict[tuple[str, str], list[int]] = {}
    for i, strategy in enumerate(problem.strategies):
        if strategy.margin.is_constant:
            families.setdefault((strategy.motion.label(), strategy.guidance.label()), []).append(i)
    for members in families.values():
        for nested in margin_chains(candidate_mm[members]):
            at = [members[i] for i in nested]
            yield at, Chain.of(candidate_mm[at])


def _excesses(problem: Problem, values: np.ndarray, at: list[int]) -> list[np.ndarray]:
    """By wanted goal, how far each course lies on the right side of the limit, (strategy, course)."""
    column = problem.column
    excesses = []
    for goal in problem.wanted:
        drawn = values[at][:, :, column[goal.metric.label]].astype(np.float64)
        sign = 1.0 if goal.operator in (">=", ">") else -1.0
        shown = goal.in_goal_unit(drawn, problem.prescription_gy)
        excesses.append(sign * (shown - goal.limit) + 1e-6 * abs(goal.limit))
    return excesses


def recipes_of(problem: Problem) -> dict[str, tuple[type[MarginRecipe], Margin | None]]:
    """By name, the published recipes for the wanted coverage and the plan's isodose."""
    coverage, isodose = problem.config.decision.probability, problem.config.prescription.isodose_percent
    return published_recipes(100 * coverage, isodose)


def _recipes_mm(problem: Problem, strategy: int) -> np.ndarray:
    """Margins of the published recipes for the same errors, (recipe, direction); NaN where there is none."""
    spread = margin_spread(problem.setting, problem.strategies[strategy])
    recipes = [recipe for _, recipe in recipes_of(problem).values()]
    return np.stack([np.full(6, np.nan) if r is None else r.directions(spread).ravel() for r in recipes])


def _decision_group(
    problem: Problem, values: np.ndarray, joint: np.ndarray, decision: Decision, ptv_cc: np.ndarray, labels: list[str]
) -> xr.Dataset:
    chosen = {
        "recommended": "" if decision.recommended is None else labels[decision.recommended],
        "nearest_miss": "" if decision.nearest_miss is None else labels[decision.nearest_miss],
    }
    dataset = group(
        "decision",
        {
            "organ_risk": 1 - joint[:, _ORGANS].mean(axis=1),
            "feasible": decision.feasible,
            "on_front": decision.on_front,
            "wanted_probability": np.array(problem.config.decision.probability),
            **{key: np.array(label) for key, label in chosen.items()},
        },
        {"strategy": labels},
    )
    dataset.attrs.update(
        **chosen,
        probability=problem.config.decision.probability,
        wanted="; ".join(g.text for g in problem.wanted),
        reason=json.dumps(_reason(problem, values, joint, decision, ptv_cc, labels), ensure_ascii=False),
    )
    return dataset


def _worst_organs(problem: Problem, values: np.ndarray, spared: np.ndarray) -> str:
    """The goals on organs that a strategy meets least often."""
    goals = goals_of(problem, "all organ goals")
    probability = [_met(problem, values[None], [goal]).mean() for goal in goals]
    worst = [i for i in np.argsort(probability, kind="stable") if probability[i] < 1][:_WORST_NAMED]
    if not worst:
        return "Every goal on an organ is met in all courses."
    named = ", ".join(f"{goals[i].text} (met in {percent(probability[i])} %)" for i in worst)
    plainly = (
        " Most courses miss a limit: whether that is acceptable is not for this rule to say."
        if spared.mean() < 0.5
        else ""
    )
    return f"Its least certain goals on organs: {named}.{plainly}"


def _margin_in_mm(problem: Problem, strategy: int) -> str:
    """What a recipe's margin is in numbers; nothing for margins that are named by theirs."""
    if problem.strategies[strategy].margin.is_constant:
        return ""
    lr, ap, si = problem.requests[strategy].margin_mm[::2]
    return f" ({lr:.1f} / {ap:.1f} / {si:.1f} mm along LR / AP / SI)"


def _reason(
    problem: Problem, values: np.ndarray, joint: np.ndarray, decision: Decision, ptv_cc: np.ndarray, labels: list[str]
) -> list[str]:
    """Sentences that say why."""
    wanted = 100 * problem.config.decision.probability
    goal = " and ".join(g.text for g in problem.wanted)
    n = joint.shape[2]
    coverage, risk = joint[:, _COVERAGE].mean(axis=1), 1 - joint[:, _ORGANS].mean(axis=1)
    low, high = problem.interval(joint[:, _COVERAGE])

    def interval(i: int) -> str:
        return f"{percent(coverage[i])} % (95 % interval {percent(low[i])} to {percent(high[i])} %)"

    if decision.recommended is None:
        miss = decision.nearest_miss
        assert miss is not None
        n_undecided = int((high >= problem.config.decision.probability).sum())
        if n_undecided:
            return [
                f"{n} courses are too few to tell: no strategy is shown to meet {goal} with a probability of {wanted:g} %, but "
                f"the 95 % intervals of {n_undecided} of {len(labels)} strategies reach that; simulate more courses.",
                f"The nearest is “{labels[miss]}” with {interval(miss)}.",
            ]
        return [
            f"Nothing is feasible: no strategy meets {goal} with a probability of {wanted:g} % at the lower end of its "
            "95 % interval.",
            f"The nearest miss is “{labels[miss]}” with {interval(miss)}.",
        ]
    best = decision.recommended
    n_feasible = int(decision.feasible.sum())
    sentences = [
        f"“{labels[best]}”{_margin_in_mm(problem, best)} is recommended. It meets {goal} with {interval(best)}, and "
        f"{wanted:g} % are wanted at the lower end of the interval; {n_feasible} of {len(labels)} strategies achieve that.",
    ]
    if not goals_of(problem, "all organ goals"):
        return [*sentences, "There are no goals on organs; of the feasible strategies its PTV is the smallest."]
    least = float(risk[decision.feasible].min())
    sentences.append(
        f"The risk that any organ misses a goal is {percent(risk[best])} %; the least among the feasible strategies is "
        f"{percent(least)} %."
    )
    sentences.append(_worst_organs(problem, values[best], joint[best, _ORGANS]))
    if len(decision.tied) > 1:
        sentences.append(
            f"{len(decision.tied)} feasible strategies cannot be told from that least risk on {n} common courses "
            f"(paired 95 % interval), and of these its PTV, {ptv_cc[best]:.1f} cc, is the smallest."
        )
    return sentences
