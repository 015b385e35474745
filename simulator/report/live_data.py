"""The numbers behind the parts of the page that answer back: small integers over the prescription scale, not courses."""

import base64
from typing import Any

import numpy as np
import xarray as xr

from simulator.metrics.goals import Goal, parse_goal
from simulator.metrics.metric import SCALES, Metric
from simulator.plots.style import readable
from simulator.population.verdicts import VERDICTS
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import joint_probability

_EVERY = 2  # scales of the results for one of the page: one percent
_SHOWN_PERCENT = 0.1
_MOST_NUMBERS, _FEWEST_AND_MOST_DOSES = 800_000, (60, 320)  # of all DVHs, and of each
_QUANTILES = np.linspace(0, 1, 101)
_HIGHEST = 65535
VERDICT_WORDS = tuple(dict.fromkeys(word for row in VERDICTS for word in row))


def packed(values: np.ndarray, highest: float) -> dict[str, Any]:
    """Numbers from 0 to a highest one as 16 bits each; what is not finite becomes 0."""
    levels = np.rint(np.nan_to_num(np.clip(values / highest, 0, 1)) * _HIGHEST).astype("<u2")
    return {
        "shape": list(levels.shape),
        "unit": highest / _HIGHEST,
        "data": base64.b64encode(levels.tobytes()).decode("ascii"),
    }


def curves(results: xr.DataTree) -> dict[str, Any]:
    """Probabilities with intervals over the scale, (strategy, curve, end, scale), verdicts, limits that hold and ranks."""
    there = results["prescription"].to_dataset().isel(scale=slice(None, None, _EVERY))
    joint = [there[[f"{key}{end}" for end in ("", "_low", "_high")]] for key in ("coverage_of_dose", "organs")]
    ends = [np.stack([one[key].values for key in one.data_vars], axis=1)[:, None] for one in joint]
    goals = np.stack([there[key].values for key in ("probability", "ci_low", "ci_high")], axis=2)
    asked = results["goals"].to_dataset()
    n_limits = int(((asked["role"] != "target") & asked["wanted_probability"].notnull()).sum())
    return {
        "scales": there["scale"].values.tolist(),
        "probability": packed(np.concatenate([*ends, goals], axis=1), 1.0),
        "verdict": [[VERDICT_WORDS.index(v) for v in row] for row in there["verdict"].values.tolist()],
        "words": list(VERDICT_WORDS),
        "held": there["limits_held"].values.tolist(),
        "limits": n_limits,
        "rank": there["rank"].values.tolist(),
        "organs": bool(joint_probability(results, JOINT_SHOWN[1])["members"].item()),
    }


