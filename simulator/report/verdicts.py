"""The verdict in sentences, from results alone: for the report and for the terminal."""

import numpy as np
import xarray as xr

from simulator.conventions import percent
from simulator.results import JOINT_SHOWN, joint_probability, lost_targets

_MOST_NAMED = 3


def sentences_of(results: xr.DataTree) -> list[str]:
    """What the decision is and why, the answer first."""
    decision = results["decision"].to_dataset()
    best = decision.attrs["recommended"] or decision.attrs["nearest_miss"]
    n_suit = int((decision["verdict"] == "suits").sum())
    n = decision.sizes["strategy"]
    if decision.attrs["recommended"]:
        first = [
            f"“{best}”{_margin_in_mm(results, best)} is recommended: it suits. {_coverage(results, best)} "
            f"{_organs(results, best)}",
            f"{n_suit} of {n} strategies {'suits' if n_suit == 1 else 'suit'}{_tie(results)}.",
        ]
    else:
        first = [
            f"None of {n} strategies suits, so none is recommended." if n > 1 else "The strategy does not suit.",
            f"The nearest is “{best}”{_margin_in_mm(results, best)}, which {_named(results, best)}. "
            f"{_coverage(results, best)} {_organs(results, best)}",
        ]
        if n == 1:
            first = [f"{first[0]} {first[1]}"]
    return [
        *first,
        *_other_prescription(results, best),
        *_undecided(results),
        *(s for s in (lost_targets(results),) if s),
    ]


def first_sentence(results: xr.DataTree) -> str:
    """The answer for the terminal."""
    sentences = sentences_of(results)
    return " ".join(sentences[:1] if results["decision"].attrs["recommended"] else sentences[:2])


def _named(results: xr.DataTree, strategy: str) -> str:
    """The verdict on a strategy as the end of a sentence."""
    verdict = str(results["decision/verdict"].sel(strategy=strategy).item())
    return {
        "undecided": "is undecided at this number of courses",
        "covers, but": "covers, but breaks limits on organs",
        "spares, but": "spares the organs, but does not cover",
        "neither": "neither covers nor spares",
    }[verdict]


def _margin_in_mm(results: xr.DataTree, strategy: str) -> str:
    """What a margin is in numbers, where its name does not say so."""
    plan = results["plans"].to_dataset().sel(strategy=strategy)
    if str(plan["margin_label"].item())[:1].isdigit():
        return ""
    lr, ap, si = (float(side) for side in plan["margin_mm"].values[::2])
    return f" ({lr:.1f} / {ap:.1f} / {si:.1f} mm along LR / AP / SI)"


def _with_interval(probability: xr.Dataset) -> str:
    p, low, high = (float(probability[key]) for key in ("probability", "ci_low", "ci_high"))
    return f"{percent(p)} % (95 % interval {percent(low)} to {percent(high)} %)"


def _coverage(results: xr.DataTree, strategy: str) -> str:
    attrs = results["decision"].attrs
    one = joint_probability(results, JOINT_SHOWN[0]).sel(strategy=strategy)
    return f"It meets {attrs['wanted']} with {_with_interval(one)}; {percent(attrs['probability'])} % are wanted."


def _limits(results: xr.DataTree, strategy: str) -> xr.Dataset:
    """The mandatory limits on organs as a strategy meets them, the least certain first."""
    goals = results["goals"].to_dataset().sel(strategy=strategy)
    is_limit = (goals["role"] != "target") & goals["wanted_probability"].notnull()
    limits = goals.isel(goal=np.flatnonzero(is_limit.values))
    return limits.isel(goal=np.argsort((limits["probability"] - limits["wanted_probability"]).values, kind="stable"))


def _organs(results: xr.DataTree, strategy: str) -> str:
    """How the limits on organs do: those that fail, by how much, and the chance that all hold together."""
    limits = _limits(results, strategy)
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
            f"{failing.sizes['goal']} of {limits.sizes['goal']} mandatory limits on organs fail: {named}{more_text}. "
            f"In {percent(float(together['probability']))} % of courses {all_of_them}."
        )
    least = limits.isel(goal=0)
    known = "holds" if bool((limits["holds"] == "yes").all()) else "may hold"
    return (
        f"Each mandatory limit on an organ {known} with the probability wanted of it; the least certain, "
        f"{least['goal'].item()}, is met with {_with_interval(least)}, {percent(float(least['wanted_probability']))} % "
        f"wanted. In {percent(float(together['probability']))} % of courses {all_of_them}."
    )


def _missed(goal: xr.Dataset) -> str:
    """A limit that fails, how often, and the excess."""
    unit, median, p95 = str(goal["unit"].item()), float(goal["excess_median"]), float(goal["excess_p95"])
    met, wanted = percent(float(goal["probability"])), percent(float(goal["wanted_probability"]))
    return (
        f"{goal['goal'].item()} is met in {met} % ({wanted} % wanted), with an excess of {median:.1f} {unit} in the median and "
        f"{p95:.1f} {unit} in the 95th percentile of courses"
    )


def _other_prescription(results: xr.DataTree, strategy: str) -> list[str]:
    """At which prescription the limits on organs would hold, where they fail now."""
    if str(results["decision"].to_dataset()["organs_hold"].sel(strategy=strategy).item()) == "yes":
        return []
    there = results["prescription"].to_dataset().sel(strategy=strategy)
    largest, rx = float(there["largest_low_gy"]), float(results.attrs["prescription_gy"])
    if not np.isfinite(largest):
        return ["No lower prescription of the same plan is shown to keep every mandatory limit."]
    p, low, high = (percent(float(there[f"coverage_there{end}"])) for end in ("", "_low", "_high"))
    wanted, first = results["decision"].attrs["wanted"], there["first_limit"].item()
    return [
        f"The same plan, scaled, is shown to keep every mandatory limit up to a prescription of {largest:.1f} Gy "
        f"({100 * largest / rx:.0f} %; beyond, {first} fails first); the dose that {wanted} asks for today is then reached in "
        f"{p} % of courses (95 % interval {low} to {high} %)."
    ]


def _tie(results: xr.DataTree) -> str:
    tied = [name for name in str(results["decision"].attrs["tied"]).split("; ") if name]
    if len(tied) < 2:
        return ""
    return (
        f"; {len(tied)} of them cannot be told apart by their excess beyond the limits on {results.attrs['n_courses']} common "
        "courses (paired 95 % interval), and of these its PTV is the smallest"
    )


def _undecided(results: xr.DataTree) -> list[str]:
    """What it would take to settle what is not known, and how many judgements were made at once."""
    decision = results["decision"].to_dataset()
    open_ones = decision.isel(strategy=np.flatnonzero((decision["verdict"] == "undecided").values))
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
        sentences.append(
            f"{n_open} of {n} strategies {verb} undecided, as a 95 % interval contains a wanted probability: "
            f"{'; '.join(texts)} (a difference of less than {100 * decision.attrs['indifference']:g} points is not asked for)."
        )
    n_conditions = int(decision.attrs["n_conditions"])
    if n * n_conditions > 1:
        sentences.append(
            f"{n * n_conditions} probabilities ({n} strategies, {n_conditions} conditions) were judged at once, each by "
            "its own 95 % interval: of those that lie at the wanted probability, one in forty is misjudged to either side."
        )
    return sentences
