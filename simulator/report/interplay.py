"""What interplay does: one sentence and a small table for each strategy that was screened."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.plots.style import readable


def interplay_tables(results: xr.DataTree) -> list[dict[str, Any]]:
    """Changes of metrics and bounds on changes of probabilities, goal by goal, those with the largest bound first."""
    if "interplay" not in results.children:
        return []
    screen, goals = results["interplay"].to_dataset(), results["goals"].to_dataset()
    units = results["metrics"].to_dataset()["unit"]
    tables = []
    for strategy, n_parts in zip(screen["strategy"].values, np.atleast_1d(screen.attrs["n_parts"]), strict=True):
        own = screen.sel(strategy=strategy)
        rows = []
        for goal in own["goal"].values[(-own["bound"].values).argsort(kind="stable")]:
            metric = str(goals["metric"].sel(goal=goal).item())
            of_metric, of_goal = own.sel(metric=metric), own.sel(goal=goal)
            rows.append(
                {
                    "goal": readable(str(goal)),
                    "metric": metric,
                    "unit": str(units.sel(metric=metric).item()),
                    "mean": _signed(of_metric["change"]),
                    "interval": f"{_signed(of_metric['change_low'])} to {_signed(of_metric['change_high'])}",
                    "largest": f"{float(of_metric['largest_change']):.2f}",
                    "bound": f"{100 * float(of_goal['bound']):.1f}",
                    "bound_interval": f"{100 * float(of_goal['bound_low']):.1f}-{100 * float(of_goal['bound_high']):.1f}",
                    "changed": int(of_goal["pairs_changed"]),
                }
            )
        tables.append(
            {
                "strategy": str(strategy),
                "rows": rows,
                "pairs": int(screen.attrs["n_pairs"]),
                "parts": int(n_parts),
                "instant_s": f"{float(screen.attrs['instant_s']):g}",
                "structures": screen.attrs["structures"],
                "beyond": f"{100 * float(screen.attrs['beyond']):.0f}",
            }
        )
    return tables


def _signed(value: xr.DataArray) -> str:
    return f"{round(float(value), 2) + 0.0:+.2f}"
