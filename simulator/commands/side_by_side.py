"""Finished studies side by side: what differs between them, and what each strategy reaches in each of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from simulator.execution.checkpoint import changes_between, study_text
from simulator.files import mark_own, require_own, whole_file, write_table
from simulator.plots import side_by_side
from simulator.plots.style import svg_bytes
from simulator.results import JOINT_SHOWN, SUMMARY_COLUMNS, joint_probability, open_results, summary_rows, sweep_axes
from simulator.spec import ConfigError

TABLE, FIGURE = "comparison.csv", "comparison.svg"


def open_studies(folders: Sequence[Path]) -> dict[str, xr.DataTree]:
    """Results by the name of their study, or by their folder where names are alike.

    Raises
    ------
    ConfigError : fewer than two folders, or a sweep.
    SimulatorError : a folder without results.
    """
    if len(set(folders)) < 2:
        raise ConfigError("compare: give two results folders or more, each once")
    found = [open_results(folder) for folder in folders]
    for folder, results in zip(folders, found, strict=True):
        if sweep_axes(results):
            raise ConfigError(f"{folder}: a sweep; compare its points, which lie in {folder / 'points'}")
    names = [str(results.attrs["name"]) for results in found]
    labels = [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]
    return dict(zip(labels, found, strict=True))


def differences(studies: Mapping[str, xr.DataTree]) -> dict[str, str]:
    """For each study but the first, the settings in which it differs from it."""
    texts = {
        name: study_text(results.attrs["simulator_version"], results.attrs["config"])
        for name, results in studies.items()
    }
    first, *others = texts
    return {name: changes_between(texts[first], texts[name]) or "nothing" for name in others}


def rows_of(studies: Mapping[str, xr.DataTree]) -> list[tuple[str, ...]]:
    """For each strategy of any study, its coverage and its organ goals in each study; "-" where a study lacks it."""
    strategies = dict.fromkeys(str(s) for results in studies.values() for s in results["joint"]["strategy"].to_numpy())
    return [
        (strategy, what, *(_probability(results, strategy, what) for results in studies.values()))
        for strategy in strategies
        for what in JOINT_SHOWN
    ]


def _probability(results: xr.DataTree, strategy: str, what: str) -> str:
    joint = joint_probability(results, what)
    if strategy not in joint["strategy"].values:
        return "-"
    one = joint.sel(strategy=strategy)
    p, low, high = (100 * float(one[key]) for key in ("probability", "ci_low", "ci_high"))
    if np.isnan(p):
        return "no such goals"
    mark = " *" if what == JOINT_SHOWN[0] and strategy == results["decision"].attrs["recommended"] else ""
    return f"{p:.1f} % ({low:.1f}-{high:.1f}){mark}"


def write_comparison(studies: Mapping[str, xr.DataTree], out: Path) -> list[Path]:
    """Write comparison.csv, the summaries of all studies in one table, and comparison.svg.

    Raises
    ------
    ConfigError : `out` is not new, empty or the simulator's own.
    """
    require_own(out)
    mark_own(out)
    table, figure = out / TABLE, out / FIGURE
    rows = [[name, *row] for name, results in studies.items() for row in summary_rows(results)]
    write_table(table, ("study", *SUMMARY_COLUMNS), rows)
    with whole_file(figure) as partial:
        partial.write_bytes(svg_bytes(side_by_side(studies)))
    return [table, figure]
