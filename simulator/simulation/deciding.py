"""Points that decide: what a structure's metrics depend on, for courses whose DVHs are not wanted.

However a structure is displaced within its reach, a point receives a mean of the doses there: at least the smallest and at
most the largest of them. Points that must be hotter, or colder, than a metric's dose are counted without being computed,
and mean doses are sums over displacements of a mean dose made beforehand. Both are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.accumulation.lattice import LatticePoints, MeanDose
from simulator.accumulation.points import PointDoses
from simulator.accumulation.structure import doses_of_cells
from simulator.metrics.evaluate import evaluate_metrics
from simulator.metrics.extent import Extent, LeftOut
from simulator.metrics.metric import Metric
from simulator.sampling.tissue_motion import COURSES_AT_ONCE, TissueMotion
from simulator.simulation.tissue import DrawnTissue, Measured, Tissue
from simulator.uncertainty.source import RandomNumbers

_ROUNDING = 2e-5
_WORTHWHILE = 0.7


@dataclass(frozen=True)
class DecidingPoints:
    """The points of a structure that decide its metrics.

    Parameters
    ----------
    parts : the points kept, and `volume_cc` (point,) theirs.
    left_out : the others.
    means : sums that make up the mean dose, when a metric asks for it.
    extent : the cells that are kept, of which the points are nodes; None when points have no extent.
    """

    metrics: tuple[Metric, ...]
    prescription_gy: float
    parts: tuple[PointDoses, ...]
    volume_cc: np.ndarray
    left_out: LeftOut
    means: tuple[MeanDose, ...]
    extent: Extent | None = None

    @classmethod
    def of(
        cls,
        parts: Sequence[PointDoses],
        volume_cc: np.ndarray,
        metrics: Sequence[Metric],
        prescription_gy: float,
        extent: Extent | None = None,
    ) -> "DecidingPoints | None":
        """The deciding ones of some points, or of the cells whose nodes they are; None where nearly all of them decide."""
        if not all(m.can_be_decided for m in metrics):
            return None
        lattices = [part for part in parts if isinstance(part, LatticePoints) and part.moves_alike]
        if len(lattices) < len(parts):
            return None
        limits = [part.limits_gy() for part in lattices]
        low, high = (np.concatenate(gy).astype(float) for gy in zip(*limits, strict=True))
        cc, weights_cc = volume_cc, volume_cc
        if extent is not None:
            cells = extent.cells
            cc, weights_cc = cells.volume_cc, cells.mean_weights()
            low, high = low[cells.node] - extent.reach_gy, high[cells.node] + extent.reach_gy
        rounding_gy = _ROUNDING * float(np.abs(high).max())
        hotter, kept = np.zeros((len(metrics), len(low)), bool), np.zeros(len(low), bool)
        for i, metric in enumerate(metrics):
            if metric.is_mean:
                continue
            if (wanted_cc := metric.hot_cc(cc.sum())) is not None:
                coldest, hottest = _limits_of_dose_at_volume(low, high, cc, float(wanted_cc))
                kept |= high >= low.max() - rounding_gy
            elif (level_gy := metric.level_gy(prescription_gy)) is not None:
                coldest = hottest = level_gy
            hotter[i] = low > hottest + rounding_gy
            kept |= ~hotter[i] & (high >= coldest - rounding_gy)
        kept[np.argmax(high)] = True
        if kept.mean() > _WORTHWHILE:
            return None
        needed, some = kept, None
        if extent is not None:
            fewer, needed = extent.cells.some(kept)
            some = Extent(fewer, extent.reach_gy[kept])
        ends = np.cumsum([part.n_points for part in lattices])[:-1]
        in_part = [(part, want) for part, want in zip(lattices, np.split(needed, ends), strict=True) if want.any()]
        means: list[MeanDose] = []
        if any(m.is_mean for m in metrics):
            shares = np.split(weights_cc / weights_cc.sum(), ends)
            means = [part.mean(share) for part, share in zip(lattices, shares, strict=True)]
        own_cc = volume_cc[needed] if some is None else np.bincount(some.cells.node, cc[kept], some.cells.n_all_nodes)
        return cls(
            metrics=tuple(metrics),
            prescription_gy=prescription_gy,
            parts=tuple(part.some(want) for part, want in in_part),
            volume_cc=own_cc,
            left_out=LeftOut(float(cc[~kept].sum()), np.where(kept, 0.0, hotter) @ cc),
            means=tuple(means),
            extent=some,
        )

    @property
    def courses_at_once(self) -> int:
        """See `Tissue`."""
        return COURSES_AT_ONCE

    def measure(self, motion: TissueMotion, draws: RandomNumbers) -> Measured:
        """See `Tissue`."""
        return Measured(self.evaluate(motion))

    def evaluate(self, motion: TissueMotion) -> np.ndarray:
        """Metrics float64 (course, metric), each in its metric's unit."""
        if self.extent is None:
            dose_gy = np.concatenate([part.accumulate(motion) for part in self.parts], axis=1)
        else:
            dose_gy = doses_of_cells(self.parts, self.extent.cells, motion)
        is_mean = np.array([m.is_mean for m in self.metrics])
        values = np.empty((len(dose_gy), len(self.metrics)))
        if self.means:
            values[:, is_mean] = np.sum([mean.accumulate(motion) for mean in self.means], axis=0)
        others = [m for m in self.metrics if not m.is_mean]
        left_out = LeftOut(self.left_out.volume_cc, self.left_out.hotter_cc[~is_mean])
        values[:, ~is_mean] = evaluate_metrics(
            others, dose_gy, self.volume_cc, self.prescription_gy, left_out=left_out, extent=self.extent
        )
        return values


def fewest(tissue: Tissue) -> Tissue:
    """The points that decide a tissue's metrics; all of them where too few can be left out."""
    if not isinstance(tissue, DrawnTissue):
        return tissue
    doses, ruler = tissue.doses, tissue.ruler
    gy = ruler.prescription.dose_gy
    return DecidingPoints.of(doses.parts, doses.volume_cc, ruler.metrics, gy, tissue.extent) or tissue


def _limits_of_dose_at_volume(
    low_gy: np.ndarray, high_gy: np.ndarray, volume_cc: np.ndarray, wanted: float
) -> tuple[float, float]:
    """Doses between which D_x lies, and that of a neighbour on either side of it, for any doses between low and high."""
    spare = 2 * float(volume_cc.max())

    def reached(gy: np.ndarray, needed: float) -> float:
        """The largest dose in Gy that at least `needed` cc receive; -inf if they are more than all."""
        order = np.argsort(-gy)
        n = int(np.searchsorted(np.cumsum(volume_cc[order]), needed))
        return float(gy[order[n]]) if n < len(order) else -np.inf

    return reached(low_gy, wanted + spare), -reached(-high_gy, volume_cc.sum() - wanted + spare)
