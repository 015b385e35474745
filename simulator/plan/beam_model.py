"""The beam model: the dose of static photon beams through apertures, in a patient of any density.

The dose of a static beam b at a point with beam's-eye-view coordinates (u, v) in the isocentre plane, distance w from
the source and radiological depth t is

    D_b = m_b (SAD / w)^2 T(t) [ (1 - f) ((1 - l) A * G(s_soft) + l A * G(s_lung)) + f A * G(s_scatter) ]

- A is the aperture: the PTV's silhouette seen from the source, row by row along the rotation axis as a multileaf
  collimator shapes it, opened by the block margin (and along the rotation axis by the axial margin besides).
- G(s) is a Gaussian of standard deviation s in the isocentre plane: penumbra of 3.2 mm in water (van Herk 2000,
  doi:10.1016/S0360-3016(00)00518-6) and 6.4 mm in lung (ESTRO SBRT course); l is the local share of lung, from the
  smoothed density. The broad Gaussian stands for phantom scatter. Its share f = 0.2 and spread of 25 mm are a
  calibration: PTVs of 20-35 cc in lung get R50 near the 4.4 +- 0.8 of delivered lung plans (Yaparpalvi 2018,
  PMC5965485). In soft tissue, where the penumbra is narrower, R50 is lower.
- T(t) = (1 - a exp(-b t)) exp(-mu t), mu = 0.0050 / mm, as for 6 MV; a and b put the maximum at 15 mm and a fifth of
  the dose at the surface (judgement).
- Radiological depth t is the line integral of density relative to water from the source, by ray tracing. Scatter and
  secondary electrons do not see heterogeneities otherwise.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from simulator.case.geometry import Grid, Volume
from simulator.kernels.beams import add_beam, radiological_depths
from simulator.plan.aperture import SAD_MM, Beam, BlurredField, Rows, blurred, side_by_side
from simulator.plan.dose import SplineDose
from simulator.spec import Field, Spec

_LUNG_DENSITY: Final = 0.26
AIR_DENSITY: Final = 0.1
_DENSITY_SD_MM: Final = 5.0
_BUILD_UP_SHARE: Final = 0.8
_BUILD_UP_PER_MM: Final = 0.25
_PIXEL_MM: Final = 0.5
FAN_STEP_MM: Final = (4.0, 4.0, 2.5)
_SCATTER_STRIDE: Final = 3
_LUNG_STRIDE: Final = 2
_SLAB_PLANES: Final = 8
TAIL_SD: Final = 4.0


@dataclass(frozen=True)
class Rays:
    """Dose of a wide open field on a fan of rays, float32 (v, u, w); origin and step (3,) as (v, u, w) in mm."""

    dose: np.ndarray
    origin_mm: np.ndarray
    step_mm: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Arrays for the kernels."""
        return self.dose, self.origin_mm, self.step_mm


@dataclass(frozen=True)
class Medium:
    """What beams meet: the dose grid, the share of lung penumbra at its nodes, and the rays of each beam."""

    grid: Grid
    lung: np.ndarray
    rays: tuple[Rays, ...]


@dataclass(frozen=True)
class Treatment:
    """Where beams stand: the same for all margins around a planning target; with lower and upper (v, u) in mm of rays."""

    beams: tuple[Beam, ...]
    fans: tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclass(frozen=True)
