"""What one does not know, in sentences and tables: plug-in probabilities, knowledge intervals, and the record that decides."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent
from simulator.plots.style import readable
from simulator.report.text import cell
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import joint_probability

_MOST_NAMED = 3
_ENDS = ("plug_in", "low", "high")


def known_in_words(results: xr.DataTree, strategy: str, goal: str = "") -> str:
    """What is known of a goal's probability, or of the wanted coverage, within a sentence; empty where errors are exact."""
    if "knowledge" not in results.children:
        return ""
    found = results["knowledge"].to_dataset().sel(strategy=strategy)
    one = found.sel(goal=goal) if goal else found.sel(joint=JOINT_SHOWN[0])
    plug_in, low, high = (float(one[key if goal else f"joint_{key}"]) for key in _ENDS)
    if not np.isfinite(low):
        return ""
    return f"; over what the errors may be {percent(low)} to {percent(high)} %; {percent(plug_in)} % if they were as stated"


def knowledge_sentences(results: xr.DataTree) -> list[str]:
    """Which verdicts hang on what is not known of the errors, and which record would decide; nothing where they are exact."""
    if "knowledge" not in results.children:
        return []
    found, decision = results["knowledge"].to_dataset(), results["decision"].to_dataset()
    n, wanted = results.attrs["n_courses"], float(found["courses_wanted"])
    if not _has_intervals(found):
        return [
            f"{n} courses are too few to say what the doubt about the errors does to the probabilities; about {wanted:.0f} "
            "would do. Verdicts are by the intervals of the simulation alone."
        ]
    by = found["undecided_by"].astype(str).values
    order = np.argsort(decision["rank"].values)
    hanging = [int(i) for i in order if "knowledge" in by[i]]
    if not hanging:
        return []
    named = [_of_strategy(found, i) for i in hanging[:_MOST_NAMED]]
    more = f"; and so are {len(hanging) - _MOST_NAMED} more" if len(hanging) > _MOST_NAMED else ""
    return [
        "More courses would not decide, since a wanted probability lies within what the errors may make of it: "
        f"{'; '.join(named)}{more}."
    ]


def _of_strategy(found: xr.Dataset, i: int) -> str:
    """What is known of the condition that leaves a strategy's verdict open, and the record that would settle it."""
    one = found.isel(strategy=i)
    part, what, size = str(one["record"].item()), str(one["open_condition"].item()), float(one["record_to_decide"])
    is_goal = what in one["goal"].values
    ends = one.sel(goal=what) if is_goal else one.sel(joint=what)
    low, high = (percent(float(ends[key if is_goal else f"joint_{key}"])) for key in ("low", "high"))
    of_part = found.sel(unknown=part)
    unit = "images" if part.endswith(("random", "fraction")) else "patients"
    have = str(of_part["known_from"].item())
    worth = f", worth a record of {float(of_part['record_size']):.0f} {unit}" if "factor" in have else ""
    if np.isnan(float(of_part["record_size"])):
        return f"“{one['strategy'].item()}” ({what} {low} to {high} %, mostly for “{part}”, {have})"
    enough = (
        f"one of {size:.0f} {unit} that says the same would settle it"
        if np.isfinite(size)
        else f"no record of 10000 {unit} would settle it by itself"
    )
    name = one["strategy"].item()
    return f"“{name}” ({what} {low} to {high} %, mostly for “{part}”, {have}{worth}; {enough})"


def knowledge_table(results: xr.DataTree) -> dict[str, Any] | None:
    """Predictive, plug-in and known probabilities of the wanted coverage and of the limits asked for, by strategy, and how much
    each part of what is not known matters for the coverage. None where errors are exact."""
    if "knowledge" not in results.children:
        return None
    found, goals = results["knowledge"].to_dataset(), results["goals"].to_dataset()
    coverage = joint_probability(results, JOINT_SHOWN[0])
    asked = np.flatnonzero(goals["wanted_probability"].notnull().values)
    rows, order = [], np.argsort(results["decision"].to_dataset()["rank"].values)
    for i in order:
        of_goals = [_shown(cell(goals, i, j), *(float(found[key].values[i, j]) for key in _ENDS)) for j in asked]
        joint = found.sel(joint=JOINT_SHOWN[0])
        first = _shown(cell(coverage, i), *(float(joint[f"joint_{key}"].values[i]) for key in _ENDS))
        parts = [
            _range(*(joint[f"joint_part_{end}"].values[k, i] for end in ("low", "high")))
            for k in range(found.sizes["unknown"])
        ]
        rows.append({"strategy": str(found["strategy"].values[i]), "cells": [first, *of_goals], "parts": parts})
    return {
        "headings": [f"Wanted coverage: {readable(results['decision'].attrs['wanted'])}"]
        + [readable(str(goals["goal"].values[j])) for j in asked],
        "rows": rows,
        "parts": [
            f"{name} ({text})"
            for name, text in zip(found["unknown"].values, found["known_from"].astype(str).values, strict=True)
        ],
        "courses": f"{float(found['effective_courses']):.0f}",
        "put_together": _put_together(results, found),
    }


def _has_intervals(found: xr.Dataset) -> bool:
    return bool(np.isfinite(found["joint_low"]).any())


def _put_together(results: xr.DataTree, found: xr.Dataset) -> str:
    """What to say of ranges that too few courses tell at once; empty of others."""
    n, wanted = results.attrs["n_courses"], float(found["courses_wanted"])
    if wanted <= n or not _has_intervals(found):
        return ""
    return (
        f"; {n} courses are enough for each part of the errors but not for all at once, so the parts are put together in log "
        f"odds, and an end of a range may be 3 points off; about {wanted:.0f} courses would tell them at once"
    )


def _shown(probability: dict[str, str], plug_in: float, low: float, high: float) -> dict[str, str]:
    return probability | {"plug_in": percent(plug_in), "known": _range(low, high)}


def _range(low: float, high: float) -> str:
    return f"{percent(float(low))} to {percent(float(high))}" if np.isfinite(low) else "–"


def known_of_source(results: xr.DataTree, strategy: str, source: str) -> str:
    """Range of the wanted coverage over what is not known of one source of the uncertainty budget; a dash for exact ones."""
    if "knowledge" not in results.children or source not in results["knowledge"].to_dataset()["unknown"].values:
        return "–"
    one = results["knowledge"].to_dataset().sel(strategy=strategy, unknown=source, joint=JOINT_SHOWN[0])
    return _range(float(one["joint_part_low"]), float(one["joint_part_high"]))
