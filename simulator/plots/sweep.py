"""How coverage and organ risk change along the axes of a sweep."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.plots.quantities import quantity
from simulator.plots.style import LETTER, LINES_PER_PANEL, MARKERS, PALETTE, legend_below, light_grid, panels, styled
from simulator.results.views import joint_probability, sweep_axes

_MOST_COLUMNS = 4
_LABELS = {"wanted coverage": "wanted coverage (%)", "all organ goals": "all organ goals met (%)"}


@styled
def sweep_curves(results: xr.DataTree, strategies: list[str]) -> Figure:
    """Probability of the wanted coverage and of all organ goals against the first axis, with 95 % intervals.

    Parameters
    ----------
    strategies : the lines, at most six. The first values of a second axis are columns; further axes are at their first value.
    """
    axes_names = sweep_axes(results)
    joints = {name: joint_probability(results, name).isel(dict.fromkeys(axes_names[2:], 0)) for name in _LABELS}
    joints = {name: joint for name, joint in joints.items() if joint["probability"].notnull().any()}
    first, second = axes_names[0], axes_names[1] if len(axes_names) > 1 else None
    coverage = joints["wanted coverage"]
    columns = coverage[second].values[:_MOST_COLUMNS] if second else [None]
    longest = max(len(_text(value)) for value in coverage[first].values)
    figure, grid = panels(len(joints), len(columns), 4.2 if len(columns) > 1 else 6.4, 3.0, right=0.2, top=0.5)
    for row, (name, joint) in zip(grid, joints.items(), strict=True):
        for panel, value in zip(row, columns, strict=True):
            shown = joint.sel({second: value} if second else {})
            _draw(panel, shown, first, strategies[:LINES_PER_PANEL], slanted=longest * LETTER * joint.sizes[first] > 3)
            title = f"{quantity(second)}\n{_text(value)}" if second else ""
            panel.set(title=title, ylim=(-3, 103), ylabel=_LABELS[name], xlabel=quantity(first))
    legend_below(figure, grid.flat[0].get_legend_handles_labels()[0], 2)
    return figure


def _draw(panel: Axes, shown: xr.Dataset, axis: str, strategies: list[str], *, slanted: bool) -> None:
    values = shown[axis].values
    is_number = values.dtype.kind == "f"
    x = values if is_number else np.arange(len(values))
    for i, strategy in enumerate(strategies):
        line = shown.sel(strategy=strategy)
        y, low, high = (100 * line[key].values for key in ("probability", "ci_low", "ci_high"))
        panel.errorbar(
            x, y, np.maximum([y - low, high - y], 0.0), color=PALETTE[i], marker=MARKERS[i], markersize=4.5, capsize=2.5,
            elinewidth=1.1, label=strategy, linestyle="-" if is_number else ":",
        )  # fmt: skip
    panel.axhline(90, color="#444444", linewidth=0.9, linestyle=":")
    panel.set_xticks(x, [_text(v) for v in values], rotation=20 if slanted else 0)
    light_grid(panel)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