class Apertures:
    """What each beam opens, and its weight."""

    rows: tuple[Rows, ...]
    weight: tuple[float, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Apertures":
        """From `arrays`."""
        each = zip(*(arrays[key] for key in ("edge_mm", "low_mm", "high_mm")), strict=True)
        return cls(
            tuple(Rows(*(row[np.isfinite(row)] for row in rows)) for rows in each), tuple(arrays["weight"].tolist())
        )

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Leaf edges (beam, row + 1), ends (beam, row) and weights (beam,), filled up with NaN where beams have fewer rows."""
        most = max(len(rows.low_mm) for rows in self.rows)

        def filled(mm: np.ndarray, n: int) -> np.ndarray:
            return np.pad(mm, (0, n - len(mm)), constant_values=np.nan)

        return {
            "edge_mm": np.stack([filled(rows.edge_mm, most + 1) for rows in self.rows]),
            "low_mm": np.stack([filled(rows.low_mm, most) for rows in self.rows]),
            "high_mm": np.stack([filled(rows.high_mm, most) for rows in self.rows]),
            "weight": np.array(self.weight),
        }


class BeamModel(Spec):
    """Keys and formulas of the beam model; see the module's docstring."""

    penumbra_sd_mm: Annotated[float, Field(ge=0.5, le=30)] = Field(
        3.2, description="penumbra in soft tissue, one standard deviation in mm"
    )
    penumbra_lung_sd_mm: Annotated[float, Field(ge=0.5, le=30)] = Field(
        6.4, description="penumbra in lung, one standard deviation in mm"
    )
    scatter_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2,
        description="share of phantom scatter in a very wide field (calibrated to R50 of delivered lung plans)",
    )
    scatter_sd_mm: Annotated[float, Field(ge=1, le=100)] = Field(
        25.0, description="spread of phantom scatter, one standard deviation in mm (calibrated with scatter_fraction)"
    )
    attenuation_per_mm: Annotated[float, Field(ge=0.0001, le=0.05)] = Field(
        0.0050, description="effective attenuation in water per mm (6 MV)"
    )

    def depth_dose(self, depth_mm: np.ndarray) -> np.ndarray:
        """Relative dose T at radiological depths in mm."""
        return (1 - _BUILD_UP_SHARE * np.exp(-_BUILD_UP_PER_MM * depth_mm)) * np.exp(
            -self.attenuation_per_mm * depth_mm
        )

    def primary(self, rows: Rows, weight: float, border_mm: float | None = None) -> BlurredField:
        sds = (self.penumbra_sd_mm, self.penumbra_lung_sd_mm)
        return blurred(rows, sds, weight * (1 - self.scatter_fraction), _PIXEL_MM, border_mm or TAIL_SD * max(sds))

    def scatter(self, rows: Rows, weight: float, border_mm: float | None = None) -> BlurredField:
        sd = self.scatter_sd_mm
        return blurred(rows, (sd,), weight * self.scatter_fraction, sd / 8, border_mm or TAIL_SD * sd)

    def medium(self, density: Volume, treatment: Treatment, grid: Grid, map_: Callable[..., Iterable[Any]]) -> Medium:
        rays = map_(
            lambda seen: self._trace(seen[0], seen[1], density), zip(treatment.beams, treatment.fans, strict=True)
        )
        return Medium(grid, _lung_share(density, grid), tuple(rays))

    def deliver(
        self,
        medium: Medium,
        treatment: Treatment,
        shaped: Sequence[Apertures],
        map_: Callable[..., Iterable[Any]],
    ) -> list[np.ndarray]:
        """Unscaled doses float32 (z, y, x) of several plans with the same beams, slab by slab of the grid."""
        grid, coarse = medium.grid, _thinned(medium.grid, _SCATTER_STRIDE)
        water = np.zeros(coarse.shape, np.float32)
        total = np.zeros((*grid.shape, len(shaped)), np.float32)
        scattered = np.zeros((*coarse.shape, len(shaped)), np.float32)

        def blur(i: int) -> tuple[tuple[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray, float]]:
            primary, scatter = ([of(s.rows[i], s.weight[i]) for s in shaped] for of in (self.primary, self.scatter))
            return side_by_side(primary), side_by_side(scatter)

        fields = list(map_(blur, range(len(treatment.beams))))

        def add_beams(slab: tuple[np.ndarray, Grid, np.ndarray, slice, int]) -> None:
            dose, of, lung, planes, kind = slab
            x, y, z = of.axes_mm
            for beam, field, rays in zip(treatment.beams, fields, medium.rays, strict=True):
                add_beam(dose[planes], x, y, z[planes], lung[planes], *beam.geometry, *field[kind], *rays.arrays)

        slabs = [
            (dose, of, lung, slice(first, first + _SLAB_PLANES), kind)
            for kind, (dose, of, lung) in enumerate(((total, grid, medium.lung), (scattered, coarse, water)))
            for first in range(0, of.shape[0], _SLAB_PLANES)
        ]
        for _ in map_(add_beams, slabs):
            pass

        def both(plan: int) -> np.ndarray:
            return total[..., plan] + SplineDose(Volume(coarse, scattered[..., plan])).on_grid(grid)

        return list(map_(both, range(len(shaped))))

    def _trace(self, beam: Beam, fan: tuple[np.ndarray, np.ndarray], density: Volume) -> Rays:
        """Dose of a wide open field on a fan of rays around the beam, through all of the patient."""
        distance = (_corners_mm(density.grid) - beam.source_mm) @ beam.axes[2]
        lower, upper = np.array([*fan[0], distance.min()]), np.array([*fan[1], distance.max()])
        step = np.array(FAN_STEP_MM)
        depth = np.empty(tuple(int(n) for n in np.maximum(np.ceil((upper - lower) / step - 1e-9), 1) + 1), np.float32)
        values = np.ascontiguousarray(density.values, np.float32)
        origin, spacing = np.array(density.grid.origin_mm), np.array(density.grid.spacing_mm)
        radiological_depths(values, origin, spacing, *beam.geometry, lower, step, depth)
        w = lower[2] + step[2] * np.arange(depth.shape[2])
        return Rays(self.depth_dose(depth) * ((SAD_MM / w) ** 2).astype(np.float32), lower, step)


def _lung_share(density: Volume, grid: Grid) -> np.ndarray:
    """Share of the lung penumbra, float32 (z, y, x) in 0-1: 0 at density 1, 1 at lung's.

    From the density smoothed by 5 mm (judgement: the order of the range of lateral electrons). Air outside the patient
    counts as water.
    """
    coarse = _thinned(grid, _LUNG_STRIDE)
    index = np.moveaxis(density.grid.index_zyx(coarse.nodes_mm()), -1, 0)
    local = map_coordinates(density.values, index, order=1, mode="nearest", output=np.float32)
    local[local < AIR_DENSITY] = 1.0
    smooth = gaussian_filter(local, [_DENSITY_SD_MM / s for s in coarse.spacing_mm[::-1]], mode="nearest", truncate=3)
    share = np.clip((1 - smooth) / (1 - _LUNG_DENSITY), 0, 1)
    return np.minimum(SplineDose(Volume(coarse, share)).on_grid(grid), 1)


def _corners_mm(grid: Grid) -> np.ndarray:
    """The eight corner nodes (8, 3) of a grid."""
    ends = [(axis[0], axis[-1]) for axis in grid.axes_mm]
    return np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3)


def _thinned(grid: Grid, stride: int) -> Grid:
    """A grid over the same box with `stride` times the spacing."""
    nz, ny, nx = ((n - 2) // stride + 2 for n in grid.shape)
    x, y, z = (stride * s for s in grid.spacing_mm)
    return Grid(grid.origin_mm, (x, y, z), (nz, ny, nx))
