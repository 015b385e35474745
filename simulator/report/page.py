"""The page: numbers of the results turned into text, and figures set into the template."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jinja2 import Environment, PackageLoader, Template

from simulator import plots
from simulator.conventions import percent
from simulator.metrics.kinds import kind_of
from simulator.plots.style import readable
from simulator.report.courses import course_tables
from simulator.report.decision import budget_tables, comparison_table, decision_table, margin_table, prescription_table
from simulator.report.sweep import goal_rows, lines_worth_showing, sweep_table
from simulator.report.text import cell, significant
from simulator.results import joint_probability, sweep_axes

GOOD_PROBABILITY = 0.9
_GOOD = f"at least {100 * GOOD_PROBABILITY:g} %"
MOST_STRATEGIES = 4
_NAMED_STRATEGIES = 8
_MOST_COVERAGE = 3
_DEVIATIONS = {"none": "no deviation", "minor": "minor deviation", "major": "major deviation"}


def render_report(results: xr.DataTree, path: Path) -> None:
    """Write one HTML file that opens offline.

    Parameters
    ----------
    results : tree as described by `simulator.results.VARIABLES`; without `/dose` there are no plan pictures.
    """
    if sweep_axes(results):
        page = _template("sweep.html").render(_sweep(results))
        path.write_text(page, encoding="utf-8")
        return
    chosen = chosen_strategies(results)
    page = _template("study.html").render(
        about=results.attrs,
        words=json.loads(results.attrs["words"]),
        decision=decision_table(results),
        prescriptions=prescription_table(results),
        answer=_answer(results),
        required=margin_table(results),
        comparison=comparison_table(results) if results["decision"].sizes["strategy"] > 1 else None,
        budgets=budget_tables(results),
        goals=_goals(results),
        table=_goal_table(results),
        responses=_responses(results),
        chosen=chosen,
        figures=_figures(results, chosen),
        plans=_plans(results),
        courses=course_tables(results, chosen),
        numerics=_numerics(results),
    )
    path.write_text(page, encoding="utf-8")


def _sweep(results: xr.DataTree) -> dict[str, Any]:
    """What the page of a sweep shows."""
    shown = lines_worth_showing(results)
    decision = results["decision"].to_dataset()
    return {
        "about": results.attrs,
        "words": json.loads(results.attrs["words"]),
        "wanted": readable(decision.attrs.get("wanted", "as each point says")),
        "probability": " or ".join(f"{100 * p:g}" for p in np.unique(decision["wanted_probability"])),
        "organ_probability": _percent_or_word(decision.attrs.get("organ_probability")),
        "table": sweep_table(results),
        "curves": _svg(plots.sweep_curves(results, shown)),
        "goals": [readable(str(goal)) for goal in results["goals"].to_dataset()["goal"].values],
        "rows": goal_rows(results, shown),
        "shown": shown,
        "n_strategies": results["goals"].sizes["strategy"],
    }


def _percent_or_word(probability: float | None) -> str:
    return "as each point says" if probability is None else f"{100 * probability:g}"


def chosen_strategies(results: xr.DataTree) -> dict[str, str]:
    """Strategies worth a closer look, at most four, each with the reason."""
    goals = results["goals"].to_dataset()
    names = [str(name) for name in goals["strategy"].values]
    coverage, sparing = _lowest(goals, "target"), _lowest(goals, "oar")
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


def _lowest(goals: xr.Dataset, role: str) -> np.ndarray:
    """Lowest probability of each strategy among goals on targets, or on everything else; 1 without such goals."""
    is_target = goals["role"].values == "target"
    members = is_target if role == "target" else ~is_target
    return goals["probability"].values[:, members].min(axis=1, initial=1.0)


def _answer(results: xr.DataTree) -> dict[str, Any]:
    """Target goals and the least certain other goal of each strategy, and the sentences above the table."""
    goals = results["goals"].to_dataset()
    is_target = goals["role"].values == "target"
    targets, others = np.flatnonzero(is_target), np.flatnonzero(~is_target)
    coverage = _lowest(goals, "target")
    rows = []
    for i, strategy in enumerate(goals["strategy"].values):
        row: dict[str, Any] = {"strategy": str(strategy), "cells": [cell(goals, i, j) for j in targets]}
        if len(others):
            worst = others[np.argmin(goals["probability"].values[i, others])]
            row |= {"worst": cell(goals, i, worst), "worst_goal": readable(goals["goal"].values[worst])}
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


def _goals(results: xr.DataTree) -> list[dict[str, Any]]:
    goals = results["goals"].to_dataset()
    keys = ("structure", "metric", "operator", "limit", "unit", "role", "level", "source", "checked", "note")
    rows = []
    for j, text in enumerate(goals["goal"].values):
        row = {key: goals[key].values[j].item() for key in keys}
        row["operator"] = readable(row["operator"])
        rows.append(row | {"heading": readable(text), "limit": f"{row['limit']:g}"})
    return rows


def _goal_table(results: xr.DataTree) -> list[dict[str, Any]]:
    goals = results["goals"].to_dataset()
    return [
        {"strategy": str(name), "cells": [cell(goals, i, j) for j in range(goals.sizes["goal"])]}
        for i, name in enumerate(goals["strategy"].values)
    ]


def _responses(results: xr.DataTree) -> dict[str, Any] | None:
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


def _figures(results: xr.DataTree, chosen: dict[str, str]) -> dict[str, Any]:
    """Data URIs of the figures; an absent key is a figure that these results cannot give."""
    goals = results["goals"].to_dataset()
    figures: dict[str, Any] = {"dvh": _svg(plots.dvh_bands(results, list(chosen)))}
    decided = results["decision"].attrs["recommended"] or results["decision"].attrs["nearest_miss"]
    structures = list(plots.shown_structures(results))[:_MOST_COVERAGE]
    figures["coverage_map"] = _svg(plots.dose_volume_coverage(results, decided, structures))
    figures["histograms"] = _svg(plots.dose_population_histograms(results, _shown_metrics(results), list(chosen)))
    if "dose" in results.children and "percentile" in results["dose"].to_dataset():
        spread = results["dose"].to_dataset()["sd"]
        asked = [name for name in chosen if bool(spread.sel(strategy=name).notnull().any())]
        figures["percentiles"] = dict(zip(asked, map(_png, plots.percentile_images(results, asked)), strict=True))
    if goals.sizes["strategy"] > 1 and joint_probability(results, "all organ goals")["members"].item():
        figures["front"] = _svg(plots.pareto_front(results))
    if "budget" in results.children:
        named = results["budget"].to_dataset()["strategy"].values
        figures["budgets"] = {str(n): _svg(plots.uncertainty_budget(results, str(n))) for n in named}
    if "courses" in results.children:
        figures["courses"] = {name: _svg(plots.courses_looked_at(results, name)) for name in chosen}
    if "dose" in results.children:
        figures["plans"] = dict(zip(chosen, map(_png, plots.plan_images(results, list(chosen))), strict=True))
    if f"{results.attrs['target']} D98%" in results["metrics"].to_dataset()["metric"].values:
        figures["d98"] = _svg(plots.target_d98_against_margin(results))
    critical = plots.critical_oar_goal(results)
    if critical is not None:
        figures["oar"] = _svg(plots.oar_against_margin(results))
        figures["oar_goal"] = readable(goals["goal"].values[critical])
    if (goals["role"].values == "target").any():
        figures["coverage"] = _svg(plots.coverage_against_margin(results))
    return figures


def _shown_metrics(results: xr.DataTree) -> list[str]:
    """The target's D98%, or its first metric, and that of the most critical goal on an organ."""
    metrics = results["metrics"].to_dataset()
    own = [
        str(m)
        for m, s in zip(metrics["metric"].values, metrics["structure"].values, strict=True)
        if s == results.attrs["target"]
    ]
    wanted = f"{results.attrs['target']} D98%"
    critical = plots.critical_oar_goal(results)
    organ = [] if critical is None else [str(results["goals"].to_dataset()["metric"].values[critical])]
    return [wanted if wanted in own else own[0], *organ]


