"""Results of a sweep: those of its points along its axes, put together point by point."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from simulator.results.file import results_by_point
from simulator.study_file.loading import dump_study
from simulator.study_file.schema import StudyConfig

Share = dict[str, np.ndarray]

_LAYOUT, _DOSE = "layout", "dose"
_OF_POINTS = ("dose", "leaves", "courses")
_FILL: dict[str, Any] = {"O": "", "b": False}


def share_of(results: xr.DataTree) -> Share:
    """What a sweep takes of a point: all but dose maps, leaves and courses looked at, which stay with the point."""
    arrays: Share = {}
    groups = {}
    for name in (str(child) for child in results.children if child not in _OF_POINTS):
        dataset = results[name].to_dataset()
        for key, variable in dataset.variables.items():
            is_text = variable.dtype.kind in "OUT"
            arrays[f"{name}/{key}"] = variable.values.astype(str) if is_text else variable.values
        groups[name] = {
            "attrs": dataset.attrs,
            "sizes": dict(dataset.sizes),
            "variables": {str(key): (variable.dims, variable.attrs) for key, variable in dataset.data_vars.items()},
        }
    layout = {"attrs": results.attrs, "groups": groups}
    return arrays | {_LAYOUT: np.array(json.dumps(layout, default=lambda value: value.tolist()))}


def layout_of(share: Share) -> dict[str, Any]:
    """Attributes, groups and variables of a point, without their numbers."""
    return dict(json.loads(str(share[_LAYOUT])))


def combine(
    config: StudyConfig,
    shares: Callable[[], Iterable[Share]],
    inputs: Mapping[str, str],
    path: Path,
    told: Callable[[int, int], None],
) -> None:
    """Write the results of a sweep: those of its points along its axes, in front of all other dimensions.

    Strategies, metrics, structures and courses that a point lacks are NaN there (empty text, False).

    Parameters
    ----------
    shares : of every point, the last axis fastest; asked for twice, and held one at a time.
    told : how many points are written, of how many.
    """
    whole, axes = _Whole.of(shares()), config.axes()
    first = whole.empty({axis.name: axis.labels[0] for axis in axes})
    first.attrs.update(config=dump_study(config), inputs=json.dumps(inputs), sweep=[axis.name for axis in axes])
    places = list(np.ndindex(*(len(axis.labels) for axis in axes)))
    with results_by_point(first, {axis.name: axis.labels for axis in axes}, path) as file:
        found: Callable[[str], h5py.Dataset] = cache(file.__getitem__)
        for number, (place, share) in enumerate(zip(places, shares(), strict=True), 1):
            for name, values in whole.filled(share):
                variable = found(name)
                variable[place] = values.item() if values.ndim == 0 else values.astype(variable.dtype)
            told(number, len(places))


@dataclass
class _Variable:
    """A variable as all points together have it; `n_points` have it."""

    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    attrs: dict[str, Any]
    n_points: int = 1

    def meet(self, values: np.ndarray, attrs: dict[str, Any]) -> None:
        """Another point's."""
        self.dtype, self.attrs = _holding(self.dtype, _dtype(values)), _agreed(self.attrs, attrs)
        self.n_points += 1


@dataclass
class _Group:
    """A group as all points together have it: every label of its dimensions, and the fewest that a point has."""

    attrs: dict[str, Any]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    fewest: dict[str, int] = field(default_factory=dict)
    variables: dict[str, _Variable] = field(default_factory=dict)
    n_points: int = 0

    def meet(self, name: str, layout: dict[str, Any], share: Share) -> None:
        """Another point's."""
        self.n_points += 1
        self.attrs = _agreed(self.attrs, layout["attrs"])
        for dim, n in layout["sizes"].items():
            own = _labels(share, name, dim, n)
            self.labels[dim] = _together(dim, self.labels.get(dim, own), own)
            self.fewest[dim] = min(n, self.fewest.get(dim, n))
        for key, (dims, attrs) in layout["variables"].items():
            values = share[f"{name}/{key}"]
            if key in self.variables:
                self.variables[key].meet(values, attrs)
            else:
                self.variables[key] = _Variable(tuple(dims), _dtype(values), attrs)

    def dtype(self, key: str) -> np.dtype[Any]:
        """Of a variable: whole numbers that a point lacks make all of them fractional."""
        variable = self.variables[key]
        is_whole = variable.n_points == self.n_points and all(
            self.fewest[dim] == len(self.labels[dim]) for dim in variable.dims if dim != _DOSE
        )
        return variable.dtype if is_whole or variable.dtype.kind not in "iu" else np.dtype(float)

    def nothing(self, key: str) -> np.ndarray:
        """The array of a point that has nothing of a variable."""
        shape, dtype = [len(self.labels[dim]) for dim in self.variables[key].dims], self.dtype(key)
        return np.full(shape, _FILL.get(dtype.kind, np.nan if dtype.kind == "f" else 0), dtype)


