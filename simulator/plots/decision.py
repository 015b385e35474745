"""Figures that decide: coverage against organ risk, and the uncertainty budget."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from simulator.plots.style import LETTER, MARKERS, PALETTE, enlarge, legend_below, light_grid, panels, styled
from simulator.results.registry import JOINT_SHOWN

_MOST_METRICS = 4
_LEAST_SHOWN = 0.01


@styled
def pareto_front(results: xr.DataTree) -> Figure:
    """Coverage of the target against the risk to organs: every strategy, those on the front joined."""
    decision, joint = results["decision"].to_dataset(), results["joint"].to_dataset()
    coverage, organs = (joint.sel(joint=name) for name in JOINT_SHOWN)
    plans = results["plans"].to_dataset()
    figure, grid = panels(1, 1, 7.4, 4.4, top=0.12)
    axes = grid[0, 0]
    risk = 100 * decision["organ_risk"].values
    covered = 100 * coverage["probability"].values
    risk_bar = [risk - 100 * (1 - organs["ci_high"].values), 100 * (1 - organs["ci_low"].values) - risk]
    cover_bar = [covered - 100 * coverage["ci_low"].values, 100 * coverage["ci_high"].values - covered]
    motions = list(dict.fromkeys(str(m) for m in plans["motion"].values))
    for k, motion in enumerate(motions):
        at = np.flatnonzero(plans["motion"].values == motion)
        axes.errorbar(
            risk[at], covered[at], np.clip(cover_bar, 0, None)[:, at], np.clip(risk_bar, 0, None)[:, at],
            linestyle="none", marker=MARKERS[k % len(MARKERS)], color=PALETTE[k % len(PALETTE)], markersize=5,
            elinewidth=0.7, alpha=0.9, label=f"motion {motion}",
        )  # fmt: skip
    front = np.flatnonzero(decision["on_front"].values)
    front = front[np.argsort(risk[front])]
    axes.plot(risk[front], covered[front], color="#555555", linewidth=1.0, zorder=0, label="Pareto front")
    chosen = decision.attrs["recommended"] or decision.attrs["nearest_miss"]
    index = list(decision["strategy"].values).index(chosen)
    word = "recommended" if decision.attrs["recommended"] else "nearest miss"
    axes.plot(
        risk[index], covered[index], "o", markersize=15, fillstyle="none", color="#000000", label=f"{word}: {chosen}"
    )
    wanted = 100 * float(decision.attrs["probability"])
    axes.axhline(wanted, color="#444444", linewidth=0.9, linestyle=":", label=f"wanted: {wanted:g} %")
    axes.set(xlabel="probability that any organ misses a goal (%)", ylabel="probability of the wanted coverage (%)")
    axes.set(xlim=(-3, 103), ylim=(-3, 103))
    light_grid(axes)
    legend_below(figure, axes.get_legend_handles_labels()[0], 2)
    return figure


@styled
def uncertainty_budget(results: xr.DataTree, strategy: str) -> Figure:
    """Share of each metric's variance by source, and the coverage if the source were removed."""
    budget = results["budget"].to_dataset().sel(strategy=strategy)
    metrics = budget_metrics(results, strategy)
    acting = (budget["total"].sel(metric=metrics) >= _LEAST_SHOWN).any("metric") | (
        abs(budget["coverage_without"] - budget["coverage"]) >= _LEAST_SHOWN
    )
    budget = budget.isel(source=np.flatnonzero(acting.values))
    budget = budget.isel(source=np.argsort(budget["total"].sel(metric=metrics[0]).values, kind="stable"))
    place, sources = np.arange(budget.sizes["source"]), budget["source"].values
    figure, grid = panels(1, len(metrics) + 1, 2.9, 0.9 + 0.36 * max(4, len(sources)), left=0.16)
    enlarge(figure, left=LETTER * max(len(str(source)) for source in sources))
    for axes, metric in zip(grid[0], metrics, strict=False):
        one = budget.sel(metric=metric)
        for key, offset, colour, name in (
            ("total", 0.2, PALETTE[3], "with interactions"),
            ("first_order", -0.2, PALETTE[0], "alone"),
        ):
            share = 100 * one[key].values
            bars = [share - 100 * one[f"{key}_low"].values, 100 * one[f"{key}_high"].values - share]
            axes.barh(place + offset, np.clip(share, 0, None), 0.38, color=colour, label=name)
            axes.errorbar(
                share, place + offset, xerr=np.clip(bars, 0, None), linestyle="none", color="#333333", elinewidth=0.9
            )
        axes.set(title=metric, xlabel="share of the variance (%)", xlim=(0, 105))
    last = grid[0, -1]
    without, now = 100 * budget["coverage_without"].values, 100 * float(budget["coverage"])
    last.barh(place, without - now, 0.6, left=now, color=[PALETTE[2] if w >= now else PALETTE[1] for w in without])
    last.axvline(now, color="#333333", linewidth=1.0)
    last.set(title="coverage without it", xlabel="probability (%)")
    for axes in grid[0]:
        axes.set_yticks(place, sources if axes is grid[0, 0] else [""] * len(sources))
        light_grid(axes)
    legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], 2)
    return figure


def budget_metrics(results: xr.DataTree, strategy: str) -> list[str]:
    """Metrics worth a panel: that of the wanted coverage, then those whose goals are least certain."""
    goals = results["goals"].to_dataset().sel(strategy=strategy)
    uncertain = np.argsort(np.abs(goals["probability"].values - 0.5), kind="stable")
    wanted = f"{results.attrs['target']} D98%"
    ranked = [wanted, *(str(goals["metric"].values[i]) for i in uncertain)]
    known = {str(m) for m in results["budget"].to_dataset()["metric"].values}
    return [m for m in dict.fromkeys(ranked) if m in known][:_MOST_METRICS]
