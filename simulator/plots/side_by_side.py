"""Several studies in one figure."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from simulator.plots.style import LETTER, MARKERS, PALETTE, enlarge, legend_below, light_grid, panels, styled
from simulator.results import JOINT_SHOWN, joint_probability

_ROW = 0.17  # height of a study in a strategy, inches


@styled
def side_by_side(studies: Mapping[str, xr.DataTree]) -> Figure:
    """Probabilities of the wanted coverage and of all organ goals, with 95 % intervals, by strategy and study."""
    strategies = list(
        dict.fromkeys(str(s) for results in studies.values() for s in results["joint"]["strategy"].to_numpy())
    )
    figure, grid = panels(1, len(JOINT_SHOWN), 4.6, 1.0 + _ROW * len(strategies) * (len(studies) + 0.6))
    for k, what in enumerate(JOINT_SHOWN):
        axes = grid[0, k]
        for i, (name, results) in enumerate(studies.items()):
            joint = joint_probability(results, what)
            place = np.array([strategies.index(str(s)) for s in joint["strategy"].values])
            place = place + (i - (len(studies) - 1) / 2) / (len(studies) + 0.6)
            p, low, high = (100 * joint[key].values for key in ("probability", "ci_low", "ci_high"))
            axes.errorbar(
                p, place, xerr=np.clip([p - low, high - p], 0, None), linestyle="none", markersize=4.5, elinewidth=0.9,
                marker=MARKERS[i % len(MARKERS)], color=PALETTE[i % len(PALETTE)], label=name,
            )  # fmt: skip
        axes.set(xlim=(-3, 103), ylim=(len(strategies) - 0.4, -0.6), xlabel=f"{what}, probability (%)")
        axes.set_yticks(range(len(strategies)), strategies if k == 0 else [])
        light_grid(axes)
    enlarge(figure, left=LETTER * max(len(s) for s in strategies) - 0.2)
    legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], 4)
    return figure
