"""An imported dose on moved anatomy: what the radiological depth along its plan's beams makes of it.

    d'(y) = d(y) (K * sum_b w_b D_b')(y) / (K * sum_b w_b D_b)(y)

D_b is the dose of a wide open field of beam direction b at y by its radiological depth, K the kernel of electrons, scatter and
source in water (`simulator.plan.beam_model`), which blurs what rays through thin gaps see, w_b the direction's share of the
meterset: an average over the arc, as nobody knows what each beam gives to a point. Attenuation is that of 6 MV; higher energies
change less.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from simulator.case.geometry import Grid, Volume
from simulator.case.treatment_beams import TreatmentBeam
from simulator.ground.once import cached_property
from simulator.kernels.beams import see_points
from simulator.plan.aperture import SAD_MM, Beam
from simulator.plan.beam_model import FAN_STEP_MM, BeamModel, Treatment
from simulator.plan.dose import PlannedDose
from simulator.plan.quality import Plan

_STEP_MM, _LOWEST = 5.0, 0.2
_LARGEST_FACTOR = 3.0
_STEP_DEG = 5.0


@dataclass(frozen=True)
class BeamDirection:
    """A direction that photons come from (IEC 61217, patient head first supine), and its share of the monitor units."""

    isocentre_mm: tuple[float, float, float]
    gantry_deg: float
    couch_deg: float
    share: float


def directions_of(beams: Sequence[TreatmentBeam]) -> tuple[BeamDirection, ...]:
    """Directions of beams: between two control points in the middle, of an arc 5 degrees apart; their shares sum to 1."""
    shares: dict[tuple[float, ...], float] = defaultdict(float)
    for beam in beams:
        points = zip(beam.gantry_deg, beam.couch_deg, beam.monitor_units * beam.delivered, strict=True)
        for (gantry, couch, before), (then, _, after) in pairwise(points):
            middle = gantry if then == gantry else _STEP_DEG * np.round((gantry + then) / 2 / _STEP_DEG)
            shares[(*beam.isocentre_mm, middle % 360, couch)] += after - before
    total = sum(shares.values())
    return tuple(BeamDirection((x, y, z), g, c, share / total) for (x, y, z, g, c), share in shares.items() if share)


@dataclass(frozen=True)
class FactoredDose(PlannedDose):
    """A dose times factors on a grid, those of the nearest face beyond it."""

    dose: PlannedDose
    factor: Volume

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        return (self.dose.on_grid(grid) * self._factors_on(grid)).astype(np.float32)

    def unblurred_on_grid(self, grid: Grid) -> np.ndarray:
        """See `PlannedDose`; factors change little within a cell."""
        return (self.dose.unblurred_on_grid(grid) * self._factors_on(grid)).astype(np.float32)

    def _factors_on(self, grid: Grid) -> np.ndarray:
        return self._factor(grid.nodes_mm().reshape(-1, 3)).reshape(grid.shape)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        return self.dose.at(points_mm) * self._factor(points_mm)

    def _factor(self, points_mm: np.ndarray) -> np.ndarray:
        index = self.factor.grid.index_zyx(points_mm).T
        return np.asarray(map_coordinates(self.factor.values, index, order=1, mode="nearest"))


@dataclass(frozen=True)
class PlanAlongBeams(Plan):
    """A plan whose dose is known, and where its beams come from.

    Parameters
    ----------
    density : that the dose was computed on.
    """

    density: Volume = field(kw_only=True)
    directions: tuple[BeamDirection, ...] = field(kw_only=True)

    def dose_on(self, density: Volume) -> FactoredDose:
        """See `Plan`."""
        ratio = self._open_dose(density) / np.maximum(self._planned, np.finfo(np.float32).tiny)
        factor = np.clip(ratio, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
        return FactoredDose(self.dose, Volume(self._around, factor))

    @cached_property
    def _planned(self) -> np.ndarray:
        return self._open_dose(self.density)

    @cached_property
    def _around(self) -> Grid:
        """The nodes where the dose is not low."""
        gy = self.dose.on_grid(self.grid)
        index = np.argwhere(gy >= _LOWEST * gy.max())
        corners = self.grid.points_mm(np.array([index.min(axis=0), index.max(axis=0)]))
        return Grid.covering(corners[0], corners[1], _STEP_MM)

    @cached_property
    def _treatment(self) -> Treatment:
        """Beams, and rays through every node."""
        lower, upper = self._around.points_mm(np.zeros(3)), np.array(self._around.upper_mm)
        corners = np.array(np.meshgrid(*zip(lower, upper, strict=True))).reshape(3, -1).T
        beams, fans, step = [], [], np.array(FAN_STEP_MM[:2])
        for direction in self.directions:
            beam = Beam.at(np.array(direction.isocentre_mm), direction.gantry_deg, direction.couch_deg, direction.share)
            u, v, w = beam.axes @ (corners - beam.source_mm).T
            seen = np.stack([v, u], axis=1) * (SAD_MM / w)[:, None]
            beams.append(beam)
            fans.append((step * np.floor(seen.min(axis=0) / step), step * np.ceil(seen.max(axis=0) / step)))
        return Treatment(tuple(beams), tuple(fans), tuple(range(len(beams))))

    def _open_dose(self, density: Volume) -> np.ndarray:
        """Dose float32 (z, y, x) at the nodes around if every beam were wide open."""
        nodes = self._around.nodes_mm().reshape(-1, 3)
        total, seen, dose = (
            np.zeros(len(nodes), np.float32),
            np.empty((len(nodes), 2)),
            np.empty(len(nodes), np.float32),
        )
        medium = BeamModel().medium(density, self._treatment, self._around, map)
        for beam, rays in zip(self._treatment.beams, medium.rays, strict=True):
            see_points(nodes, *beam.geometry, *rays.arrays, seen, dose)
            total += np.float32(beam.weight) * dose
        return _blurred(total.reshape(self._around.shape))


def _blurred(dose: np.ndarray) -> np.ndarray:
    """A dose at the nodes around, float32 (z, y, x), blurred by the kernel in water."""
    model = BeamModel()
    each = zip(model.shares(np.zeros(())), model.spreads_mm / _STEP_MM, strict=True)
    return np.asarray(sum(share * gaussian_filter(dose, sd, mode="nearest") for share, sd in each), np.float32)
