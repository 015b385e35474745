"""The density on the grid of an engine: that of the planning system's dose, extended to hold the patient."""

from typing import Final

import numpy as np
from scipy.ndimage import map_coordinates, uniform_filter

from simulator.case.density import AIR_DENSITY
from simulator.case.geometry import Grid, Volume

_ROUND: Final = 1e-6


def engine_grid(density: Grid, dose: Grid) -> tuple[Grid, tuple[slice, slice, slice]]:
    """A grid with the nodes of a dose grid and more of its planes left, right, in front of and behind it, as far as the density
    is known; and which of its nodes (z, y, x) are those of the dose grid.
    """
    step, origin = np.array(dose.spacing_mm), np.array(dose.origin_mm)
    before = np.maximum(np.ceil((origin - density.origin_mm) / step - _ROUND), 0).astype(int)
    after = np.maximum(np.ceil((np.array(density.upper_mm) - dose.upper_mm) / step - _ROUND), 0).astype(int)
    before[2] = after[2] = 0
    own = np.array(dose.shape[::-1])
    x, y, z = (float(v) for v in origin - before * step)
    nx, ny, nz = (int(n) for n in own + before + after)
    kept = tuple(slice(int(b), int(b + n)) for b, n in zip(before[::-1], own[::-1], strict=True))
    return Grid((x, y, z), dose.spacing_mm, (nz, ny, nx)), (kept[0], kept[1], kept[2])


def density_on(density: Volume, grid: Grid) -> Volume:
    """A density at the nodes of a coarser grid, each the mean around it; air beyond what is known."""
    ratio = np.array(grid.spacing_mm) / density.grid.spacing_mm
    mean = uniform_filter(density.values, [max(1, round(r)) for r in ratio[::-1]], mode="nearest")
    index = density.grid.index_zyx(grid.nodes_mm().reshape(-1, 3)).T
    values = map_coordinates(mean, index, order=1, mode="constant", cval=AIR_DENSITY, prefilter=False)
    return Volume(grid, values.reshape(grid.shape).astype(np.float32))
