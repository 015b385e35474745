"""One look for every figure: fonts, colour-blind-safe colours, and the bytes of an image."""

import functools
import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's colour-blind-safe palette, without black, which marks the isodose, and yellow, faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES_PER_PANEL = 6

Drawn = TypeVar("Drawn")

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # said, so that no title looks for its place
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "simulator",
}

_DEFAULTS, _NOT_OURS = matplotlib.rcParamsDefault, ("backend", "backend_fallback", "interactive", "toolbar", "timezone")

_DPI, _PNG_LEVEL = 130, 4
_BELOW_AXES = 0.52  # tick labels and the label of the abscissa, inches
_X_LABEL, _Y_LABEL = 0.27, 0.42  # distance of the labels from their axes, inches
_LEGEND_ROW, _LEGEND_KEY = 0.19, 0.65  # height of a row and width of a key, inches
LETTER = 0.075  # mean width of a letter, inches


def house_style(more: Any = None) -> AbstractContextManager[None]:
    """The settings of every figure, whatever a user's matplotlibrc says, and `more` of them."""
    ours = {key: value for key, value in _DEFAULTS.items() if key not in _NOT_OURS} | _STYLE
    return matplotlib.rc_context(ours | (more or {}))


def styled(draw: Callable[..., Drawn]) -> Callable[..., Drawn]:
    """Draw figures in the house style."""

    @functools.wraps(draw)
    def in_style(*args: Any, **named: Any) -> Drawn:
        with house_style():
            return draw(*args, **named)

    return in_style


def panels(
    rows: int, columns: int, width: float, height: float, *, left: float = 0.62, right: float = 0.16, top: float = 0.3
) -> tuple[Figure, np.ndarray]:
    """Empty figure of `rows` x `columns` axes.

    Fixed places instead of a layout engine, which would measure every text several times.

    Parameters
    ----------
    width, height : of one panel with its labels, in inches.
    left, right, top : room for the labels, in inches.
    """
    figure = Figure(figsize=(columns * width, rows * height), facecolor="white")
    bottom = _BELOW_AXES
    places = {
        "left": left / (columns * width),
        "right": 1 - right / (columns * width),
        "bottom": bottom / (rows * height),
        "top": 1 - top / (rows * height),
        "wspace": (left + right) / (width - left - right),
        "hspace": (top + bottom) / (height - top - bottom),
    }
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=places)
    for axes in grid.flat:
        place_labels(axes, width - left - right, height - top - bottom)
    return figure, grid


def place_labels(axes: Axes, width: float, height: float) -> None:
    """Fixed places for the labels of axes so many inches large, so that they need not be sought."""
    axes.xaxis.set_label_coords(0.5, -_X_LABEL / height)
    axes.yaxis.set_label_coords(-_Y_LABEL / width, 0.5)


def legend_below(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """A legend in a strip of its own below the axes, in as many columns as the figure is wide enough for."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    room = int(figure.get_size_inches()[0] / (_LEGEND_KEY + LETTER * longest))
    columns = max(1, min(columns, len(handles), room))
    enlarge(figure, below=0.12 + _LEGEND_ROW * -(-len(handles) // columns))
    figure.legend(handles=list(handles), loc="lower center", ncols=columns, borderpad=0.2)


def enlarge(figure: Figure, *, left: float = 0.0, below: float = 0.0) -> None:
    """Add room to a figure, in inches; its axes keep their sizes."""
    width, height = figure.get_size_inches()
    wider, higher = width + left, height + below
    figure.set_size_inches(wider, higher)
    for axes in figure.axes:
        x, y, across, up = axes.get_position().bounds
        axes.set_position(
            ((x * width + left) / wider, (y * height + below) / higher, across * width / wider, up * height / higher)
        )


def light_grid(axes: Axes) -> None:
    """Faint guide lines behind the data."""
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)


def readable(goal: str) -> str:
    """Text of a goal with proper signs of comparison."""
    return goal.replace(">=", "≥").replace("<=", "≤")


def svg_bytes(figure: Figure) -> bytes:
    """Figure as SVG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    with house_style():
        canvas.print_svg(buffer, metadata={"Date": None})  # `savefig` would lay the figure out twice
    return buffer.getvalue()


def raster(figure: Figure) -> FigureCanvasAgg:
    """Canvas of pixels for a figure."""
    figure.dpi = _DPI
    return FigureCanvasAgg(figure)


def png_bytes(canvas: FigureCanvasAgg) -> bytes:
    """What is drawn on a canvas, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(buffer, "png", compress_level=_PNG_LEVEL)
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
