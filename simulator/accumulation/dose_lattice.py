"""The planned dose on a lattice fine enough for trilinear sums."""

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import map_coordinates, maximum_filter1d

from simulator.accumulation.reach import Reach
from simulator.case.geometry import Grid
from simulator.ground.once import Once
from simulator.kernels.cells import steepest
from simulator.plan.dose import PlannedDose

_BLOCK_MM = 2.25
_VISITS_SAMPLED = 2000
_KEPT_BYTES = 64_000_000


@dataclass(frozen=True)
class DoseLattice:
    """A planned dose on a fine lattice.

    Parameters
    ----------
    values : float32 (z, y, x) in Gy. highest_gy : the largest of them.
    steepest : what `reach_of_cells_gy` last looked up, by stride and reach.
    """

    dose: PlannedDose
    grid: Grid
    values: np.ndarray
    highest_gy: float
    steepest: dict[tuple[int, bytes], np.ndarray] = field(default_factory=dict)

    def worst_error_gy(self, points_mm: np.ndarray, reach: Reach) -> float:
        """Largest difference in Gy between trilinear look-up and the planned dose over a fixed sample of visits."""
        visits = np.random.default_rng(0)
        points = points_mm[visits.integers(0, len(points_mm), _VISITS_SAMPLED)]
        points = points + visits.uniform(reach.lower_mm, reach.upper_mm, points.shape)
        trilinear = map_coordinates(self.values, self.grid.index_zyx(points).T, order=1, mode="nearest")
        return float(np.abs(trilinear - self.dose.at(points)).max())

    def reach_of_cells_gy(self, stride: int, points_mm: np.ndarray, reach: Reach) -> np.ndarray:
        """Bound float32 (point,) on the difference in dose between a point and the cell of `stride` nodes around it."""
        key = stride, reach.lower_mm.tobytes() + reach.upper_mm.tobytes()
        most = self.steepest.get(key)
        if most is None:
            most = self._steepest_within(stride, reach)
            self.steepest.clear()
            self.steepest[key] = most
        node = np.floor(self.grid.index_zyx(points_mm)).astype(np.int64)
        return most[tuple((node // self._block).T)]

    @property
    def _block(self) -> int:
        return max(1, round(_BLOCK_MM / self.grid.spacing_mm[0]))

    def _steepest_within(self, stride: int, reach: Reach) -> np.ndarray:
        """The largest bound, by block of nodes, wherever within its reach a point of the block may come to lie."""
        block = self._block
        most = steepest(self.values, stride, block)
        steps = np.stack([reach.lower_mm, reach.upper_mm])[:, ::-1] / (self.grid.spacing_mm[0] * block)
        low, high = np.floor(steps[0]).astype(int) - -(-stride // block), np.floor(steps[1]).astype(int) + 1
        for axis in range(3):
            size = int(high[axis] - low[axis]) + 1
            most = maximum_filter1d(most, size, axis, origin=int(-low[axis]) - size // 2, mode="nearest")
        return most


_lattices: Once[DoseLattice] = Once(_KEPT_BYTES, lambda lattice: 2 * lattice.values.nbytes)


def dose_lattice(dose: PlannedDose, grid: Grid, unblur: bool) -> DoseLattice:
    """A dose on a lattice, with the average blur of trilinear sums taken off if asked; the last ones made are kept."""

    def make() -> DoseLattice:
        values = refined_dose(dose, grid, unblur)
        return DoseLattice(dose, grid, values, float(values.max()))

    return _lattices.get((id(dose), grid, unblur), make)


def refined_dose(dose: PlannedDose, grid: Grid, unblur: bool) -> np.ndarray:
    """Dose on a fine lattice, float32 (z, y, x) in Gy, with the average blur of trilinear sums taken off if asked."""
    return np.asarray(dose.unblurred_on_grid(grid) if unblur else dose.on_grid(grid), np.float32)
