"""Where structures are in the phases of a 4DCT: paths, amplitude, hysteresis, volume, likeness to the target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.case.cells import sample_region
from simulator.case.contours import ContourRegion
from simulator.case.dicom_phases import DrawnPhase
from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.spec import CaseError

_CELLS = 1000
_STILL_MM = 0.1
_LIMB_POINTS = 41


@dataclass(frozen=True)
class StructurePath:
    """One structure through the breathing cycle; phases share the time equally.

    Parameters
    ----------
    path_mm : (phase, 3) of its centroid about the mean of all phases, DICOM patient coordinates; phases from inhale on.
    volume_cc : (phase,).
    """

    name: str
    path_mm: np.ndarray
    volume_cc: np.ndarray

    @property
    def amplitude_mm(self) -> np.ndarray:
        """Peak to peak per axis, (3,)."""
        return np.ptp(self.path_mm, axis=0)

    @property
    def is_still(self) -> bool:
        """Whether its centroid moves by less than contours can show."""
        return bool(self.amplitude_mm.max() < _STILL_MM)

    @property
    def _directions(self) -> np.ndarray:
        """Main direction of the motion and two across it, rows of (3, 3)."""
        return np.linalg.svd(self.path_mm)[2]

    @property
    def hysteresis_mm(self) -> float:
        """Largest distance across the main direction between the way out and the way back, at the same place along it.

        The usual measure (Seppenwoolde 2002, doi:10.1016/S0360-3016(02)02803-1, cited from memory), straight between phases.
        """
        if self.is_still:
            return 0.0
        place = self.path_mm @ self._directions.T
        place = np.roll(place, -int(np.argmax(place[:, 0])), axis=0)
        far = int(np.argmin(place[:, 0]))
        out, back = place[: far + 1][::-1], np.concatenate([place[far:], place[:1]])
        at = np.linspace(place[far, 0], place[0, 0], _LIMB_POINTS)
        limbs = [np.stack([np.interp(at, *_ascending(limb, k)) for k in (1, 2)]) for limb in (out, back)]
        return float(np.linalg.norm(limbs[0] - limbs[1], axis=0).max())

    @property
    def volume_change(self) -> float:
        """Range of the volume over its mean."""
        return float(np.ptp(self.volume_cc) / self.volume_cc.mean())

    def correlation(self, other: "StructurePath") -> np.ndarray:
        """Correlation (3,) of the displacements per axis with another structure's; NaN where one of them is still."""
        moving = np.minimum(self.amplitude_mm, other.amplitude_mm) >= _STILL_MM
        products = (self.path_mm * other.path_mm).mean(axis=0)
        spreads = self.path_mm.std(axis=0) * other.path_mm.std(axis=0)
        return np.where(moving, products / np.where(moving, spreads, 1), np.nan)


def _ascending(limb: np.ndarray, across: int) -> tuple[np.ndarray, np.ndarray]:
    """Places along and across the main direction, the first ascending: a step back counts as a halt."""
    return np.maximum.accumulate(limb[:, 0]), limb[:, across]


def paths_of(phases: Sequence[DrawnPhase], names: Sequence[str]) -> list[StructurePath]:
    """Paths of structures that every phase draws.

    Raises
    ------
    CaseError : a phase lacks one, or draws it so that it has no volume.
    """
    found = []
    for name in names:
        placed = [_place(phase, name) for phase in phases]
        centroid_mm = np.array([centroid for centroid, _ in placed])
        volume_cc = np.array([volume for _, volume in placed])
        found.append(StructurePath(name, centroid_mm - centroid_mm.mean(axis=0), volume_cc))
    return found


def _place(phase: DrawnPhase, name: str) -> tuple[np.ndarray, float]:
    """Centroid (3,) in mm and volume in cc of a structure in one phase."""
    roi = phase.rois.get(name)
    where = f"RTSTRUCT {phase.file.name} (phase {phase.percent:g} %)"
    if roi is None or not (roi.contours or roi.others):
        raise CaseError(
            f"{where}: structure {name!r} is {'absent' if roi is None else 'empty'}; draw it in every phase"
        )
    try:
        region = roi.region(name, phase.spacing_mm, "half-slice", phase.image_z_mm)
    except CaseError as problem:
        raise CaseError(f"{where}: {problem}") from None
    return _centroid_mm(region), region.volume_cc


def _centroid_mm(region: ContourRegion) -> np.ndarray:
    """Centre of volume (3,), exact but for the rounding of outlines."""
    patch = sample_region(region, max(0.5, (region.volume_cc / CC_PER_MM3 / _CELLS) ** (1 / 3)))
    points = patch.points_mm.astype(float)
    points[patch.cut] += patch.shape[:, 2::-1] * patch.spacing_mm
    return np.average(points, axis=0, weights=patch.volume_cc)
