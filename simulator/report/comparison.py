"""The page of several studies: what each strategy reaches in each of them, and paired differences on common courses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simulator import plots
from simulator.metrics.goals import parse_goal
from simulator.plots.style import readable
from simulator.population.comparison import compare_metric, paired_difference
from simulator.report.decision import labelled_verdict, sides_mm, signed
from simulator.report.figures import svg_uri
from simulator.report.page import page_of
from simulator.report.text import cell, significant
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import joint_probability

Studies = Mapping[str, xr.DataTree]


def render_comparison(studies: Studies, differs: Mapping[str, str], common: Mapping[str, int], path: Path) -> None:
    """Write one page that opens offline.

    Parameters
    ----------
    differs : for each study but the first, the settings in which it differs from it.
    common : for each study but the first, how many of its courses are those of the first.
    """
    first = next(iter(studies))
    page = page_of(
        "comparison.html",
        about={"interval": studies[first].attrs["interval"]},
        first=first,
        studies=[_study(name, results) for name, results in studies.items()],
        differs={name: readable(what) for name, what in differs.items()},
        rows=strategy_rows(studies),
        paired=paired_rows(studies, common),
        target_metric=_target_metric(studies[first]),
        figure_uri=svg_uri(plots.side_by_side(studies)),
    )
    path.write_text(page, encoding="utf-8")


def _study(name: str, results: xr.DataTree) -> dict[str, Any]:
    about, decision = results.attrs, results["decision"].attrs
    return {
        "name": name,
        "case": f"{about['case_name']}, target {about['target']}",
        "prescription": f"{about['prescription_gy']:g} Gy in {about['fractions']} fractions on the "
        f"{about['isodose_percent']:g} % isodose",
        "wanted": readable(decision["wanted"]),
        "recommended": decision["recommended"] or f"none; nearest: {decision['nearest_miss']}",
        "n_courses": about["n_courses"],
        "seed": about["seed"],
        "version": about["simulator_version"],
        "created": about["created"],
        "hash": about["result_hash"],
    }


def strategy_rows(studies: Studies) -> list[dict[str, Any]]:
    """Each strategy in each study that has it: margin in mm, verdict and probabilities."""
    rows = []
    for shown, owners in plots.strategies_apart(studies).items():
        for study, strategy in owners.items():
            results = studies[study]
            decision, plan = results["decision"].to_dataset(), results["plans"].to_dataset().sel(strategy=strategy)
            i = [str(name) for name in decision["strategy"].values].index(strategy)
            coverage, organs = (joint_probability(results, name).sel(strategy=strategy) for name in JOINT_SHOWN)
            rows.append(
                {
                    "strategy": shown,
                    "study": study,
                    "margin": sides_mm(plan["margin_mm"].values),
                    "verdict": labelled_verdict(decision, i),
                    "chosen": strategy == decision.attrs["recommended"],
                    "coverage": cell(coverage),
                    "organs": cell(organs),
                    "ptv_cc": significant(float(plan["ptv_cc"])),
                }
            )
    return rows


def paired_rows(studies: Studies, common: Mapping[str, int]) -> list[dict[str, Any]]:
    """Strategies of each study less the same strategies of the first, course by course, where their courses are the same."""
    first = next(iter(studies))
    rows = []
    for shown, owners in plots.strategies_apart(studies).items():
        for study in owners:
            n_courses = common.get(study, 0)
            if first not in owners or not n_courses:
                continue
            both = [(studies[name], owners[name]) for name in (study, first)]
            n_courses = min(n_courses, *(_n_simulated(results, strategy) for results, strategy in both))
            row: dict[str, Any] = {"strategy": shown, "study": study, "n_courses": n_courses}
            row |= {joint: _joint_difference(both, joint, n_courses) for joint in JOINT_SHOWN}
            rows.append(row | {"metric": _metric_difference(both, n_courses)})
    return rows


Pair = list[tuple[xr.DataTree, str]]
_UNKNOWN = {"text": "–", "interval": ""}


def _n_simulated(results: xr.DataTree, strategy: str) -> int:
    """Courses of a strategy, fewer than those of the study where it was stopped."""
    return int(results["metrics/value"].sel(strategy=strategy).notnull().any("metric").sum())


def _joint_difference(both: Pair, joint: str, n_courses: int) -> dict[str, Any]:
    """Difference of a joint probability in points; a dash where the studies ask for different goals."""
    members = {str(joint_probability(results, joint)["members"].item()) for results, _ in both}
    if len(members) > 1 or "" in members:
        return _UNKNOWN
    met = np.stack([_met(results, strategy, *members)[:n_courses] for results, strategy in both])
    return signed([matrix[0, 1] for matrix in paired_difference(met)], 100.0)


def _met(results: xr.DataTree, strategy: str, members: str) -> np.ndarray:
    """In which courses all of some goals are met."""
    value, rx_gy = (
        results["metrics"].to_dataset()["value"].sel(strategy=strategy),
        float(results.attrs["prescription_gy"]),
    )
    met = np.ones(value.sizes["course"], bool)
    for text in members.split("; "):
        goal = parse_goal(text)
        met &= goal.is_met(value.sel(metric=goal.metric.label).values.astype(np.float64), rx_gy)
    return met


def _metric_difference(both: Pair, n_courses: int) -> dict[str, Any]:
    """Mean difference of the metric that stands for the coverage; a dash where a study lacks it."""
    label = _target_metric(both[1][0])
    if any(label not in results["metrics"].to_dataset()["value"]["metric"].values for results, _ in both):
        return _UNKNOWN
    values = np.stack(
        [
            results["metrics"].to_dataset()["value"].sel(strategy=strategy, metric=label).values[:n_courses]
            for results, strategy in both
        ]
    )
    found = compare_metric(values, larger_is_better=True)
    unit = str(both[1][0]["metrics/unit"].sel(metric=label).item())
    shown = signed([matrix[0, 1] for matrix in (found.difference, found.low, found.high)], 1.0)
    return shown | {"text": f"{shown['text']} {unit}"}


def _target_metric(results: xr.DataTree) -> str:
    """The metric of the first wanted goal."""
    return str(parse_goal(results["decision"].attrs["wanted"].split("; ")[0]).metric.label)
