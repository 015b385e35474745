"""Results of a sweep put together in memory by xarray: the slow twin of what is written point by point."""

import json

import numpy as np
import xarray as xr

from simulator.answers.sweeps import share_of
from simulator.study_file.schema import StudyConfig
from simulator.study_file.sweep import Axis


def combined(config: StudyConfig, points: list[xr.DataTree]) -> dict[str, xr.Dataset]:
    """Groups of a sweep: those of its points along its axes, in front of all other dimensions."""
    kept = [json.loads(str(share_of(point)["layout"]))["groups"] for point in points]
    groups = {}
    for name in (name for name in kept[0] if all(name in groups for groups in kept)):
        datasets = [point[name].to_dataset().drop_encoding() for point in points]
        if name == "dvh":
            datasets = _on_one_dose_axis(datasets)
        for axis in reversed(config.axes()):
            datasets = [
                _along(axis, datasets[first : first + len(axis.labels)])
                for first in range(0, len(datasets), len(axis.labels))
            ]
        groups[name] = datasets[0]
        of_points = [point[name].attrs for point in points]  # xarray keeps one that differs at two points of a row
        groups[name].attrs = {
            key: value
            for key, value in groups[name].attrs.items()
            if all(np.array_equal(attrs.get(key, value), value) for attrs in of_points)
        }
    return groups


def _on_one_dose_axis(datasets: list[xr.Dataset]) -> list[xr.Dataset]:
    """DVHs interpolated to the dose axis that reaches farthest; nothing receives more than the end of its own."""
    dose = max((d["dose"].values for d in datasets), key=lambda axis: axis[-1])
    moved = []
    for dataset in datasets:
        curves = dataset[[key for key, variable in dataset.data_vars.items() if "dose" in variable.dims]]
        if not np.array_equal(dataset["dose"], dose):
            curves = curves.interp(dose=dose, kwargs={"fill_value": 0.0}).astype(np.float32)
        moved.append(xr.merge([curves, dataset.drop_dims("dose")]))
    return moved


def _along(axis: Axis, datasets: list[xr.Dataset]) -> xr.Dataset:
    """Datasets along one axis of a sweep, each dimension as long as the longest of them."""
    texts = {key for d in datasets for key, variable in d.data_vars.items() if variable.dtype.kind in "UOT"}
    flags = {key for d in datasets for key, variable in d.data_vars.items() if variable.dtype.kind == "b"}
    alike = [
        d.assign({key: d[key].astype(object) for key in texts}).assign_coords(
            {dim: np.arange(n) for dim, n in d.sizes.items() if dim not in d.coords}
        )
        for d in datasets
    ]
    fill = {key: "" if key in texts else False if key in flags else np.nan for key in alike[0].data_vars}
    index = xr.DataArray(list(axis.labels), dims=axis.name, name=axis.name)
    return xr.concat(alike, index, data_vars="all", join="outer", fill_value=fill, combine_attrs="drop_conflicts")
