"""Plan pictures: dose in colour wash over the density, with outlines."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulator.plots.style import panels, shown_structures, styled

_LOWEST_SHARE = 0.1
_PLATEAU = 1.005
_WHITE_DENSITY = 1.8
_WASH = 0.6
_PTV_COLOUR = "#ffffff"


@dataclass(frozen=True)
class Plane:
    """A section: the fixed axis, the axes across and up the picture, and the letters at its sides.

    Radiological convention: the patient's right, or anterior, is at the left of the picture.
    """

    name: str
    fixed: str
    across: str
    along: str
    letters: tuple[str, str, str, str]
    downwards: bool


PLANES = (
    Plane("axial", "z", "x", "y", ("R", "L", "A", "P"), True),
    Plane("coronal", "y", "x", "z", ("R", "L", "S", "I"), False),
    Plane("sagittal", "x", "y", "z", ("A", "P", "S", "I"), False),
)
_AXIS_LABELS = {"x": "x, to the left (mm)", "y": "y, to posterior (mm)", "z": "z, to superior (mm)"}


@styled
def plan_pictures(results: xr.DataTree, strategy: str) -> Figure:
    """Planned and mean dose of one strategy in three sections through the centre of the target."""
    own = results["dose"].to_dataset().sel(strategy=strategy)
    return _pictures(results, strategy, {"planned": own["nominal"], "mean": own["mean"]})


@styled
def percentile_pictures(results: xr.DataTree, strategy: str) -> Figure:
    """Lowest and highest percentile map of one strategy: what tissue may miss, and what it may get."""
    percentile = results["dose"].to_dataset()["percentile"].sel(strategy=strategy)
    shown = {float(p): percentile.sel(map_percentile=p) for p in (percentile["map_percentile"].values[[0, -1]])}
    return _pictures(results, strategy, {f"percentile {p:g}": dose for p, dose in shown.items()})


def _pictures(results: xr.DataTree, strategy: str, layers: dict[str, xr.DataArray]) -> Figure:
    """One row of sections for each dose (z, y, x) in Gy."""
    maps = results["dose"].to_dataset()
    centre = dict(zip("xyz", np.asarray(results["dose"].attrs["target_centre_mm"], float), strict=True))
    colours = {n: c for n, c in shown_structures(results).items() if n in maps["structure"].values}
    own = maps.sel(strategy=strategy)
    rx_gy = float(results.attrs["prescription_gy"])
    highest_gy = max(float(own["nominal"].max()), rx_gy)
    colour_of = ScalarMappable(Normalize(0, highest_gy), "plasma")
    figure, grid = panels(len(layers), len(PLANES), 3.5, 3.35)
    for row, (title, layer) in zip(grid, layers.items(), strict=True):
        own = own.assign(shown=layer)
        for axes, plane in zip(row, PLANES, strict=True):
            section = own.sel({plane.fixed: centre[plane.fixed]}, method="nearest").transpose(
                ..., plane.along, plane.across
            )
            extent = _extent(section, plane)
            picture = _colour_wash(section["density"].values, section["shown"].values, rx_gy, colour_of)
            axes.imshow(picture, extent=extent, origin="lower", interpolation="nearest")
            for name, colour in colours.items():
                _outline(
                    axes,
                    section,
                    plane,
                    section["structure_mask"].sel(structure=name).values,
                    50,
                    colour,
                    "-",
                )
            if section["shown"].values.max() > rx_gy * _PLATEAU:
                _outline(axes, section, plane, section["shown"].values, rx_gy, "#000000", "-")
            _outline(axes, section, plane, section["ptv_mask"].values, 0.5, _PTV_COLOUR, "--")
            _letters(axes, plane)
            at_mm = round(float(section[plane.fixed])) or 0
            axes.set_title(f"{title}: {plane.name}, {plane.fixed} = {at_mm} mm", fontsize=10)
            axes.set(ylabel=_AXIS_LABELS[plane.along], xlabel=_AXIS_LABELS[plane.across])
            if plane.downwards:
                axes.invert_yaxis()
    bar = figure.colorbar(colour_of, ax=grid, shrink=0.7, pad=0.015, alpha=_WASH)
    bar.set_label("dose (Gy)")
    keys = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    keys += [
        Line2D([], [], color="#9a9a9a", linestyle="--", label="PTV (white dashes)"),
        Line2D([], [], color="#000000", label=f"{rx_gy:g} Gy isodose"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=5)
    return figure


def _colour_wash(density: np.ndarray, dose_gy: np.ndarray, rx_gy: float, colour_of: ScalarMappable) -> np.ndarray:
    """Dose from a tenth of the prescription on over the density in grey, RGB (along, across, 3) in 0-1."""
    grey = np.clip(density / _WHITE_DENSITY, 0, 1)[..., None]
    wash = np.where(dose_gy >= _LOWEST_SHARE * rx_gy, _WASH, 0.0)[..., None]
    return (1 - wash) * grey + wash * colour_of.to_rgba(dose_gy)[..., :3]


def _extent(section: xr.Dataset, plane: Plane) -> tuple[float, float, float, float]:
    across, along = section[plane.across].values, section[plane.along].values
    half_across, half_along = (abs(axis[1] - axis[0]) / 2 for axis in (across, along))
    return across[0] - half_across, across[-1] + half_across, along[0] - half_along, along[-1] + half_along


def _outline(
    axes: Axes, section: xr.Dataset, plane: Plane, values: np.ndarray, level: float, colour: str, line: str
) -> None:
    if values.min() < level < values.max():
        axes.contour(
            section[plane.across].values, section[plane.along].values, values, levels=[level], colors=[colour],
            linestyles=[line], linewidths=1.5,
        )  # fmt: skip


def _letters(axes: Axes, plane: Plane) -> None:
    places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04))
    for letter, (x, y) in zip(plane.letters, places, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha="center", va="center", color="white", fontweight="bold",
            fontsize=9, bbox={"facecolor": "black", "alpha": 0.45, "linewidth": 0, "pad": 1.2},
        )  # fmt: skip
