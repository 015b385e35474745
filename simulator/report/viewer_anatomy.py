"""What the dose viewer shows beneath and around the doses: tissue in grey, outlines of structures."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.plots.style import shown_structures
from simulator.report.live_figures import colour_of
from simulator.report.packing import LEVELS, packed_levels

WHITE_DENSITY = 1.8
GREY_OF_WATER = "#{0:02x}{0:02x}{0:02x}".format(round(LEVELS / WHITE_DENSITY))
_HALF_PERCENT = 50
_PTV = {"name": "PTV", "colour": "#ffffff", "rim": "black", "dash": "dashed", "half": 0.5}
_KEY_OF_WHITE = "#9a9a9a"


def packed_density(density: np.ndarray) -> dict[str, Any]:
    """Density (z, y, x) relative to water, from black to white."""
    levels = np.rint(LEVELS * np.clip(density / WHITE_DENSITY, 0, 1)).astype(np.uint8)
    return {**packed_levels(levels, np.ones(levels.shape, bool)), "step": WHITE_DENSITY / LEVELS}


def outlines(results: xr.DataTree, maps: xr.Dataset) -> list[dict[str, Any]]:
    """Structures within the maps, the most relevant first, and the PTV, each strategy's own.

    Colours are those of the DVHs: by the place in `/dvh`. `half` is the value at which a voxel is half in the structure.
    """
    within = maps["structure_mask"].max(("z", "y", "x")) >= _HALF_PERCENT
    kept = [str(name) for name in maps["structure"].values[within]]
    order = list(dict.fromkeys([*map(str, results["dvh"].to_dataset()["structure"].values), *kept]))
    first = shown_structures(results)
    found = []
    for name in (name for name in dict.fromkeys([*first, *kept]) if name in kept):
        percent = maps["structure_mask"].sel(structure=name).values.astype(np.uint8)
        packed, place = packed_levels(percent, percent > 0), order.index(name)
        look = {"colour": colour_of(place), "rim": "white", "dash": "solid"}
        found.append({"name": name, "half": _HALF_PERCENT, "shown": name in first, "packed": packed, **look})
    return [*found, {**_PTV, "shown": True}]


def key(found: list[dict[str, Any]]) -> str:
    """Style sheet that underlines the name of each structure as its outline is drawn."""
    return ".bk-input-group { flex-wrap: wrap; }" + "\n".join(
        f"label:nth-of-type({n}) span {{ border-bottom: 3px {o['dash']} "
        f"{_KEY_OF_WHITE if o['name'] == _PTV['name'] else o['colour']}; }}"
        for n, o in enumerate(found, start=1)
    )
