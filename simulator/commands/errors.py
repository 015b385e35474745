"""Errors of a clinic from its record of shifts: what is odd, estimates, and a block for a study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulator import __version__
from simulator.case.dicom_registrations import read_registrations
from simulator.ground.files import claim, whole_file, write_table, write_whole
from simulator.ground.spec import ConfigError
from simulator.plots.records import record_of_shifts
from simulator.plots.style import svg_bytes
from simulator.records.axes import CONVENTIONS
from simulator.records.estimates import ErrorsFound, estimated, rows_of
from simulator.records.findings import findings, first_images
from simulator.records.posterior import PRIOR_SCALE, correlations_of, require_spread
from simulator.records.record import ShiftRecord
from simulator.records.registered import registered_shifts
from simulator.records.rows import MEASURED
from simulator.records.table import read_shifts
from simulator.report import render_errors

BLOCK, TABLE, FIGURE, PAGE, DRAWS = "errors.yaml", "errors.csv", "errors.svg", "errors.html", "posterior.nc"


def errors_found(
    path: str | Path,
    convention: str | None = None,
    *,
    unit: str | None = None,
    measured: str = "before",
    corrections: bool = False,
    isocentre: str | None = None,
    image_isocentre: str | None = None,
    seed: int = 1,
) -> ErrorsFound:
    """Read a table of shifts, or a folder of spatial registrations, and estimate its errors.

    Parameters
    ----------
    path : the table (CSV), or a folder of DICOM spatial registrations.
    convention : signs and axes of a table, iec61217 or dicom. unit : mm or cm, where no column's name says it.
    measured : when images were made: before correction, residual after it, or during the beam.
    corrections : whether the table holds couch movements, which are minus the errors.
    isocentre, image_isocentre : of a folder, "X,Y,Z" in mm. seed : of the sampler.

    Returns
    -------
    `block` is the study's `uncertainty` as YAML text, `shifts.posterior` the draws, `shifts.classical` the usual estimates.

    Raises
    ------
    ConfigError, CaseError : a setting that is none of those named, or a record that cannot be used.
    """
    path = Path(path)
    convention = convention or ("dicom" if path.is_dir() else None)
    for name, value, known in (("convention", convention, tuple(CONVENTIONS)), ("measured", measured, MEASURED)):
        if value not in known:
            wrong = f"{value!r} is none" if value else "which way is plus"
            raise ConfigError(f"--{name}: {wrong}? say {' or '.join(known)} (docs/how-to/errors.md explains them)")
    if unit not in (None, "mm", "cm"):
        raise ConfigError(f"--unit: {unit!r} is none? say mm or cm")
    signs = CONVENTIONS[str(convention)]
    if path.is_dir():
        if convention != "dicom" or unit or corrections:
            raise ConfigError(
                f"{path}: registrations are in DICOM coordinates and mm, and say themselves which way they go; leave out "
                "--convention, --unit and --corrections, or name a table"
            )
        whole = _registered(path, _point("isocentre", isocentre), _point("image-isocentre", image_isocentre))
    elif isocentre or image_isocentre:
        raise ConfigError(f"{path}: a table needs no isocentre; leave out --isocentre and --image-isocentre")
    else:
        whole = read_shifts(path, signs, unit=unit, measured=measured, corrections=corrections)
    record = first_images(whole)
    notes = findings(record, corrections=corrections)
    require_spread(record.shift_mm, record.patient, str(path))
    shifts = estimated("mm", record, record.shift_mm, seed)
    for (one, other), (r, low, high) in correlations_of(shifts.posterior.draws).items():
        if low * high > 0:
            notes.append(
                f"Σ of {one} and {other} go together: correlation {r:.2f} ({low:.2f}, {high:.2f}); see `correlation` of setup"
            )
    turns = None
    if record.rotation_deg is not None:
        kept = np.isfinite(record.rotation_deg).all(axis=1)
        if turned := len(np.unique(record.patient[kept])) > 1:
            require_spread(record.rotation_deg[kept], record.patient[kept], f"{path}, rotations")
            turns = estimated("deg", record.taken(kept), record.rotation_deg[kept], seed)
        if not turned or not kept.all():
            notes.append(f"rotations stand in {kept.sum()} of {len(kept)} images{'' if turned else '; not used'}")
    return ErrorsFound(signs, record, notes, measured, seed, shifts, turns)


def _registered(folder: Path, isocentre_mm: Sequence[float] | None, image_mm: Sequence[float] | None) -> ShiftRecord:
    images, notes = read_registrations(folder, isocentre_mm, image_mm)
    names = ("patient", "file", "isocentre_mm", "shift_mm", "rotation_deg")
    return registered_shifts(
        str(folder),
        when=[image.when for image in images],
        notes=notes,
        **{name: np.array([getattr(image, name) for image in images]) for name in names},
    )


def _point(option: str, text: str | None) -> tuple[float, ...] | None:
    """A point that the user gives as X,Y,Z in mm."""
    if text is None:
        return None
    try:
        point = tuple(float(value) for value in text.split(","))
    except ValueError:
        point = ()
    if len(point) != 3 or not np.isfinite(point).all():
        raise ConfigError(f"--{option}: {text!r} is no point; say three numbers in mm, as in --{option} 12.5,-40,3")
    return point


def write_errors(found: ErrorsFound, folder: Path) -> None:
    """Write the block for a study, the table, a figure of shifts, the page, and the draws of the posterior.

    Raises
    ------
    ConfigError : the folder holds files of others.
    """
    claim(folder)
    write_whole(folder / BLOCK, found.block)
    write_table(folder / TABLE, *rows_of(found))
    figure = record_of_shifts(found.record, found.shifts.classical, found.shifts.posterior)
    write_whole(folder / FIGURE, svg_bytes(figure))
    with whole_file(folder / PAGE) as partial:
        render_errors(found, partial)
    data = found.shifts.posterior.dataset("mm")
    if found.turns:
        data = data.merge(found.turns.posterior.dataset("deg"))
    data.attrs = {
        "simulator_version": __version__,
        "measured": found.measured,
        "patients": found.record.n_patients,
        "images": len(found.record.line),
        "seed": found.seed,
        "prior_scale": PRIOR_SCALE,
        "axes": "LR, AP, SI in DICOM patient coordinates: plus is left, posterior, superior",
    }
    with whole_file(folder / DRAWS) as partial:
        data.to_netcdf(partial, engine="h5netcdf")
