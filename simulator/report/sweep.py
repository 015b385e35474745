"""The page of a sweep: the decision at every point, and how it changes along the axes."""

from typing import Any

import numpy as np
import xarray as xr

from simulator import plots
from simulator.ground.conventions import percent
from simulator.plots.quantities import quantity
from simulator.plots.style import LINES_PER_PANEL, readable
from simulator.report.decision import bounded, interval_mm
from simulator.report.figures import svg_uri
from simulator.report.text import cell
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import joint_probability, lost_targets, sweep_axes, sweep_points

_MOST_NAMED = 2


def sweep_page(results: xr.DataTree) -> dict[str, Any]:
    """What the page of a sweep shows."""
    shown = lines_worth_showing(results)
    decision = results["decision"].to_dataset()
    return {
        "wanted": readable(decision.attrs.get("wanted", "as each point says")),
        "probability": " or ".join(f"{100 * p:g}" for p in np.unique(decision["wanted_probability"])),
        "organ_probability": _percent_or_word(decision.attrs.get("organ_probability")),
        "table": sweep_table(results),
        "curves": svg_uri(plots.sweep_curves(results, shown)),
        "goals": [readable(str(goal)) for goal in results["goals"].to_dataset()["goal"].values],
        "rows": goal_rows(results, shown),
        "shown": shown,
        "n_strategies": results["goals"].sizes["strategy"],
    }


def _percent_or_word(probability: float | None) -> str:
    return "as each point says" if probability is None else f"{100 * probability:g}"


def sweep_table(results: xr.DataTree) -> dict[str, Any]:
    """Recommended strategy of every point, or the nearest miss, and the sentence above the table."""
    axes = sweep_axes(results)
    decision = results["decision"].to_dataset()
    coverage, organs = (joint_probability(results, name) for name in JOINT_SHOWN)
    undecided = (decision["verdict"] == "undecided").any("strategy")
    required = results["margins"].to_dataset()
    rows = []
    for number, at in enumerate(sweep_points(results)):
        here = decision.isel(at)
        recommended, nearest = str(here["recommended"].item()), str(here["nearest_miss"].item())
        chosen = recommended or nearest
        why = "undecided" if undecided.isel(at) else "none suits"
        rows.append(
            {
                "values": [_text(here[axis].item()) for axis in axes],
                "verdict": recommended or f"{why}; nearest: {nearest}",
                "coverage": cell(coverage.isel(at).sel(strategy=chosen)),
                "organs": cell(organs.isel(at).sel(strategy=chosen)),
                "margin": _smallest_required(required.isel(at)),
                "folder": f"points/{number:05d}",
            }
        )
    decided = decision["recommended"].values.astype(str) != ""
    n_undecided = int((undecided.transpose(*axes).values & ~decided).sum())
    more = f"; at {n_undecided} more that is undecided" if n_undecided else ""
    sentence = f"A strategy suits at {int(decided.sum())} of {len(rows)} points{more}. {lost_targets(results)}".strip()
    quantities = {axis: quantity(axis) for axis in axes}
    return {"axes": quantities, "rows": rows, "sentence": sentence}


def lines_worth_showing(results: xr.DataTree) -> list[str]:
    """Strategies that a point recommends or comes nearest with, most often first, then the rest; at most six."""
    decision = results["decision"].to_dataset()
    chosen = (
        np.where(decision["recommended"] != "", decision["recommended"], decision["nearest_miss"]).ravel().astype(str)
    )
    names, counts = np.unique(chosen, return_counts=True)
    often = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    return list(dict.fromkeys([*often, *map(str, decision["strategy"].values)]))[:LINES_PER_PANEL]


def _smallest_required(margins: xr.Dataset) -> str:
    """The smallest margin that reaches the wanted coverage over motion and guidance, with whose it is.

    Where the candidates do not bracket a margin, only a bound of it is known; every one that may be the smallest is named.
    """
    required, smallest, largest = (
        margins[f"{key}_mm"].transpose("series", "direction").values for key in ("required", "smallest", "largest")
    )
    is_below, is_above = (np.any(required == end, axis=1) for end in (-np.inf, np.inf))
    most = np.where(is_above, np.inf, np.where(is_below[:, None], smallest, required).sum(axis=1))
    least = np.where(is_below, -np.inf, np.where(is_above[:, None], largest, required).sum(axis=1))
    known = np.flatnonzero(np.isfinite(smallest).all(axis=1))
    order = known[np.lexsort((least[known], most[known]))]
    owners: dict[str, list[str]] = {}
    for i in order:
        if i == order[0] or least[i] < most[order[0]]:
            shown = f"{bounded(margins, i)} mm ({interval_mm(margins, i)})"
            owners.setdefault(shown, []).append(f"{margins['motion'].values[i]}, {margins['guidance'].values[i]}")
    return "; or ".join(f"{shown}, {_few(whose)}" for shown, whose in owners.items()) or "–"


def _few(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return " or ".join(names[:_MOST_NAMED]) + (f" or {more} more" if more > 0 else "")


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def goal_rows(results: xr.DataTree, strategies: list[str]) -> list[dict[str, Any]]:
    """Probability of every goal at every point in percent, for some strategies; goals that a point lacks are dashes."""
    goals = results["goals"].to_dataset()
    axes = sweep_axes(results)
    return [
        {
            "values": [_text(goals[axis].values[at[axis]]) for axis in axes],
            "strategy": strategy,
            "cells": [percent(p) for p in goals["probability"].isel(at).sel(strategy=strategy).values],
        }
        for at in sweep_points(results)
        for strategy in strategies
    ]
