"""Plan quality: conformity, fall-off and coverage of a planned dose, rated against RTOG 0813/0915."""

from dataclasses import dataclass, replace
from typing import Final, Literal, Self

import numpy as np
from scipy.spatial import cKDTree

from simulator.case.geometry import Grid, Volume
from simulator.plan.dose import DosePart, PlannedDose
from simulator.plan.prescription import Prescription
from simulator.plan.targets import TargetVolume

Rating = Literal["none", "minor", "major"]
Box = tuple[np.ndarray, np.ndarray]

# RTOG 0813/0915 conformity table, lung targets, heterogeneity-corrected (as three public implementations give it):
# PTV cc, R50 none, R50 minor, D2cm % none, D2cm % minor. Interpolated linearly in PTV volume.
RTOG_TABLE: Final = np.array(
    [
        [1.8, 5.9, 7.5, 50, 57],
        [3.8, 5.5, 6.5, 50, 57],
        [7.4, 5.1, 6.0, 50, 58],
        [13.2, 4.7, 5.8, 50, 58],
        [22.0, 4.5, 5.5, 54, 63],
        [34.0, 4.3, 5.3, 58, 68],
        [50.0, 4.0, 5.0, 62, 77],
        [70.0, 3.5, 4.8, 66, 86],
        [95.0, 3.3, 4.4, 70, 89],
        [126.0, 3.1, 4.0, 73, 91],
        [163.0, 2.9, 3.7, 77, 94],
    ]
)
_R100_LIMITS: Final = (1.2, 1.5)
_V90_LEAST: Final = 99.0
_V100_LEAST: Final = 95.0
_COVERAGE_TOLERANCE: Final = 0.05
_SHELL_MM: Final = 20.0
_MAX_NODES: Final = 2e6
_NEGLIGIBLE: Final = 0.02
_THINNED: Final = 16
_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class PlanQuality:
    """What a physicist asks of a plan.

    Parameters
    ----------
    ptv_cc : PTV volume.
    r100, r50 : volumes of the prescription isodose and of half of it, over the PTV volume.
    d2cm_percent : highest dose 2 cm or more from the PTV, percent of the prescription.
    paddick_index : (PTV inside the prescription isodose)^2 / (PTV x prescription isodose volume).
    gradient_index : volume of half the prescription isodose over that of the prescription isodose (ICRU 91).
    ptv_v90_percent, ptv_v100_percent : share of the PTV that gets 90 and 100 % of the prescription.
    ptv_d99_gy, ptv_d98_gy, ptv_d95_gy, ptv_d2_gy : dose to the hottest 99, 98, 95 and 2 % of the PTV.
    max_gy : highest dose; isodose_percent : prescription in percent of it.
    r100_deviation, r50_deviation, d2cm_deviation : "none", "minor" or "major" by RTOG 0813/0915.
    v90_deviation, v100_deviation : "none" from 99 and 95 % of the PTV on, which RTOG 0813/0915 ask for, "major" below.
    lattice_mm : step of the lattice on which the isodose volumes were counted.
    limited_by, given_up : the limits that hold the dose down, and those that were left so that the PTV keeps its floor.
    ptv_free_percent, ptv_free_v100_percent : share of the PTV outside of planning-risk volumes, or of the organs that have a
        limit, grown by their PRV margin, and how much of that gets the prescription.
    """

    ptv_cc: float
    r100: float
    r50: float
    d2cm_percent: float
    paddick_index: float
    gradient_index: float
    ptv_v90_percent: float
    ptv_v100_percent: float
    ptv_d99_gy: float
    ptv_d98_gy: float
    ptv_d95_gy: float
    ptv_d2_gy: float
    max_gy: float
    isodose_percent: float
    r100_deviation: Rating
    r50_deviation: Rating
    d2cm_deviation: Rating
    v90_deviation: Rating
    v100_deviation: Rating
    lattice_mm: float
    limited_by: str = ""
    given_up: str = ""
    ptv_free_percent: float = 100.0
    ptv_free_v100_percent: float = float("nan")


@dataclass(frozen=True)
class Planned:
    """The PTV of one target, and how a plan covers it."""

    ptv: TargetVolume
    quality: PlanQuality


