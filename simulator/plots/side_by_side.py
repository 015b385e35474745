"""Several studies in one figure."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from simulator.plots.style import LETTER, MARKERS, PALETTE, enlarge, legend_below, light_grid, panels, styled
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import joint_probability

_ROW = 0.17  # height of a study in a strategy, inches


def strategies_apart(studies: Mapping[str, xr.DataTree]) -> dict[str, dict[str, str]]:
    """All strategies in the order of the rule, study after study; for each, its name in each study that has it.

    Equal names that mean different margins are different strategies, and say their margin in mm.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for study, results in studies.items():
        plans = results["plans"].to_dataset().isel(strategy=np.argsort(results["decision"].to_dataset()["rank"].values))
        for name, margin_mm in zip(plans["strategy"].values, plans["margin_mm"].values, strict=True):
            found.setdefault(str(name), {}).setdefault(_margin(margin_mm), []).append(study)
    return {
        name if len(by_margin) == 1 else f"{name} ({margin} mm)": dict.fromkeys(owners, name)
        for name, by_margin in found.items()
        for margin, owners in by_margin.items()
    }


def _margin(margin_mm: np.ndarray) -> str:
    """A margin by direction, as short as it can be told."""
    texts = [f"{side:.1f}" for side in margin_mm]
    return " / ".join(texts[:1] if len(set(texts)) == 1 else texts[::2] if texts[::2] == texts[1::2] else texts)


@styled
def side_by_side(studies: Mapping[str, xr.DataTree]) -> Figure:
    """Probabilities of the wanted coverage and of all organ goals, with 95 % intervals, by strategy and study."""
    apart = strategies_apart(studies)
    strategies = list(apart)
    rows = np.cumsum([0.0, *(len(owners) + 0.6 for owners in apart.values())])  # each as high as it has studies
    figure, grid = panels(1, len(JOINT_SHOWN), 4.6, 1.0 + _ROW * rows[-1])
    for k, what in enumerate(JOINT_SHOWN):
        axes = grid[0, k]
        for i, (name, results) in enumerate(studies.items()):
            joint = joint_probability(results, what)
            own = [j for j, owners in enumerate(apart.values()) if name in owners]
            joint = joint.sel(strategy=[apart[strategies[j]][name] for j in own])
            place = [rows[j] + 0.8 + list(apart[strategies[j]]).index(name) for j in own]
            p, low, high = (100 * joint[key].values for key in ("probability", "ci_low", "ci_high"))
            axes.errorbar(
                p, place, xerr=np.clip([p - low, high - p], 0, None), linestyle="none", markersize=4.5, elinewidth=0.9,
                marker=MARKERS[(i + i // len(PALETTE)) % len(MARKERS)], color=PALETTE[i % len(PALETTE)], label=name,
            )  # fmt: skip
        axes.set(xlim=(-3, 103), ylim=(rows[-1], 0), xlabel=f"{what}, probability (%)")
        axes.set_yticks((rows[:-1] + rows[1:]) / 2, strategies if k == 0 else [])
        light_grid(axes)
    enlarge(figure, left=LETTER * max(len(s) for s in strategies) - 0.2)
    legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], 4)
    return figure