def dvhs(results: xr.DataTree) -> dict[str, Any]:
    """Planned DVH and the quantiles over courses in percent of the volume, (strategy, structure, curve, dose)."""
    dvh = results["dvh"].to_dataset()
    at = [int(np.abs(dvh["quantile"].values - q).argmin()) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
    bands = np.concatenate([dvh["nominal"].values[:, :, None], dvh["volume_percent"].values[:, :, at]], axis=2)
    last = int(np.flatnonzero(bands.max(axis=(0, 1, 2)) > _SHOWN_PERCENT)[-1]) + 2
    most = int(np.clip(_MOST_NUMBERS / bands[..., 0].size, *_FEWEST_AND_MOST_DOSES))
    every = -(-last // most)
    dose_gy = dvh["dose"].values[:last:every]
    return {
        "structures": [str(name) for name in dvh["structure"].values],
        "dose": np.round(dose_gy, 4).tolist(),
        "percent": packed(bands[..., :last:every], 100.0),
    }


def _goals(results: xr.DataTree) -> list[Goal]:
    return [parse_goal(str(text)) for text in results["goals"].to_dataset()["goal"].values]


def goal_metrics(results: xr.DataTree) -> list[str]:
    """Metrics that goals limit, in the order of the goals; those that are known of every strategy."""
    values = results["metrics"].to_dataset()["value"]
    labels = list(dict.fromkeys(str(label) for label in results["goals"].to_dataset()["metric"].values))
    simulated = values.notnull().any("metric")
    return [label for label in labels if bool((np.isfinite(values.sel(metric=label)) | ~simulated).all())]


def goal_points(results: xr.DataTree) -> list[dict[str, Any]]:
    """Goals that are points of a DVH, at their dose and volume."""
    dvh = results["dvh"].to_dataset()
    structures, volume_cc = [str(name) for name in dvh["structure"].values], dvh["volume_cc"].values
    points = []
    for k, goal in enumerate(_goals(results)):
        if goal.metric.structure in structures and goal.metric.dose is None:
            s = structures.index(goal.metric.structure)
            if place := _place(goal, float(volume_cc[s]), float(results.attrs["prescription_gy"])):
                points.append({"goal": k, "structure": s, "dose": place[0], "volume": place[1], "upper": goal.is_upper})
    return points


def _place(goal: Goal, volume_cc: float, rx_gy: float) -> tuple[float, float] | None:
    """Dose in Gy and volume in percent at which a goal stands on a DVH."""
    if (hot_cc := goal.metric.hot_cc(np.array([volume_cc]))) is not None:
        return _limit(goal, rx_gy), float(100 * hot_cc[0] / volume_cc)
    if (level_gy := goal.metric.level_gy(rx_gy)) is not None:
        share = goal.limit if goal.unit == "%" else 100 * goal.limit / volume_cc
        return level_gy, 100 - share if goal.metric.falls_with_dose else share
    return None


def _limit(goal: Goal, rx_gy: float) -> float:
    """The limit in the unit of the metric."""
    return goal.limit * (rx_gy / 100 if goal.unit == "%" and goal.metric.unit == "Gy" else 1.0)


def populations(results: xr.DataTree, labels: list[str]) -> list[dict[str, Any]]:
    """Quantiles over courses of each metric, (level, strategy, quantile), and the limits on it.

    A metric that scales with the dose has one level; another has one at each scale that it is measured at.
    """
    values, goals = results["metrics"].to_dataset(), _goals(results)
    rx = float(results.attrs["prescription_gy"])
    found = []
    for label in labels:
        own = [goal for goal in goals if goal.metric.label == label]
        levels = _levels(values, own[0].metric)
        quantiles = np.stack([_quantiles(v) for v in levels.values()])
        lowest, highest = float(quantiles.min()), float(quantiles.max())
        found.append(
            {
                "metric": label,
                "unit": str(values["unit"].sel(metric=label).item()),
                "proportional": own[0].metric.at_scale(1.0) is None,
                "scales": list(levels),
                "lowest": lowest,
                "values": packed(quantiles - lowest, max(highest - lowest, 1e-9)),
                "nominal": [v if np.isfinite(v) else None for v in values["nominal"].sel(metric=label).values.tolist()],
                "limits": [{"value": _limit(goal, rx), "text": readable(goal.text)} for goal in own],
            }
        )
    return found


def _quantiles(values: np.ndarray) -> np.ndarray:
    """Quantiles (strategy, quantile) over the courses of each strategy, of values (strategy, course)."""
    return np.stack([np.quantile(own[~np.isnan(own)], _QUANTILES) for own in values])


def _levels(values: xr.Dataset, metric: Metric) -> dict[float, np.ndarray]:
    """Values (strategy, course) of a metric by scale; at the study's prescription alone where it scales with the dose."""
    here = {1.0: values["value"].sel(metric=metric.label).values}
    known = set(values["metric"].values)
    for scale in SCALES:
        other = metric.at_scale(scale)
        if other and other[0].label in known:
            here[scale] = other[1] * values["value"].sel(metric=other[0].label).values
    return dict(sorted(here.items()))
