"""One course of a study: tables of its errors, metrics and DVHs, and its dose."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simulator.commands.export import export_course
from simulator.execution.folder import COURSE_FILES, COURSES
from simulator.ground.conventions import AXES
from simulator.ground.files import claim, whole_file, write_table
from simulator.results.file import results_file

ERRORS, METRICS, DVHS, ALL, RTDOSE = COURSE_FILES

_AS_PLANNED_PERCENT, _NOTHING = 0.5, 0.005

Table = tuple[str, list[str], list[list[str]]]
# Name, unit and values (fraction, axis) of what has a direction.
Vector = tuple[str, str, np.ndarray]


def course_folder(folder: Path, results: xr.DataTree, course: xr.Dataset) -> Path:
    """Where a course goes when nobody says: a folder of its own in that of the results."""
    names = [str(name) for name in results["metrics"].to_dataset()["strategy"].values]
    slugs, place = [_slug(name) for name in names], names.index(course.attrs["strategy"])
    name = slugs[place] if slugs.count(slugs[place]) == 1 else f"{slugs[place]}-{place + 1}"
    return results_file(folder).parent / COURSES / f"{name}-course-{course.attrs['course']}"


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def write_course(
    results: xr.DataTree, course: xr.Dataset, folder: Path, *, rtdose: bool = False, reference: Path | None = None
) -> None:
    """Write errors.csv, metrics.csv, dvhs.csv, course.nc (all of it, with the dose) and, if asked, dose.dcm.

    Raises
    ------
    ConfigError, CaseError : the folder holds files of others, or a reference that cannot be used.
    """
    claim(folder)
    write_table(folder / ERRORS, ("what", "unit", "fraction", *course["axis"].values, "total"), _error_rows(course))
    metrics = [str(name) for name in course["metric"].values]
    write_table(folder / METRICS, _metric_columns(course), _metric_rows(course, metrics))
    names = [str(name) for name in course["structure"].values]
    curves = np.concatenate([course["dvh"].values, course["nominal_dvh"].values]).T
    rows = [[f"{gy:g}", *(f"{v:.4g}" for v in row)] for gy, row in zip(course["dose_gy"].values, curves, strict=True)]
    columns = [f"{name}{which} (%)" for which in ("", ", planned") for name in names]
    write_table(folder / DVHS, ("dose (Gy)", *columns), rows)
    with whole_file(folder / ALL) as partial:
        course.to_netcdf(partial, engine="h5netcdf")
    if rtdose:
        with whole_file(folder / RTDOSE) as partial:
            export_course(results, course, partial, reference)


def tables_of_course(results: xr.DataTree, course: xr.Dataset) -> Iterator[Table]:
    """What the terminal shows: where the target went by source and fraction, and the metrics that goals ask for."""
    which = f"Course {course.attrs['course']} of {course.attrs['strategy']}"
    fractions = [f"fraction {n}" for n in course["fraction"].values]
    rows = []
    for what, unit, values in (*_of_target(course), *_rotations(course)):
        if not np.any(np.abs(values) > _NOTHING):
            continue
        for axis, of_axis in zip(course["axis"].values, values.T, strict=True):
            rows.append(
                [what if axis == AXES[0] else "", str(axis), unit, *(f"{v:+.1f}" for v in np.round(of_axis, 1) + 0.0)]
            )
    for what, percent in _volumes(course):
        if np.any(np.abs(percent - 100) > _AS_PLANNED_PERCENT):
            rows.append([what, "", "%", *(f"{p:.0f}" for p in percent)])
    yield f"{which}: errors, mean over the beam-on time", ["source", "axis", "unit", *fractions], rows
    wanted = dict.fromkeys(
        [str(results["courses"].attrs["metric"]), *map(str, results["goals"].to_dataset()["metric"].values)]
    )
    known = [name for name in wanted if name in course["metric"].values]
    yield f"{which}: metrics", _metric_columns(course), _metric_rows(course, known)


def _of_target(course: xr.Dataset) -> Iterator[Vector]:
    """Displacement of the target by source, and the whole."""
    for name in course["source"].values:
        yield str(name), "mm", course["error_mm"].sel(source=name).values
    yield from _wholes(course, [course.attrs["target"]])


def _wholes(course: xr.Dataset, structures: list[str]) -> Iterator[Vector]:
    for name in structures:
        yield f"{name}, relative to the beam", "mm", course["displacement_mm"].sel(structure=name).values


def _rotations(course: xr.Dataset) -> Iterator[Vector]:
    for when in course["correction"].values if "rotation_deg" in course else ():
        yield f"rotation {when} correction", "degree", course["rotation_deg"].sel(correction=when).values


def _volumes(course: xr.Dataset) -> Iterator[tuple[str, np.ndarray]]:
    for name in course["structure"].values:
        of_what = "true volume of the drawn one" if name == course.attrs["target"] else "volume of the planned one"
        yield f"{name}, {of_what}", course["volume_percent"].sel(structure=name).values


def _error_rows(course: xr.Dataset) -> Iterator[list[Any]]:
    organs = [str(name) for name in course["structure"].values if name != course.attrs["target"]]
    fractions = course["fraction"].values
    for what, unit, values in (*_of_target(course), *_wholes(course, organs), *_rotations(course)):
        for fraction, of_axes in zip(fractions, values, strict=True):
            yield [what, unit, fraction, *(f"{v:.4f}" for v in of_axes), f"{np.linalg.norm(of_axes):.4f}"]
    for what, percents in _volumes(course):
        for fraction, percent in zip(fractions, percents, strict=True):
            yield [what, "%", fraction, "", "", "", f"{percent:.2f}"]


def _metric_columns(course: xr.Dataset) -> list[str]:
    return ["metric", "unit", "course", "in the results", "planned"] + [
        f"all like fraction {n}" for n in course["fraction"].values
    ]


def _metric_rows(course: xr.Dataset, metrics: list[str]) -> list[list[str]]:
    rows = []
    for name in metrics:
        own = course.sel(metric=name)
        numbers = (own["value"], own["stored"], own["nominal"], *own["fraction_value"])
        rows.append([name, str(own["unit"].item()), *(f"{float(v):.5g}" for v in numbers)])
    return rows
