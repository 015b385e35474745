"""What each of several targets gets, as a table."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent
from simulator.plots.style import readable
from simulator.report.text import cell, significant
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import asks_each_target, joint_probability


def targets_table(results: xr.DataTree) -> dict[str, Any] | None:
    """Coverage of each target, of all together and what independent errors would give, by strategy; None for one target."""
    if "targets" not in results.children:
        return None
    found, joint = results["targets"].to_dataset(), joint_probability(results, JOINT_SHOWN[0])
    rows = []
    for i in np.argsort(results["decision"].to_dataset()["rank"].values):
        each = found["probability"].values[i]
        rows.append(
            {
                "strategy": str(found["strategy"].values[i]),
                "cells": [cell(found, i, k) for k in range(found.sizes["target"])],
                "joint": cell(joint, i),
                "product": percent(float(found["product"].values[i])),
                "worst": str(found["target"].values[int(np.argmin(each))]),
                "bridge_cc": significant(float(found["bridge_cc"].values[i])),
            }
        )
    targets = [
        {
            "name": str(name),
            "wanted": readable(str(found["wanted"].values[k])),
            "volume_cc": significant(float(found["volume_cc"].values[k])),
            "distance_mm": f"{float(found['isocentre_distance_mm'].values[k]):.0f}",
            "prescription_gy": f"{float(found['prescription_gy'].values[k]):g}",
        }
        for k, name in enumerate(found["target"].values)
    ]
    first, each = str(found["target"].values[0]), asks_each_target(results)
    return {"targets": targets, "rows": rows, "first": first, "each": each}
