"""Density of anatomy that has moved: the whole patient against the beam, and targets inside of the patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from simulator.case.geometry import Grid, Volume
from simulator.case.structures import Structure
from simulator.ground.once import cached_property

_NEAR_MM, _FAR_MM = 2.0, 10.0
_FULL = 0.99


@dataclass(frozen=True)
class MovableDensity:
    """Density relative to water, and targets that move through it.

    A target is as dense as its median, takes that along and leaves the density of its surroundings behind: the median between
    2 and 10 mm from it. Nothing is pushed aside.
    """

    density: Volume
    targets: Sequence[Structure]

    def moved(self, patient_mm: np.ndarray, inside_mm: Mapping[str, np.ndarray]) -> Volume:
        """The density once the patient is displaced by a vector (3,), and targets, by name, by others inside of the patient."""
        grid, values = self.density.grid, self.density.values
        for target in self.targets:
            mm = inside_mm.get(target.name, np.zeros(3))
            if np.any(mm):
                box, part = _box(grid, target, np.abs(mm).max())
                x, y, z = (float(v) for v in part.origin_mm - mm)
                now, planned = (
                    target.region.occupancy(g) for g in (Grid((x, y, z), part.spacing_mm, part.shape), part)
                )
                without = np.where(planned > 0, self.left_behind[target.name], self.density.values[box])
                values = values.copy()
                values[box] += (now - planned) * (self.own_density[target.name] - without)
        x, y, z = (float(v) for v in np.add(grid.origin_mm, patient_mm))
        return Volume(Grid((x, y, z), grid.spacing_mm, grid.shape), np.maximum(values, 0))

    @cached_property
    def own_density(self) -> dict[str, float]:
        """Density of each target: the median of the voxels that it fills, or the highest where it fills none."""
        found = {}
        for target in self.targets:
            box, part = _box(self.density.grid, target, 0.0)
            share, values = target.region.occupancy(part), self.density.values[box]
            full = share >= min(_FULL, float(share.max()))
            found[target.name] = float(np.median(values[full]))
        return found

    @cached_property
    def left_behind(self) -> dict[str, float]:
        """Density, by target, of what is where it was."""
        found = {}
        for target in self.targets:
            box, part = _box(self.density.grid, target, _FAR_MM)
            away_mm = distance_transform_edt(target.region.occupancy(part) == 0, part.spacing_mm[::-1])
            around = (away_mm > _NEAR_MM) & (away_mm <= max(_FAR_MM, *part.spacing_mm))
            for other in self.targets:
                around &= other.region.occupancy(part) == 0
            found[target.name] = float(np.median(self.density.values[box][around]))
        return found


def _box(grid: Grid, target: Structure, border_mm: float) -> tuple[tuple[slice, ...], Grid]:
    """The part of a grid around a target, and which of its nodes that is."""
    border = border_mm + 2 * np.array(grid.spacing_mm)
    lower, upper = target.region.bounds_mm
    ends = grid.index_zyx(np.array([lower - border, upper + border]))
    first = np.clip(np.floor(ends[0]).astype(int), 0, np.array(grid.shape) - 1)
    last = np.clip(np.ceil(ends[1]).astype(int), first, np.array(grid.shape) - 1)
    nz, ny, nx = (int(n) for n in last - first + 1)
    x, y, z = (float(v) for v in grid.points_mm(first))
    return tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True)), Grid(
        (x, y, z), grid.spacing_mm, (nz, ny, nx)
    )
