"""The dose viewer: three planes through the dose maps of every strategy, to scroll and to ask, within one page."""

from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from bokeh.events import MouseLeave, MouseMove, Tap
from bokeh.models.callbacks import CustomJS
from bokeh.models.layouts import Column, LayoutDOM, Row
from bokeh.models.widgets import CheckboxGroup, Div, Select, Slider, TextInput
from bokeh.palettes import Plasma256

from simulator.plots.dose import PLANES, Plane
from simulator.report.viewer_anatomy import GREY_OF_WATER, WHITE_DENSITY, key, outlines, packed_density
from simulator.report.viewer_pictures import axis, picture
from simulator.report.viewer_volumes import SPREAD, ViewerVolumes, floor_gy, volumes_within_budget

ISODOSES_PERCENT = (100, 95, 80, 50, 20)
_OPACITY = 0.6
_HINT = "Move over a picture to read a dose; turn the wheel to scroll; click to bring the other planes there."
_WRAP = ":host { display: flex; flex-wrap: wrap; gap: 8px 16px; }"
_SECTION: dict[str, str | None] = {"flex": "1 1 300px", "max-width": "520px"}
_BLOCK = ":host { padding: 0 1.2em; max-width: 640px; } .bk-clearfix { display: block !important; width: 100%; }"
_SCRIPTS = ("volumes.js", "viewer.js")


def dose_viewer(results: xr.DataTree) -> LayoutDOM | None:
    """Pictures and widgets of the dose viewer; None where the results keep no maps.

    Parameters
    ----------
    results : tree as described by `simulator.results.registry.VARIABLES`, without the dimensions of a sweep.
    """
    if "dose" not in results.children:
        return None
    maps = results["dose"].to_dataset().load()
    volumes, structures = volumes_within_budget(results, maps), outlines(results, maps)
    rx_gy = float(results.attrs["prescription_gy"])
    centre_mm = dict(zip("xyz", np.asarray(results["dose"].attrs["target_centre_mm"], float), strict=True))
    widgets = _widgets(volumes, structures, rx_gy)
    sliders = {p.fixed: _slider(p, maps[p.fixed].values, centre_mm[p.fixed]) for p in PLANES}
    pictures = [picture(plane, maps) for plane in PLANES]
    page = {
        **widgets,
        "sliders": sliders,
        "pictures": pictures,
        "axes": {name: axis(maps[name].values) for name in "xyz"},
        "anatomy": packed_density(maps["density"].values),
        "outlines": structures,
        "strategies": volumes.strategies,
        **_scales(volumes, rx_gy),
        "hint": _HINT,
        "levels_title": widgets["levels"].title,
    }
    _connect(page)
    choices = [widgets[name] for name in ("strategy", "map", "levels", "opacity")]
    sections: list[Any] = [Column(children=[p["figure"], sliders[p["fixed"]]], styles=_SECTION) for p in pictures]
    words = " ".join([_explanation(volumes, rx_gy), *volumes.left_out])
    return Column(
        name="dose-viewer",
        sizing_mode="stretch_width",
        children=[
            Row(children=choices, stylesheets=[_WRAP]),
            widgets["structures"],
            widgets["readout"],
            Row(children=sections, stylesheets=[_WRAP], sizing_mode="stretch_width"),
            widgets["scale"],
            Div(text=words, sizing_mode="stretch_width"),
        ],
    )


def _widgets(volumes: ViewerVolumes, structures: list[dict[str, Any]], rx_gy: float) -> dict[str, Any]:
    names: list[Any] = list(volumes.strategies)
    levels = ", ".join(map(str, ISODOSES_PERCENT))
    return {
        "strategy": Select(title="Strategy", value=names[0], options=names, width=320, name="viewer-strategy"),
        "map": Select(title="Dose", value="planned", options=list(volumes.strategies[names[0]]["maps"]), width=260),
        "levels": TextInput(title=f"Isodose lines (% of {rx_gy:g} Gy)", value=levels, width=220),
        "opacity": Slider(title="Opacity of the wash", value=_OPACITY, start=0, end=1, step=0.05, width=180),
        "structures": CheckboxGroup(
            labels=[o["name"] for o in structures],
            active=[n for n, o in enumerate(structures) if o["shown"]],
            inline=True,
            stylesheets=[key(structures)],
        ),
        "readout": Div(text=_HINT, sizing_mode="stretch_width", styles={"min-height": "1.5em", "font-size": "14px"}),
        "scale": Div(text="", name="viewer-scale", sizing_mode="stretch_width", stylesheets=[_BLOCK]),
    }


def _slider(plane: Plane, mm: np.ndarray, centre_mm: float) -> Slider:
    start, step, n = axis(mm).values()
    nearest = float(mm[np.abs(mm - centre_mm).argmin()])
    title, end = f"{plane.name.capitalize()} plane, {plane.fixed} (mm)", start + (n - 1) * step
    return Slider(
        title=title, value=nearest, start=start, end=end, step=step, format="0.0", sizing_mode="stretch_width"
    )


def _scales(volumes: ViewerVolumes, rx_gy: float) -> dict[str, Any]:
    """From which dose on a colour is laid, up to which, and the colours."""
    return {
        "rx_gy": rx_gy,
        "white_density": WHITE_DENSITY,
        "spread": SPREAD,
        "dose_floor_gy": floor_gy("planned", rx_gy),
        "spread_floor_gy": floor_gy(SPREAD, rx_gy),
        "highest_dose_gy": max(volumes.highest_dose_gy, rx_gy),
        "highest_spread_gy": volumes.highest_spread_gy,
        "palette": [int(colour[5:7] + colour[3:5] + colour[1:3], 16) for colour in Plasma256],
        "gradient": ",".join(Plasma256[::15]),
        "grey": GREY_OF_WATER,
    }


def _connect(page: dict[str, Any]) -> None:
    """Let every widget and picture call the script of the viewer, which is in the page once."""
    code = "\n".join(files("simulator.report").joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    hear = CustomJS(args={"page": page}, code=code)
    for widget in (page["strategy"], page["map"], page["levels"], page["opacity"], *page["sliders"].values()):
        widget.js_on_change("value", hear)
    page["structures"].js_on_change("active", hear)
    for own in page["pictures"]:
        own["figure"].js_on_change("inner_width", hear)
        for event in (MouseMove, MouseLeave, Tap):
            own["figure"].js_on_event(event, hear)


def _explanation(volumes: ViewerVolumes, rx_gy: float) -> str:
    return (
        "Isodose lines are those of the dose shown; beside the standard deviation they are those of the planned dose. "
        f"Doses are kept from {floor_gy('planned', rx_gy):g} Gy on, to within {volumes.half_step_gy:.2f} Gy; pictures are "
        "interpolated, the readout is that of the nearest voxel. Structures outside of the maps are not listed. Seen in "
        "radiological convention: the patient's right is at the left."
    )
