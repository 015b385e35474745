"""One look for every figure: fonts, colour-blind-safe colours, and the bytes of an image."""

import functools
import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's colour-blind-safe palette, without black, which marks the isodose, and yellow, faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES_PER_PANEL = 6

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "simulator",
}

_DPI = 130


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw a figure in the house style."""

    @functools.wraps(draw)
    def in_style(*args: Any, **named: Any) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **named)

    return in_style


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """Empty figure of `rows` x `columns` axes; width and height of one panel in inches."""
    figure = Figure(figsize=(columns * width, rows * height), facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.08)
    return figure, figure.subplots(rows, columns, squeeze=False)


def light_grid(axes: Axes) -> None:
    """Faint guide lines behind the data."""
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)


def readable(goal: str) -> str:
    """Text of a goal with proper signs of comparison."""
    return goal.replace(">=", "≥").replace("<=", "≤")


def image_bytes(figure: Figure, kind: str) -> bytes:
    """Figure as "svg" or "png"; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    metadata: dict[str, str | None] = {"Date": None} if kind == "svg" else {"Software": None}
    figure.dpi = _DPI
    canvas: Any = {"svg": FigureCanvasSVG, "png": FigureCanvasAgg}[kind](figure)
    with matplotlib.rc_context(_STYLE):
        getattr(canvas, f"print_{kind}")(buffer, metadata=metadata)  # `savefig` would lay the figure out twice
    return buffer.getvalue()


def shown_structures(results: xr.DataTree) -> dict[str, str]:
    """Structures that figures show, at most six, most relevant first, each with its colour.

    The target comes first, then the structures of the least certain goals, then the rest in their own order.
    """
    goals, structures = results["goals"].to_dataset(), results["dvh"].to_dataset()["structure"].values
    uncertainty = np.argsort(goals["probability"].values.mean(0), kind="stable")
    ranked = [
        results.attrs["target"],
        *goals["structure"].values[uncertainty],
        *structures,
    ]
    known = {str(name) for name in structures}
    names = [name for name in dict.fromkeys(str(name) for name in ranked) if name in known]
    return dict(zip(names, PALETTE, strict=False))
