"""What the reader can change on the page: figures of Bokeh, the numbers behind them, and the script that joins them."""

import json
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from bokeh.embed import json_item
from bokeh.embed.bundle import bundle_for_objs_and_resources
from bokeh.models import Model
from bokeh.resources import INLINE
from markupsafe import Markup

from simulator.plots.style import readable, shown_structures
from simulator.report.decision import FILTERED
from simulator.report.live_data import VERDICT_WORDS, curves, dvhs, goal_metrics, goal_points, populations
from simulator.report.live_figures import MARKERS, SIGNS, colour_of, dvh_figure, front_figure, population_figure
from simulator.report.viewer import dose_viewer
from simulator.results.views import courses_by_strategy, joint_probability

_SCRIPTS = ("numbers.js", "tables.js", "figures.js", "page.js")


def live_parts(results: xr.DataTree) -> dict[str, Any]:
    """Everything that the template sets in for the parts that answer back."""
    structures = [str(name) for name in results["dvh"].to_dataset()["structure"].values]
    motions = list(dict.fromkeys(str(m) for m in results["plans"].to_dataset()["motion"].values))
    metrics = goal_metrics(results)
    models: dict[str, Model] = {
        "live-dvh": dvh_figure(structures),
        "live-population": population_figure(),
    }
    if results["decision"].sizes["strategy"] > 1 and joint_probability(results, "all organ goals")["members"].item():
        models["live-front"] = front_figure()
    viewer = dose_viewer(results)
    if viewer is not None:
        models["live-viewer"] = viewer
    bundle = bundle_for_objs_and_resources(list(models.values()), INLINE)
    items = {place: json_item(model) for place, model in models.items()}
    numbers = _numbers(results, metrics, motions)
    return {
        "places": set(models),
        "bokeh": [Markup(script) for script in bundle.js_raw if "set_log_level" not in script[:99]],
        "script": Markup("\n".join((files(__package__) / name).read_text("utf-8") for name in _SCRIPTS)),
        "documents": _json(items),
        "numbers": _json(numbers),
        "structures": [
            {"name": name, "colour": colour_of(k), "shown": name in shown_structures(results)}
            for k, name in enumerate(structures)
        ],
        "motions": [{"name": name, "colour": colour_of(k)} for k, name in enumerate(motions)],
        "signs": SIGNS,
        "metrics": metrics,
        "strategies": _in_order(results),
        "filters": _filters(results),
        "last_scale": len(numbers["curves"]["scales"]) - 1,
        "own_scale": numbers["curves"]["scales"].index(1.0),
    }


def _numbers(results: xr.DataTree, metrics: list[str], motions: list[str]) -> dict[str, Any]:
    """What the script draws from."""
    goals, plans, decision = (results[name].to_dataset() for name in ("goals", "plans", "decision"))
    return {
        "rx": float(results.attrs["prescription_gy"]),
        "courses": courses_by_strategy(results),
        "name": str(results.attrs["name"]),
        "strategies": [str(name) for name in goals["strategy"].values],
        "motion": [motions.index(str(m)) for m in plans["motion"].values],
        "motions": motions,
        "margin": [str(m) for m in plans["margin_label"].values],
        "start": decision.attrs["recommended"] or decision.attrs["nearest_miss"],
        "wanted": readable(decision.attrs["wanted"]),
        "probability": float(decision.attrs["probability"]),
        "goals": [readable(str(goal)) for goal in goals["goal"].values],
        "organ": (goals["role"].values != "target").tolist(),
        "curves": curves(results),
        "dvh": dvhs(results),
        "points": goal_points(results),
        "populations": populations(results, metrics),
        "colours": [colour_of(k) for k in range(max(len(motions), results["dvh"].sizes["structure"]))],
        "markers": MARKERS,
    }


def _in_order(results: xr.DataTree) -> list[str]:
    """Strategies by the rule of the decision, the first one first."""
    decision = results["decision"].to_dataset()
    return [str(name) for name in decision["strategy"].values[np.argsort(decision["rank"].values)]]


def _filters(results: xr.DataTree) -> dict[str, list[str]]:
    """The words that rows of the table can be filtered by."""
    plans = results["plans"].to_dataset()
    own = {key: list(dict.fromkeys(str(word) for word in plans[name].values)) for key, name in FILTERED.items()}
    return own | {"verdict": list(VERDICT_WORDS)}


def _json(content: Any) -> Markup:
    """JSON that cannot end the script element that it stands in."""
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
