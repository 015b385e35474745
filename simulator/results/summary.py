"""summary.csv: one row for each strategy and goal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simulator.ground.files import write_table
from simulator.results.views import stopped_by_strategy, sweep_axes, sweep_points

SUMMARY_COLUMNS = (
    "strategy",
    "goal",
    "structure",
    "probability",
    "ci_low",
    "ci_high",
    "n_courses",
    "nominal",
    "median",
    "p05",
    "p95",
    "verdict",
    "excess_mean",
    "excess_p95",
    "unit",
    "mean",
    "mean_low",
    "mean_high",
)

KNOWLEDGE_COLUMNS = {"plug_in": "plug_in", "knowledge_low": "low", "knowledge_high": "high"}

_SUMMARY_NUMBERS = (
    "excess_mean",
    "excess_p95",
    "probability",
    "ci_low",
    "ci_high",
    "nominal",
    "median",
    "p05",
    "p95",
    "mean",
    "mean_low",
    "mean_high",
)


def summary_rows(results: xr.DataTree) -> Iterator[list[Any]]:
    """For every point of a sweep, strategy and goal its place on the axes, then `SUMMARY_COLUMNS` and, where errors are not
    exact, `KNOWLEDGE_COLUMNS`; where settled strategies stop, what is to be said of their probabilities."""
    axes = sweep_axes(results)
    goals = results["goals"].to_dataset().load()
    known = results["knowledge"].to_dataset().load() if "knowledge" in results.children else goals
    is_stopping = _stops(results)
    for at in sweep_points(results):
        here = goals.isel(at)
        place = [here[axis].item() for axis in axes]
        column = {key: here[key].values for key in SUMMARY_COLUMNS if key in here}
        verdicts = results["decision"].to_dataset()["verdict"].isel(at).values
        stopped = stopped_by_strategy(results, at) if is_stopping else {}
        counts = results["metrics/value"].isel(at).notnull().any("metric").sum("course").values
        for i, j in np.argwhere(~np.isnan(column["probability"])):
            number = {key: f"{column[key][i, j]:.6g}" for key in _SUMMARY_NUMBERS}
            texts = {key: str(column[key][j]) for key in ("goal", "structure", "unit")}
            row = number | texts | {"strategy": str(column["strategy"][i]), "n_courses": counts[i]}
            row["verdict"] = str(verdicts[i])
            said = [stopped.get(row["strategy"], "")] if is_stopping else []
            doubt = [f"{known[key].isel(at).values[i, j]:.6g}" for key in _doubted(results).values()]
            yield [*place, *(row[key] for key in SUMMARY_COLUMNS), *doubt, *said]


def write_summary(results: xr.DataTree, path: Path) -> None:
    """Write summary.csv: one row per strategy and goal, for every point of a sweep."""
    columns = (*sweep_axes(results), *SUMMARY_COLUMNS, *_doubted(results), *(["stopped"] * _stops(results)))
    write_table(path, columns, summary_rows(results))


def _stops(results: xr.DataTree) -> bool:
    return "stopped" in results["decision"].data_vars


def _doubted(results: xr.DataTree) -> dict[str, str]:
    """Columns of what is not known of the errors, and their variables; none where errors are exact."""
    return KNOWLEDGE_COLUMNS if "knowledge" in results.children else {}
