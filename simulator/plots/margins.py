"""Metrics and probabilities against the margin, one line per motion management and image guidance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.plots.style import LINES_PER_PANEL, MARKERS, PALETTE, legend_below, light_grid, panels, readable, styled
from simulator.results.views import own_courses

MOST_GOALS = 3
_MARGIN_LABEL = "margin, mean over directions (mm)"


@dataclass(frozen=True)
class Line:
    """Strategies that differ by their margin alone: positions in the results, in order of `margin_mm`."""

    motion: str
    guidance: str
    strategies: np.ndarray
    margin_mm: np.ndarray


def lines_against_margin(results: xr.DataTree) -> list[Line]:
    """One line per motion management and image guidance; the abscissa is the mean margin over directions."""
    plans = results["plans"].to_dataset()
    mean_mm = plans["margin_mm"].mean("direction").values
    motions, guidances = plans["motion"].values, plans["guidance"].values
    lines = []
    for motion, guidance in dict.fromkeys(zip(motions, guidances, strict=True)):
        members = np.flatnonzero((motions == motion) & (guidances == guidance))
        members = members[np.argsort(mean_mm[members], kind="stable")]
        lines.append(Line(str(motion), str(guidance), members, mean_mm[members]))
    return lines


def critical_oar_goal(results: xr.DataTree) -> int | None:
    """Position of the goal on an organ at risk with the lowest mean probability over strategies.

    Among equals, the one whose less favourable 90 % bound lies closest to the limit. None without such goals.
    """
    goals = results["goals"].to_dataset()
    candidates = np.flatnonzero(goals["role"].values != "target")
    if not len(candidates):
        return None
    upper = np.char.startswith(goals["operator"].values.astype(str), "<")
    limit = goals["limit"].values.astype(float)
    room = np.where(upper, limit - goals["p95"].values, goals["p05"].values - limit).mean(0) / limit
    probability = goals["probability"].values.mean(0)
    return int(candidates[np.lexsort((room[candidates], probability[candidates]))[0]])


@styled
def target_d98_against_margin(results: xr.DataTree) -> Figure:
    """Target D98% in percent of the prescription: median and 5-95 % of courses, with the limits of its goals."""
    target, rx_gy = results.attrs["target"], float(results.attrs["prescription_gy"])
    metric = f"{target} D98%"
    values = results["metrics"].to_dataset()["value"].sel(metric=metric)
    percent = [100 * own_courses(own) / rx_gy for own in values]
    p05, median, p95 = np.transpose([np.quantile(own, (0.05, 0.5, 0.95)) for own in percent])
    goals = results["goals"].to_dataset()
    of_metric = goals["metric"].values == metric
    scale = np.where(goals["unit"].values == "Gy", 100 / rx_gy, 1.0)
    limits = np.unique((goals["limit"].values * scale)[of_metric])
    return _one_quantity(results, median, p05, p95, limits, f"{metric} (% of prescription)")


@styled
def oar_against_margin(results: xr.DataTree) -> Figure:
    """Most critical metric of an organ at risk: median and 5-95 % of courses, with its limit."""
    goal = critical_oar_goal(results)
    if goal is None:
        raise ValueError("no goal on an organ at risk")
    goals = results["goals"].to_dataset().isel(goal=goal)
    median, p05, p95 = (goals[key].values for key in ("median", "p05", "p95"))
    label = f"{goals['metric'].item()} ({goals['unit'].item()})"
    return _one_quantity(results, median, p05, p95, [float(goals["limit"])], label)


@styled
def coverage_against_margin(results: xr.DataTree) -> Figure:
    """Probability of the first target goals (percent) with 95 % Wilson intervals."""
    goals = results["goals"].to_dataset()
    shown = np.flatnonzero(goals["role"].values == "target")[:MOST_GOALS]
    bundles = _bundles(lines_against_margin(results))
    figure, grid = panels(len(bundles), len(shown), 3.9 if len(shown) > 1 else 5.6, 3.5, top=_top(bundles))
    for row, bundle in zip(grid, bundles, strict=True):
        for axes, goal in zip(row, shown, strict=True):
            middle, low, high = (100 * goals[key].values[:, goal] for key in ("probability", "ci_low", "ci_high"))
            _draw(axes, bundle, middle, low, high)
            axes.axhline(90, color="#444444", linewidth=0.9, linestyle=":")
            axes.set(title=_title(bundles, bundle, readable(str(goals["goal"].values[goal]))), ylim=(-3, 103))
            axes.set(xlabel=_MARGIN_LABEL, ylabel="probability (%)")
    _legend(figure, grid, bundles)
    return figure


def _one_quantity(
    results: xr.DataTree,
    median: np.ndarray,
    p05: np.ndarray,
    p95: np.ndarray,
    limits: Sequence[float] | np.ndarray,
    label: str,
) -> Figure:
    bundles = _bundles(lines_against_margin(results))
    columns = min(2, len(bundles))
    figure, grid = panels(
        -(-len(bundles) // columns), columns, 5.4 if columns > 1 else 7.4, 3.7, right=0.85, top=_top(bundles)
    )
    for axes, bundle in zip(grid.flat, bundles, strict=False):
        _draw(axes, bundle, median, p05, p95)
        for limit in limits:
            axes.axhline(limit, color="#444444", linewidth=1.1, linestyle="--")
            axes.annotate(
                f"limit {limit:g}", (1, limit), (4, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", color="#444444", fontsize=8.5,
            )  # fmt: skip
        axes.set(title=_title(bundles, bundle, ""), xlabel=_MARGIN_LABEL, ylabel=label)
    for axes in grid.flat[len(bundles) :]:
        axes.set_visible(False)
    _legend(figure, grid, bundles)
    return figure


def _bundles(lines: list[Line]) -> list[list[Line]]:
    """Lines of each panel: all in one if they are few, else by motion management, at most six together."""
    if len(lines) <= LINES_PER_PANEL:
        return [lines]
    bundles = []
    for motion in dict.fromkeys(line.motion for line in lines):
        own = [line for line in lines if line.motion == motion]
        bundles += [own[i : i + LINES_PER_PANEL] for i in range(0, len(own), LINES_PER_PANEL)]
    return bundles


def _draw(axes: Axes, bundle: list[Line], middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Lines with bars; neighbours are moved sideways by a little so that their bars do not hide each other."""
    for i, line in enumerate(bundle):
        sideways_mm = 0.1 * (i - (len(bundle) - 1) / 2)
        at = line.strategies
        y = middle[at]
        axes.errorbar(
            line.margin_mm + sideways_mm, y, np.maximum([y - low[at], high[at] - y], 0.0),
            color=PALETTE[i], marker=MARKERS[i], markersize=4.5, capsize=2.5, elinewidth=1.1, label=_name(line),
        )  # fmt: skip
    margins_mm = np.concatenate([line.margin_mm for line in bundle])
    axes.set_xlim(margins_mm.min() - 0.6, margins_mm.max() + 0.6)
    light_grid(axes)


def _name(line: Line) -> str:
    return f"motion {line.motion}, guidance {line.guidance}"


def _title(bundles: list[list[Line]], bundle: list[Line], text: str) -> str:
    motion = f"motion {bundle[0].motion}" if len(bundles) > 1 else ""
    return "\n".join(part for part in (text, motion) if part)


def _top(bundles: list[list[Line]]) -> float:
    """Room for a title of one or two lines, inches."""
    return 0.3 if len(bundles) == 1 else 0.48


def _legend(figure: Figure, grid: np.ndarray, bundles: list[list[Line]]) -> None:
    if len(bundles) > 1:
        for axes in grid.flat:
            if axes.get_visible():
                axes.legend(*_without_motion(axes), fontsize=8, loc="best")
        return
    legend_below(figure, grid.flat[0].get_legend_handles_labels()[0], 2)


def _without_motion(axes: Axes) -> tuple[list[Artist], list[str]]:
    handles, names = axes.get_legend_handles_labels()
    return handles, [name.partition(", ")[2] for name in names]
