"""The planned dose on a lattice fine enough for trilinear sums."""

import numpy as np
from scipy.ndimage import map_coordinates, maximum_filter1d

from simulator.accumulation.reach import Reach
from simulator.case.geometry import Grid
from simulator.kernels.cells import steepest
from simulator.kernels.splines import less_laplacian
from simulator.plan.dose import PlannedDose

_BLOCK_MM = 2.25


_VISITS_SAMPLED = 2000


def refined_dose(dose: PlannedDose, grid: Grid, unblur: bool) -> np.ndarray:
    """Dose on a fine lattice, float32 (z, y, x) in Gy, with the average blur of trilinear sums taken off if asked."""
    if not unblur:
        return np.asarray(dose.on_grid(grid), np.float32)
    x, y, z = (o - s for o, s in zip(grid.origin_mm, grid.spacing_mm, strict=True))
    nz, ny, nx = (n + 2 for n in grid.shape)
    values = np.asarray(dose.on_grid(Grid((x, y, z), grid.spacing_mm, (nz, ny, nx))), np.float32)
    return less_laplacian(values, np.float32(1 / 12))


def worst_error_gy(dose: PlannedDose, values: np.ndarray, grid: Grid, points_mm: np.ndarray, reach: Reach) -> float:
    """Largest difference in Gy between trilinear look-up and the planned dose over a fixed sample of visits."""
    visits = np.random.default_rng(0)
    points = points_mm[visits.integers(0, len(points_mm), _VISITS_SAMPLED)]
    points = points + visits.uniform(reach.lower_mm, reach.upper_mm, points.shape)
    trilinear = map_coordinates(values, grid.index_zyx(points).T, order=1, mode="nearest")
    return float(np.abs(trilinear - dose.at(points)).max())


def reach_of_cells_gy(values: np.ndarray, stride: int, grid: Grid, points_mm: np.ndarray, reach: Reach) -> np.ndarray:
    """Bound float32 (point,) on the difference in dose between a point and the cell of `stride` nodes around it."""
    block = max(1, round(_BLOCK_MM / grid.spacing_mm[0]))
    most = steepest(values, stride, block)
    node = np.floor(grid.index_zyx(points_mm)).astype(np.int64)
    steps = np.stack([reach.lower_mm, reach.upper_mm])[:, ::-1] / (grid.spacing_mm[0] * block)
    low, high = np.floor(steps[0]).astype(int) - -(-stride // block), np.floor(steps[1]).astype(int) + 1
    for axis in range(3):
        size = int(high[axis] - low[axis]) + 1
        most = maximum_filter1d(most, size, axis, origin=int(-low[axis]) - size // 2, mode="nearest")
    return most[tuple((node // block).T)]
