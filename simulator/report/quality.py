"""Tables of plan quality and of numerics."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.report.text import significant

_DEVIATIONS = {"none": "no deviation", "minor": "minor deviation", "major": "major deviation"}


def plan_quality(results: xr.DataTree) -> list[dict[str, Any]]:
    plans = results["plans"].to_dataset()
    own = results["targets"].to_dataset() if "targets" in results.children else None
    rows = []
    for i, k in np.ndindex(plans.sizes["strategy"], 1 if own is None else own.sizes["target"]):
        row: dict[str, Any] = {str(key): plans[key].values[i] for key in plans.data_vars}
        name = str(plans["strategy"].values[i])
        if own is not None:
            row |= {key: own[key].values[i, k] for key in row if key in own}
            name += f": {own['target'].values[k]}"
        row |= {key: significant(float(row[key])) for key in ("planning_target_cc", "ptv_cc")}
        for key in ("r100", "r50", "d2cm", "v90", "v100"):
            row[f"{key}_words"] = _DEVIATIONS[str(row[f"{key}_deviation"])]
        row["limits"] = "; ".join(
            f"{words} {row[key]}" for key, words in (("limited_by", "cut by"), ("given_up", "missed:")) if row[key]
        )
        sides = [f"{side:.3g}" for side in row["margin_mm"]]
        margin = sides[0] if len(set(sides)) == 1 else " / ".join(sides)
        rows.append(row | {"strategy": name, "margin": margin})
    return rows


def engine_sentences(results: xr.DataTree) -> list[str]:
    """How closely an engine agrees with the planning system, a sentence for all strategies of which that is alike."""
    if "engine" not in results.children:
        return []
    found = results["engine"].to_dataset()
    alike: dict[str, list[str]] = {}
    for i, strategy in enumerate(found["strategy"].values):
        factor, points, rms = (float(found[key].values[i]) for key in ("factor", "points_percent", "rms_percent"))
        said = (
            f"against the planning system's dose {points:.1f} % of the points above a tenth of the highest dose are within 3 % "
            f"of it / 2 mm, and the RMS difference above half of it is {rms:.1f} %, after a factor of {factor:.3f}"
        )
        alike.setdefault(said, []).append(str(strategy))
    whose = {said: "" if len(alike) == 1 else f" of {', '.join(of)}" for said, of in alike.items()}
    return [f"Parts of the dose{whose[said]} come from an engine: {said}." for said in alike]


def numerics(results: xr.DataTree) -> list[dict[str, Any]]:
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
