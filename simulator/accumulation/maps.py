"""Voxel-wise dose maps: the planned dose, and its mean, spread and percentiles over courses in the tissue of each voxel.

The mean dose is linear in the visits of all courses, so it needs one sum over displacements however many courses there
were. Voxels of a structure that moves within the patient take that structure's displacements, all others those of bone
at the isocentre. In the mean, rotations and filling enter only as far as they displace these centres; spread and percentiles
come from the dose of every course, slab by slab of voxels, and hold them in full.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.ndimage import map_coordinates

from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.parts import points_of_parts
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import patch_points
from simulator.case.anatomy import Case
from simulator.case.cells import Patch
from simulator.case.geometry import Grid
from simulator.kernels.visits import count_visits
from simulator.plan.dose import DosePart, PlannedDose
from simulator.plan.targets import TargetVolume
from simulator.sampling.delivery import Delivery
from simulator.sampling.tissue_motion import TissueMotion

BONE = ""
_MAP_STEP_MM, _STRIDE = 2.0, 2
_VISIT_STEP_MM = _MAP_STEP_MM / _STRIDE
_VISIT_UNIT = 2.0**40
_SLAB_BYTES = 32e6


@dataclass(frozen=True)
class VisitBox:
    """Lattice of displacements of one group of tissue; counts are whole multiples of 2^-40 of a course."""

    low_zyx: np.ndarray
    shape_zyx: tuple[int, int, int]

    @classmethod
    def covering(cls, reach: Reach) -> "VisitBox":
        """The box that holds every trilinear share of displacements within `reach`."""
        low = np.floor(reach.lower_mm[::-1] / _VISIT_STEP_MM).astype(np.int64)
        size = np.floor(reach.upper_mm[::-1] / _VISIT_STEP_MM).astype(np.int64) - low + 2
        return cls(low, (int(size[0]), int(size[1]), int(size[2])))

    def count(self, motion: TissueMotion, parts: Sequence[DosePart]) -> np.ndarray:
        """Visits int64 (part, z, y, x) of courses; rotation and filling count at the centre of the motion alone."""
        visits = np.zeros((len(parts), *self.shape_zyx), np.int64)
        for part, own in zip(parts, visits, strict=True):
            some = part.meets(motion)
            shift = np.ascontiguousarray(some.shift_mm[..., ::-1] / _VISIT_STEP_MM)
            count_visits(shift, some.weight, self.low_zyx, _VISIT_UNIT, own)
        return visits

    def add(self, total: np.ndarray, visits: np.ndarray, low_zyx: np.ndarray) -> None:
        """Add visits of a box that begins at `low_zyx` within this one: earlier courses may have reached less far."""
        z, y, x = low_zyx - self.low_zyx
        nz, ny, nx = visits.shape[1:]
        total[:, z : z + nz, y : y + ny, x : x + nx] += visits

    def shares(self, visits: np.ndarray, n_courses: int) -> tuple[np.ndarray, np.ndarray]:
        """Offsets (n, 3) as (z, y, x) lattice steps and their mean weights (n,)."""
        where = np.argwhere(visits > 0)
        return where + self.low_zyx, visits[tuple(where.T)] / (_VISIT_UNIT * n_courses)


class MapFrame:
    """The grid of the maps around the targets, and what lies in each voxel.

    Parameters
    ----------
    lower_mm, upper_mm : box to cover, (x, y, z).
    moving : names of structures that move within the patient, targets last so that they win where they overlap.
    """

    def __init__(self, case: Case, lower_mm: np.ndarray, upper_mm: np.ndarray, moving: list[str]) -> None:
        self.grid = Grid.covering(lower_mm, upper_mm, _MAP_STEP_MM)
        self.structure_percent = {
            s.name: np.rint(100 * s.region.occupancy(self.grid)).astype(np.uint8)
            for s in case.structures.values()
            if s.role != "external"
        }
        index = case.density.grid.index_zyx(self.grid.nodes_mm())
        self.density = map_coordinates(
            case.density.values, np.moveaxis(index, -1, 0), order=1, mode="nearest", output=np.float32
        )
        tissue = np.full(self.grid.shape, BONE, object)
        for name in moving:
            tissue[self.structure_percent[name] >= 50] = name
        self._patches = {name: self._patch(tissue == name) for name in (BONE, *moving)}

    def _patch(self, mask: np.ndarray) -> Patch:
        index = np.argwhere(mask).astype(np.int32)
        return Patch(self.grid, index, np.full(len(index), self.grid.voxel_cc))

    def planned_dose_gy(self, dose: PlannedDose, offset_mm: dict[str, np.ndarray]) -> np.ndarray:
        """Planned dose to the tissue of each voxel, float32 (z, y, x) in Gy.

        Parameters
        ----------
        offset_mm : where each group of tissue lies on the images that are planned on, relative to the maps (3,).
        """
        planned = np.asarray(dose.on_grid(self.grid), np.float32)
        for name, patch in self._patches.items():
            if np.any(offset_mm[name]) and len(patch.volume_cc):
                planned[tuple(patch.index_zyx.T)] = dose.at(patch.points_mm + offset_mm[name])
        return planned

    def ptv_mask(self, ptv: TargetVolume, offset_mm: np.ndarray) -> np.ndarray:
        """Which voxels lie in a PTV about its target as the maps show it, boolean (z, y, x)."""
        x, y, z = (float(v) for v in self.grid.origin_mm + offset_mm)
        return ptv.on_grid(Grid((x, y, z), self.grid.spacing_mm, self.grid.shape))

    def mean_dose_gy(
        self, dose: PlannedDose, visits: dict[str, np.ndarray], boxes: dict[str, VisitBox], n_courses: int
    ) -> np.ndarray:
        """Mean dose over courses, float32 (z, y, x) in Gy; visits (part, z, y, x) by tissue."""
        mean = np.zeros(self.grid.shape, np.float32)
        for name, patch in self._patches.items():
            if not len(patch.volume_cc):
                continue
            for part, own in zip(dose.parts, visits[name], strict=True):
                offset, share = boxes[name].shares(own, n_courses)
                steps = offset[:, ::-1] * _VISIT_STEP_MM
                motion = TissueMotion(steps[None], share[None], None, np.zeros(3))
                rows = LatticePoints(part.dose, patch, Reach.of(motion), _STRIDE, unblur=False)
                mean[tuple(patch.index_zyx.T)] += rows.accumulate(motion)[0]
        return mean

    def spread_gy(self, dose: PlannedDose, delivery: Delivery, percentiles: tuple[float, ...]) -> dict[str, np.ndarray]:
        """Standard deviation `sd` (z, y, x) and `percentile` (percentile, z, y, x) over courses, float32 in Gy."""
        sd = np.zeros(self.grid.shape, np.float32)
        percentile = np.zeros((len(percentiles), *self.grid.shape), np.float32)
        for slab in self.slabs(len(delivery.bone_mm)):
            voxels = tuple(slab.patch.index_zyx.T)
            sd[voxels], percentile[(slice(None), *voxels)] = slab.spread_gy(
                dose, delivery.motion(slab.structure), percentiles
            )
        return {"sd": sd, "percentile": percentile}

    def course_gy(self, dose: PlannedDose, motion_of: Callable[[str], TissueMotion]) -> np.ndarray:
        """Dose to the tissue of each voxel in one course, float32 (z, y, x) in Gy, from the displacement of each structure."""
        gy = np.zeros(self.grid.shape, np.float32)
        for slab in self.slabs(1):
            gy[tuple(slab.patch.index_zyx.T)] = slab.accumulate(dose, motion_of(slab.structure))[0]
        return gy

    def slabs(self, n_courses: int) -> list["Slab"]:
        """All voxels in pieces of like motion, small enough that every course's dose fits in memory."""
        size = max(1, int(_SLAB_BYTES / (4 * n_courses)))
        return [
            Slab(name, Patch(self.grid, patch.index_zyx[first : first + size], patch.volume_cc[first : first + size]))
            for name, patch in self._patches.items()
            for first in range(0, len(patch.volume_cc), size)
        ]


@dataclass(frozen=True)
class Slab:
    """Some voxels of the maps whose tissue moves like one structure, or like bone."""

    structure: str
    patch: Patch

    def accumulate(self, dose: PlannedDose, motion: TissueMotion) -> np.ndarray:
        """Dose float32 (course, voxel) in Gy of every course."""
        arm_mm = np.abs(self.patch.points_mm - motion.centre_mm).max(axis=0)
        own = partial(patch_points, patch=self.patch, reach=Reach.of(motion, arm_mm), stride=_STRIDE, unblur=False)
        return points_of_parts(dose, own).accumulate(motion)

    def spread_gy(
        self, dose: PlannedDose, motion: TissueMotion, percentiles: tuple[float, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation (voxel,) and percentiles (percentile, voxel) over courses, float32 in Gy."""
        gy = self.accumulate(dose, motion)
        sd = gy.std(axis=0, dtype=np.float64, ddof=1).astype(np.float32)
        return sd, np.percentile(gy, percentiles, axis=0, overwrite_input=True).astype(np.float32)
