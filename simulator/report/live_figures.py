"""Figures of the page that answer back: their look; the script of the page fills in what they show."""

from collections.abc import Sequence
from typing import Any

from bokeh.models import ColumnDataSource, CustomJS, HoverTool, Range1d, TapTool
from bokeh.models.annotations import Span
from bokeh.models.renderers import DataRenderer
from bokeh.plotting import figure

from simulator.plots.style import PALETTE

# Beyond the six colours of the printed figures: Tol's muted scheme, also safe for every kind of colour vision.
_COLOURS = (*PALETTE, "#332288", "#882255", "#999933", "#44AA99", "#AA4499", "#661100", "#117733", "#888888")
MARKERS = {
    "suits": "circle",
    "undecided": "diamond",
    "covers, but": "triangle",
    "spares, but": "inverted_triangle",
    "neither": "x",
}
SIGNS = {"suits": "●", "undecided": "◆", "covers, but": "▲", "spares, but": "▼", "neither": "✕"}
_GREY, _INK = "#b4bcc6", "#1d2733"


def colour_of(k: int) -> str:
    """The colour of the k-th structure or motion."""
    return _COLOURS[k % len(_COLOURS)]


def _axes(x: str, y: str, **named: Any) -> figure:
    """Empty axes in the house style; neither wheel nor finger moves them unless asked to."""
    axes = figure(
        height=430, sizing_mode="stretch_width", tools="pan,box_zoom,wheel_zoom,reset,save", active_drag=None,
        x_axis_label=x, y_axis_label=y, background_fill_color="white", **named,
    )  # fmt: skip
    axes.toolbar.logo = None
    axes.grid.grid_line_color = "#e4e4e4"
    axes.outline_line_color = None
    for axis in axes.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = _INK
    return axes


def _source(name: str, columns: Sequence[str]) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def dvh_figure(structures: Sequence[str]) -> figure:
    """Cumulative DVHs of one strategy with bands over courses; goals as points."""
    axes = _axes(
        "dose (Gy)", "volume (%)", x_range=Range1d(start=0, end=1), y_range=Range1d(start=-3, end=103), name="dvh"
    )
    lines: list[DataRenderer] = []
    points: list[DataRenderer] = []
    for k, structure in enumerate(structures):
        colour = colour_of(k)
        one = _source(f"dvh/{k}", ("dose", "planned", "q05", "q25", "q50", "q75", "q95"))
        for low, high, alpha in (("q05", "q95", 0.15), ("q25", "q75", 0.25)):
            axes.varea("dose", low, high, source=one, fill_color=colour, fill_alpha=alpha)
        lines.append(axes.line("dose", "q50", source=one, line_color=colour, line_width=2, name=structure))
        axes.line("dose", "planned", source=one, line_color=colour, line_dash="dashed", line_width=1.2)
        goals = _source(f"goals/{k}", ("dose", "volume", "marker", "goal", "met"))
        points.append(
            axes.scatter(
                "dose", "volume", marker="marker", source=goals, size=11, fill_color="white", line_color=colour,
                line_width=2,
            )
        )  # fmt: skip
    axes.add_layout(Span(location=0, dimension="height", line_color="#888888", line_dash="dotted", name="prescription"))
    axes.add_tools(
        HoverTool(
            renderers=lines,
            tooltips=[("structure", "$name"), ("dose", "@dose{0.0} Gy"), ("median", "@q50{0.0} %"),
                      ("5-95 % of courses", "@q05{0.0} to @q95{0.0} %"), ("planned", "@planned{0.0} %")],
        ),
        HoverTool(renderers=points, tooltips=[("goal", "@goal"), ("met in", "@met % of courses")]),
    )  # fmt: skip
    return axes


def population_figure() -> figure:
    """Share of courses whose metric is at least a value: the strategy chosen among the others."""
    axes = _axes("", "courses with at least that (%)", y_range=Range1d(start=0, end=102), name="population")
    axes.xaxis[0].name = "population/axis"
    others = axes.multi_line(
        "values", "shares", source=_source("population/others", ("values", "shares", "strategy")), line_color=_GREY,
        line_width=1, hover_line_color=PALETTE[1],
    )  # fmt: skip
    own = _source("population/own", ("value", "share", "low", "high"))
    axes.varea("value", "low", "high", source=own, fill_color=PALETTE[0], fill_alpha=0.18)
    line = axes.line("value", "share", source=own, line_color=PALETTE[0], line_width=2.4)
    limits = _source("population/limits", ("value", "text", "bottom", "top"))
    axes.segment("value", "bottom", "value", "top", source=limits, line_color=_INK, line_dash="dashed")
    axes.text(
        "value", "bottom", "text", source=limits, angle=1.5708, text_font_size="12px", x_offset=-4, y_offset=-6,
        text_baseline="bottom",
    )  # fmt: skip
    planned = _source("population/planned", ("value", "text", "bottom", "top"))
    axes.segment("value", "bottom", "value", "top", source=planned, line_color=PALETTE[1], line_width=2)
    axes.text(
        "value", "top", "text", source=planned, angle=1.5708, text_font_size="12px", text_color="#a34700", x_offset=-4,
        y_offset=6, text_baseline="bottom", text_align="right",
    )  # fmt: skip
    axes.add_tools(
        HoverTool(renderers=[line], tooltips=[("at least", "@value{0.00}"), ("courses", "@share{0.0} %")]),
        HoverTool(renderers=[others], tooltips=[("strategy", "@strategy")]),
    )
    return axes


def front_figure() -> figure:
    """Coverage of the target against the risk to organs: colour is the motion management, shape the verdict."""
    axes = _axes(
        "probability that any organ misses a goal (%)", "probability of the wanted coverage (%)",
        x_range=Range1d(start=-4, end=108), y_range=Range1d(start=-4, end=106), name="front",
    )  # fmt: skip
    points = _source(
        "front/points",
        (
            "x",
            "y",
            "left",
            "right",
            "bottom",
            "top",
            "colour",
            "marker",
            "label",
            "strategy",
            "verdict",
            "organs",
            "met",
        ),
    )
    axes.segment("left", "y", "right", "y", source=points, line_color="colour", line_alpha=0.5)
    axes.segment("x", "bottom", "x", "top", source=points, line_color="colour", line_alpha=0.5)
    axes.line("x", "y", source=_source("front/line", ("x", "y")), line_color="#555555")
    axes.scatter(
        "x", "y", source=_source("front/chosen", ("x", "y")), size=24, fill_color=None, line_color="black", line_width=2
    )
    marks = axes.scatter(
        "x", "y", marker="marker", source=points, size=11, fill_color="colour", fill_alpha=0.75, line_color="colour",
        line_width=2, nonselection_fill_alpha=0.75, nonselection_line_alpha=1,
    )  # fmt: skip
    axes.text("x", "y", "label", source=points, x_offset=9, y_offset=-7, text_font_size="12px", text_color=_INK)
    axes.add_layout(Span(location=0, dimension="width", line_color="#444444", line_dash="dotted", name="wanted"))
    axes.add_tools(
        HoverTool(
            renderers=[marks],
            tooltips=[("strategy", "@strategy"), ("verdict", "@verdict"), ("wanted coverage", "@met %"),
                      ("all goals on organs", "@organs %")],
        ),
        TapTool(renderers=[marks], callback=CustomJS(args={"points": points}, code=_TAPPED)),
    )  # fmt: skip
    return axes


_TAPPED = "const [i] = points.selected.indices; if (i !== undefined) chooseStrategy(points.data.strategy[i])"
