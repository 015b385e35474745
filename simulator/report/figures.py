"""Figures that stand still, for paper and for what no slider moves, as data URIs."""

import base64
from typing import Any

import xarray as xr

from simulator import plots
from simulator.plots.style import readable
from simulator.results.views import joint_probability

_MOST_COVERAGE = 3


def figures(results: xr.DataTree, chosen: dict[str, str]) -> dict[str, Any]:
    """Data URIs of the figures; an absent key is a figure that these results cannot give."""
    goals = results["goals"].to_dataset()
    drawn: dict[str, Any] = {"dvh": svg_uri(plots.dvh_bands(results, list(chosen)))}
    decided = results["decision"].attrs["recommended"] or results["decision"].attrs["nearest_miss"]
    structures = list(plots.shown_structures(results))[:_MOST_COVERAGE]
    drawn["coverage_map"] = svg_uri(plots.dose_volume_coverage(results, decided, structures))
    drawn["histograms"] = svg_uri(plots.dose_population_histograms(results, _shown_metrics(results), list(chosen)))
    if "dose" in results.children and "percentile" in results["dose"].to_dataset():
        spread = results["dose"].to_dataset()["sd"]
        asked = [name for name in chosen if bool(spread.sel(strategy=name).notnull().any())]
        drawn["percentiles"] = dict(zip(asked, map(_png, plots.percentile_images(results, asked)), strict=True))
    if goals.sizes["strategy"] > 1 and joint_probability(results, "all organ goals")["members"].item():
        drawn["front"] = svg_uri(plots.pareto_front(results))
    if "budget" in results.children:
        named = results["budget"].to_dataset()["strategy"].values
        drawn["budgets"] = {str(n): svg_uri(plots.uncertainty_budget(results, str(n))) for n in named}
    if "courses" in results.children:
        drawn["courses"] = {name: svg_uri(plots.courses_looked_at(results, name)) for name in chosen}
    if "dose" in results.children:
        drawn["plans"] = dict(zip(chosen, map(_png, plots.plan_images(results, list(chosen))), strict=True))
    if "targets" in results.children:
        drawn["targets"] = (
            svg_uri(plots.targets_in_projection(results, decided)) if "dose" in results.children else None
        )
        drawn["distances"] = (
            svg_uri(plots.margin_against_distance(results)) if results["margins"].sizes["series"] else None
        )
    if f"{results.attrs['target']} D98%" in results["metrics"].to_dataset()["metric"].values:
        drawn["d98"] = svg_uri(plots.target_d98_against_margin(results))
    critical = plots.critical_oar_goal(results)
    if critical is not None:
        drawn["oar"] = svg_uri(plots.oar_against_margin(results))
        drawn["oar_goal"] = readable(goals["goal"].values[critical])
    if (goals["role"].values == "target").any():
        drawn["coverage"] = svg_uri(plots.coverage_against_margin(results))
    return drawn


def _shown_metrics(results: xr.DataTree) -> list[str]:
    """The target's D98%, or its first metric, and that of the most critical goal on an organ."""
    metrics = results["metrics"].to_dataset()
    own = [
        str(m)
        for m, s in zip(metrics["metric"].values, metrics["structure"].values, strict=True)
        if s == results.attrs["target"]
    ]
    wanted = f"{results.attrs['target']} D98%"
    critical = plots.critical_oar_goal(results)
    organ = [] if critical is None else [str(results["goals"].to_dataset()["metric"].values[critical])]
    return [wanted if wanted in own else own[0], *organ]


def svg_uri(figure: Any) -> str:
    return _uri("image/svg+xml", plots.svg_bytes(figure))


def _png(data: bytes) -> str:
    return _uri("image/png", data)


def _uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
