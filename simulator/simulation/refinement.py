"""Cells that decide a structure's metrics are small: where they lie depends on the dose and on how the structure moves.

A dose at a volume v is read where the dose of a course crosses it. A cell of volume c that it crosses, whose doses differ
by +-h and bend by b (the sum of their second differences), puts it off by at most about 0.12 h sqrt(c / v) + 0.04 b: found
with balls beside a penumbra of 3.2 mm, for cells of 0.5 to 3 mm and volumes of 0.035 to 30 cc. Cells that would put it off
by more than 0.4 % of the prescription in some courses are divided by 27, and again; 0.1 % where nothing moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.accumulation.known import KnownDoses
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.case.cells import Division, Patch, Region, places
from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.once import cached_property
from simulator.kernels.cells import raise_errors
from simulator.metrics.extent import Extent
from simulator.metrics.metric import Metric
from simulator.plan.dose import PlannedDose
from simulator.sampling.tissue_motion import TissueMotion

_ERROR_PER_SPREAD, _ERROR_PER_BEND = 0.12, 0.04
_SHARE_OF_ORGAN = 0.1
_APART_MM = 3.0
_COARSE_MM, _REACH_COARSE, _REACH = 4.5, 2.0, 1.25


@dataclass(frozen=True)
class Deciding:
    """What decides where the cells of a structure have to be small.

    Parameters
    ----------
    metrics : of the structure. reach : over all courses. motions : in which metrics are looked at.
    lattice_mm : largest step of the dose lattice. finest_mm : cells are not divided below it.
    """

    metrics: Sequence[Metric]
    prescription_gy: float
    dose: PlannedDose
    reach: Reach
    motions: Sequence[TissueMotion]
    lattice_mm: float
    finest_mm: float = 1.0
    allowed_error: float = 0.004

    @cached_property
    def _known(self) -> KnownDoses:
        return KnownDoses(self.motions)

    def narrow(self, doses: StructureDoses) -> None:
        """See `StructureDoses.narrow`: in the courses in which metrics are looked at."""
        doses.narrow(self._known.of(doses))

    def divided(self, region: Region, patch: Patch) -> list[Patch]:
        """The cells of a structure, those divided in which its metrics are decided; the finest first."""
        tiles: list[Patch] = []
        (chosen,) = self._too_large([patch], [1.0])
        while chosen.any() and patch.spacing_mm > self.finest_mm:
            found, division = chosen, Division(region, patch)
            while found.any():
                parts = division.of(chosen)
                rest = np.flatnonzero(~chosen)
                patches = [p for p in (parts, patch.some(~chosen), *tiles) if len(p.volume_cc)]
                too_large, was_too_large, *more = self._too_large(patches, [1.0, 3.0], [1.0] if len(rest) else [])
                found = np.zeros(len(chosen), bool)
                for is_more in more:
                    found[rest[is_more]] = True
                chosen = chosen | found
            holders = np.unique(places(parts, 3)[was_too_large])
            tiles.append(patch.some(~np.isin(places(patch), holders)))
            kept = np.isin(places(parts, 3), holders)
            patch, chosen = parts.some(kept), too_large[kept]
        return [p for p in (patch, *reversed(tiles)) if len(p.volume_cc)]

    def error_gy(self, doses: StructureDoses) -> float:
        """Largest error in Gy of the metrics of a structure's doses by the size of its finest cells."""
        return float(self._errors_gy(doses, [1.0])[0].max())

    def _too_large(self, patches: Sequence[Patch], *sizes: Sequence[float]) -> list[np.ndarray]:
        """Which cells of each patch are too large for a metric that is decided in them, or would be at some times their size.

        Parameters
        ----------
        patches : all cells of the structure. sizes : what is asked of the first patches.

        Returns
        -------
        Boolean (cell,) for each size of each patch.
        """
        doses = StructureDoses(self.dose, patches, self.reach, self.lattice_mm)
        allowed_gy = self.allowed_error * self.prescription_gy
        return [errors > allowed_gy for errors in self._errors_gy(doses, *sizes)]

    def _errors_gy(self, doses: StructureDoses, *sizes: Sequence[float]) -> list[np.ndarray]:
        """What cells put metrics off by, float32 (cell,) in Gy, for each size of each patch; see `_too_large`.

        Errors of doses at volumes above 1 cc count for less, in proportion to their diameters.
        """
        cells = doses.cells
        of_patches = [(i, np.array(some)) for i, some in enumerate(sizes) if some]
        asked = [(slice(*cells.start[i : i + 2]), cells.spacing_mm[i], size) for i, size in of_patches]
        found = [np.zeros((len(size), own.stop - own.start), np.float32) for own, _, size in asked]
        for gy in self._known.of(doses):
            levels_gy, volumes_cc = self._decided(gy, doses)
            weight = 1 / np.maximum(1.0, np.cbrt(volumes_cc))
            for (own, spacing_mm, size), errors in zip(asked, found, strict=True):
                reach = _REACH_COARSE if spacing_mm > _COARSE_MM else _REACH
                cell_cc = np.array([(float(s) * spacing_mm) ** 3 * CC_PER_MM3 for s in size])
                per_range = (
                    weight[:, None] * _ERROR_PER_SPREAD * np.sqrt(cell_cc / np.maximum(volumes_cc, 1e-9)[:, None])
                )
                per_bend = weight * _ERROR_PER_BEND
                raise_errors(
                    gy, cells.node[own], cells.around[own], levels_gy, size, reach, per_range, per_bend, errors
                )
        return [errors for of_patch in found for errors in of_patch]

    def _decided(self, gy: np.ndarray, doses: StructureDoses) -> tuple[np.ndarray, np.ndarray]:
        """The doses float64 (metric, course) at which metrics are decided, and the volumes (metric,) in cc they speak of."""
        extent, total_cc = Extent(doses.cells, doses.cell_reach_gy), doses.cells.volume_cc.sum(keepdims=True)
        levels_gy, volumes_cc = [np.empty((0, len(gy)))], []
        for metric in self.metrics:
            if (hot_cc := metric.hot_cc(total_cc)) is not None:
                levels_gy.append(extent.doses_and_volumes(gy, doses.volume_cc[None], hot_cc, np.empty(0))[0].T)
                volumes_cc.append(float(min(hot_cc[0], total_cc[0] - hot_cc[0])))
            elif not metric.is_biological and (threshold_gy := metric.level_gy(self.prescription_gy)) is not None:
                levels_gy.append(np.full((1, len(gy)), threshold_gy))
                volumes_cc.append(_SHARE_OF_ORGAN * float(total_cc[0]))
        return np.concatenate(levels_gy), np.array(volumes_cc)


def positions(motion: TissueMotion) -> TissueMotion:
    """The mean positions of some courses, one for each 3 mm, each as a course that rests there."""
    mean_mm = np.einsum("ckx,ck->cx", motion.shift_mm, motion.weight)
    _, first = np.unique(np.rint(mean_mm / _APART_MM), axis=0, return_index=True)
    chosen = mean_mm[np.sort(first)]
    return TissueMotion(chosen[:, None], np.ones((len(chosen), 1)), None, np.zeros(3))
