"""The page of a sweep: the decision at every point, and how it changes along the axes."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.plots.style import LINES_PER_PANEL
from simulator.report.text import cell, percent
from simulator.results import sweep_axes, sweep_points


def sweep_table(results: xr.DataTree) -> dict[str, Any]:
    """Recommended strategy of every point, or the nearest miss, and the sentence above the table."""
    axes = sweep_axes(results)
    decision = results["decision"].to_dataset()
    joint = results["joint"].to_dataset()
    required = results["margins"].to_dataset()
    rows = []
    for number, at in enumerate(sweep_points(results)):
        here = decision.isel(at)
        recommended, nearest = str(here["recommended"].item()), str(here["nearest_miss"].item())
        chosen = recommended or nearest
        shown = joint.isel(at).sel(strategy=chosen)
        rows.append(
            {
                "values": [_text(here[axis].item()) for axis in axes],
                "verdict": recommended or f"nothing feasible; nearest: {nearest}",
                "coverage": cell(shown.sel(joint="wanted coverage")),
                "organs": cell(shown.sel(joint="all organ goals")),
                "margin": _required_mm(required.isel(at)),
                "folder": f"points/{number:05d}",
            }
        )
    n = sum(bool(r) for r in decision["recommended"].values.ravel().astype(str))
    return {"axes": axes, "rows": rows, "sentence": f"A strategy is feasible at {n} of {len(rows)} points."}


def lines_worth_showing(results: xr.DataTree) -> list[str]:
    """Strategies that a point recommends or comes nearest with, most often first, then the rest; at most six."""
    decision = results["decision"].to_dataset()
    chosen = (
        np.where(decision["recommended"] != "", decision["recommended"], decision["nearest_miss"]).ravel().astype(str)
    )
    names, counts = np.unique(chosen, return_counts=True)
    often = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    return list(dict.fromkeys([*often, *map(str, decision["strategy"].values)]))[:LINES_PER_PANEL]


def _required_mm(margins: xr.Dataset) -> str:
    """The smallest margin that reaches the wanted coverage over motion and guidance, with whose it is."""
    largest = margins["required_mm"].max("direction").values
    if not np.isfinite(largest).any():
        return "–"
    best = int(np.nanargmin(np.where(np.isfinite(largest), largest, np.nan)))
    low, high = (margins[key].max("direction").values[best] for key in ("low_mm", "high_mm"))
    whose = f"{margins['motion'].values[best]}, {margins['guidance'].values[best]}"
    return f"{largest[best]:.1f} mm ({low:.1f} to {high:.1f}), {whose}"


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
