"""Conformal arcs: a synthesised SBRT dose for any planning target and margin.

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

An arc is a row of static beams of equal weight per degree; at 10 degrees apart the dose of a 15 mm PTV ripples by 0.2 %
at 45 mm from the isocentre and by 6 % at 60 mm. The total is scaled so that 95 % of the PTV receives the prescription.
The block margin decides how inhomogeneous the dose is; `auto` finds the one whose maximum dose puts the prescription on
its isodose. The axial margin of 1.5 mm is a calibration: the isodoses of coplanar arcs fall off faster along the
rotation axis than across it, and that opening brings R100 to 0.99-1.04 (spheres of 1.8 to 51 cc in water).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from simulator.case.anatomy import Case
from simulator.case.geometry import Grid, Volume
from simulator.kernels.beams import add_beam, add_beam_at_points, radiological_depths, see_points
from simulator.plan.aperture import SAD_MM, Beam, BlurredField, Outline, Rows, blurred, side_by_side
from simulator.plan.dose import SplineDose
from simulator.plan.model import PlanModelKind
from simulator.plan.prescription import Prescription
from simulator.plan.quality import Plan, hottest_gy, plan_quality, ptv_doses
from simulator.plan.targets import Expansion, TargetVolume, expand
from simulator.spec import CaseError, ConfigError, Field, Spec

_LUNG_DENSITY: Final = 0.26
_AIR_DENSITY: Final = 0.1
_DENSITY_SD_MM: Final = 5.0
_BUILD_UP_SHARE: Final = 0.8
_BUILD_UP_PER_MM: Final = 0.25
_PIXEL_MM: Final = 0.5
_FAN_STEP_MM: Final = (4.0, 4.0, 2.5)
_FAN_BORDER_MM: Final = 60.0
_SCATTER_STRIDE: Final = 3
_LUNG_STRIDE: Final = 2
_SLAB_PLANES: Final = 8
_AXIAL_REACH_MM: Final = 15.0
_TAIL_SD: Final = 4.0
_COVERED_PERCENT: Final = 95.0
_MAX_TRIAL_POINTS: Final = 6_000
_GOLDEN_RATIO: Final = (5**0.5 - 1) / 2
_BLOCK_LIMITS_MM: Final = (-10.0, 15.0)
_FIRST_TRIALS_MM: Final = (1.0, 2.0)
_MAX_TRIALS: Final = 20
_ISODOSE_TOLERANCE_PERCENT: Final = 0.05


class Arc(Spec):
    """Static beams evenly spread over gantry angles (IEC 61217, patient head first supine)."""

    start_deg: Annotated[float, Field(ge=-360, le=720)] = Field(
        description="gantry angle at the start (0 anterior, 90 from the patient's left)"
    )
    stop_deg: Annotated[float, Field(ge=-360, le=720)] = Field(
        description="gantry angle at the end; a full turn is 0 to 360, equal angles are one static beam"
    )
    couch_deg: Annotated[float, Field(ge=-360, le=360)] = Field(
        0.0, description="couch rotation (IEC); other than 0 makes the arc non-coplanar"
    )
    spacing_deg: Annotated[float, Field(ge=1, le=45)] = Field(10.0, description="largest angle between beams")

    @property
    def gantry_deg(self) -> np.ndarray:
        """Gantry angles (n,) of the beams, each in the middle of its share of the arc."""
        span = self.stop_deg - self.start_deg
        n = max(1, int(np.ceil(abs(span) / self.spacing_deg - 1e-9)))
        return self.start_deg + (np.arange(n) + 0.5) * span / n

    @property
    def degrees_per_beam(self) -> float:
        """Arc that each beam stands for, its weight; a static beam weighs as much as one of an arc."""
        return abs(self.stop_deg - self.start_deg) / len(self.gantry_deg) or self.spacing_deg


class ConformalArc(PlanModelKind):
    """A synthesised SBRT plan: see the module's docstring for the model and its sources."""

    model: Literal["conformal-arc"] = "conformal-arc"
    arcs: tuple[Arc, ...] = Field(
        (Arc.model_validate({"start_deg": 0, "stop_deg": 360}),),
        min_length=1,
        max_length=20,
        description="arcs; one full coplanar turn by default",
    )
    block_margin_mm: Annotated[float, Field(ge=-30, le=30)] | Literal["auto"] = Field(
        "auto",
        description="opening of the aperture beyond the PTV in mm; auto: whatever gives the prescription isodose",
    )
    axial_margin_mm: Annotated[float, Field(ge=0, le=30)] = Field(
        1.5,
        description="further opening along the rotation axis: coplanar arcs fall off faster there (calibrated to R100)",
    )
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
    dose_grid_mm: Annotated[float, Field(ge=1, le=4)] = Field(2.0, description="dose grid spacing in mm")

    @property
    def edge_sd_mm(self) -> float:
        """That in soft tissue, as the key `penumbra_sd_mm` says."""
        return self.penumbra_sd_mm

    def plan(self, case: Case, target: TargetVolume, expansion: Expansion, prescription: Prescription) -> "ArcPlan":
        """The plan for a planning target and its margin; see `plans`."""
        return self.plans(case, target, [expansion], prescription, map)[0]

    def plans(
        self,
        case: Case,
        target: TargetVolume,
        expansions: Sequence[Expansion],
        prescription: Prescription,
        map_: Callable[..., Iterable[Any]],
    ) -> list["ArcPlan"]:
        """The plans for several margins around one planning target.

        They share the isocentre, the beams' directions, the dose grid and what rays meet; a plan is the same whichever
        margins are asked for with it.

        Parameters
        ----------
        map_ : applies a function to items, like `map`, in parallel where wanted.

        Raises
        ------
        ConfigError : no block margin gives the prescription isodose.
        CaseError : the target lies outside the density grid, or no dose reaches it.
        """
        ptvs, treatment, medium, shaped = self._shaped(case, target, expansions, prescription, map_)
        grid = medium.grid

        def finish(item: tuple[TargetVolume, Apertures, np.ndarray]) -> "ArcPlan":
            ptv, apertures, relative = item
            unscaled = SplineDose(Volume(grid, relative))
            d95 = hottest_gy(*ptv_doses(unscaled, ptv), _COVERED_PERCENT)
            if d95 <= 0:
                raise CaseError(
                    f"case {case.name!r}: no beam reaches the PTV; check the density and the target's position"
                )
            delivery = ArcDelivery(self, treatment, grid, apertures, prescription.dose_gy / d95)
            dose = unscaled.scaled(delivery.scale)
            return ArcPlan(dose, ptv, plan_quality(dose, ptv, prescription, grid), grid, delivery)

        relative = self._deliver(medium, treatment, shaped, map_)
        return list(map_(finish, zip(ptvs, shaped, relative, strict=True)))

    def check(
        self, case: Case, target: TargetVolume, expansions: Sequence[Expansion], prescription: Prescription
    ) -> None:
        """Refuse what cannot be planned, without computing doses; see `plans`."""
        self._shaped(case, target, expansions, prescription, map)

    def _shaped(
        self,
        case: Case,
        target: TargetVolume,
        expansions: Sequence[Expansion],
        prescription: Prescription,
        map_: Callable[..., Iterable[Any]],
    ) -> tuple[list[TargetVolume], "Treatment", "Medium", list["Apertures"]]:
        """The PTVs, what their plans share, and each plan's apertures."""
        ptvs = list(map_(lambda expansion: expand(target, expansion), expansions))
        for ptv in ptvs:
            if not case.density.grid.contains(ptv.surface_mm).all():
                raise CaseError(
                    f"case {case.name!r}: the PTV reaches beyond the density grid; image more of the patient"
                )
        treatment = self._treatment(target)
        medium = self._medium(case.density, treatment, self._dose_grid(case.density, target), map_)
        return ptvs, treatment, medium, list(map_(lambda ptv: self._shape(medium, treatment, ptv, prescription), ptvs))

    def depth_dose(self, depth_mm: np.ndarray) -> np.ndarray:
        """Relative dose T at radiological depths in mm."""
        return (1 - _BUILD_UP_SHARE * np.exp(-_BUILD_UP_PER_MM * depth_mm)) * np.exp(
            -self.attenuation_per_mm * depth_mm
        )

    def _primary(self, rows: Rows, weight: float, border_mm: float | None = None) -> BlurredField:
        sds = (self.penumbra_sd_mm, self.penumbra_lung_sd_mm)
        return blurred(rows, sds, weight * (1 - self.scatter_fraction), _PIXEL_MM, border_mm or _TAIL_SD * max(sds))

    def _scatter(self, rows: Rows, weight: float, border_mm: float | None = None) -> BlurredField:
        sd = self.scatter_sd_mm
        return blurred(rows, (sd,), weight * self.scatter_fraction, sd / 8, border_mm or _TAIL_SD * sd)

    def _treatment(self, target: TargetVolume) -> "Treatment":
        """Beams aimed at the centre of a planning target, and how far around it their rays are traced."""
        beams, fans = [], []
        step = np.array(_FAN_STEP_MM[:2])
        for arc in self.arcs:
            for gantry in arc.gantry_deg:
                beam = Beam.at(target.centroid_mm, float(gantry), arc.couch_deg, arc.degrees_per_beam)
                outline = beam.outline(target)
                lower = np.array([outline.v_mm[0], outline.low_mm.min()]) - _FAN_BORDER_MM
                upper = np.array([outline.v_mm[-1], outline.high_mm.max()]) + _FAN_BORDER_MM
                beams.append(beam)
                fans.append((step * np.floor(lower / step), step * np.ceil(upper / step)))
        return Treatment(tuple(beams), tuple(fans))

    def _medium(
        self, density: Volume, treatment: "Treatment", grid: Grid, map_: Callable[..., Iterable[Any]]
    ) -> "Medium":
        rays = map_(
            lambda seen: self._trace(seen[0], seen[1], density), zip(treatment.beams, treatment.fans, strict=True)
        )
        return Medium(grid, _lung_share(density, grid), tuple(rays))

    def _deliver(
        self,
        medium: "Medium",
        treatment: "Treatment",
        shaped: Sequence["Apertures"],
        map_: Callable[..., Iterable[Any]],
    ) -> list[np.ndarray]:
        """Unscaled doses float32 (z, y, x) of several plans with the same beams, slab by slab of the grid."""
        grid, coarse = medium.grid, _thinned(medium.grid, _SCATTER_STRIDE)
        water = np.zeros(coarse.shape, np.float32)
        total = np.zeros((*grid.shape, len(shaped)), np.float32)
        scattered = np.zeros((*coarse.shape, len(shaped)), np.float32)

        def blur(i: int) -> tuple[tuple[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray, float]]:
            rows, weight = [s.rows[i] for s in shaped], treatment.beams[i].weight
            primary, scatter = ([of(r, weight) for r in rows] for of in (self._primary, self._scatter))
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

    def _trace(self, beam: Beam, fan: tuple[np.ndarray, np.ndarray], density: Volume) -> "Rays":
        """Dose of a wide open field on a fan of rays around the beam, through all of the patient."""
        distance = (_corners_mm(density.grid) - beam.source_mm) @ beam.axes[2]
        lower, upper = np.array([*fan[0], distance.min()]), np.array([*fan[1], distance.max()])
        step = np.array(_FAN_STEP_MM)
        depth = np.empty(tuple(int(n) for n in np.maximum(np.ceil((upper - lower) / step - 1e-9), 1) + 1), np.float32)
        values = np.ascontiguousarray(density.values, np.float32)
        origin, spacing = np.array(density.grid.origin_mm), np.array(density.grid.spacing_mm)
        radiological_depths(values, origin, spacing, *beam.geometry, lower, step, depth)
        w = lower[2] + step[2] * np.arange(depth.shape[2])
        return Rays(self.depth_dose(depth) * ((SAD_MM / w) ** 2).astype(np.float32), lower, step)

    def _dose_grid(self, density: Volume, target: TargetVolume) -> Grid:
        """The patient's box; along the rotation axis of coplanar arcs only as far as dose is scattered."""
        body = np.argwhere(density.values > _AIR_DENSITY)
        if not len(body):
            raise CaseError("the density is air everywhere; give a CT or densities of structures")
        lower, upper = density.grid.points_mm(np.array([body.min(axis=0), body.max(axis=0)]))
        if all(arc.couch_deg == 0 for arc in self.arcs):
            reach = _AXIAL_REACH_MM + _TAIL_SD * max(self.scatter_sd_mm, self.penumbra_lung_sd_mm)
            lower[2] = max(lower[2], target.surface_mm[:, 2].min() - reach)
            upper[2] = min(upper[2], target.surface_mm[:, 2].max() + reach)
        return Grid.covering(lower, upper, self.dose_grid_mm)

    def _shape(
        self, medium: "Medium", treatment: "Treatment", ptv: TargetVolume, prescription: Prescription
    ) -> "Apertures":
        """The apertures of all beams for a PTV."""
        outlines = [beam.outline(ptv) for beam in treatment.beams]
        tall = [outline.stretched(self.axial_margin_mm) for outline in outlines]
        block = self.block_margin_mm
        if block == "auto":
            narrowest = min(outline.half_width_mm for outline in outlines)
            block = self._solve_block_margin(medium, treatment.beams, tall, narrowest, ptv, prescription)
        return Apertures(block, tuple(outline.opened(block) for outline in tall))

    def _solve_block_margin(
        self,
        medium: "Medium",
        beams: tuple[Beam, ...],
        outlines: list[Outline],
        narrowest_mm: float,
        ptv: TargetVolume,
        prescription: Prescription,
    ) -> float:
        """Block margin in mm that makes D95% of the PTV the prescription isodose of its maximum (secant steps)."""
        filled = np.argwhere(ptv.occupancy > 0)
        n = min(len(filled), _MAX_TRIAL_POINTS)
        some = filled[(np.arange(n) * _GOLDEN_RATIO % 1 * len(filled)).astype(int)]
        volume = ptv.occupancy[tuple(some.T)].astype(np.float64)
        points = ptv.lattice.points_mm(some)
        lung = map_coordinates(medium.lung, medium.grid.index_zyx(points).T, order=1, mode="nearest")
        water = np.zeros(len(points), np.float32)
        border = 2 * ptv.lattice.spacing_mm[0]
        seen, open_dose = np.empty((len(beams), len(points), 2)), np.empty((len(beams), len(points)), np.float32)
        for beam, rays, *found in zip(beams, medium.rays, seen, open_dose, strict=True):
            see_points(points, *beam.geometry, *rays.arrays, *found)

        def isodose_percent(block_margin_mm: float) -> float:
            dose = np.zeros(len(points))
            near = max(border, border - block_margin_mm)
            for beam, outline, *found in zip(beams, outlines, seen, open_dose, strict=True):
                rows = outline.opened(block_margin_mm)
                for share, of in ((lung, self._primary), (water, self._scatter)):
                    add_beam_at_points(dose, *found, share, *of(rows, beam.weight, near).arrays)
            return 100 * hottest_gy(dose, volume, _COVERED_PERCENT) / float(dose.max())

        wanted = prescription.isodose_percent
        lowest = max(_BLOCK_LIMITS_MM[0], 1.0 - narrowest_mm)
        before, here = (float(np.clip(m, lowest, _BLOCK_LIMITS_MM[1])) for m in _FIRST_TRIALS_MM)
        isodose_before, isodose = isodose_percent(before), isodose_percent(here)
        for _ in range(_MAX_TRIALS):
            if abs(isodose - wanted) < _ISODOSE_TOLERANCE_PERCENT:
                return here
            slope = max((isodose - isodose_before) / (here - before), 0.5) if here != before else 10.0
            following = float(np.clip(here + (wanted - isodose) / slope, lowest, _BLOCK_LIMITS_MM[1]))
            if following == here:
                break
            before, isodose_before, here = here, isodose, following
            isodose = isodose_percent(here)
        raise ConfigError(
            f"prescription.isodose_percent: {wanted:g} % cannot be had for a PTV of {ptv.volume_cc:.1f} cc, "
            f"the nearest is {isodose:.1f} %; prescribe to that, or fix plan.block_margin_mm"
        )


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
    """What beams open: the block margin in mm, and the rows of each beam."""

    block_margin_mm: float
    rows: tuple[Rows, ...]


