"""The verdict in sentences, from results alone: for the report and for the terminal."""

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent
from simulator.report.helps import help_for
from simulator.report.knowledge import knowledge_sentences, known_in_words
from simulator.report.weights import weight_sentences
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import (
    asks_each_target,
    joint_probability,
    lost_targets,
    observed_remark,
    rough_doses,
    stopped_by_strategy,
)

_MOST_NAMED = 3


def sentences_of(results: xr.DataTree) -> list[str]:
    """What the decision is and why, the answer first."""
    return [*answer_of(results), *remarks_on(results)]


def first_sentence(results: xr.DataTree) -> str:
    """The answer in one piece, for the terminal."""
    return "\n".join([*answer_of(results), *knowledge_sentences(results), *weight_sentences(results)])


def answer_of(results: xr.DataTree) -> list[str]:
    """What is recommended; where nothing is, what comes nearest and why, and what would help."""
    decision = results["decision"].to_dataset()
    best, n = decision.attrs["recommended"] or decision.attrs["nearest_miss"], decision.sizes["strategy"]
    stopped = stopped_by_strategy(results).get(best)
    reasons = f"{_coverage(results, best)} {_organs(results, best)}" + (f" It was {stopped}." if stopped else "")
    if decision.attrs["recommended"]:
        return [f"“{best}”{_margin_in_mm(results, best)} is recommended: it suits. {reasons}"]
    name, verdict = f"“{best}”{_margin_in_mm(results, best)}", _named(results, best)
    if n == 1:
        return [f"{name} does not suit: it {verdict}. {reasons}", *help_for(results, best)]
    none = f"None of {n} strategies suits, so none is recommended."
    return [none, f"The nearest is {name}, which {verdict}. {reasons}", *help_for(results, best)]


def remarks_on(results: xr.DataTree) -> list[str]:
    """What else there is to say of the decision."""
    decision = results["decision"].to_dataset()
    n_suit, n = int((decision["verdict"] == "suits").sum()), decision.sizes["strategy"]
    suiting = [f"{n_suit} of {n} strategies {'suits' if n_suit == 1 else 'suit'}{_tie(results)}."] if n_suit else []
    known, lost = observed_remark(results), lost_targets(results)
    said = (
        known,
        *suiting,
        _stopped(results),
        *knowledge_sentences(results),
        *weight_sentences(results),
        *_undecided(results),
        lost,
        rough_doses(results),
    )
    return [sentence for sentence in said if sentence]


def _named(results: xr.DataTree, strategy: str) -> str:
    """The verdict on a strategy as the end of a sentence."""
    verdict = str(results["decision/verdict"].sel(strategy=strategy).item())
    return {
        "undecided": "is undecided at this number of courses"
        if "knowledge" not in _left_open_by(results, strategy)
        else "is undecided, as too little is known of the errors",
        "covers, but": "covers, but breaks limits on organs",
        "spares, but": "spares the organs, but does not cover",
        "neither": "neither covers nor spares",
    }[verdict]


def _left_open_by(results: xr.DataTree, strategy: str) -> str:
    """What leaves a verdict undecided: courses, knowledge, both, or nothing."""
    if "knowledge" not in results.children:
        return "courses"
    return str(results["knowledge/undecided_by"].sel(strategy=strategy).item())


def _margin_in_mm(results: xr.DataTree, strategy: str) -> str:
    """What a margin is in numbers, where its name does not say so."""
    plan = results["plans"].to_dataset().sel(strategy=strategy)
    if str(plan["margin_label"].item())[:1].isdigit():
        return ""
    lr, ap, si = (float(side) for side in plan["margin_mm"].values[::2])
    return f" ({lr:.1f} / {ap:.1f} / {si:.1f} mm along LR / AP / SI)"


def _with_interval(probability: xr.Dataset, known: str) -> str:
    p, low, high = (float(probability[key]) for key in ("probability", "ci_low", "ci_high"))
    return f"{percent(p)} % (95 % interval {percent(low)} to {percent(high)} %{known})"


def _coverage(results: xr.DataTree, strategy: str) -> str:
    attrs = results["decision"].attrs
    one = joint_probability(results, JOINT_SHOWN[0]).sel(strategy=strategy)
    if asks_each_target(results):
        found = results["targets"].to_dataset().sel(strategy=strategy)
        targets = [found.isel(target=k) for k in range(found.sizes["target"])]
        each = ", ".join(f"{target['wanted'].item()} with {_with_interval(target, '')}" for target in targets)
        wanted, together = (percent(p) for p in (attrs["probability"], float(one["probability"])))
        return f"It meets {each}; {wanted} % are wanted of each target, and {together} % of courses cover all of them."
    met = _with_interval(one, known_in_words(results, strategy))
    return f"It meets {attrs['wanted']} with {met}; {percent(attrs['probability'])} % are wanted."


def limits_of(results: xr.DataTree, strategy: str) -> xr.Dataset:
    """The mandatory limits on organs as a strategy meets them, the least certain first."""
    goals = results["goals"].to_dataset().sel(strategy=strategy)
    is_limit = (goals["role"] != "target") & goals["wanted_probability"].notnull()
    limits = goals.isel(goal=np.flatnonzero(is_limit.values))
    return limits.isel(goal=np.argsort((limits["probability"] - limits["wanted_probability"]).values, kind="stable"))