def _svg(figure: Any) -> str:
    return _uri("image/svg+xml", plots.svg_bytes(figure))


def _png(data: bytes) -> str:
    return _uri("image/png", data)


def _uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def render_commissioning(facts: dict[str, Any], path: Path) -> None:
    """Write the page of the commissioning suite: its checks, and where and when they ran."""
    path.write_text(_template("commissioning.html").render(about={}, **facts), encoding="utf-8")


def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("simulator.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _plans(results: xr.DataTree) -> list[dict[str, Any]]:
    plans = results["plans"].to_dataset()
    rows = []
    for i, name in enumerate(plans["strategy"].values):
        row: dict[str, Any] = {str(key): plans[key].values[i] for key in plans.data_vars}
        row |= {key: significant(float(row[key])) for key in ("planning_target_cc", "ptv_cc")}
        for key in ("r100", "r50", "d2cm", "v90", "v100"):
            row[f"{key}_words"] = _DEVIATIONS[str(row[f"{key}_deviation"])]
        row["limits"] = "; ".join(
            f"{words} {row[key]}" for key, words in (("limited_by", "cut by"), ("given_up", "missed:")) if row[key]
        )
        sides = [f"{side:.3g}" for side in row["margin_mm"]]
        margin = sides[0] if len(set(sides)) == 1 else " / ".join(sides)
        rows.append(row | {"strategy": str(name), "margin": margin})
    return rows


def _numerics(results: xr.DataTree) -> list[dict[str, Any]]:
    dvh = results["dvh"].to_dataset()
    worst_gy = dvh["interpolation_error_gy"].max("strategy", skipna=True).values
    return [
        {
            "structure": str(name),
            "role": str(dvh["role"].values[k]),
            "volume_cc": significant(float(dvh["volume_cc"].values[k])),
            "points": f"{int(dvh['points'].values[k])}",
            "spacing_mm": f"{float(dvh['spacing_mm'].values[k]):.2f}",
            "error_gy": f"{worst_gy[k]:.3f}" if np.isfinite(worst_gy[k]) else "–",
        }
        for k, name in enumerate(dvh["structure"].values)
    ]
