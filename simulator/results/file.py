"""results.nc, written whole and opened unchanged."""

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from simulator import __version__
from simulator.files import whole_file
from simulator.results.layout import NewerLayoutError, require_known_layout
from simulator.results.registry import VARIABLES, check_results
from simulator.spec import SimulatorError

_DIGEST = "content_digest"
_BOOK_KEEPING = {_DIGEST, "DIMENSION_LIST", "REFERENCE_LIST"}  # the latter two hold places in the file


def result_hash(results: xr.DataTree) -> str:
    """SHA-256 of the numbers alone: metrics of every course and the DVH bands."""
    digest = hashlib.sha256()
    for array in (results["metrics/value"], results["metrics/nominal"], results["dvh/volume_percent"]):
        digest.update(np.ascontiguousarray(array.values).data)
    return digest.hexdigest()


def content_digest(file: h5py.File) -> str:
    """SHA-256 of every variable and attribute of results.nc, but for this digest itself."""
    digest = hashlib.sha256()

    def add(*values: Any) -> None:
        for value in values:
            array = np.asarray(value)
            text = str(array.tolist()).encode() if array.dtype.kind in "OUS" else array.tobytes()
            digest.update(f"{array.dtype} {array.shape} {len(text)} ".encode() + text)

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        add(name)
        for key in sorted(set(item.attrs) - _BOOK_KEEPING):
            value = item.attrs[key]
            add(key, "" if isinstance(value, h5py.Empty) else value)
        if isinstance(item, h5py.Dataset):
            add(item.dtype.str, item[()])

    visit("", file)
    file.visititems(visit)
    return digest.hexdigest()


def write_results(results: xr.DataTree, path: Path) -> None:
    """Write results.nc, which is there when all of it is."""
    check_results(results)
    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    curves = dict.fromkeys(("probability", "ci_low", "ci_high"), packed)
    encoding = {
        "/dvh": {"coverage": packed},
        "/prescription": curves,
        "/comparison": dict.fromkeys(VARIABLES["comparison"], packed),
    }
    if "n_courses" in results["decision"].data_vars:
        encoding["/metrics"] = {"value": packed}
    if "courses" in results.children:
        encoding["/courses"] = {"dose_gy": packed}
    if "dose" in results.children:
        encoding["/dose"] = {str(key): packed for key in results["dose"].data_vars}
    with whole_file(path) as partial:
        results.to_netcdf(partial, engine="h5netcdf", encoding=encoding)
        with h5py.File(partial, "r+") as file:
            file.attrs[_DIGEST] = content_digest(file)


def open_results(path: str | Path) -> xr.DataTree:
    """Open the results of a finished study, given results.nc or its folder.

    Raises
    ------
    SimulatorError : there is no such file, it is not one of ours, it is of a newer layout, or it was damaged or changed.
    """
    file = results_file(path)
    if not file.is_file():
        raise SimulatorError(f"{file}: no results here; a finished `simulator run` writes results.nc")
    results = None
    try:
        _require_unchanged(file)
        results = xr.open_datatree(file, engine="h5netcdf")
        check_results(results)
        if result_hash(results) != results.attrs["result_hash"]:
            raise SimulatorError("its numbers are not those that were written")
    except NewerLayoutError as error:
        raise NewerLayoutError(f"{file}: {error}") from None
    except Exception as error:
        if results is not None:
            results.close()
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SimulatorError(
            f"{file}: damaged, changed or not written by this version ({error}); take it from a copy, or run the study again"
        ) from None
    return results


def results_file(path: str | Path) -> Path:
    """results.nc, given itself or its folder."""
    return Path(path) / "results.nc" if Path(path).is_dir() else Path(path)


def _require_unchanged(path: Path) -> None:
    """Compare the stored digest with the content; results of earlier versions have none."""
    with h5py.File(path, "r") as file:
        if "result_hash" not in file.attrs:
            raise SimulatorError("no run wrote it")
        require_known_layout(file.attrs.get("schema_version"))
        stored = file.attrs.get(_DIGEST)
        if stored is None and file.attrs.get("simulator_version") != __version__:
            return
        if stored != content_digest(file):
            raise SimulatorError("its content is not what was written")


def stored_study(path: Path) -> str | None:
    """The study in a results.nc of any version, as YAML text; None where there is none."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs["config"]) if "result_hash" in file.attrs else None
    except (OSError, KeyError, RuntimeError):
        return None
