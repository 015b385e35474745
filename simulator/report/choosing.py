"""Strategies worth a closer look on paper, and the first one on the screen."""

import numpy as np
import xarray as xr

MOST_STRATEGIES = 4


def chosen_strategies(results: xr.DataTree) -> dict[str, str]:
    """Strategies worth a closer look, at most four, each with the reason."""
    goals = results["goals"].to_dataset()
    names = [str(name) for name in goals["strategy"].values]
    coverage, sparing = lowest(goals, "target"), lowest(goals, "oar")
    ptv_cc = results["plans"].to_dataset()["ptv_cc"].values
    decision = results["decision"].attrs
    rule = (
        (decision["recommended"], "recommended")
        if decision["recommended"]
        else (decision["nearest_miss"], "nearest miss")
    )
    reasons: list[tuple[int, str]] = [(names.index(str(rule[0])), f"{rule[1]} by the rule of the decision")]
    reasons.append((int(np.lexsort((ptv_cc, -coverage))[0]), "target goals most certain"))
    if goals["role"].values.tolist().count("target") < goals.sizes["goal"]:
        reasons.append((int(np.argmin(sparing)), "goals of organs at risk least certain"))
    reasons.append((int(np.argmin(coverage)), "target goals least certain"))
    chosen: dict[str, str] = {}
    for index, reason in reasons:
        earlier = chosen.get(names[index])
        chosen[names[index]] = f"{earlier}; {reason}" if earlier else reason
    if len(names) == 1:
        return {names[0]: "the only strategy"}
    return dict(list(chosen.items())[:MOST_STRATEGIES])


def lowest(goals: xr.Dataset, role: str) -> np.ndarray:
    """Lowest probability of each strategy among goals on targets, or on everything else; 1 without such goals."""
    is_target = goals["role"].values == "target"
    members = is_target if role == "target" else ~is_target
    return goals["probability"].values[:, members].min(axis=1, initial=1.0)
