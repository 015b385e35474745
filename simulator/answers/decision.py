"""Which strategy is recommended, and why."""

import json

import numpy as np
import xarray as xr

from simulator.answers.joint import COVERAGE, ORGANS, all_met, goals_of
from simulator.conventions import percent
from simulator.population.decision import Decision
from simulator.problem.problem import Problem
from simulator.results import group

_WORST_NAMED = 3


def decision_group(
    problem: Problem, values: np.ndarray, joint: np.ndarray, decision: Decision, ptv_cc: np.ndarray, labels: list[str]
) -> xr.Dataset:
    chosen = {
        "recommended": "" if decision.recommended is None else labels[decision.recommended],
        "nearest_miss": "" if decision.nearest_miss is None else labels[decision.nearest_miss],
    }
    dataset = group(
        "decision",
        {
            "organ_risk": 1 - joint[:, ORGANS].mean(axis=1),
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
    probability = [all_met(problem, values[None], [goal]).mean() for goal in goals]
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
    margins = [ptv.margin_mm[::2] for ptv in problem.requests[strategy].ptvs]
    words = "; ".join(f"{lr:.1f} / {ap:.1f} / {si:.1f}" for lr, ap, si in margins)
    return f" ({words} mm along LR / AP / SI)"


def _reason(
    problem: Problem, values: np.ndarray, joint: np.ndarray, decision: Decision, ptv_cc: np.ndarray, labels: list[str]
) -> list[str]:
    """Sentences that say why."""
    wanted = 100 * problem.config.decision.probability
    goal = " and ".join(g.text for g in problem.wanted)
    n = joint.shape[2]
    coverage, risk = joint[:, COVERAGE].mean(axis=1), 1 - joint[:, ORGANS].mean(axis=1)
    low, high = problem.interval(joint[:, COVERAGE])

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
    sentences.append(_worst_organs(problem, values[best], joint[best, ORGANS]))
    if len(decision.tied) > 1:
        sentences.append(
            f"{len(decision.tied)} feasible strategies cannot be told from that least risk on {n} common courses "
            f"(paired 95 % interval), and of these its PTV, {ptv_cc[best]:.1f} cc, is the smallest."
        )
    return sentences
