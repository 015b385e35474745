"""Courses looked at: where the target went, fraction by fraction, and what that cost."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from simulator.plots.style import MARKERS, PALETTE, legend_below, light_grid, panels, styled

_TOTAL, _COURSE, _PLANNED, _LIMIT = "#bbbbbb", "#333333", "#333333", "#D55E00"
_ROOM = 1.15


@styled
def courses_looked_at(results: xr.DataTree, strategy: str) -> Figure:
    """The courses of a strategy that the results look at, one beside the other, worst first.

    Above: displacement of the target from where it was planned relative to the beam, by axis and as a distance. Below: the
    metric looked at if all fractions had been like this one, with that of the course and of the plan.
    """
    own = results["courses"].to_dataset().sel(strategy=strategy)
    metric = str(results["courses"].attrs["metric"])
    nominal = float(results["metrics"].to_dataset()["nominal"].sel(strategy=strategy, metric=metric))
    unit = str(results["metrics"].to_dataset()["unit"].sel(metric=metric).item())
    limits = _limits(results, metric)
    figure, grid = panels(2, own.sizes["percentile"], 4.6, 2.05)
    mm = own["error_mm"].sum("source").values
    low_mm, high_mm = _ROOM * min(float(mm.min()), -0.5), _ROOM * max(float(np.linalg.norm(mm, axis=-1).max()), 1.0)
    values = np.append(own["fraction_value"].values, [*own["value"].values, nominal, *limits])
    values = values[np.isfinite(values)]
    spread = max(0.08 * float(np.ptp(values)), 0.5)
    for column, (percentile, course) in enumerate(zip(own["percentile"].values, own["course"].values, strict=True)):
        above, below = grid[:, column]
        fraction = own["fraction"].values
        _draw_displacement(above, fraction, mm[column], [str(a) for a in own["axis"].values])
        above.set(title=f"{name_of(percentile)}: course {course}", ylim=(low_mm, high_mm), ylabel="displacement (mm)")
        below.plot(fraction, own["fraction_value"].values[column], "o", color=PALETTE[0])
        for level, colour, line in (
            (float(own["value"].values[column]), _COURSE, "-"),
            (nominal, _PLANNED, "--"),
            *((limit, _LIMIT, ":") for limit in limits),
        ):
            below.axhline(level, color=colour, linestyle=line, linewidth=1.2)
        below.set(ylim=(values.min() - spread, values.max() + spread), ylabel=f"{metric} ({unit})", xlabel="fraction")
        for axes in (above, below):
            axes.set_xlim(fraction[0] - 0.5, fraction[-1] + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            light_grid(axes)
    legend_below(figure, _keys([str(a) for a in own["axis"].values], bool(limits)), 4)
    return figure


def name_of(percentile: float) -> str:
    """A percentile in words."""
    return "median" if percentile == 50 else f"{percentile:g}th percentile"


def _limits(results: xr.DataTree, metric: str) -> list[float]:
    """Limits of the goals on a metric that are in its unit."""
    goals = results["goals"].to_dataset()
    unit = str(results["metrics"].to_dataset()["unit"].sel(metric=metric).item())
    found = []
    for of, limit, in_unit in zip(goals["metric"].values, goals["limit"].values, goals["unit"].values, strict=True):
        if str(of) == metric:
            in_gy = in_unit == "%" and unit == "Gy"
            found.append(float(limit) * (float(results.attrs["prescription_gy"]) / 100 if in_gy else 1.0))
    return found


def _draw_displacement(axes: Axes, fraction: np.ndarray, mm: np.ndarray, names: Sequence[str]) -> None:
    """Lines (fraction, axis) about zero, over bars of the distance."""
    axes.bar(fraction, np.linalg.norm(mm, axis=-1), 0.7, color=_TOTAL, linewidth=0)
    axes.axhline(0, color="#666666", linewidth=0.8)
    for values, colour, marker, name in zip(mm.T, PALETTE, MARKERS, names, strict=False):
        axes.plot(fraction, values, color=colour, marker=marker, markersize=4, label=name)


def _keys(axes: Sequence[str], has_limits: bool) -> list[Line2D]:
    ends = {"LR": "to the left", "AP": "to posterior", "SI": "to superior"}
    keys = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=f"{name}, + {ends[name]}")
        for name, colour, marker in zip(axes, PALETTE, MARKERS, strict=False)
    ]
    keys += [
        Line2D([], [], color=_TOTAL, linewidth=6, label="distance"),
        Line2D([], [], color=PALETTE[0], marker="o", linestyle="", label="all like this one"),
        Line2D([], [], color=_COURSE, label="the course"),
        Line2D([], [], color=_PLANNED, linestyle="--", label="planned"),
    ]
    return keys + ([Line2D([], [], color=_LIMIT, linestyle=":", label="limit of a goal")] if has_limits else [])
