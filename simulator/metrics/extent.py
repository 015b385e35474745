"""What the points of a structure stand for: cells with an extent, and tissue whose doses are not given."""

from dataclasses import dataclass

import numpy as np

from simulator.case.cells import Cells
from simulator.ground.once import cached_property
from simulator.kernels.cells import mean_doses, metrics_of_cells
from simulator.kernels.dvh import dose_at_volumes, doses_of_dvh

_STEPS_TO_GUESS = 12


@dataclass(frozen=True)
class LeftOut:
    """Points whose doses are not given, each of them hotter or colder than a metric's dose.

    Parameters
    ----------
    volume_cc : of all of them. hotter_cc : (metric,), of those that are hotter.
    """

    volume_cc: float
    hotter_cc: np.ndarray


@dataclass(frozen=True)
class Dvhs:
    """Cumulative DVHs: percent float64 (course, dose) of the volume that receives whole multiples of a step at least."""

    percent: np.ndarray
    step_gy: float


@dataclass(frozen=True)
class Extent:
    """How points stand for tissue around them: cells, each with doses that differ over it.

    Parameters
    ----------
    cells : what the points are nodes of. reach_gy : float32 (cell,), bound on the difference in
        dose between its node and any part of it.
    """

    cells: Cells
    reach_gy: np.ndarray

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        c = self.cells
        return c.volume_cc, c.node, c.around, c.part, c.shape, self.reach_gy

    def doses_and_volumes(
        self,
        dose_gy: np.ndarray,
        volume_cc: np.ndarray,
        wanted_cc: np.ndarray,
        wanted_gy: np.ndarray,
        dvhs: Dvhs | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Minimum dose in Gy to the hottest volumes (v,), and the volume in cc that receives at least the doses (d,).

        Parameters
        ----------
        volume_cc : (1, node), that of the nodes. dvhs : theirs, where the search for doses then begins.

        Returns
        -------
        float64 (course, v) and (course, d).
        """
        guess = np.full((len(dose_gy), len(wanted_cc)), -np.inf)
        is_known = np.zeros(guess.shape, bool)
        if dvhs is not None:
            guess = doses_of_dvh(dvhs.percent, dvhs.step_gy, 100 * wanted_cc / self.cells.volume_cc.sum())
            is_known = guess > _STEPS_TO_GUESS * dvhs.step_gy
        if (some := ~is_known.all(axis=0)).any():
            by_nodes = dose_at_volumes(dose_gy, volume_cc, wanted_cc[None, some])
            guess[:, some] = np.where(is_known[:, some], guess[:, some], by_nodes)
        return metrics_of_cells(dose_gy, *self._arrays, wanted_cc, guess, wanted_gy)

    def mean_doses(self, dose_gy: np.ndarray) -> np.ndarray:
        """Mean dose of each cell in Gy, float32 (course, cell)."""
        c = self.cells
        return mean_doses(dose_gy, c.node, c.around, c.part, c.shape)

    @cached_property
    def mean_weights(self) -> np.ndarray:
        """Volumes (1, node) in cc that give the mean dose of all cells, see `Cells.mean_weights`."""
        own = self.cells.mean_weights()
        return np.concatenate([own, np.zeros(len(self.cells.sources))])[None]