@dataclass
class _Whole:
    """The layout of the results of all points together; attributes are those of the first."""

    attrs: dict[str, Any]
    groups: dict[str, _Group]

    @classmethod
    def of(cls, shares: Iterable[Share]) -> "_Whole":
        """From those of the points; groups that a point lacks are left out."""
        whole: _Whole | None = None
        for share in shares:
            layout = layout_of(share)
            found = layout["groups"]
            if whole is None:
                whole = cls(layout["attrs"], {name: _Group(group["attrs"]) for name, group in found.items()})
            whole.groups = {name: group for name, group in whole.groups.items() if name in found}
            for name, group in whole.groups.items():
                group.meet(name, found[name], share)
            for key in ("n_courses", "seconds"):
                whole.attrs[key] = max(whole.attrs[key], layout["attrs"][key])
        assert whole is not None
        return whole

    def empty(self, place: dict[str, float | str]) -> xr.DataTree:
        """Results of one point without numbers."""
        axes = {axis: [label] for axis, label in place.items()}
        tree = xr.DataTree.from_dict(
            {
                name: xr.Dataset(
                    {
                        key: (
                            (*axes, *variable.dims),
                            group.nothing(key)[(np.newaxis,) * len(axes)],
                            _shared(variable.attrs),
                        )
                        for key, variable in group.variables.items()
                    },
                    axes | group.labels,
                    _shared(group.attrs),
                )
                for name, group in self.groups.items()
            }
        )
        tree.attrs.update(self.attrs)
        return tree

    def filled(self, share: Share) -> Iterator[tuple[str, np.ndarray]]:
        """Every variable of a point with all labels, by its place in the file."""
        found = layout_of(share)["groups"]
        for name, group in self.groups.items():
            own = {dim: _labels(share, name, dim, n) for dim, n in found[name]["sizes"].items()}
            places = {dim: _places(labels, group.labels[dim]) for dim, labels in own.items() if dim != _DOSE}
            for key, variable in group.variables.items():
                whole, at = group.nothing(key), f"{name}/{key}"
                if at in share:
                    values = share[at]
                    if _DOSE in variable.dims:
                        values = _at_doses(values, variable.dims, own[_DOSE], group.labels[_DOSE])
                        places[_DOSE] = np.arange(len(group.labels[_DOSE]))
                    whole[np.ix_(*(places[dim] for dim in variable.dims))] = values
                yield at, whole


def _shared(attrs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if value is not None}


def _dtype(values: np.ndarray) -> np.dtype[Any]:
    return np.dtype(object) if values.dtype.kind == "U" else values.dtype


def _holding(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    """For what either holds: text or flags of which a point has none may be of any type there."""
    kinds = one.kind + other.kind
    return np.dtype(object if "O" in kinds else bool if "b" in kinds else np.result_type(one, other))


def _labels(share: Share, name: str, dim: str, n: int) -> np.ndarray:
    return share.get(f"{name}/{dim}", np.arange(n))


def _agreed(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Attributes of two; None where they differ."""
    return one | {key: value if repr(one.get(key, value)) == repr(value) else None for key, value in other.items()}


def _together(dim: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """All labels of two; of two dose axes the one that reaches farther."""
    if np.array_equal(one, other):
        return one
    if dim == _DOSE:
        return one if one[-1] >= other[-1] else other
    found, _ = xr.align(*(xr.Dataset(coords={dim: labels}) for labels in (one, other)), join="outer")
    return np.asarray(found[dim].values)


def _places(own: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where labels of one's own are among all."""
    if np.array_equal(own, labels):
        return np.arange(len(labels))
    place = {label: i for i, label in enumerate(labels.tolist())}
    return np.array([place[label] for label in own.tolist()], int)


def _at_doses(values: np.ndarray, dims: tuple[str, ...], own_gy: np.ndarray, dose_gy: np.ndarray) -> np.ndarray:
    """DVHs at other doses; nothing receives more than the end of its own axis."""
    if np.array_equal(own_gy, dose_gy):
        return values
    curves = xr.DataArray(values, dims=dims, coords={_DOSE: own_gy})
    return np.asarray(curves.interp({_DOSE: dose_gy}, kwargs={"fill_value": 0.0}), np.float32)
