"""Numbers as the report prints them."""

import numpy as np
import xarray as xr

from simulator.ground.conventions import percent

# Lower ends of the colour classes; orange to blue keeps its order for every kind of colour vision.
_CLASSES = ((0.95, "p95"), (0.9, "p90"), (0.75, "p75"), (0.5, "p50"), (0.0, "p0"))


def significant(value: float) -> str:
    """Three significant digits, and never an exponent."""
    decimals = 2 - int(np.floor(np.log10(abs(value)))) if value else 2
    return f"{value:.{min(max(decimals, 0), 3)}f}"


def cell(probabilities: xr.Dataset, *at: int | np.integer) -> dict[str, str]:
    """A probability with its interval and its colour class; a dash where there is none."""
    p, low, high = (float(probabilities[key].values[at]) for key in ("probability", "ci_low", "ci_high"))
    if np.isnan(p):
        return {"text": "–", "interval": "", "shade": ""}
    shade = next((name for bound, name in _CLASSES if p >= bound), "")
    return {"text": percent(p), "interval": f"{percent(low)} to {percent(high)}", "shade": shade}


def on_paper(n_columns: int, most: int = 9) -> list[range]:
    """The columns of a table that is too wide for paper, in parts as equal as can be."""
    parts = np.array_split(np.arange(n_columns), -(-n_columns // most))
    return [range(int(part[0]), int(part[-1]) + 1) for part in parts]
