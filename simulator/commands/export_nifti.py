"""Dose maps and planning volumes of finished results as NIfTI."""

from pathlib import Path

import numpy as np
import xarray as xr

from simulator.case.geometry import Volume
from simulator.case.nifti import write_nifti
from simulator.commands.export import grid_of, map_of
from simulator.commands.export_structures import ExportedStructures, planned_volumes
from simulator.ground.files import refuse_existing
from simulator.ground.spec import ConfigError


def export_map(results: xr.DataTree, strategy: str, map_name: str, path: Path) -> None:
    """Write one dose map in Gy on its own grid; see `simulator.commands.export.export_rtdose`."""
    dose = map_of(results, strategy, map_name)
    write_nifti(path, Volume(grid_of(dose), dose.values.astype(np.float32)))


def export_masks(
    results: xr.DataTree, strategy: str, path: Path, *, probability: float | None = None
) -> ExportedStructures:
    """Write a mask of 0 and 1 for each volume on the grid of the study's CT, its name added to that of the file.

    A voxel is filled where its centre lies inside; see `simulator.commands.export_structures.export_rtstruct`.

    Raises
    ------
    ConfigError : one of the files exists.
    """
    planned, end = planned_volumes(results, strategy, probability), path.name.lower().rindex(".nii")
    grid = planned.problem.case.density.grid
    files = [path.with_name(f"{path.name[:end]}_{v.name}{path.name[end:]}") for v in planned.volumes]
    masks = [v.volume.on_grid(grid) for v in planned.volumes]
    for file, mask, named in zip(files, masks, planned.volumes, strict=True):
        refuse_existing(file)
        if not mask.any():
            raise ConfigError(f"export: the grid of the study ({grid}) has no voxel in {named.name}")
    for file, mask in zip(files, masks, strict=True):
        write_nifti(file, Volume(grid, mask.astype(np.uint8)))
    return planned.exported([float(mask.sum()) * grid.voxel_cc for mask in masks])
