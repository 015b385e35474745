"""One axial plane with its isodoses, as a plan is printed."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke

from simulator.plots.dose import AXIS_LABELS, PLANES, WASH, Section, colour_wash, grey_of, side_letters
from simulator.plots.style import place_labels, shown_structures

ISODOSES_PERCENT = (100, 95, 80, 50, 20)  # of the prescription
_RAYS_DEG = (35, 110, 180, 250, 325)  # where each isodose, the lowest first, has its number, so that none hides another
_HALF, _AROUND_MM, _RIM_MM = (
    0.5,
    22.0,
    3.0,
)  # the picture shows half the prescription and so much around it; no number at its rim


def draw_axial_plane(axes: Axes, bar: Axes, results: xr.DataTree, strategy: str) -> None:
    """Planned dose of one strategy in the axial plane through the centre of the target.

    Black lines are isodoses in percent of the prescription, white dashes the PTV.
    """
    maps, rx_gy = results["dose"].to_dataset(), float(results.attrs["prescription_gy"])
    own = maps[["nominal", "ptv_mask"]].sel(strategy=strategy)
    plane = PLANES[0]
    axes_mm = {name: maps[name].values for name in "xyz"}
    centre_mm = float(np.asarray(results["dose"].attrs["target_centre_mm"])[2])
    at = int(np.abs(axes_mm["z"] - centre_mm).argmin())
    section = Section(axes, plane, axes_mm, at)
    dose_gy = section.cut(own["nominal"].values)
    colour_of = ScalarMappable(Normalize(0, max(float(dose_gy.max()), rx_gy)), "plasma")
    section.image.set_data(colour_wash(grey_of(section.cut(maps["density"].values)), dose_gy, colour_of, rx_gy))
    for name, colour in shown_structures(results).items():
        if name in maps["structure"].values:
            mask = maps["structure_mask"].sel(structure=name).values
            section.outline(colour).set_segments(section.contour(mask, 50))
    _crop(axes, dose_gy >= _HALF * rx_gy, axes_mm)
    levels = sorted(p for p in ISODOSES_PERCENT if dose_gy.min() < p / 100 * rx_gy < dose_gy.max())
    lines = axes.contour(
        axes_mm["x"], axes_mm["y"], 100 * dose_gy / rx_gy, levels=levels, colors="black", linewidths=0.9
    )
    places = [place for line, ray in zip(lines.allsegs, _RAYS_DEG, strict=False) for place in _on_ray(axes, line, ray)]
    for label in axes.clabel(lines, fmt="%g", fontsize=7, inline_spacing=2, manual=places):
        label.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
    section.outline("#ffffff", "--").set_segments(section.contour(own["ptv_mask"].values, 0.5))
    axes.set(xlabel=AXIS_LABELS["x"], ylabel=AXIS_LABELS["y"])
    side_letters(axes, plane)
    axes.figure.colorbar(colour_of, cax=bar, alpha=WASH, label="planned dose (Gy)")
    axes.set_title(f"Planned dose, axial, z = {round(float(axes_mm['z'][at])) or 0} mm", fontsize=8.5)


def _on_ray(axes: Axes, lines: Sequence[np.ndarray], ray_deg: float) -> list[tuple[float, float]]:
    """The point of some lines (point, 2) that is seen from the middle of the picture in a direction; none if outside."""
    points, low, high = np.concatenate(lines), *np.sort([axes.get_xlim(), axes.get_ylim()]).T
    x, y = (points - (low + high) / 2).T
    is_inside = ((points > low + _RIM_MM) & (points < high - _RIM_MM)).all(axis=1)
    away = np.abs((np.degrees(np.arctan2(y, x)) - ray_deg + 180) % 360 - 180)
    return [tuple(points[np.where(is_inside, away, np.inf).argmin()])] if is_inside.any() else []


def _crop(axes: Axes, is_shown: np.ndarray, axes_mm: dict[str, np.ndarray]) -> None:
    """Show the pixels that count, in true proportions within the axes."""
    width, height = axes.bbox.width / axes.figure.dpi, axes.bbox.height / axes.figure.dpi
    middle, needed = [], []
    for along, name in ((0, "x"), (1, "y")):
        at = np.flatnonzero(is_shown.any(axis=along))
        ends = axes_mm[name][at[[0, -1]]] if len(at) else axes_mm[name][[0, -1]]
        middle.append(ends.mean())
        needed.append(min(np.ptp(ends) + 2 * _AROUND_MM, np.ptp(axes_mm[name])))
    mm_per_inch = max(needed[0] / width, needed[1] / height)
    axes.set_xlim(middle[0] - mm_per_inch * width / 2, middle[0] + mm_per_inch * width / 2)
    axes.set_ylim(middle[1] + mm_per_inch * height / 2, middle[1] - mm_per_inch * height / 2)
    place_labels(axes, width, height)
