"""How much of each probability rests on approximations: one sentence and one small table."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent
from simulator.metrics.goals import parse_goal
from simulator.plots.style import readable

_CERTAIN, _NOTHING = 0.005, 0.0005
_UNITS = {"%": " %", "Gy": " Gy", "cc": " cc"}


def model_error(results: xr.DataTree) -> dict[str, Any] | None:
    """The goals whose probability is not plain, and what is said of them; None where the study does not look into it."""
    if "model_error" not in results.children:
        return None
    found = results["model_error"].to_dataset()
    goals = [str(goal) for goal in found["goal"].values]
    rows = [_row(found, i) for i in range(len(goals)) if not _is_plain(found, i)]
    first = next((i for i, goal in enumerate(goals) if goal in str(results["decision"].attrs["wanted"])), 0)
    return {
        "strategy": str(found["of_strategy"].item()),
        "sentence": _sentence(found, first),
        "fit": _fit(found, first),
        "approximations": [str(a) for a in found["approximation"].values],
        "rows": rows,
        "n_plain": len(goals) - len(rows),
        "n_courses": int(found.attrs["n_courses"]),
        "grid_mm": f"{float(found['grid_mm']):g}",
    }


def _is_plain(found: xr.Dataset, i: int) -> bool:
    """Whether a goal is met always, or never, and no approximation changes that."""
    p, ends = float(found["probability"][i]), np.abs([found["together_low"][i], found["together_high"][i]])
    return min(p, 1 - p) < _CERTAIN and bool((ends < _NOTHING).all())


def _row(found: xr.Dataset, i: int) -> dict[str, Any]:
    one = found.isel(goal=i)
    unit = _unit(str(one["goal"].item()))
    cells = []
    for k, change in enumerate(one["change"].values):
        low, high, value = (float(one[key].values[k]) for key in ("change_low", "change_high", "value_change"))
        if np.isnan(change):
            cells.append({"text": "–", "interval": "not computed"})
        elif k < 2:
            cells.append(
                {"text": _points(float(change)), "interval": f"{_points(low)} to {_points(high)}; {value:+.2f}{unit}"}
            )
        else:
            cells.append({"text": f"{_points(low)} to {_points(high)}", "interval": ""})
    together = f"{_points(float(one['together_low']))} to {_points(float(one['together_high']))}"
    return {
        "goal": readable(str(one["goal"].item())),
        "probability": percent(float(one["probability"])),
        "cells": cells,
        "together": together,
    }


def _sentence(found: xr.Dataset, i: int) -> str:
    one = found.isel(goal=i)
    static, grid = (float(one["change"].values[k]) for k in (0, 1))
    low, high = (_points(float(one[f"together_{end}"])) for end in ("low", "high"))
    cloud = "is not known" if np.isnan(static) else f"is worth {_points(static)} points"
    met = percent(float(one["probability"]))
    return (
        f"Of “{found['of_strategy'].item()}”, {readable(str(one['goal'].item()))} is met in {met} % of courses. "
        f"What the static dose cloud leaves out {cloud}; linear interpolation between the "
        f"{float(found['grid_mm']):g} mm nodes of the dose grid would make {_points(grid)}; together with the bounds of cells, "
        f"dose lattice and instants the approximations are worth {low} to {high} points."
    )


def _fit(found: xr.Dataset, i: int) -> str:
    """How the static cloud was judged."""
    one, attrs = found.isel(goal=i), found.attrs
    if "n_controls" not in attrs:
        return (
            "The plan is not computed again on moved anatomy: a closed-form dose has no beams, an imported one needs its "
            "RTPLAN; where fractions lie behind, another plan may have delivered them, and isocentres of several targets "
            "have displacements of their own."
        )
    unit, n, goal = (
        _unit(str(one["goal"].item())),
        int(attrs["n_recomputed"]),
        readable(str(one["goal"].item())),
    )
    held = ""
    if n and np.isfinite(one["fit_error"]):
        changed, missed = (f"{float(one[key]):.2f}{unit}" for key in ("recomputed_change", "fit_error"))
        points = f"{_points(float(one['fit_error_probability']))} points"
        held = (
            f" In {n} whole {'course' if n == 1 else 'courses'}, recomputed at every fraction, {goal} changed by at most "
            f"{changed}, and the fit missed that by at most {missed}, its probability by {points}."
        )
    return (
        f"The plan was recomputed at {int(attrs['n_controls'])} displacements of the patient against the beam and of the "
        f"target inside of the patient (density {attrs['target_density']}, leaving {attrs['left_behind']} behind); the change "
        f"of dose of every point was fitted to them and summed visit by visit.{held} Turns move the density as far as they "
        "displace tissue at the isocentre alone. The same beam model computes both, so its error of transport does not show."
    )


def _unit(goal: str) -> str:
    return _UNITS.get(parse_goal(goal).unit, "")


def _points(change: float) -> str:
    return f"{100 * change + 0.0:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")
