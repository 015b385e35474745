"""Several targets: where they lie, and the margin that each needs against its distance from the isocentre."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulator.plots.dose import AXIS_LABELS, PLANES, Plane, side_letters
from simulator.plots.style import MARKERS, PALETTE, legend_below, light_grid, panels, styled

_VIEWS = (
    (PLANES[1], 1),
    (PLANES[2], 2),
)  # from the front, along y, and from the side, along x: array axis looked along
_SIZE = 4.3  # of one panel, inches
_ROOM_MM = 6.0
_APART_MM = 0.8  # sideways between series, so that their bars do not hide each other


@styled
def targets_in_projection(results: xr.DataTree, strategy: str) -> Figure:
    """All targets with their PTVs, seen from the front and from the side, over the highest planned dose along the view; thin
    lines are where that is 100 and 50 % of the lowest prescription."""
    maps, found = results["dose"].to_dataset(), results["targets"].to_dataset()
    own = maps[["nominal", "ptv_mask"]].sel(strategy=strategy)
    figure, grid = panels(1, len(_VIEWS), _SIZE, _SIZE)
    dose_gy, rx_gy = own["nominal"].values, float(found["prescription_gy"].min())
    for axes, (plane, along) in zip(grid[0], _VIEWS, strict=True):
        across_mm, up_mm = maps[plane.across].values, maps[plane.along].values
        extent = (across_mm[0], across_mm[-1], up_mm[0], up_mm[-1])
        highest_gy = dose_gy.max(axis=along)
        axes.imshow(highest_gy, origin="lower", extent=extent, cmap="Greys", vmin=0, vmax=2 * rx_gy)
        axes.set_aspect("equal", adjustable="datalim")
        axes.contour(across_mm, up_mm, highest_gy, [rx_gy / 2, rx_gy], colors="#777777", linewidths=0.7)
        axes.contour(across_mm, up_mm, own["ptv_mask"].values.max(axis=along), [0.5], colors="#333333", linestyles="--")
        for name, colour in zip(found["target"].values, PALETTE, strict=False):
            mask = maps["structure_mask"].sel(structure=name).values.max(axis=along)
            axes.contour(across_mm, up_mm, mask, [50], colors=colour, linewidths=1.8)
        _mark_isocentre(axes, plane, results)
        side_letters(axes, plane)
        axes.set(xlabel=AXIS_LABELS[plane.across], ylabel=AXIS_LABELS[plane.along])
    named = zip(found["target"].values, PALETTE, strict=False)
    keys = [Line2D([], [], color=colour, label=str(name)) for name, colour in named]
    keys += [Line2D([], [], color="#333333", linestyle="--", label="PTV")]
    keys += [Line2D([], [], color="#777777", linewidth=0.7, label=f"{rx_gy:g} and {rx_gy / 2:g} Gy")]
    keys += [Line2D([], [], color="#333333", marker="+", linestyle="none", label="isocentre")]
    legend_below(figure, keys, len(keys))
    return figure


def _mark_isocentre(axes: Axes, plane: Plane, results: xr.DataTree) -> None:
    at_mm = dict(zip("xyz", np.asarray(results["targets/isocentre_mm"]).T, strict=True))
    axes.plot(at_mm[plane.across], at_mm[plane.along], "+", linestyle="none", color="#333333", markersize=11)


@styled
def margin_against_distance(results: xr.DataTree) -> Figure:
    """Required margin of each target (mean over directions, 95 % interval) against its distance from the isocentre, and the
    first recipe's; arrows where it lies beyond the candidates."""
    found, margins = results["targets"].to_dataset(), results["margins"].to_dataset()
    away_mm = dict(zip(found["target"].values, found["isocentre_distance_mm"].values, strict=True))
    target = margins["target"].values
    series = [
        f"motion {motion}, guidance {str(guidance).removesuffix(f', for {name}')}"
        for motion, guidance, name in zip(margins["motion"].values, margins["guidance"].values, target, strict=True)
    ]
    recipe = str(margins["recipe"].values[0])
    figure, grid = panels(1, 1, 7.4, 3.9)
    axes, keys = grid[0, 0], []
    for i, name in enumerate(dict.fromkeys(series)):
        members = [k for k, one in enumerate(series) if one == name]
        members = sorted(members, key=lambda k: away_mm[target[k]])
        x_mm = np.array([away_mm[target[k]] for k in members]) + _APART_MM * i
        required, low, high, smallest, largest = (
            margins[f"{key}_mm"].values[members].mean(axis=1)
            for key in ("required", "low", "high", "smallest", "largest")
        )
        colour, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        within = np.clip(required, smallest, largest)
        ends = [within - np.clip(low, smallest, largest), np.clip(high, smallest, largest) - within]
        axes.errorbar(x_mm, within, np.maximum(ends, 0), color=colour, marker=marker, markersize=5, capsize=2.5)
        for beyond, arrow in ((np.isposinf(required), "^"), (np.isneginf(required), "v")):
            axes.plot(x_mm[beyond], within[beyond], arrow, color=colour, markersize=11, fillstyle="none")
        of_recipe = margins["recipe_mm"].sel(recipe=recipe).values[members].mean(axis=1)
        axes.plot(x_mm, of_recipe, color=colour, marker=marker, markersize=5, fillstyle="none", linestyle=":")
        keys.append(Line2D([], [], color=colour, marker=marker, label=name))
    for name, at_mm in away_mm.items():
        axes.annotate(
            str(name),
            (at_mm, 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            rotation=90,
            va="bottom",
            ha="right",
        )
    axes.set(xlabel="distance from the isocentre (mm)", ylabel="margin, mean over directions (mm)")
    axes.set(xlim=(min(away_mm.values()) - _ROOM_MM, max(away_mm.values()) + _ROOM_MM))
    axes.set_ylim(0, 1.06 * float(margins["largest_mm"].max()))
    light_grid(axes)
    keys.append(Line2D([], [], color="#333333", linestyle=":", marker="o", fillstyle="none", label=recipe))
    legend_below(figure, keys, 2)
    return figure
