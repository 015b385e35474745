"""Dose maps of finished results, and of one course of them, as DICOM RTDOSE."""

from pathlib import Path

import numpy as np
import xarray as xr

from simulator.case.dicom_identity import within_long_string
from simulator.case.dicom_write import write_rtdose
from simulator.case.geometry import Grid
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.study_file.checked_yaml import parse_yaml


def export_rtdose(
    results: xr.DataTree, strategy: str, map_name: str, path: str | Path, reference: str | Path | None = None
) -> None:
    """Write one dose map of the results as RTDOSE, on its own grid in DICOM patient coordinates, in Gy.

    Parameters
    ----------
    strategy : name as in the results.
    map_name : nominal, mean, sd, or a percentile such as p95, as far as the study made them.
    reference : a DICOM file of the patient (RTDOSE, RTPLAN, RTSTRUCT or CT). The map then carries the identity of this patient
        and can be loaded beside the plan; without it, it carries a pseudonym and a frame of reference of its own.

    Raises
    ------
    ConfigError : unknown strategy or map, or a reference for a phantom.
    CaseError : a reference that cannot be used, or is another patient's.
    """
    dose = map_of(results, strategy, map_name)
    _write(
        dose,
        results,
        path,
        reference,
        kind="ERROR" if map_name == "sd" else "PHYSICAL",
        what="nominal, without errors"
        if map_name == "nominal"
        else f"{map_name} of {results.attrs['n_courses']} courses",
        strategy=strategy,
    )


def map_of(results: xr.DataTree, strategy: str, map_name: str) -> xr.DataArray:
    """One dose map of the results (z, y, x) in Gy; see `export_rtdose`."""
    if "dose" not in results.children:
        raise ConfigError("export: these results hold no dose maps")
    maps = results["dose"].to_dataset()
    names = [str(s) for s in maps["strategy"].values]
    if strategy not in names:
        raise ConfigError(f"export: no strategy {strategy!r} in these results{did_you_mean(strategy, names, 0.1)}")
    dose = _map(maps.sel(strategy=strategy), map_name).transpose("z", "y", "x")
    if not np.isfinite(dose.values).all():
        raise ConfigError(
            f"export: {map_name} was not made for {strategy!r}; name it under maps.strategies and run the study again"
        )
    return dose


def grid_of(dose: xr.DataArray) -> Grid:
    """The grid of a dose map (z, y, x)."""
    axes = [dose[a].values.astype(float) for a in "xyz"]
    x, y, z = (float(a[0]) for a in axes)
    dx, dy, dz = (float(a[1] - a[0]) for a in axes)
    nz, ny, nx = dose.shape
    return Grid((x, y, z), (dx, dy, dz), (nz, ny, nx))


def export_course(results: xr.DataTree, course: xr.Dataset, path: Path, reference: Path | None = None) -> None:
    """Write the dose of one course (`simulator.simulate_course`) of the results as RTDOSE; see `export_rtdose`."""
    what, strategy = f"course {course.attrs['course']} of {results.attrs['n_courses']}", str(course.attrs["strategy"])
    _write(course["dose"], results, path, reference, kind="PHYSICAL", what=what, strategy=strategy)


def _write(
    dose: xr.DataArray,
    results: xr.DataTree,
    path: str | Path,
    reference: str | Path | None,
    *,
    kind: str,
    what: str,
    strategy: str,
) -> None:
    about = results.attrs
    refuse_patient_for_phantom(results, reference)
    write_rtdose(
        Path(path),
        dose.values,
        grid_of(dose),
        kind=kind,
        description=within_long_string(f"{what}: ", strategy, ""),
        comment=f"{what}, not a plan's dose; research use only",
        pseudonym=str(about["name"]),
        reference=None if reference is None else Path(reference),
        frame_digest=str(about.get("frame_digest", "")),
    )


def refuse_patient_for_phantom(results: xr.DataTree, reference: str | Path | None) -> None:
    """Refuse a reference for the results of a phantom with a `ConfigError`."""
    if reference is not None and "phantom" in parse_yaml(results.attrs["config"], "config")[0].get("case", ()):
        raise ConfigError("export: these results are of a phantom, which is no patient; leave --reference out")


def _map(maps: xr.Dataset, name: str) -> xr.DataArray:
    percentiles = [float(p) for p in maps["map_percentile"].values] if "percentile" in maps else []
    known = {key: maps[key] for key in ("nominal", "mean", "sd") if key in maps}
    known |= {f"p{p:g}": maps["percentile"].sel(map_percentile=p) for p in percentiles}
    found = known.get(name) if name in known or not name.startswith("p0") else known.get(f"p{name[2:]}")
    if found is None:
        raise ConfigError(
            f"export: no map {name!r} in these results; they hold {', '.join(known)} "
            "(spread and percentiles need maps: in the study)"
        )
    return found
