"""The beam model: the dose of static 6 MV photon beams through apertures, in a patient of any density.

The dose of a static beam b at a point x with beam's-eye-view coordinates (u, v) in the isocentre plane, distance w from
the source and radiological depth t is

    D_b(x) = m_b (SAD / w)^2 T(t) sum_k c_k(x) A * G(s_k),    s_k^2 = e_k^2 + s^2

- A is the aperture (what the leaves leave open in the isocentre plane) and G(s_k) a Gaussian of standard deviation s_k.
- Four Gaussians are the pencil-beam kernel: e = 0.91 and 3.7 mm of secondary electrons, 10.1 and 34 mm of phantom
  scatter in water (and of electrons in lung). They and their shares c_k were fitted to Monte Carlo pencil beams at 100 mm
  (pyRadMC 0.2.1, 6 MV spectrum of a Varian linac by Ali & Rogers 2012, doi:10.1088/0031-9155/57/1/31, point source,
  SSD 900 mm), fields of 10 to 100 mm: to 0.2 % of the dose on the axis.
- The source and the leaves blur every edge by s = 1.5 mm: 80 and 20 % of the dose on the axis of a 30 mm field are then
  3.8 mm apart at 100 mm in water, as measured with 6 MV multileaf collimators (3.7-3.9 mm, PMC5718650).
- c_k(x) = c_k(water) + l (c_k(lung) - c_k(water)): in lung electrons go farther, so weight moves from the narrow Gaussians
  to the wide ones and, beyond them, off the axis; the shares of water sum to 1, those of lung to 0.87. l is the share of
  lung, 0 at density 1 and 1 at 0.26, at the smoothed local density as the Monte Carlo pencil beams have it.
- T(t) = (1 - a exp(-b t)) exp(-mu t), fitted to the Monte Carlo depth dose of a 30 mm field from 4 to 200 mm: mu =
  0.0047 / mm, a = 0.695, b = 0.23 / mm (maximum at 15 mm).
- Radiological depth t is the line integral of density relative to water from the source, by ray tracing.

`simulator validate` holds the model to Monte Carlo (`benchmarks/monte_carlo.py` makes the numbers and the fit).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from simulator.case.geometry import Grid, Volume
from simulator.ground.spec import Field, Spec
from simulator.kernels.beams import add_beam, radiological_depths
from simulator.plan.aperture import SAD_MM, Beam, BlurredField, Rows, blurred, side_by_side
from simulator.plan.dose import SplineDose

_KERNEL_SD_MM: Final = np.array([0.906, 3.702, 10.08, 34.15])
_WATER: Final = np.array([0.5927, 0.1782, 0.0663, 0.1628])
_LUNG: Final = np.array([0.2742, 0.2395, 0.2482, 0.1123])
_DENSITIES: Final = (0.15, 0.26, 0.4, 0.6, 1.0)
_LUNG_AT: Final = (1.52, 1.0, 0.635, 0.344, 0.0)
_N_PRIMARY: Final = 2
AIR_DENSITY: Final = 0.1
_DENSITY_SD_MM: Final = ((0.8, 6.0), (0.2, 20.0))
_BUILD_UP_SHARE: Final = 0.695
_BUILD_UP_PER_MM: Final = 0.23
_PRIMARY_PIXEL_MM: Final = 0.5
_SCATTER_PIXEL_MM: Final = 2.5
FAN_STEP_MM: Final = (4.0, 4.0, 2.5)
_SCATTER_STRIDE: Final = 3
_BORDER: Final = 5 * _SCATTER_STRIDE
_LUNG_STRIDE: Final = 2
_SLAB_PLANES: Final = 8
_PRIMARY_TAIL_SD: Final = 4.0
_SCATTER_TAIL_SD: Final = 3.0


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
    """What beams meet: the dose grid, the share of lung l at its nodes, and the rays of each beam.

    The shares c_k of the Gaussians at a node are `BeamModel.shares` of l.
    """

    grid: Grid
    lung: np.ndarray
    rays: tuple[Rays, ...]

    def within(self, lower_mm: np.ndarray, upper_mm: np.ndarray) -> "Medium":
        """The same around a box (x, y, z) alone: five nodes of scatter more, so that splines feel no end within it."""
        lower, upper = (self.grid.index_zyx(np.asarray(mm)[None])[0] for mm in (lower_mm, upper_mm))
        last = np.array(self.grid.shape) - 2
        first = np.clip(np.floor((lower - _BORDER) / _SCATTER_STRIDE).astype(int) * _SCATTER_STRIDE, 0, last)
        end = np.clip(np.ceil(upper + _BORDER).astype(int) + 1, first + 2, self.grid.shape)
        box = tuple(slice(a, b) for a, b in zip(first, end, strict=True))
        nz, ny, nx = (end - first).tolist()
        x, y, z = self.grid.points_mm(first[None].astype(float))[0].tolist()
        return Medium(
            Grid((x, y, z), self.grid.spacing_mm, (nz, ny, nx)), np.ascontiguousarray(self.lung[box]), self.rays
        )


@dataclass(frozen=True)
class Treatment:
    """Where beams stand: the same for all margins around a planning target.

    Parameters
    ----------
    fans : lower and upper (v, u) in mm of the rays of each beam.
    control : by beam, the number of the control point whose apertures it opens; it shares their weight with others.
    """

    beams: tuple[Beam, ...]
    fans: tuple[tuple[np.ndarray, np.ndarray], ...]
    control: tuple[int, ...]

    @property
    def beams_per_control(self) -> np.ndarray:
        """Number of beams (control point,) that open the same apertures."""
        return np.bincount(self.control)


@dataclass(frozen=True)
class Apertures:
    """What is opened at each control point, and its weight; in the next pass of the arcs again."""

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

    source_sd_mm: Annotated[float, Field(ge=0, le=10)] = Field(
        1.5,
        description="blur of a beam's edges by source and leaves, one standard deviation in mm at the isocentre "
        "(1.5: 80-20 % penumbra of 3.8 mm at 100 mm in water)",
    )
    attenuation_per_mm: Annotated[float, Field(ge=0.0001, le=0.05)] = Field(
        0.0047, description="effective attenuation in water per mm (6 MV)"
    )

    @property
    def spreads_mm(self) -> np.ndarray:
        """Standard deviations s_k (4,) of the Gaussians in the isocentre plane; the last two are scatter's."""
        return np.hypot(_KERNEL_SD_MM, self.source_sd_mm)

    @staticmethod
    def shares(lung: np.ndarray) -> np.ndarray:
        """Weights c_k (..., 4) of the Gaussians where the share of lung is l (...)."""
        return _WATER + np.asarray(lung)[..., None] * (_LUNG - _WATER)

    @property
    def reach_mm(self) -> float:
        """How far from an aperture's edge dose is followed."""
        return float(_SCATTER_TAIL_SD * self.spreads_mm[-1])

    def depth_dose(self, depth_mm: np.ndarray) -> np.ndarray:
        """Relative dose T at radiological depths in mm."""
        return (1 - _BUILD_UP_SHARE * np.exp(-_BUILD_UP_PER_MM * depth_mm)) * np.exp(
            -self.attenuation_per_mm * depth_mm
        )

    def primary(self, rows: Rows, weight: float, border_mm: float | None = None) -> BlurredField:
        """An aperture blurred by the narrow Gaussians with the shares of water and of lung: maps to mix by l."""
        return self._blurred(rows, weight, slice(_N_PRIMARY), _PRIMARY_PIXEL_MM, border_mm, _PRIMARY_TAIL_SD)

    def scatter(self, rows: Rows, weight: float, border_mm: float | None = None) -> BlurredField:
        """The same by the wide Gaussians."""
        return self._blurred(rows, weight, slice(_N_PRIMARY, None), _SCATTER_PIXEL_MM, border_mm, _SCATTER_TAIL_SD)

    def _blurred(
        self, rows: Rows, weight: float, some: slice, pixel_mm: float, border_mm: float | None, tail_sd: float
    ) -> BlurredField:
        sds = self.spreads_mm[some]
        factors = weight * self.shares(np.array([0.0, 1.0]))[:, some]
        return blurred(rows, sds, factors, pixel_mm, tail_sd * sds[-1] if border_mm is None else border_mm)

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
        """Unscaled doses float32 (z, y, x) of several plans with the same beams and passes, slab by slab of the grid."""
        grid, coarse = medium.grid, _thinned(medium.grid, _SCATTER_STRIDE)
        unmixed = np.zeros(coarse.shape, np.float32)
        total = np.zeros((*grid.shape, len(shaped)), np.float32)
        scattered = np.zeros((*coarse.shape, 2 * len(shaped)), np.float32)

        n_beams = treatment.beams_per_control

        def blur(control: int) -> tuple[tuple[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray, float]]:
            """The apertures that a beam of a control point opens, of all passes together."""
            passes = range(control, len(shaped[0].rows), len(n_beams))
            primary, scatter = (
                side_by_side([of(s.rows[i], s.weight[i] / n_beams[control]) for i in passes for s in shaped])
                for of in (self.primary, self.scatter)
            )
            of_primary, of_scatter = (
                maps.reshape(*maps.shape[:3], len(passes), -1).sum(axis=3) for maps, *_ in (primary, scatter)
            )
            return (of_primary, *primary[1:]), (of_scatter.reshape(*of_scatter.shape[:2], 1, -1), *scatter[1:])

        fields = list(map_(blur, range(len(n_beams))))

        def add_beams(slab: tuple[np.ndarray, Grid, np.ndarray, slice, int]) -> None:
            dose, of, lung, planes, kind = slab
            x, y, z = of.axes_mm
            for beam, control, rays in zip(treatment.beams, treatment.control, medium.rays, strict=True):
                field = fields[control][kind]
                add_beam(dose[planes], x, y, z[planes], lung[planes], *beam.geometry, *field, *rays.arrays)

        slabs = [
            (dose, of, lung, slice(first, first + _SLAB_PLANES), kind)
            for kind, (dose, of, lung) in enumerate(((total, grid, medium.lung), (scattered, coarse, unmixed)))
            for first in range(0, of.shape[0], _SLAB_PLANES)
        ]
        for _ in map_(add_beams, slabs):
            pass

        def both(plan: int) -> np.ndarray:
            water, lung = (
                SplineDose(Volume(coarse, scattered[..., i])).on_grid(grid) for i in (plan, len(shaped) + plan)
            )
            return total[..., plan] + water + medium.lung * (lung - water)

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
    """Share of lung l, float32 (z, y, x): 0 at density 1 and above, 1 at 0.26, 1.5 at 0.15 and below.

    From the density smoothed by two Gaussians, of 6 mm (weight 0.8) and of 20 mm (0.2), the order of the range of
    electrons in water and in lung. So chosen, the dose falls by as much as Monte Carlo says 20 mm inside lung (to 2 %) and
    in the middle of balls of water of 15 and 20 mm in lung (to 2.5 %). Air outside the patient counts as water.
    """
    coarse = _thinned(grid, _LUNG_STRIDE)
    index = np.moveaxis(density.grid.index_zyx(coarse.nodes_mm()), -1, 0)
    local = map_coordinates(density.values, index, order=1, mode="nearest", output=np.float32)
    local[local < AIR_DENSITY] = 1.0
    spacing = np.array(coarse.spacing_mm[::-1])
    smooth = sum(w * gaussian_filter(local, sd / spacing, mode="nearest", truncate=3) for w, sd in _DENSITY_SD_MM)
    share = np.interp(smooth, _DENSITIES, _LUNG_AT).astype(np.float32)
    return np.clip(SplineDose(Volume(coarse, share)).on_grid(grid), 0, _LUNG_AT[0])


def _corners_mm(grid: Grid) -> np.ndarray:
    """The eight corner nodes (8, 3) of a grid."""
    ends = [(axis[0], axis[-1]) for axis in grid.axes_mm]
    return np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3)


def _thinned(grid: Grid, stride: int) -> Grid:
    """A grid over the same box with `stride` times the spacing."""
    nz, ny, nx = ((n - 2) // stride + 2 for n in grid.shape)
    x, y, z = (stride * s for s in grid.spacing_mm)
    return Grid(grid.origin_mm, (x, y, z), (nz, ny, nx))
