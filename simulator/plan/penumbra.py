"""The closed-form plan of a spherical target: a radial dose with a Gaussian penumbra (van Herk 2000)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ball
from simulator.ground.reading import check_room
from simulator.ground.spec import ConfigError, Field
from simulator.kernels.edges import distances_from_ellipsoid
from simulator.plan.dose import PlannedDose, RadialProfile, SplineDose
from simulator.plan.model import Order, PlanModelKind
from simulator.plan.quality import Plan, plan_quality
from simulator.plan.targets import expand

_GRID_MM = 2.0
_TABLE_STEP_MM = 0.005
_BYTES_PER_NODE = 32


@dataclass(frozen=True)
class RadialDose(PlannedDose):
    """d(r) = max_gy Phi((radius50_mm - r) / sd_mm), r the distance from centre_mm (x, y, z)."""

    centre_mm: tuple[float, float, float]
    radius50_mm: float
    sd_mm: float
    max_gy: float

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        dx2, dy2, dz2 = ((a - c) ** 2 for a, c in zip(grid.axes_mm, self.centre_mm, strict=True))
        radius = np.sqrt(dz2[:, None, None] + dy2[None, :, None] + dx2)
        return self._at_radius(radius).astype(np.float32)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        return self._at_radius(np.linalg.norm(np.asarray(points_mm, float) - self.centre_mm, axis=-1))

    def profile(self) -> RadialProfile:
        """Every 0.005 mm, out to where nothing is left: linear interpolation errs by less than 1e-6."""
        radii = np.arange(0.0, self.radius50_mm + 8 * self.sd_mm + 2 * _TABLE_STEP_MM, _TABLE_STEP_MM)
        centre = np.asarray(self.centre_mm)
        return RadialProfile(centre, _TABLE_STEP_MM, self.at(centre + np.outer(radii, [1.0, 0.0, 0.0])))

    def _at_radius(self, radius_mm: np.ndarray) -> np.ndarray:
        return self.max_gy * ndtr((self.radius50_mm - radius_mm) / self.sd_mm)


@dataclass(frozen=True)
class EllipsoidalDose(PlannedDose):
    """d = max_gy Phi((half_mm - distance from an ellipsoid) / sd_mm), its six semi-axes side_mm about centre_mm (x, y, z)."""

    centre_mm: tuple[float, float, float]
    side_mm: np.ndarray
    half_mm: float
    sd_mm: float
    max_gy: float

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        z, y, x = np.meshgrid(*grid.axes_mm[::-1], indexing="ij")
        return self.at(np.stack([x, y, z], axis=-1).reshape(-1, 3)).reshape(grid.shape).astype(np.float32)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        distance_mm = np.empty(len(points_mm))
        distances_from_ellipsoid(np.asarray(points_mm, float) - self.centre_mm, self.side_mm, distance_mm)
        return self.max_gy * ndtr((self.half_mm - distance_mm) / self.sd_mm)


class Penumbra(PlanModelKind):
    """d(r) = d_max Phi((R50 - r) / s) with R50 = radius + margin + z s, z the normal quantile of the isodose.

    The prescription isodose (percent of d_max) lies at radius + margin; where the margin differs between directions, r is
    the distance from its ellipsoid, and the isodose the surface of the PTV. Only for a spherical target at one
    planning position. Source: van Herk 2000, doi:10.1016/S0360-3016(00)00518-6.
    """

    memory_mb: ClassVar[float] = 0
    model: Literal["penumbra"] = "penumbra"
    penumbra_sd_mm: Annotated[float, Field(ge=0.1, le=15)] = Field(
        3.2, description="standard deviation s of the penumbra in mm (3.2 in water)"
    )
    normalisation: Literal["plateau", "isodose"] = Field(
        "plateau",
        description="plateau: the prescription is the plateau's dose; isodose: it is the dose on the isodose surface",
    )
    gridded: bool = Field(False, description="sample the dose on the case's density grid instead of its closed form")

    @property
    def edge_sd_mm(self) -> float:
        """As the key `penumbra_sd_mm` says."""
        return self.penumbra_sd_mm

    def check(self, orders: Sequence[Order]) -> None:
        """Refuse what has no closed form.

        Raises
        ------
        ConfigError : the case or the motion management is not spherical, or the isodose is 100 %.
        """
        for order in orders:
            drawn = order.case.gtv
            self._require(
                isinstance(drawn.region, Ball), f"target {drawn.name!r} of case {order.case.name!r} is not a sphere"
            )
            self._require(
                order.target.path_mm is not None and len(order.target.path_mm) == 1,
                "the planning target is a union of several positions (an ITV)",
            )
            self._require(order.prescription.isodose_percent < 100, "prescription.isodose_percent is 100")

    def plan(self, order: Order) -> Plan:
        """The plan that is ordered; raises as `check` does."""
        self.check([order])
        case, target, expansion, prescription = order.case, order.target, order.expansion, order.prescription
        region, margins = case.gtv.region, expansion.margin_mm
        assert isinstance(region, Ball)
        assert target.path_mm is not None
        x, y, z = (float(v) for v in np.asarray(region.centre_mm) + target.path_mm[0])
        half_mm = float(region.radius_mm + ndtri(prescription.isodose_percent / 100) * self.penumbra_sd_mm)
        highest = prescription.dose_gy if self.normalisation == "plateau" else prescription.highest_gy
        exact: RadialDose | EllipsoidalDose
        if np.ptp(margins) < 1e-9:
            exact = RadialDose((x, y, z), half_mm + float(margins[0, 0]), self.penumbra_sd_mm, highest)
        else:
            exact = EllipsoidalDose((x, y, z), margins.ravel(), half_mm, self.penumbra_sd_mm, highest)
        reach = half_mm + float(margins.max()) + 8 * self.penumbra_sd_mm
        grid = _grid_within(np.array([x, y, z]), reach, case.density.grid if self.gridded else None)
        dose: PlannedDose = SplineDose(Volume(grid, exact.on_grid(grid))) if self.gridded else exact
        ptv = expand(target, expansion)
        return Plan(dose, ptv, plan_quality(dose, ptv, prescription, grid), grid)

    @staticmethod
    def _require(met: bool, problem: str) -> None:
        if not met:
            raise ConfigError(
                f"plan.model: penumbra is a closed form for a spherical target at one position and an "
                f"isodose below 100 %, but {problem}; use model: conformal-arc"
            )


def _grid_within(centre_mm: np.ndarray, reach_mm: float, density_grid: Grid | None) -> Grid:
    """Cube around the dose: at 2 mm, or with the nodes' spacing and alignment of a density grid."""
    spacing_mm = density_grid.spacing_mm if density_grid else (_GRID_MM,) * 3
    n_nodes = float(np.prod(2 * reach_mm / np.array(spacing_mm)))
    check_room(_BYTES_PER_NODE * n_nodes, "plan: the dose grid", "lower penumbra_sd_mm or the margin", ConfigError)
    if density_grid is None:
        return Grid.covering(centre_mm - reach_mm, centre_mm + reach_mm, _GRID_MM)
    first = np.floor(density_grid.index_zyx(centre_mm - reach_mm)).astype(int)
    last = np.ceil(density_grid.index_zyx(centre_mm + reach_mm)).astype(int)
    x, y, z = (float(v) for v in density_grid.points_mm(first))
    nz, ny, nx = (int(n) for n in last - first + 1)
    return Grid((x, y, z), density_grid.spacing_mm, (nz, ny, nx))
