"""What the dose viewer takes along: every strategy's maps, or as many as a page may hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from simulator.report.packing import LEVELS, packed_dose, packed_levels

SPREAD = "standard deviation"
_DOSE_FLOOR_SHARE, _SPREAD_FLOOR_SHARE = 0.05, 0.01
_FEW_STRATEGIES, _BUDGET_OF_FEW, _BUDGET_OF_MANY = 12, 2_400_000, 6_000_000


def floor_gy(label: str, rx_gy: float) -> float:
    """Dose below which a map of this name is neither kept nor coloured."""
    return rx_gy * (_SPREAD_FLOOR_SHARE if label == SPREAD else _DOSE_FLOOR_SHARE)


@dataclass(frozen=True)
class ViewerVolumes:
    """Packed maps and PTV of each strategy, in the order of the decision.

    Parameters
    ----------
    left_out : sentences on what the page does not hold, though the results do.
    half_step_gy : what a dose of the page may be off by.
    """

    strategies: dict[str, dict[str, Any]]
    left_out: list[str]
    highest_dose_gy: float
    highest_spread_gy: float
    half_step_gy: float


@dataclass(frozen=True)
class _Detail:
    """How much of a strategy is kept, as long as so many others may keep everything."""

    spread: bool
    stride: int
    words: str = ""
    whole_at_least: int = 0


_EVERYTHING = _Detail(True, 1)
_LESS = (
    _Detail(False, 1, "planned and mean dose alone", 4),
    _Detail(False, 2, "planned and mean dose alone, on every second voxel, interpolated in between"),
)


def volumes_within_budget(results: xr.DataTree, maps: xr.Dataset) -> ViewerVolumes:
    """The maps of all strategies, with less detail of those far down the order where the page would grow too large."""
    decision = results["decision"].to_dataset()
    names = [str(name) for name in decision["strategy"].values[np.argsort(decision["rank"].values)]]
    budget = _BUDGET_OF_FEW if len(names) <= _FEW_STRATEGIES else _BUDGET_OF_MANY
    courses = results["courses"].to_dataset() if "courses" in results.children else None
    packing = _Packing(maps, courses, float(results.attrs["prescription_gy"]))
    everything = [packing.strategy(name, _EVERYTHING) for name in names]
    for detail in _LESS:
        less = [packing.strategy(name, detail) for name in names]
        whole = _how_many_whole(everything, less, budget, detail.whole_at_least)
        packed = dict(zip(names, [*everything[:whole], *less[whole:]], strict=True))
        if sum(map(_size, packed.values())) <= budget:
            break
    fitting = _as_many_as_fit(packed, budget)
    left_out = []
    if whole < len(fitting):
        left_out.append(f"To keep the page small it holds of {len(fitting) - whole} strategies {detail.words}.")
    if len(fitting) < len(names):
        left_out.append(
            f"The last {len(names) - len(fitting)} strategies of the order have no maps here, only in results.nc."
        )
    doses = [maps[key] for key in ("nominal", "mean", "percentile") if key in maps]
    doses += [courses["dose_gy"]] if courses is not None else []
    highest_gy = max(float(values.max()) for values in doses)
    spread_gy = float(maps["sd"].max()) if "sd" in maps else 0.0
    return ViewerVolumes(fitting, left_out, highest_gy, spread_gy, highest_gy / LEVELS / 2)


class _Packing:
    """Packed volumes by strategy, map and stride, each made once."""

    def __init__(self, maps: xr.Dataset, courses: xr.Dataset | None, rx_gy: float) -> None:
        self._maps, self._courses, self._rx_gy = maps, courses, rx_gy
        self._done: dict[tuple[str, str, int], dict[str, Any]] = {}

    def strategy(self, name: str, detail: _Detail) -> dict[str, Any]:
        own = self._maps.sel(strategy=name)
        ptv = own["ptv_mask"].values.astype(np.uint8)
        chosen = {}
        for label, values in (*_doses(own), *_doses_of_courses(self._courses, name)):
            if detail.spread or label in ("planned", "mean"):
                chosen[label] = self._dose(name, label, values, detail.stride)
        return {"maps": chosen, "ptv": packed_levels(ptv, ptv > 0)}

    def _dose(self, name: str, label: str, gy: np.ndarray, stride: int) -> dict[str, Any]:
        key = (name, label, stride)
        if key not in self._done:
            self._done[key] = packed_dose(gy, floor_gy(label, self._rx_gy), stride)
        return self._done[key]


def _doses(own: xr.Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Maps of one strategy by the name that the viewer gives them, (z, y, x) in Gy."""
    yield "planned", own["nominal"].values
    yield "mean", own["mean"].values
    if "sd" in own and bool(own["sd"].notnull().any()):
        yield SPREAD, own["sd"].values
        for p in own["map_percentile"].values:
            yield f"percentile {p:g}", own["percentile"].sel(map_percentile=p).values


def _doses_of_courses(courses: xr.Dataset | None, strategy: str) -> Iterator[tuple[str, np.ndarray]]:
    """The same of the courses looked at, where they are kept."""
    if courses is None or strategy not in courses["mapped_strategy"].values:
        return
    for p in courses["percentile"].values:
        own = courses.sel(strategy=strategy, mapped_strategy=strategy, percentile=p)
        which = "median" if p == 50 else f"{p:g}th-percentile"
        yield f"{which} course (number {int(own['course'])})", own["dose_gy"].values


def _size(strategy: dict[str, Any]) -> int:
    """Bytes of the packed volumes of a strategy."""
    return sum(len(packed["bytes"]) for packed in (strategy["ptv"], *strategy["maps"].values()))


def _how_many_whole(everything: list[dict[str, Any]], less: list[dict[str, Any]], budget: int, fewest: int) -> int:
    """Of how many strategies everything fits beside less of the others; `fewest` if not even that fits."""
    whole, rest = ([_size(packed) for packed in kept] for kept in (everything, less))
    fitting = (n for n in range(len(rest), fewest, -1) if sum(whole[:n]) + sum(rest[n:]) <= budget)
    return next(fitting, min(fewest, len(rest)))


def _as_many_as_fit(strategies: dict[str, dict[str, Any]], budget: int) -> dict[str, dict[str, Any]]:
    """The first strategies of the order, as many as the budget allows, one at least."""
    room = budget - np.cumsum([_size(packed) for packed in strategies.values()])
    return dict(list(strategies.items())[: max(1, int((room >= 0).sum()))])