def _organs(results: xr.DataTree, strategy: str) -> str:
    """How the limits on organs do: those that fail, by how much, and the chance that all hold together."""
    limits = limits_of(results, strategy)
    if not limits.sizes["goal"]:
        return "There are no mandatory limits on organs."
    together = joint_probability(results, JOINT_SHOWN[1]).sel(strategy=strategy)
    all_of_them = f"all {limits.sizes['goal']} hold together" if limits.sizes["goal"] > 1 else "it holds"
    failing = limits.isel(goal=np.flatnonzero((limits["holds"] == "no").values))
    if failing.sizes["goal"]:
        named = "; ".join(_missed(failing.isel(goal=i)) for i in range(min(failing.sizes["goal"], _MOST_NAMED)))
        more = failing.sizes["goal"] - _MOST_NAMED
        more_text = f"; and {more} more" if more > 0 else ""
        return (
            f"{failing.sizes['goal']} of {limits.sizes['goal']} mandatory limits on organs fail, with an excess in the median "
            f"and the 95th percentile of courses of {named}{more_text}. "
            f"In {percent(float(together['probability']))} % of courses {all_of_them}."
        )
    least = limits.isel(goal=0)
    met = _with_interval(least, known_in_words(results, strategy, str(least["goal"].item())))
    known = "holds" if bool((limits["holds"] == "yes").all()) else "may hold"
    return (
        f"Each mandatory limit on an organ {known} with the probability wanted of it; the least certain, "
        f"{least['goal'].item()}, is met with {met}, {percent(float(least['wanted_probability']))} % "
        f"wanted. In {percent(float(together['probability']))} % of courses {all_of_them}."
    )


def _missed(goal: xr.Dataset) -> str:
    """By how much a limit is missed that fails, and how often it is met."""
    unit, median, p95 = str(goal["unit"].item()), float(goal["excess_median"]), float(goal["excess_p95"])
    met, wanted = percent(float(goal["probability"])), percent(float(goal["wanted_probability"]))
    return f"{median:.1f} and {p95:.1f} {unit} for {goal['goal'].item()} (met in {met} %, {wanted} % wanted)"


def _tie(results: xr.DataTree) -> str:
    tied = [name for name in str(results["decision"].attrs["tied"]).split("; ") if name]
    if len(tied) < 2:
        return ""
    return (
        f"; {len(tied)} of them cannot be told apart by what they miss on {_common_courses(results, tied)} common "
        "courses (paired 95 % interval), and of these its PTV is the smallest"
    )


def _common_courses(results: xr.DataTree, strategies: list[str]) -> str:
    """How many courses strategies have in common, two of them at least."""
    most = int(results.attrs["n_courses"])
    if "n_courses" not in results["decision"].data_vars:
        return str(most)
    fewest = int(results["decision/n_courses"].sel(strategy=strategies).min())
    return f"{fewest} or more" if fewest < most else str(most)


def _stopped(results: xr.DataTree) -> str:
    """Which share of the courses was not simulated, as verdicts were settled; empty where no strategy stopped."""
    stopped, n = stopped_by_strategy(results), results["decision"].sizes["strategy"]
    if not stopped:
        return ""
    simulated, most = int(results["decision/n_courses"].sum()), int(results["decision"].attrs["most_courses"])
    return (
        f"{len(stopped)} of {n} strategies were stopped before {most} courses, as their verdict was settled: {simulated} "
        f"courses were simulated in place of {n * most}. Their probabilities are those at the stop, less precise than the "
        "others; two strategies are compared on the courses that both have, and the required margin of a series rests on those "
        "that all of its candidates have."
    )


def _undecided(results: xr.DataTree) -> list[str]:
    """What it would take to settle what is not known, and how many judgements were made at once."""
    decision = results["decision"].to_dataset()
    names = [str(name) for name in decision["strategy"].values[(decision["verdict"] == "undecided").values]]
    open_ones = decision.sel(strategy=[name for name in names if "courses" in _left_open_by(results, name)])
    n = decision.sizes["strategy"]
    sentences = []
    if n_open := open_ones.sizes["strategy"]:
        needed = open_ones["courses_to_decide"].values
        settled = needed[np.isfinite(needed)]
        verb, them = ("is", "it") if n_open == 1 else ("are", "them")
        texts = []
        if len(settled):
            texts.append(
                f"one new run of {settled.max():.0f} courses, with another seed, would settle {them} nine times in ten"
            )
        if len(settled) < n_open:
            texts.append(f"{n_open - len(settled)} too close to call with a million courses")
        within = f"±{100 * decision.attrs['indifference']:g} %"
        sentences.append(
            f"{n_open} of {n} strategies {verb} undecided, as a 95 % interval contains a wanted probability: "
            f"{'; '.join(texts)} (probabilities within {within} of the wanted one count as equal)."
        )
    n_conditions = int(decision.attrs["n_conditions"])
    if "stopped" in decision:
        sentences.append(
            f"The verdicts on all {n} strategies are right together in 95 % of such studies, wherever they stop: their "
            "intervals are wide enough for all looks, strategies and conditions."
        )
    elif n * n_conditions > 1:
        sentences.append(
            f"{n * n_conditions} probabilities ({n} strategies, {n_conditions} conditions) were judged at once, each by "
            "its own 95 % interval: of those that lie at the wanted probability, one in forty is misjudged to either side."
        )
    return sentences
