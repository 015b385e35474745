"""results.nc, written whole and opened unchanged."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import xarray as xr

from simulator import __version__
from simulator.ground.files import whole_file
from simulator.ground.spec import SimulatorError
from simulator.results.layout import NewerLayoutError, require_known_layout
from simulator.results.registry import VARIABLES, check_results
from simulator.results.tree import Results

_DIGEST = "content_digest"
_BOOK_KEEPING = {_DIGEST, "DIMENSION_LIST", "REFERENCE_LIST"}  # the latter two hold places in the file
_PART_BYTES = 2**25


def result_hash(results: xr.DataTree | h5py.File) -> str:
    """SHA-256 of the numbers alone: metrics of every course and the DVH bands."""
    digest = hashlib.sha256()
    for name in ("metrics/value", "metrics/nominal", "dvh/volume_percent"):
        array: Any = results[name]
        for part in _parts(array.shape, array.dtype.itemsize):
            digest.update(np.ascontiguousarray(array[part]).data)
    return digest.hexdigest()


def _parts(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...] | None = None
) -> Iterator[tuple[int | slice, ...]]:
    """Where the parts of an array lie that follow each other in memory, each of some MB, and of whole chunks of a file."""
    if not shape:
        yield ()
        return
    rows_alike, inner = chunks[0] if chunks else 1, math.prod(shape[1:]) * itemsize
    if len(shape) > 1 and rows_alike == 1 and inner > _PART_BYTES:
        for row in range(shape[0]):
            yield from ((row, *rest) for rest in _parts(shape[1:], itemsize, chunks and chunks[1:]))
        return
    rows = max(1, _PART_BYTES // max(inner, 1) // rows_alike) * rows_alike
    yield from ((slice(first, first + rows),) for first in range(0, shape[0], rows))


def content_digest(file: h5py.File) -> str:
    """SHA-256 of every variable and attribute of results.nc, but for this digest itself."""
    digest = hashlib.sha256()

    def add(*values: Any) -> None:
        for value in values:
            array = np.asarray(value)
            text = str(array.tolist()).encode() if array.dtype.kind in "OUS" else array.tobytes()
            digest.update(f"{array.dtype} {array.shape} {len(text)} ".encode() + text)

    def add_numbers(item: h5py.Dataset) -> None:
        digest.update(f"{item.dtype} {item.shape} {item.nbytes} ".encode())
        for part in _parts(item.shape, item.dtype.itemsize, item.chunks):
            digest.update(np.asarray(item[part]).tobytes())

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        add(name)
        for key in sorted(set(item.attrs) - _BOOK_KEEPING):
            value = item.attrs[key]
            add(key, "" if isinstance(value, h5py.Empty) else value)
        if isinstance(item, h5py.Dataset):
            add(item.dtype.str)
            if item.dtype.kind in "OUS":
                add(item[()])
            else:
                add_numbers(item)

    visit("", file)
    file.visititems(visit)
    return digest.hexdigest()


def write_results(results: xr.DataTree, path: Path) -> None:
    """Write results.nc, which is there when all of it is."""
    with whole_file(path) as partial:
        _write(results, partial)
        with h5py.File(partial, "r+") as file:
            file.attrs[_DIGEST] = content_digest(file)


@contextmanager
def results_by_point(first: xr.DataTree, axes: Mapping[str, Sequence[float | str]], path: Path) -> Iterator[h5py.File]:
    """Write the results of a sweep to a file, point by point; nothing of other points is in memory.

    Yields the file with room for all of them: what is written there, at a point's places on the axes, is its part.

    Parameters
    ----------
    first : everything but the numbers, with axes of length one. axes : all their labels.
    """
    _write(first, path, list(axes))
    with h5netcdf.File(path, "r+") as file:
        for name in first.children:
            for axis, labels in axes.items():
                file[name].resize_dimension(axis, len(labels))
                file[name][axis][...] = np.array(labels, object if isinstance(labels[0], str) else float)
    with h5py.File(path, "r+") as file:
        yield file
        file.attrs["result_hash"] = result_hash(file)
        file.attrs[_DIGEST] = content_digest(file)


def stored_digest(path: Path) -> str:
    """The digest of a results.nc by which it is told from every other."""
    with h5py.File(path, "r") as file:
        return str(file.attrs[_DIGEST])


def _write(results: xr.DataTree, path: Path, unlimited: Sequence[str] = ()) -> None:
    """Write results to a file, some dimensions such that they may grow."""
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
    may_grow = {f"/{name}": set(unlimited) for name in results.children}
    results.to_netcdf(path, engine="h5netcdf", encoding=encoding, unlimited_dims=may_grow if unlimited else None)


def open_results(path: str | Path) -> Results:
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
    return Results.of(results)


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
