"""Tables of goals: what each strategy meets, how often, and what was asked."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent
from simulator.metrics.kinds import kind_of
from simulator.plots.style import readable
from simulator.report.choosing import lowest
from simulator.report.text import cell

GOOD_PROBABILITY = 0.9
_GOOD = f"at least {100 * GOOD_PROBABILITY:g} %"
_NAMED_STRATEGIES = 8
FIRST_GOAL = 2  # curves on the page: coverage, organs, then the goals


def answer(results: xr.DataTree) -> dict[str, Any]:
    """Target goals and the least certain other goal of each strategy, and the sentences above the table."""
    goals = results["goals"].to_dataset()
    is_target = goals["role"].values == "target"
    targets, others = np.flatnonzero(is_target), np.flatnonzero(~is_target)
    coverage = lowest(goals, "target")
    rows = []
    for i, strategy in enumerate(goals["strategy"].values):
        row: dict[str, Any] = {"strategy": str(strategy), "cells": [_cell(goals, i, j) for j in targets]}
        if len(others):
            worst = others[np.argmin(goals["probability"].values[i, others])]
            row |= {
                "worst": _cell(goals, i, worst) | {"curve": "least"},
                "worst_goal": readable(goals["goal"].values[worst]),
            }
        rows.append(row)
    headings = [readable(goal) for goal in goals["goal"].values[targets]]
    sentences = _sentences(goals, coverage) if len(targets) else ["The study has no goal on a target."]
    return {"headings": headings, "rows": rows, "has_others": len(others) > 0, "sentences": sentences}


def _sentences(goals: xr.Dataset, coverage: np.ndarray) -> list[str]:
    names = goals["strategy"].values
    is_target = goals["role"].values == "target"
    reaching = np.flatnonzero(coverage >= GOOD_PROBABILITY)
    if not len(reaching):
        best = int(np.argmax(coverage))
        return [
            f"No strategy reaches every target goal with a probability of {_GOOD}. Closest is “{names[best]}”: its "
            f"least certain target goal is met in {percent(coverage[best])} % of courses."
        ]
    listed = ", ".join(f"“{names[i]}”" for i in reaching[:_NAMED_STRATEGIES])
    more = f" and {len(reaching) - _NAMED_STRATEGIES} more" if len(reaching) > _NAMED_STRATEGIES else ""
    surely = int((goals["ci_low"].values[:, is_target].min(axis=1) >= GOOD_PROBABILITY).sum())
    return [
        f"{len(reaching)} of {len(names)} strategies reach each of the target goals below with a probability of {_GOOD}: "
        f"{listed}{more}. For {surely} of them the whole 95 % interval lies there. The decision above asks for the wanted "
        "coverage alone."
    ]


def goal_list(results: xr.DataTree) -> list[dict[str, Any]]:
    goals = results["goals"].to_dataset()
    keys = ("structure", "metric", "operator", "limit", "unit", "role", "level", "source", "checked", "note")
    rows = []
    for j, text in enumerate(goals["goal"].values):
        row = {key: goals[key].values[j].item() for key in keys}
        row["operator"] = readable(row["operator"])
        rows.append(row | {"heading": readable(text), "limit": f"{row['limit']:g}"})
    return rows


def _cell(goals: xr.Dataset, i: int, j: int | np.integer) -> dict[str, Any]:
    """Probability of a goal, and which curve it is on where it is known."""
    shown = cell(goals, i, j)
    return shown | {"curve": FIRST_GOAL + int(j), "strategy": i} if shown["interval"] else shown


def goal_table(results: xr.DataTree) -> list[dict[str, Any]]:
    goals = results["goals"].to_dataset()
    return [
        {"strategy": str(name), "cells": [_cell(goals, i, j) for j in range(goals.sizes["goal"])]}
        for i, name in enumerate(goals["strategy"].values)
    ]


def responses(results: xr.DataTree) -> dict[str, Any] | None:
    """Mean over courses of every TCP and NTCP beside that of the planned dose, in percent; None without such metrics."""
    metrics = results["metrics"].to_dataset()
    kinds = [kind_of(str(label).split()[-1]) for label in metrics["metric"].values]
    columns = [k for k, kind in enumerate(kinds) if kind is not None and kind.response]
    if not columns:
        return None
    shown = {key: metrics[key].values / 100 for key in ("mean", "mean_low", "mean_high", "nominal")}
    rows = [
        {
            "strategy": str(name),
            "cells": [{key: percent(float(np.clip(v[i, k], 0, 1))) for key, v in shown.items()} for k in columns],
        }
        for i, name in enumerate(metrics["strategy"].values)
    ]
    return {"headings": [str(metrics["metric"].values[k]) for k in columns], "rows": rows}