@dataclass(frozen=True)
class ArcDelivery:
    """Apertures and beam weights as planned, to be delivered to a patient who is not where the plan expects."""

    model: ConformalArc
    treatment: Treatment
    grid: Grid
    apertures: Apertures
    scale: float

    def dose(self, density: Volume) -> SplineDose:
        """Dose in a density (relative to water), the beams standing where they were planned."""
        medium = self.model._medium(density, self.treatment, self.grid, map)
        (relative,) = self.model._deliver(medium, self.treatment, [self.apertures], map)
        return SplineDose(Volume(self.grid, relative * np.float32(self.scale)))


@dataclass(frozen=True)
class ArcPlan(Plan):
    """A synthesised plan that can be delivered again."""

    delivery: ArcDelivery


def _lung_share(density: Volume, grid: Grid) -> np.ndarray:
    """Share of the lung penumbra, float32 (z, y, x) in 0-1: 0 at density 1, 1 at lung's.

    From the density smoothed by 5 mm (judgement: the order of the range of lateral electrons). Air outside the patient
    counts as water.
    """
    coarse = _thinned(grid, _LUNG_STRIDE)
    index = np.moveaxis(density.grid.index_zyx(coarse.nodes_mm()), -1, 0)
    local = map_coordinates(density.values, index, order=1, mode="nearest", output=np.float32)
    local[local < _AIR_DENSITY] = 1.0
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
