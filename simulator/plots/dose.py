"""Plan pictures: dose in colour wash over the density, with outlines."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from contourpy import contour_generator
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from simulator.plots.style import legend_below, place_labels, png_bytes, raster, shown_structures, styled

_LOWEST_SHARE = 0.1
_PLATEAU = 1.005
_WHITE_DENSITY = 1.8
WASH = 0.6
_PTV_COLOUR, _ISODOSE_COLOUR = "#ffffff", "#000000"
# Inches: the sections of a row side by side, the highest row, and the room left of, right of, above and below a section.
_SECTIONS, _HIGHEST, _LEFT, _RIGHT, _ABOVE, _BELOW = 7.6, 4.2, 0.62, 0.1, 0.36, 0.5
_BAR = 0.75


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
AXIS_LABELS = {"x": "x, to the left (mm)", "y": "y, to posterior (mm)", "z": "z, to superior (mm)"}


@styled
def plan_pictures(results: xr.DataTree, strategy: str) -> Figure:
    """Planned and mean dose of one strategy in three sections through the centre of the target."""
    return _Pictures(results, ("planned", "mean")).show(_planned_and_mean(results, strategy))


@styled
def percentile_pictures(results: xr.DataTree, strategy: str) -> Figure:
    """Lowest and highest percentile map of one strategy: what tissue may miss, and what it may get."""
    return _Pictures(results, _percentile_names(results)).show(_percentiles(results, strategy))


@styled
def plan_images(results: xr.DataTree, strategies: Sequence[str]) -> list[bytes]:
    """`plan_pictures` of several strategies as PNG; what they have in common is drawn once."""
    pictures = _Pictures(results, ("planned", "mean"))
    return list(pictures.images(_planned_and_mean(results, name) for name in strategies))


@styled
def percentile_images(results: xr.DataTree, strategies: Sequence[str]) -> list[bytes]:
    """`percentile_pictures` of several strategies as PNG; what they have in common is drawn once."""
    pictures = _Pictures(results, _percentile_names(results))
    return list(pictures.images(_percentiles(results, name) for name in strategies))


@dataclass(frozen=True)
class _Layers:
    """What differs between strategies: mask of the PTV and one dose in Gy per row of sections, (z, y, x) each."""

    ptv: np.ndarray
    dose_gy: list[np.ndarray]


def _planned_and_mean(results: xr.DataTree, strategy: str) -> _Layers:
    own = results["dose"].to_dataset()[["nominal", "mean", "ptv_mask"]].sel(strategy=strategy)
    return _Layers(own["ptv_mask"].values, [own["nominal"].values, own["mean"].values])


def _percentiles(results: xr.DataTree, strategy: str) -> _Layers:
    own = results["dose"].to_dataset()[["percentile", "ptv_mask"]].sel(strategy=strategy)
    return _Layers(own["ptv_mask"].values, list(own["percentile"].isel(map_percentile=[0, -1]).values))


def _percentile_names(results: xr.DataTree) -> tuple[str, ...]:
    return tuple(f"percentile {p:g}" for p in results["dose"].to_dataset()["map_percentile"].values[[0, -1]])


class _Pictures:
    """A figure of sections, one row for each dose; its frame, colours and outlines of structures serve every strategy.

    A colour is the same dose in all pictures: the scale reaches the highest dose of all plans.
    """

    def __init__(self, results: xr.DataTree, rows: Sequence[str]) -> None:
        maps = results["dose"].to_dataset()
        self._rx_gy = float(results.attrs["prescription_gy"])
        highest_gy = max(float(results["plans/max_gy"].max()), self._rx_gy)
        self._colour_of = ScalarMappable(Normalize(0, highest_gy), "plasma")
        colours = {n: c for n, c in shown_structures(results).items() if n in maps["structure"].values}
        axes_mm = {name: maps[name].values for name in "xyz"}
        centre_mm = dict(zip("xyz", np.asarray(results["dose"].attrs["target_centre_mm"], float), strict=True))
        nearest = {name: int(np.abs(axes_mm[name] - centre_mm[name]).argmin()) for name in "xyz"}
        density = maps["density"].values
        masks = {name: maps["structure_mask"].sel(structure=name).values for name in colours}
        self.figure, grid, bar = _frame([extent_mm(axes_mm, plane) for plane in PLANES], len(rows))
        self._sections: list[list[Section]] = []
        for row, title in zip(grid, rows, strict=True):
            sections = []
            for axes, plane in zip(row, PLANES, strict=True):
                section = Section(axes, plane, axes_mm, nearest[plane.fixed])
                section.grey = grey_of(section.cut(density))
                for name, colour in colours.items():
                    section.outline(colour).set_segments(section.contour(masks[name], 50))
                section.isodose, section.ptv = section.outline(_ISODOSE_COLOUR), section.outline(_PTV_COLOUR, "--")
                side_letters(axes, plane)
                at_mm = round(float(axes_mm[plane.fixed][nearest[plane.fixed]])) or 0
                axes.set_title(f"{title}: {plane.name}, {plane.fixed} = {at_mm} mm", fontsize=10)
                axes.set_ylabel(AXIS_LABELS[plane.along])
                if row is grid[-1]:
                    axes.set_xlabel(AXIS_LABELS[plane.across])
                else:
                    axes.tick_params(labelbottom=False)
                sections.append(section)
            self._sections.append(sections)
        self.figure.colorbar(self._colour_of, cax=bar, alpha=WASH, label="dose (Gy)")
        bar.axhline(self._rx_gy, color=_ISODOSE_COLOUR)
        keys = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
        keys += [
            Line2D([], [], color="#9a9a9a", linestyle="--", label="PTV (white dashes)"),
            Line2D([], [], color=_ISODOSE_COLOUR, label=f"{self._rx_gy:g} Gy isodose"),
        ]
        legend_below(self.figure, keys, 5)

    def show(self, layers: _Layers) -> Figure:
        """The figure with the doses of one strategy."""
        for sections, dose_gy in zip(self._sections, layers.dose_gy, strict=True):
            for section in sections:
                cut_gy = section.cut(dose_gy)
                section.image.set_data(colour_wash(section.grey, cut_gy, self._colour_of, self._rx_gy))
                plateau = cut_gy.max() > self._rx_gy * _PLATEAU
                section.isodose.set_segments(section.contour(dose_gy, self._rx_gy) if plateau else [])
                section.ptv.set_segments(section.contour(layers.ptv, 0.5))
        return self.figure

    def images(self, strategies: Iterable[_Layers]) -> Iterator[bytes]:
        """The figure as PNG for one strategy after the other; only the sections are drawn anew."""
        canvas = raster(self.figure)
        inside = [(s.axes, a) for row in self._sections for s in row for a in s.inside()]
        for _, artist in inside:
            artist.set_animated(True)
        canvas.draw()
        frame = canvas.copy_from_bbox(self.figure.bbox)
        for layers in strategies:
            self.show(layers)
            canvas.restore_region(frame)
            for axes, artist in inside:
                axes.draw_artist(artist)
            yield png_bytes(canvas)


def grey_of(density: np.ndarray) -> np.ndarray:
    """Mass density relative to water as grey, 0-1, with a last axis for colours."""
    return np.clip(density / _WHITE_DENSITY, 0, 1)[..., None]


def colour_wash(grey: np.ndarray, dose_gy: np.ndarray, colour_of: ScalarMappable, rx_gy: float) -> np.ndarray:
    """Dose from a tenth of the prescription on over the density in grey, RGB (along, across, 3) in 0-1."""
    wash = np.where(dose_gy >= _LOWEST_SHARE * rx_gy, WASH, 0.0)[..., None]
    return (1 - wash) * grey + wash * colour_of.to_rgba(dose_gy)[..., :3]


class Section:
    """Axes with one section of the patient: a picture and outlines, in mm."""

    grey: np.ndarray
    isodose: LineCollection
    ptv: LineCollection

    def __init__(self, axes: Axes, plane: Plane, axes_mm: dict[str, np.ndarray], at: int) -> None:
        self.axes, self._plane, self._axes_mm, self._at = axes, plane, axes_mm, at
        blank = np.zeros((len(axes_mm[plane.along]), len(axes_mm[plane.across]), 3))
        self.image: AxesImage = axes.imshow(
            blank, extent=extent_mm(axes_mm, plane), origin="lower", interpolation="nearest", aspect="auto"
        )
        axes.locator_params(nbins=5)
        if plane.downwards:
            axes.invert_yaxis()

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """Section (along, across) of a volume (z, y, x)."""
        return volume.take(self._at, axis="zyx".index(self._plane.fixed))

    def contour(self, volume: np.ndarray, level: float) -> list[np.ndarray]:
        """Lines (point, 2) where a volume crosses a level, mm."""
        across_mm, along_mm = self._axes_mm[self._plane.across], self._axes_mm[self._plane.along]
        lines: Any = contour_generator(across_mm, along_mm, self.cut(volume)).lines(level)
        return lines

    def outline(self, colour: str, line: str = "-") -> LineCollection:
        """New, empty outlines above those before."""
        lines = LineCollection([], colors=[colour], linestyles=[line], linewidths=1.5)
        self.axes.add_collection(lines, autolim=False)
        return lines

    def inside(self) -> list[Artist]:
        """What lies within the axes, from below to above."""
        return [self.image, *self.axes.collections, *self.axes.texts, *self.axes.spines.values()]


def _frame(extents_mm: Sequence[tuple[float, ...]], rows: int) -> tuple[Figure, list[list[Axes]], Axes]:
    """Axes for `rows` rows of sections on one scale, and for the colour bar at their right."""
    across_mm = [extent[1] - extent[0] for extent in extents_mm]
    along_mm = [extent[3] - extent[2] for extent in extents_mm]
    scale = min(_SECTIONS / sum(across_mm), _HIGHEST / max(along_mm))
    row = max(along_mm) * scale + _ABOVE
    width = sum(across_mm) * scale + len(extents_mm) * (_LEFT + _RIGHT) + _BAR
    height = rows * row + _BELOW
    figure = Figure(figsize=(width, height), facecolor="white")
    grid: list[list[Axes]] = []
    for i in range(rows):
        x, y = 0.0, _BELOW + (rows - 1 - i) * row
        grid.append([])
        for across, along in zip(across_mm, along_mm, strict=True):
            x += _LEFT
            place = (x / width, y / height, across * scale / width, along * scale / height)
            grid[-1].append(figure.add_axes(place))
            place_labels(grid[-1][-1], across * scale, along * scale)
            x += across * scale + _RIGHT
    bar = figure.add_axes(
        ((width - _BAR + 0.1) / width, (_BELOW + 0.15 * rows * row) / height, 0.16 / width, 0.7 * rows * row / height)
    )
    return figure, grid, bar


def extent_mm(axes_mm: dict[str, np.ndarray], plane: Plane) -> tuple[float, float, float, float]:
    across, along = axes_mm[plane.across], axes_mm[plane.along]
    half_across, half_along = (abs(axis[1] - axis[0]) / 2 for axis in (across, along))
    return across[0] - half_across, across[-1] + half_across, along[0] - half_along, along[-1] + half_along


def side_letters(axes: Axes, plane: Plane) -> None:
    places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04))
    for letter, (x, y) in zip(plane.letters, places, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha="center", va="center", color="white", fontweight="bold",
            fontsize=9, bbox={"facecolor": "black", "alpha": 0.45, "linewidth": 0, "pad": 1.2},
        )  # fmt: skip
