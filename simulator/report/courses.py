"""Two courses of each strategy as the report tells them: where the target went, why, and what it cost."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from simulator.plots.courses import name_of

_NOTHING_MM = 0.005


def course_tables(results: xr.DataTree, strategies: Iterable[str]) -> list[dict[str, Any]]:
    """For each strategy its courses in sentences, and their mean displacement by source; empty without such courses."""
    if "courses" not in results.children:
        return []
    courses = results["courses"].to_dataset()
    return [_told(results, courses.sel(strategy=name), name) for name in strategies]


def _told(results: xr.DataTree, own: xr.Dataset, strategy: str) -> dict[str, Any]:
    mean_mm = own["error_mm"].mean("fraction").values
    worst = [_sentence(results, own.isel(percentile=i), strategy) for i in range(own.sizes["percentile"])]
    rows = [
        {"source": str(name), "cells": [_vector(mm) for mm in mean_mm[:, i]]}
        for i, name in enumerate(own["source"].values)
        if np.any(np.abs(own["error_mm"].values[:, i]) > _NOTHING_MM)
    ]
    rows.append({"source": "all together", "cells": [_vector(mm) for mm in mean_mm.sum(axis=1)]})
    headings = [
        f"{name_of(p)}: course {c}" for p, c in zip(own["percentile"].values, own["course"].values, strict=True)
    ]
    return {"strategy": strategy, "sentences": worst, "headings": headings, "rows": rows}


def _sentence(results: xr.DataTree, own: xr.Dataset, strategy: str) -> str:
    """One course: what it has, what was planned, how far the target was, and its costliest fraction."""
    metric, metrics = str(results["courses"].attrs["metric"]), results["metrics"].to_dataset().sel(strategy=strategy)
    nominal, unit = float(metrics["nominal"].sel(metric=metric)), str(metrics["unit"].sel(metric=metric).item())
    value, fraction_values = float(own["value"]), own["fraction_value"].values
    far_mm = np.linalg.norm(own["error_mm"].sum("source").values, axis=-1)
    text = (
        f"{name_of(float(own['percentile'])).capitalize()} (course {int(own['course'])}): {metric} {value:.1f} {unit}, planned "
        f"{nominal:.1f}; the target lay {far_mm.mean():.1f} mm off on average"
    )
    if np.isfinite(fraction_values).all():
        worst = int(np.argmax(np.abs(fraction_values - nominal)))
        text += (
            f", {far_mm[worst]:.1f} mm in fraction {worst + 1}, which cost most: were all fractions like it, {metric} would be "
            f"{fraction_values[worst]:.1f} {unit}"
        )
    return text + "."


def _vector(mm: np.ndarray) -> dict[str, str]:
    """A displacement by axis, and its length."""
    return {"axes": " / ".join(f"{v:+.1f}" for v in np.round(mm, 1) + 0.0), "length": f"{np.linalg.norm(mm):.1f}"}
