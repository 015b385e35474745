"""Dose-volume histograms with their spread over courses."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulator.plots.style import legend_below, light_grid, panels, shown_structures, styled


@styled
def dvh_bands(results: xr.DataTree, strategies: Sequence[str]) -> Figure:
    """Cumulative DVHs (percent against Gy), one panel per strategy.

    Dashed: planned dose. Solid: median over courses. Shaded: 25-75 % and 5-95 % of courses.
    """
    colours = shown_structures(results)
    columns = min(2, len(strategies))
    figure, grid = panels(-(-len(strategies) // columns), columns, 5.4, 3.7)
    for axes, strategy in zip(grid.flat, strategies, strict=False):
        draw_dvhs(axes, results, strategy)
        axes.set_title(strategy)
    for axes in grid.flat[len(strategies) :]:
        axes.set_visible(False)
    legend_below(figure, [*structure_keys(colours), *line_keys()], 2 * columns + 1)
    return figure


def draw_dvhs(axes: Axes, results: xr.DataTree, strategy: str) -> None:
    """DVHs of one strategy with their bands."""
    dvh = results["dvh"].to_dataset()
    dose_gy = dvh["dose"].values
    places = {key: [str(name) for name in dvh[key].values] for key in ("strategy", "structure")}
    quantile = {q: int(np.abs(dvh["quantile"].values - q).argmin()) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    volume_percent, nominal = dvh["volume_percent"].values, dvh["nominal"].values
    shown = np.maximum(volume_percent.max((0, 1, 2)), nominal.max((0, 1)))
    highest_gy = dose_gy[np.flatnonzero(shown > 0.1)[-1]]
    for name, colour in shown_structures(results).items():
        at = places["strategy"].index(strategy), places["structure"].index(name)
        bands = volume_percent[at]
        for low, high, opacity in ((0.05, 0.95, 0.15), (0.25, 0.75, 0.25)):
            lower, upper = bands[quantile[low]], bands[quantile[high]]
            steps = (np.diff(lower) != 0) | (np.diff(upper) != 0)
            ends = np.append(steps, True) | np.append(True, steps)  # points within a level stretch add nothing
            axes.fill_between(dose_gy[ends], lower[ends], upper[ends], color=colour, alpha=opacity, linewidth=0)
        axes.plot(dose_gy, bands[quantile[0.5]], color=colour, label=name)
        axes.plot(dose_gy, nominal[at], color=colour, linestyle="--", linewidth=1.1)
    axes.axvline(float(results.attrs["prescription_gy"]), color="#888888", linewidth=0.9, linestyle=":")
    axes.set(xlabel="dose (Gy)", ylabel="volume (%)", xlim=(0, 1.04 * highest_gy), ylim=(0, 102))
    light_grid(axes)


def structure_keys(colours: dict[str, str]) -> list[Line2D]:
    """Keys of structures."""
    return [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]


def line_keys() -> list[Line2D | Patch]:
    """Keys of what the lines and bands of a DVH are."""
    return [
        Line2D([], [], color="#444444", label="median of courses"),
        Line2D([], [], color="#444444", linestyle="--", linewidth=1.1, label="planned dose"),
        Patch(color="#444444", alpha=0.36, linewidth=0, label="25-75 % of courses"),
        Patch(color="#444444", alpha=0.15, linewidth=0, label="5-95 % of courses"),
        Line2D([], [], color="#888888", linestyle=":", label="prescription"),
    ]