@dataclass(frozen=True)
class Plan:
    """A planned dose with the PTV that it was made for.

    Parameters
    ----------
    ptv, quality : of the first target.
    grid : natural grid of the dose, for maps and exports.
    others : PTVs of further targets.
    bridge_cc : volume of half of the lowest prescription that no target's own plan alone gives; 0 for one target.
    """

    dose: PlannedDose
    ptv: TargetVolume
    quality: PlanQuality
    grid: Grid
    others: tuple[Planned, ...] = ()
    bridge_cc: float = 0.0

    @property
    def planned(self) -> tuple[Planned, ...]:
        """PTV and quality by target."""
        return (Planned(self.ptv, self.quality), *self.others)

    def parts_in(self, density: Volume, beam_on_s: float, box_mm: Box) -> tuple[DosePart, ...]:
        """What the dose is the sum of within a box, one part after the other in every fraction; the dose itself where no more
        is known of its delivery.

        Parameters
        ----------
        density : that the plan was made for. beam_on_s : of a fraction, without any pause.
        box_mm : lower and upper corner (3,) of where the doses are asked for.
        """
        return self.dose.parts

    def dose_on(self, density: Volume) -> PlannedDose | None:
        """The dose if the same beams met another density (relative to water), such as that of a patient who has moved, in the
        frame of the beam; None where nobody can compute it. A plan that knows its beams says more.
        """
        return None

    def scaled(self, factor: float) -> Self:
        """The plan at another dose; what plan quality says stays that before."""
        return self if factor == 1 else replace(self, dose=self.dose.scaled(factor))


def plan_quality(
    dose: PlannedDose, ptv: TargetVolume, prescription: Prescription, grid: Grid, spared: np.ndarray | None = None
) -> PlanQuality:
    """Quality of a planned dose.

    Parameters
    ----------
    grid : where the dose is known; isodose volumes are looked for within it.
    spared : share of each voxel of the PTV's lattice that planning-risk volumes fill; none by default.
    """
    coarse_gy = dose.on_grid(grid)
    ptv_gy, ptv_weight = ptv_doses(dose, ptv)
    d99, d98, d95, d2 = (hottest_gy(ptv_gy, ptv_weight, percent) for percent in (99, 98, 95, 2))
    rx = prescription.dose_gy
    v90, v100 = (100 * float(ptv_weight[ptv_gy >= level * rx].sum() / ptv_weight.sum()) for level in (0.9, 1.0))
    fine = _grid_around(grid, coarse_gy >= 0.4 * rx)
    fine_gy = dose.on_grid(fine)
    piv_cc = float(np.sum(fine_gy >= rx)) * fine.voxel_cc
    piv50_cc = float(np.sum(fine_gy >= rx / 2)) * fine.voxel_cc
    covered_cc = float(ptv_weight[ptv_gy >= rx].sum())
    free_cc = ptv_weight if spared is None else ptv_weight * (1 - spared[ptv.occupancy > 0])
    free_v100 = free_cc[ptv_gy >= rx].sum() / free_cc.sum() if free_cc.any() else np.nan
    highest = float(max(fine_gy.max(), ptv_gy.max()))
    r100, r50 = piv_cc / ptv.volume_cc, piv50_cc / ptv.volume_cc
    d2cm = 100 * _highest_beyond_gy(coarse_gy, grid, ptv) / rx
    _, r50_none, r50_minor, d2cm_none, d2cm_minor = rtog_limits(ptv.volume_cc)
    return PlanQuality(
        ptv_cc=ptv.volume_cc,
        r100=r100,
        r50=r50,
        d2cm_percent=d2cm,
        paddick_index=covered_cc**2 / (ptv.volume_cc * piv_cc) if piv_cc else 0.0,
        gradient_index=piv50_cc / piv_cc if piv_cc else float("nan"),
        ptv_v90_percent=v90,
        ptv_v100_percent=v100,
        ptv_d99_gy=d99,
        ptv_d98_gy=d98,
        ptv_d95_gy=d95,
        ptv_d2_gy=d2,
        max_gy=highest,
        isodose_percent=100 * rx / highest,
        r100_deviation=_rate(r100, *_R100_LIMITS),
        r50_deviation=_rate(r50, r50_none, r50_minor),
        d2cm_deviation=_rate(d2cm, d2cm_none, d2cm_minor),
        v90_deviation=_rate_coverage(v90, _V90_LEAST),
        v100_deviation=_rate_coverage(v100, _V100_LEAST),
        lattice_mm=fine.spacing_mm[0],
        ptv_free_percent=100 * float(free_cc.sum() / ptv_weight.sum()),
        ptv_free_v100_percent=100 * float(free_v100),
    )


