"""Finished studies side by side: what differs between them, and what each strategy reaches in each of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from simulator.execution.checkpoint import changes_between, study_text
from simulator.ground.files import claim, printable, whole_file, write_table, write_whole
from simulator.ground.spec import ConfigError
from simulator.plots import side_by_side, strategies_apart
from simulator.plots.quantities import quantity_at
from simulator.plots.style import svg_bytes
from simulator.report import render_comparison
from simulator.results.file import open_results
from simulator.results.registry import JOINT_SHOWN
from simulator.results.summary import SUMMARY_COLUMNS, summary_rows
from simulator.results.views import joint_probability, stopped_by_strategy, sweep_axes, sweep_points
from simulator.study_file.checked_yaml import parse_yaml

TABLE, FIGURE, PAGE = "comparison.csv", "comparison.svg", "comparison.html"
MOST_STUDIES = 24


def open_studies(folders: Sequence[Path]) -> dict[str, xr.DataTree]:
    """Results by the name of their study, or by their folder where names are alike; a sweep is a study for each point.

    Raises
    ------
    ConfigError : fewer than two folders, or more studies than a page can show.
    SimulatorError : a folder without results.
    """
    if len(set(folders)) < 2:
        raise ConfigError("compare: give two results folders or more, each once")
    found = [open_results(folder) for folder in folders]
    names = [str(results.attrs["name"]) for results in found]
    n_studies = sum(len(sweep_points(results)) for results in found)
    if n_studies > MOST_STUDIES:
        raise ConfigError(
            f"compare: {n_studies} studies with the points of sweeps, at most {MOST_STUDIES} are shown side by side; name some "
            "points, which lie in the folder points of their sweep"
        )
    studies: dict[str, xr.DataTree] = {}
    for name, folder, results in zip(names, folders, found, strict=True):
        label = name if names.count(name) == 1 else printable(str(folder))
        studies |= _points(label, folder, results) if sweep_axes(results) else {label: results}
    return studies


def _points(label: str, folder: Path, results: xr.DataTree) -> dict[str, xr.DataTree]:
    """The results of every point of a sweep, named by what differs between them."""
    goals = results["goals"].to_dataset()
    points = (folder if folder.is_dir() else folder.parent) / "points"
    named: dict[str, xr.DataTree] = {}
    for number, at in enumerate(sweep_points(results)):
        place = ", ".join(quantity_at(axis, goals[axis].values[i].item()) for axis, i in at.items())
        named[f"{label}: {place}"] = open_results(points / f"{number:05d}")
    return named


def common_courses(first: xr.DataTree, other: xr.DataTree) -> int:
    """How many courses of two studies are of the same virtual patients: same seed and same kind of points."""
    counts = [int(results.attrs["n_courses"]) for results in (first, other)]
    kinds = [parse_yaml(results.attrs["config"], "config")[0].get("sampling", "") for results in (first, other)]
    is_same = first.attrs["seed"] == other.attrs["seed"] and kinds[0] == kinds[1]
    return min(counts) if is_same and (kinds[0] != "sobol" or counts[0] == counts[1]) else 0


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
    return [
        (shown, what, *(_probability(results, owners.get(study, ""), what) for study, results in studies.items()))
        for shown, owners in strategies_apart(studies).items()
        for what in JOINT_SHOWN
    ]


def _probability(results: xr.DataTree, strategy: str, what: str) -> str:
    joint = joint_probability(results, what)
    if not strategy:
        return "-"
    one = joint.sel(strategy=strategy)
    p, low, high = (100 * float(one[key]) for key in ("probability", "ci_low", "ci_high"))
    if np.isnan(p):
        return "no such goals"
    mark = " *" if what == JOINT_SHOWN[0] and strategy == results["decision"].attrs["recommended"] else ""
    stopped = stopped_by_strategy(results).get(strategy)
    return f"{p:.1f} % ({low:.1f}-{high:.1f}){mark}" + (f", {stopped}" if stopped else "")


def write_comparison(studies: Mapping[str, xr.DataTree], out: Path) -> list[Path]:
    """Write comparison.csv, the summaries of all studies in one table, comparison.svg and comparison.html.

    Raises
    ------
    ConfigError : `out` is not new, empty or the simulator's own.
    """
    claim(out)
    table, figure = out / TABLE, out / FIGURE
    rows = [
        [name, *row][: 1 + len(SUMMARY_COLUMNS)] for name, results in studies.items() for row in summary_rows(results)
    ]
    write_table(table, ("study", *SUMMARY_COLUMNS), rows)
    write_whole(figure, svg_bytes(side_by_side(studies)))
    page = out / PAGE
    first, *others = studies
    common = {name: common_courses(studies[first], studies[name]) for name in others}
    with whole_file(page) as partial:
        render_comparison(studies, differences(studies), common, partial)
    return [table, figure, page]
