"""The three sections of the dose viewer: figures on one scale, and the models that the browser fills."""

from typing import Any

import numpy as np
import xarray as xr
from bokeh.models.annotations import Label, Span
from bokeh.models.glyphs import ImageRGBA, MultiLine, Text
from bokeh.models.ranges import Range1d
from bokeh.models.sources import ColumnDataSource
from bokeh.plotting import figure

from simulator.plots.dose import PLANES, Plane

_ACROSS_PIXELS, _AXIS_PIXELS = 305, 62
_CROSS: dict[str, Any] = {"line_color": "white", "line_dash": "dotted", "line_alpha": 0.6}
_SIDES = (("left", "middle", 4, 0), ("right", "middle", -4, 0), ("center", "top", 0, -6), ("center", "bottom", 0, 6))


def axis(mm: np.ndarray) -> dict[str, Any]:
    """Coordinates of equidistant voxels as their first, their distance and their number."""
    return {"start": float(mm[0]), "step": float((mm[-1] - mm[0]) / (len(mm) - 1)), "n": len(mm)}


def picture(plane: Plane, maps: xr.Dataset) -> dict[str, Any]:
    """One section, still empty, with what the script has to know of it."""
    drawn = figure(
        tools="", toolbar_location=None, height=_height(maps), min_width=260, sizing_mode="stretch_width",
        background_fill_color="black", x_axis_label=f"{plane.across} (mm)", y_axis_label=f"{plane.along} (mm)",
        x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1),
    )  # fmt: skip
    drawn.grid.visible = False
    cross = Span(location=0, dimension="height", **_CROSS), Span(location=0, dimension="width", **_CROSS)
    letters = [_letter(*side) for side in zip(plane.letters, _SIDES, strict=True)]
    models: dict[str, Any] = {
        "image": _image(drawn, plane, maps),
        **_lines(drawn, plane),
        "cross_across": cross[0],
        "cross_along": cross[1],
        "letters": letters,
    }
    for annotation in (*cross, *letters):
        drawn.add_layout(annotation)
    own = {"fixed": plane.fixed, "across": plane.across, "along": plane.along, "downwards": plane.downwards}
    words = {"description": f"{plane.name} section of the dose"}
    return {"figure": drawn, **own, **words, **models}


def _image(drawn: figure, plane: Plane, maps: xr.Dataset) -> ColumnDataSource:
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)]})
    (x, width), (y, height) = (_reach(maps[name].values) for name in (plane.across, plane.along))
    drawn.add_glyph(source, ImageRGBA(image="image", x=x, y=y, dw=width, dh=height))
    return source


def _lines(drawn: figure, plane: Plane) -> dict[str, ColumnDataSource]:
    """Isodose lines in black with a light rim and labels, and above them outlines of structures with a rim."""
    isodoses = ColumnDataSource({"xs": [], "ys": []}, name=f"viewer-{plane.name}-isodoses")
    labels = ColumnDataSource({"x": [], "y": [], "text": []})
    outlines = ColumnDataSource(
        {key: [] for key in ("xs", "ys", "colour", "rim", "dash")}, name=f"viewer-{plane.name}-outlines"
    )
    at: Any = {"xs": "xs", "ys": "ys"}
    drawn.add_glyph(isodoses, MultiLine(line_color="white", line_alpha=0.55, line_width=3, **at))
    drawn.add_glyph(isodoses, MultiLine(line_color="black", line_width=1.2, **at))
    drawn.add_glyph(outlines, MultiLine(line_color="rim", line_alpha=0.5, line_width=4, **at))
    drawn.add_glyph(outlines, MultiLine(line_color="colour", line_dash="dash", line_width=2, **at))
    look: Any = {"background_fill_color": "white", "background_fill_alpha": 0.75, "padding": 1}
    centred: Any = {"text_align": "center", "text_baseline": "middle", "text_font_size": "10px"}
    drawn.add_glyph(labels, Text(x="x", y="y", text="text", **centred, **look))
    return {"isodoses": isodoses, "labels": labels, "outlines": outlines}


def _letter(letter: str, side: tuple[str, str, int, int]) -> Label:
    """A letter of orientation at one side; the script puts it there."""
    align, baseline, right, up = side
    look: Any = {"background_fill_color": "black", "background_fill_alpha": 0.45, "padding": 2}
    place: Any = {"x": 0, "y": 0, "x_offset": right, "y_offset": up, "text_align": align, "text_baseline": baseline}
    return Label(text=letter, text_color="white", text_font_style="bold", text_font_size="14px", **place, **look)


def _reach(mm: np.ndarray) -> tuple[float, float]:
    """Where the voxels of an axis begin, and how far they go, in mm."""
    start, step, n = axis(mm).values()
    return start - step / 2, n * step


def _height(maps: xr.Dataset) -> int:
    """Height in pixels at which the highest section fills its picture where three stand in a row."""
    reach = {name: _reach(maps[name].values)[1] for name in "xyz"}
    share = max(reach[plane.along] for plane in PLANES) / max(reach[plane.across] for plane in PLANES)
    return _AXIS_PIXELS + int(np.clip(_ACROSS_PIXELS * share, 200, 480))
