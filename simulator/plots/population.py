"""Figures of the population: dose-volume coverage maps and dose-population histograms."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulator.plots.style import PALETTE, legend_below, light_grid, panels, readable, styled
from simulator.population.coverage import dose_population_histogram
from simulator.results.views import own_courses

_LEVELS = {0.95: "#08306b", 0.75: "#2171b5", 0.5: "#4eb3d3", 0.25: "#7bccc4", 0.05: "#a8ddb5"}

_MOST_STEPS = 300


@styled
def dose_volume_coverage(results: xr.DataTree, strategy: str, structures: Sequence[str]) -> Figure:
    """Probability that at least a volume of a structure gets at least a dose, as lines of equal probability.

    Source: Gordon & Siebers 2009, doi:10.1118/1.3148583.
    """
    dvh = results["dvh"].to_dataset().sel(strategy=strategy)
    figure, grid = panels(1, len(structures), 4.6, 3.9)
    for axes, structure in zip(grid[0], structures, strict=True):
        own = dvh.sel(structure=structure)
        dose_gy, volume = own["dose"].values, own["volume"].values
        share = own["coverage"].values.T
        axes.contour(
            dose_gy, volume, share, levels=sorted(_LEVELS), colors=[_LEVELS[p] for p in sorted(_LEVELS)], linewidths=1.6
        )
        axes.plot(dose_gy, own["nominal"].values, color="#D55E00", linestyle="--", linewidth=1.1)
        axes.axvline(float(results.attrs["prescription_gy"]), color="#888888", linewidth=0.9, linestyle=":")
        reached = np.flatnonzero(share.max(axis=0) > min(_LEVELS))
        axes.set(title=structure, xlabel="dose (Gy)", ylabel="volume (%)", ylim=(0, 102))
        axes.set_xlim(0, 1.1 * max(dose_gy[reached[-1]], dose_gy[1]) if len(reached) else dose_gy[-1])
        light_grid(axes)
    keys = [Line2D([], [], color=colour, label=f"{100 * level:g} % of courses") for level, colour in _LEVELS.items()]
    keys.append(Line2D([], [], color="#D55E00", linestyle="--", linewidth=1.1, label="planned dose"))
    legend_below(figure, keys, 6)
    return figure


@styled
def dose_population_histograms(results: xr.DataTree, metrics: Sequence[str], strategies: Sequence[str]) -> Figure:
    """Share of courses whose metric is at least a value, with a 95 % band for the whole curve.

    Source: van Herk et al. 2000, doi:10.1016/S0360-3016(00)00518-6.
    """
    values, goals = results["metrics"].to_dataset(), results["goals"].to_dataset()
    rx_gy = float(results.attrs["prescription_gy"])
    figure, grid = panels(1, len(metrics), 4.6, 3.9)
    for axes, metric in zip(grid[0], metrics, strict=True):
        for colour, strategy in zip(PALETTE, strategies, strict=False):
            value, share, low, high = dose_population_histogram(
                own_courses(values["value"].sel(strategy=strategy, metric=metric))
            )
            some = np.unique(np.linspace(0, len(value) - 1, _MOST_STEPS).astype(int))
            axes.step(value[some], 100 * share[some], color=colour, label=strategy)
            axes.fill_between(
                value[some], 100 * low[some], 100 * high[some], step="pre", color=colour, alpha=0.15, linewidth=0
            )
        unit = str(values["unit"].sel(metric=metric).item())
        for i in np.flatnonzero(goals["metric"].values == metric):
            in_percent = unit == "Gy" and str(goals["unit"].values[i]) == "%"
            limit = float(goals["limit"].values[i]) * (rx_gy / 100 if in_percent else 1.0)
            axes.axvline(limit, color="#444444", linewidth=0.9, linestyle="--")
            text = readable(str(goals["goal"].values[i])).removeprefix(metric)
            axes.annotate(text, (limit, 50), rotation=90, fontsize=8, ha="right", va="center", color="#444444")
        axes.set(title=metric, xlabel=f"at least ({unit})", ylabel="courses (%)", ylim=(0, 102))
        light_grid(axes)
    legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], 2)
    return figure