def rtog_limits(ptv_cc: float) -> tuple[float, float, float, float, float]:
    """PTV volume, R50 none and minor, D2cm none and minor (percent), interpolated linearly in PTV volume.

    Volumes outside the table (1.8 to 163 cc) take its first or last row.
    """
    volume, *columns = RTOG_TABLE.T
    a, b, c, d = (float(np.interp(ptv_cc, volume, column)) for column in columns)
    return float(np.clip(ptv_cc, volume[0], volume[-1])), a, b, c, d


def ptv_doses(dose: PlannedDose, ptv: TargetVolume) -> tuple[np.ndarray, np.ndarray]:
    """Doses (n,) in Gy of the PTV's voxels and the volumes (n,) in cc of them inside the PTV."""
    inside = ptv.occupancy > 0
    return dose.on_grid(ptv.lattice)[inside], ptv.occupancy[inside].astype(np.float64) * ptv.lattice.voxel_cc


def hottest_gy(dose_gy: np.ndarray, volume: np.ndarray, percent: float) -> float:
    """Minimum dose in Gy to the hottest `percent` of a volume: doses (n,), volumes (n,)."""
    order = np.argsort(dose_gy)[::-1]
    middle = np.cumsum(volume[order]) - volume[order] / 2
    return float(np.interp(percent / 100 * volume.sum(), middle, dose_gy[order].astype(np.float64)))


def _rate(value: float, none: float, minor: float) -> Rating:
    """RTOG deviation of a value that should be low."""
    if value <= none:
        return "none"
    return "minor" if value <= minor else "major"


def _rate_coverage(percent: float, least: float) -> Rating:
    """RTOG deviation of a covered volume, which has no minor one; half a digit of what is shown is allowed."""
    return "none" if percent >= least - _COVERAGE_TOLERANCE else "major"


def _grid_around(grid: Grid, mask: np.ndarray) -> Grid:
    """The finest of 0.5, 0.75, 1... mm around the nodes of a mask, within a bounded number of nodes."""
    index = np.argwhere(mask) if mask.any() else np.argwhere(np.ones_like(mask))
    corners = grid.points_mm(np.array([index.min(axis=0), index.max(axis=0)]))
    border = np.asarray(grid.spacing_mm)
    for step in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        fine = Grid.covering(corners[0] - border, corners[1] + border, step)
        if np.prod(fine.shape) <= _MAX_NODES:
            break
    return fine


def _highest_beyond_gy(dose_gy: np.ndarray, grid: Grid, ptv: TargetVolume) -> float:
    """Highest dose at the nodes of a grid that are 2 cm or more from the PTV; 0 below 2 % of the highest dose.

    Nodes outside the box of 2 cm around the PTV surely are, nodes within 2 cm of some points of its surface surely not.
    """
    corners = np.array([ptv.surface_mm.min(axis=0) - _SHELL_MM, ptv.surface_mm.max(axis=0) + _SHELL_MM])
    index = np.clip(grid.index_zyx(corners), 0, grid.shape)
    first, last = np.floor(index[0]).astype(int), np.ceil(index[1]).astype(int)
    box = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
    outside = dose_gy.copy()
    outside[box] = 0
    highest = max(float(outside.max()), _NEGLIGIBLE * float(dose_gy.max()))
    index = np.argwhere(dose_gy[box] > highest) + first
    index = index[np.argsort(dose_gy[tuple(index.T)])[::-1]]
    points = grid.points_mm(index)
    some, every = cKDTree(ptv.surface_mm[::_THINNED]), cKDTree(ptv.surface_mm)
    candidates = np.flatnonzero(np.isinf(some.query(points, eps=1, distance_upper_bound=_SHELL_MM)[0]))
    for start in range(0, len(candidates), _AT_ONCE):
        part = candidates[start : start + _AT_ONCE]
        away = np.isinf(every.query(points[part], distance_upper_bound=_SHELL_MM)[0]) & ~_inside(ptv, points[part])
        if away.any():
            return float(dose_gy[tuple(index[part[np.argmax(away)]])])
    return highest if highest > _NEGLIGIBLE * float(dose_gy.max()) else 0.0


def _inside(ptv: TargetVolume, points_mm: np.ndarray) -> np.ndarray:
    """Which points (n, 3) lie in voxels that the PTV fills by half or more."""
    index = np.rint(ptv.lattice.index_zyx(points_mm)).astype(int)
    within = np.all((index >= 0) & (index < ptv.lattice.shape), axis=1)
    inside = np.zeros(len(points_mm), bool)
    inside[within] = ptv.mask[tuple(index[within].T)]
    return inside
