"""Tables of the report that decide: verdicts, required margins, paired comparison and the uncertainty budget."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent
from simulator.plots.style import readable
from simulator.report.knowledge import known_of_source
from simulator.report.text import cell, significant
from simulator.report.verdicts import answer_of, remarks_on
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import joint_probability, observed_remark

# What the table of strategies can be filtered by, and where the results say it.
FILTERED = {"motion": "motion", "margin": "margin_label", "guidance": "guidance"}


def decision_table(results: xr.DataTree) -> dict[str, Any]:
    """Verdict on each strategy in the order of the rule, and the sentences above the table."""
    decision = results["decision"].to_dataset()
    plans = results["plans"].to_dataset()
    ptv_cc = plans["ptv_cc"].values
    coverage, organs = (joint_probability(results, name) for name in JOINT_SHOWN)
    attrs = decision.attrs
    goals = results["goals"].to_dataset()
    n_limits = int(((goals["role"] != "target") & goals["wanted_probability"].notnull()).sum())
    rows = [
        {
            "strategy": str(name),
            "verdict": verdict_in_words(decision, i),
            "labelled": labelled_verdict(decision, i),
            "index": i,
            **{key: str(plans[name].values[i]) for key, name in FILTERED.items()},
            "coverage": cell(coverage, i) | {"curve": 0, "strategy": i},
            "limits": f"{int(decision['limits_held'].values[i])} of {n_limits}",
            "organs": cell(organs, i) | {"curve": 1, "strategy": i},
            "ptv_cc": significant(float(ptv_cc[i])),
            "chosen": str(name) == (attrs["recommended"] or attrs["nearest_miss"]),
        }
        for i, name in enumerate(decision["strategy"].values)
    ]
    return {
        "rows": [rows[i] for i in np.argsort(decision["rank"].values)],
        "first": [readable(s) for s in answer_of(results)],
        "then": [readable(s) for s in remarks_on(results)],
        "wanted": readable(attrs["wanted"]),
        "probability": f"{100 * float(attrs['probability']):g}",
        "organ_probability": f"{100 * float(attrs['organ_probability']):g}",
        "organ_goals": readable(str(organs["members"].item())),
    }


def labelled_verdict(decision: xr.Dataset, i: int) -> str:
    """The verdict on a strategy, and whether it was stopped for it."""
    words, stopped = verdict_in_words(decision, i), str(decision["stopped"].values[i]) if "stopped" in decision else ""
    return f"{words}; {stopped}" if stopped else words


def verdict_in_words(decision: xr.Dataset, i: int) -> str:
    """The verdict on a strategy, with what it is about."""
    verdict, organs = str(decision["verdict"].values[i]), str(decision["organs_hold"].values[i])
    target = str(decision["target_holds"].values[i])
    if str(decision["strategy"].values[i]) == decision.attrs["recommended"]:
        return f"{verdict}; recommended"
    if verdict != "undecided":
        return {"covers, but": "covers, but organs fail", "spares, but": "spares, but does not cover"}.get(
            verdict, verdict
        )
    return f"undecided (target covered: {target}; organs spared: {organs})"


def prescription_table(results: xr.DataTree) -> list[dict[str, Any]]:
    """The largest prescription of each strategy, in the order of the rule; none without limits on organs, or where fractions
    lie behind, whose dose nobody can scale."""
    there, decision = results["prescription"].to_dataset(), results["decision"].to_dataset()
    if observed_remark(results) or not there["first_limit"].astype(str).any():
        return []
    names = [str(name) for name in there["strategy"].values]
    rows = []
    for i in np.argsort(decision["rank"].values):
        largest, low, high = (float(there[f"largest{end}_gy"].values[i]) for end in ("", "_low", "_high"))
        coverage = xr.Dataset({key: there[f"coverage_there{end}"] for key, end in _COVERAGE_THERE.items()})
        rows.append(
            {
                "strategy": names[i],
                "shown": _gy(low),
                "estimate": _gy(largest),
                "most": _gy(high),
                "first_limit": readable(str(there["first_limit"].values[i])),
                "coverage": cell(coverage, i),
            }
        )
    return rows


_COVERAGE_THERE = {"probability": "", "ci_low": "_low", "ci_high": "_high"}


def _gy(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "–"


def margin_table(results: xr.DataTree) -> dict[str, Any]:
    """Required margin of each motion management and guidance beside the published recipes."""
    margins = results["margins"].to_dataset()
    rows = [
        {
            "motion": str(margins["motion"].values[i]),
            "guidance": str(margins["guidance"].values[i]),
            "candidates": f"{sides_mm(margins['smallest_mm'].values[i])} to {sides_mm(margins['largest_mm'].values[i])}",
            "required": bounded(margins, i),
            "interval": interval_mm(margins, i),
            "known": _known_mm(results, margins, i),
            "interpolation": _millimetres(margins["interpolation_mm"].values[i]),
            "recipes": [sides_mm(side) for side in margins["recipe_mm"].values[i]],
            "causes": _causes(margins.isel(series=i)),
        }
        for i in range(margins.sizes["series"])
    ]
    return {
        "rows": rows,
        "is_known": "knowledge" not in results.children,
        "recipes": [str(r) for r in margins["recipe"].values],
        "penumbra": f"{margins['recipe_penumbra_mm'].item():g}",
        "causes": [str(c) for c in margins["cause"].values],
    }


def _causes(margin: xr.Dataset) -> list[dict[str, Any]]:
    """Each recipe's difference to the required margin and its parts, in the directions that the candidates vary; none where
    the difference is not explained."""
    parts = margin["cause_mm"].transpose("recipe", "cause", "direction").values
    varies = np.isfinite(parts).any(axis=(0, 1))
    if not varies.any():
        return []
    axes = np.flatnonzero(varies)
    rows = []
    for r, name in enumerate(margin["recipe"].values):
        difference = margin["required_mm"].values - margin["recipe_mm"].values[r]
        cells = [_changes(part[axes]) for part in parts[r]]
        rows.append({"recipe": str(name), "difference": _changes(difference[axes]), "parts": cells})
    return rows


def _changes(change_mm: np.ndarray) -> str:
    """One signed number where all directions agree, else one per axis, or per direction."""
    texts = [
        f"{v + 0.0:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0") if np.isfinite(v) else "–" for v in change_mm
    ]
    if len(set(texts)) == 1:
        return texts[0]
    return " / ".join(texts[::2] if texts[::2] == texts[1::2] else texts)


def _millimetres(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "–"


def bounded(margins: xr.Dataset, i: int) -> str:
    """The required margin, or on which side of the candidates it lies."""
    if margins["falls"].values[i]:
        return "none: larger candidates cover less"
    required, smallest, largest = (margins[f"{k}_mm"].values[i] for k in ("required", "smallest", "largest"))
    if np.isposinf(required).any():
        return f"more than {sides_mm(largest)}"
    return f"at most {sides_mm(smallest)}" if np.isneginf(required).any() else sides_mm(required)


def interval_mm(margins: xr.Dataset, i: int) -> str:
    """The interval of the required margin, or on which side of the candidates it ends."""
    if margins["falls"].values[i]:
        return "–"
    low, high, smallest, largest = (margins[f"{k}_mm"].values[i] for k in ("low", "high", "smallest", "largest"))
    below = f"below {sides_mm(smallest)}" if np.isneginf(low).any() else sides_mm(low)
    above = f"above {sides_mm(largest)}" if np.isposinf(high).any() else sides_mm(high)
    if below.startswith("below") and np.isneginf(high).any():
        return "below the smallest candidate"
    return "above the largest candidate" if np.isposinf(low).any() else f"{below} to {above}"


def _known_mm(results: xr.DataTree, margins: xr.Dataset, i: int) -> str:
    """The required margin if errors were as stated, and the interval over what they may be; empty where they are exact."""
    if "knowledge" not in results.children:
        return ""
    found = results["knowledge"].to_dataset()
    keys = {"required_mm": "plug_in", "low_mm": "low", "high_mm": "high"}
    known = margins.assign(
        {key: margins[key].copy(data=found[f"required_{end}_mm"].values) for key, end in keys.items()}
    )
    if np.isnan(known["low_mm"].values[i]).any():
        return "–"
    return f"{interval_mm(known, i)} (as stated {bounded(known, i)})"


def sides_mm(side_mm: np.ndarray) -> str:
    """One number for an isotropic margin, three where the axes differ, six where directions do; a dash for none."""
    texts = [_millimetres(v) for v in side_mm]
    if len(set(texts)) == 1:
        return texts[0]
    return " / ".join(texts[::2] if texts[::2] == texts[1::2] else texts)


def comparison_table(results: xr.DataTree) -> dict[str, Any]:
    """Every strategy against the one that the decision is about, on the same courses."""
    comparison, decision = results["comparison"].to_dataset(), results["decision"].to_dataset()
    chosen = decision.attrs["recommended"] or decision.attrs["nearest_miss"]
    names = [str(n) for n in comparison["strategy"].values]
    at = names.index(chosen)
    structure = results["metrics"].to_dataset()["structure"]
    of_target = [
        str(m) for m in comparison["metric"].values if structure.sel(metric=m).item() == results.attrs["target"]
    ]
    metric = next((m for m in of_target if m.endswith(" D98%")), of_target[0])
    joints = [name for name in JOINT_SHOWN if joint_probability(results, name)["members"].item()]
    rows = []
    for i, name in enumerate(names):
        if i == at:
            continue
        row: dict[str, Any] = {"strategy": name}
        row["p_better"] = percent(float(comparison["p_better"].sel(metric=metric).values[i, at]))
        row["difference"] = signed([comparison[k].sel(metric=metric).values[i, at] for k in _DIFFERENCE], 1.0)
        for joint in joints:
            one = comparison.sel(joint=joint)
            row[joint] = signed([one[k].values[i, at] for k in _JOINT], 100.0) | {
                "differs": bool(one["distinguishable"].values[i, at])
            }
        rows.append(row)
    pairs = len(names) * (len(names) - 1) // 2
    told = {j: int(comparison["distinguishable"].sel(joint=j).values.sum()) // 2 for j in joints}
    unit = str(results["metrics"].to_dataset()["unit"].sel(metric=metric).item())
    return {
        "rows": rows,
        "chosen": chosen,
        "metric": metric,
        "unit": unit,
        "pairs": pairs,
        "told": told,
        "joints": joints,
    }


_DIFFERENCE = ("difference", "difference_low", "difference_high")
_JOINT = ("joint_difference", "joint_low", "joint_high")


def signed(difference: list[float], scale: float) -> dict[str, Any]:
    middle, low, high = (scale * float(v) + 0.0 for v in difference)
    return {"text": f"{middle:+.1f}", "interval": f"{low:+.1f} to {high:+.1f}"}


def budget_tables(results: xr.DataTree) -> list[dict[str, Any]]:
    """Coverage without each source, the most helpful removal first."""
    if "budget" not in results.children:
        return []
    budget = results["budget"].to_dataset()
    targets = [str(name) for name in budget["target"].values] if "target" in budget.coords else []
    tables = []
    for i, name in enumerate(budget["strategy"].values):
        without, now = budget["coverage_without"].values[i], float(budget["coverage"].values[i])
        order = np.argsort(-without, kind="stable")
        rows = [
            (
                str(budget["source"].values[k]),
                percent(without[k]),
                f"{100 * (without[k] - now):+.1f}",
                [_gain(budget, i, int(k), t) for t in range(len(targets))],
                known_of_source(results, str(name), str(budget["source"].values[k])),
            )
            for k in order
        ]
        tables.append(
            {
                "strategy": str(name),
                "rows": rows,
                "coverage": percent(now),
                "targets": targets,
                "courses": budget.attrs["n_courses"],
                "has_unknown": "knowledge" in results.children,
            }
        )
    return tables


def _gain(budget: xr.Dataset, strategy: int, source: int, target: int) -> str:
    """Coverage of one of several targets without a source, and what that gains, in percent and points."""
    without = float(budget["target_coverage_without"].values[strategy, source, target])
    now = float(budget["target_coverage"].values[strategy, target])
    return f"{percent(without)} ({100 * (without - now):+.1f})"
