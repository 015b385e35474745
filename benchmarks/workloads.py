"""Workloads W1-W3: the same draws and metrics by the simulator and by two plain baselines.

A static dose of 50 Gy, a target and six organs of 133,580 points on the nodes of its 2.5 mm grid, 5 fractions.
W1: setup errors, Σ = σ = 2 mm per axis, one instant. W2: with breathing of target, liver and kidney (2, 2, 10 mm), 20 instants,
daily match on the target. W3: W2 with rotations, Σ = σ = 1 degree, about the isocentre.

Coordinates are moved by half a voxel along every axis, so that nodes lie on whole multiples of 2.5 mm.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numba import njit, prange, set_num_threads
from scipy.ndimage import map_coordinates
from scipy.special import erfc
from threadpoolctl import threadpool_limits

from simulator.accumulation.points import PointDoses
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import patch_points
from simulator.case.cells import Patch
from simulator.case.geometry import Grid
from simulator.metrics.evaluate import evaluate_metrics
from simulator.metrics.kinds import parse_metric
from simulator.metrics.metric import Metric
from simulator.plan.dose import PlannedDose
from simulator.sampling.courses import Setting, draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.deciding import DecidingPoints
from simulator.strategy import Strategy
from simulator.strategy.guidance import NoGuidance, OnlineTarget
from simulator.strategy.margin import FixedMargin
from simulator.strategy.motion import NoMotionManagement
from simulator.strategy.session import Session
from simulator.uncertainty import Uncertainty

RX_GY, STEP_MM, SHAPE, HALF_MM = 50.0, 2.5, (100, 120, 120), 1.25
SEED, FRACTIONS, INSTANTS, COURSES_AT_ONCE, NEAR_RANKS = 20220124, 5, 20, 32, 12
_ROUNDS = 3
BREATHING = ("GTV", "Liver", "Kidney_L")
TARGET_METRICS, ORGAN_METRICS = ("D98%", "D95%", "D2%", "Dmean", "V95%"), ("D0.1cc", "D1cc", "Dmean", "V20Gy")


@dataclass(frozen=True)
class GridDose(PlannedDose):
    """The dose on its grid, trilinear in between, nearest value outside."""

    grid: Grid
    values: np.ndarray

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at nodes that are nodes of the dose grid, or outside of it."""
        first = np.rint(self.grid.index_zyx(np.asarray(grid.origin_mm))).astype(int)
        index = [np.clip(f + np.arange(n), 0, size - 1) for f, n, size in zip(first, grid.shape, SHAPE, strict=True)]
        return self.values[np.ix_(*index)]

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        return map_coordinates(self.values.astype(float), self.grid.index_zyx(points_mm).T, order=1, mode="nearest")


@dataclass(frozen=True)
class Workload:
    """One workload: the dose, its structures, and how the strategy moves them."""

    dose: GridDose
    patches: dict[str, Patch]
    metrics: dict[str, list[Metric]]
    setting: Setting
    strategy: Strategy

    def motions(self, first: int, n_courses: int) -> dict[str, TissueMotion]:
        """Displacements of each structure in some courses."""
        delivery = deliver(draw_courses(self.setting, Draws(SEED, first, n_courses)), self.strategy, self.setting)
        return {name: delivery.motion(name) for name in self.patches}


def workload(name: str) -> Workload:
    """W1, W2 or W3."""
    axes = [STEP_MM * (np.arange(n) - (n - 1) / 2) for n in SHAPE]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    gy = RX_GY * (0.75 * 0.5 * erfc((r - 20) / (3 * np.sqrt(2))) + 0.25 * np.exp(-np.maximum(r - 18, 0) / 25))
    x0, y0, z0 = (float(a[0]) + HALF_MM for a in axes[::-1])
    grid = Grid((x0, y0, z0), (STEP_MM,) * 3, SHAPE)

    def ball(cx: float, cy: float, cz: float, radius: float) -> np.ndarray:
        return (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= radius**2

    def tube(cx: float, cy: float, radius: float) -> np.ndarray:
        return ((x - cx) ** 2 + (y - cy) ** 2 <= radius**2) & (np.abs(z) < 110)

    masks = {
        "GTV": ball(0, 0, 0, 12),
        "SpinalCord": tube(0, 40, 7),
        "Esophagus": tube(25, 15, 9),
        "Heart": ball(10, -75, -30, 50),
        "Liver": ball(70, 0, -70, 60) & (np.abs(z) < 124),
        "Kidney_L": ball(-60, 10, 30, 35),
        "Bowel_Small": ball(-20, -60, 40, 45),
    }
    index = {s: np.argwhere(mask).astype(np.int32) for s, mask in masks.items()}
    patches = {s: Patch(grid, i, np.full(len(i), grid.voxel_cc)) for s, i in index.items()}
    setup = {"systematic_mm": 2, "random_mm": 2} | ({"systematic_deg": 1, "random_deg": 1} if name == "W3" else {})
    sources: dict = {"setup": setup}
    if name != "W1":
        tied = {s: [2, 2, 10] for s in BREATHING[1:]}
        sources["respiration"] = {"amplitude_mm": [2, 2, 10], "structures": tied}
    centre = {s: p.points_mm.mean(axis=0) for s, p in patches.items()}
    errors = Uncertainty.model_validate(sources)
    setting = Setting(
        uncertainty=errors, session=Session(), targets={"GTV": errors}, n_fractions=FRACTIONS,
        n_instants=1 if name == "W1" else INSTANTS, fraction_gy=RX_GY / FRACTIONS, centre_mm=centre, volume_cc={},
        isocentre_mm=np.full(3, HALF_MM),
    )  # fmt: skip
    guidance = NoGuidance() if name == "W1" else OnlineTarget()
    strategy = Strategy(margin=FixedMargin(margin_mm=(5, 5, 5)), motion=NoMotionManagement(), guidance=guidance)
    metrics = {s: [parse_metric(s, m) for m in (TARGET_METRICS if s == "GTV" else ORGAN_METRICS)] for s in patches}
    return Workload(GridDose(grid, gy.astype(np.float32)), patches, metrics, setting, strategy)


def by_simulator(work: Workload, n_courses: int, n_workers: int) -> np.ndarray:
    """Metrics (course, metric) by the simulator's own accumulation, blocks on threads."""
    size = -(-n_courses // (4 * n_workers))
    threads = Parallel(n_jobs=n_workers, backend="threading")
    motions = threads(delayed(work.motions)(first, min(size, n_courses - first)) for first in range(0, n_courses, size))

    def prepared(name: str, patch: Patch) -> tuple[PointDoses, DecidingPoints | None]:
        arm = np.abs(patch.points_mm - motions[0][name].centre_mm).max(axis=0)
        reach = Reach.of(motions[0][name], arm)
        for some in motions[1:]:
            reach = reach.union(Reach.of(some[name], arm))
        points = patch_points(work.dose, patch, reach, 1, unblur=False)
        return points, DecidingPoints.of([points], patch.volume_cc, work.metrics[name], RX_GY)

    rows = dict(zip(work.patches, threads(delayed(prepared)(*item) for item in work.patches.items()), strict=True))

    def evaluate(name: str, motion: TissueMotion) -> np.ndarray:
        points, deciding = rows[name]
        if deciding is not None:
            return deciding.evaluate(motion)
        return evaluate_metrics(work.metrics[name], points.accumulate(motion), work.patches[name].volume_cc, RX_GY)

    def block(motion: dict[str, TissueMotion]) -> np.ndarray:
        columns = []
        for name in work.patches:
            n = len(motion[name].weight)
            parts = [
                evaluate(name, motion[name].courses(slice(k, k + COURSES_AT_ONCE)))
                for k in range(0, n, COURSES_AT_ONCE)
            ]
            columns.append(np.concatenate(parts))
        return np.concatenate(columns, axis=1)

    with threadpool_limits(limits=1):
        return np.concatenate(threads(delayed(block)(m) for m in motions))


def by_scipy(work: Workload, n_courses: int, n_workers: int) -> np.ndarray:
    """Metrics by `map_coordinates` on all points, instant by instant, on one thread."""
    del n_workers

    def dose_of(
        node: np.ndarray, arm: np.ndarray, shift: np.ndarray, linear: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        gy = np.zeros(len(node), np.float32)
        for k, share in enumerate(weight):
            at = node + shift[k] + (arm @ linear[k].T if len(linear) else 0.0)
            gy += np.float32(share) * map_coordinates(work.dose.values, at.T, order=1, mode="nearest")
        return gy

    return _plain(work, n_courses, dose_of)


def by_gather(work: Workload, n_courses: int, n_workers: int) -> np.ndarray:
    """Metrics by a plain trilinear gather, compiled, in parallel over points."""
    set_num_threads(n_workers)
    return _plain(work, n_courses, lambda *motion: _gather(work.dose.values, *motion))


def _plain(work: Workload, n_courses: int, dose_of: Callable[..., np.ndarray]) -> np.ndarray:
    """Every structure at every instant of every fraction, metrics by `np.partition`.

    `dose_of` takes nodes and lever arms (point, 3) and shifts (k, 3), linear parts (k, 3, 3) and weights (k,), as (z, y, x) in
    steps of the dose grid.
    """
    motions = work.motions(0, n_courses)
    nodes = {s: np.ascontiguousarray(work.dose.grid.index_zyx(p.points_mm)) for s, p in work.patches.items()}
    arms = {
        s: np.ascontiguousarray((p.points_mm - motions[s].centre_mm)[:, ::-1] / STEP_MM)
        for s, p in work.patches.items()
    }
    values = []
    for course in range(n_courses):
        row: list[float] = []
        for name, patch in work.patches.items():
            motion = motions[name]
            at = _all_instants(work, motion.weight.shape[1])
            shift = np.ascontiguousarray(motion.shift_mm[course, at, ::-1] / STEP_MM)
            linear = np.empty((0, 3, 3))
            if motion.linear is not None:
                linear = np.ascontiguousarray(motion.linear[course, at][:, ::-1, ::-1])
            weight = motion.weight[course, at] * (motion.weight.shape[1] / len(at))
            gy = dose_of(nodes[name], arms[name], shift, linear, weight)
            row += [_metric(m, gy, patch.volume_cc[0]) for m in work.metrics[name]]
        values.append(row)
    return np.array(values)


def _n_instants(work: Workload) -> int:
    return work.setting.n_instants * FRACTIONS


def _all_instants(work: Workload, n_given: int) -> np.ndarray:
    """Positions of all instants; a plain program does not know that some of them are alike."""
    return np.repeat(np.arange(n_given), _n_instants(work) // n_given)


def _metric(metric: Metric, gy: np.ndarray, voxel_cc: float) -> float:
    """One metric by selection, with the simulator's definition of D_x (see `simulator.kernels.dvh`)."""
    if metric.is_mean:
        return float(gy.mean(dtype=np.float64))
    if (level_gy := metric.level_gy(RX_GY)) is not None:
        return 100 * float(np.mean(gy >= level_gy))
    volume = float(metric.hot_cc(np.array([len(gy) * voxel_cc]))[0]) / voxel_cc
    first, last = max(0, int(volume) - NEAR_RANKS), min(len(gy), int(volume) + NEAR_RANKS)
    hottest = -np.partition(-gy, (first, last - 1))[first:last].astype(float)
    hottest = np.sort(hottest)[::-1]
    apart = (hottest[None] - hottest[:, None]) / (1e-5 * gy.max())
    hotter = 0.5 + np.sign(apart) * np.clip(np.abs(apart) - 0.5, 0, 0.5)
    return float(np.interp(volume, first + hotter.sum(axis=1), hottest))


@njit(parallel=True, cache=True, fastmath=True)
def _gather(dose, node, arm, shift, linear, weight):
    """Weighted sum of trilinear look-ups, clamped to the grid, float32 (point,)."""
    nz, ny, nx = dose.shape
    out = np.empty(len(node), np.float32)
    for p in prange(len(node)):
        gy = 0.0
        for k in range(len(shift)):
            z, y, x = node[p, 0] + shift[k, 0], node[p, 1] + shift[k, 1], node[p, 2] + shift[k, 2]
            if len(linear) > 0:
                z += linear[k, 0, 0] * arm[p, 0] + linear[k, 0, 1] * arm[p, 1] + linear[k, 0, 2] * arm[p, 2]
                y += linear[k, 1, 0] * arm[p, 0] + linear[k, 1, 1] * arm[p, 1] + linear[k, 1, 2] * arm[p, 2]
                x += linear[k, 2, 0] * arm[p, 0] + linear[k, 2, 1] * arm[p, 1] + linear[k, 2, 2] * arm[p, 2]
            z, y, x = min(max(z, 0.0), nz - 1.000001), min(max(y, 0.0), ny - 1.000001), min(max(x, 0.0), nx - 1.000001)
            c, b, a = int(z), int(y), int(x)
            fz, fy, fx = z - c, y - b, x - a
            low = (1 - fy) * ((1 - fx) * dose[c, b, a] + fx * dose[c, b, a + 1]) + fy * (
                (1 - fx) * dose[c, b + 1, a] + fx * dose[c, b + 1, a + 1]
            )
            high = (1 - fy) * ((1 - fx) * dose[c + 1, b, a] + fx * dose[c + 1, b, a + 1]) + fy * (
                (1 - fx) * dose[c + 1, b + 1, a] + fx * dose[c + 1, b + 1, a + 1]
            )
            gy += weight[k] * ((1 - fz) * low + fz * high)
        out[p] = gy
    return out


WAYS = {"simulator": by_simulator, "numba": by_gather, "scipy": by_scipy}


def measure(name: str, courses: dict[str, int], n_workers: int) -> dict[str, float]:
    """Courses per second of each way, their ratios, and the largest difference of a metric in percent of the prescription.

    Each way takes its turn a few times and its best one counts, since a machine may be disturbed.
    """
    work = workload(name)
    speed, values = dict.fromkeys(WAYS, 0.0), {}
    for way, function in WAYS.items():
        function(work, min(8, courses[way]), n_workers)
    for _ in range(_ROUNDS):
        for way, function in WAYS.items():
            begin = time.perf_counter()
            values[way] = function(work, courses[way], n_workers)
            speed[way] = max(speed[way], courses[way] / (time.perf_counter() - begin))
    n = min(courses["numba"], courses["simulator"])
    in_gy = np.array([m.unit == "Gy" for metrics in work.metrics.values() for m in metrics])
    difference = np.abs(values["simulator"][:n] - values["numba"][:n])[:, in_gy].max()
    return {
        "courses_per_s": speed["simulator"],
        "ratio_numba": speed["simulator"] / speed["numba"],
        "ratio_scipy": speed["simulator"] / speed["scipy"],
        "difference_percent_of_rx": float(100 * difference / RX_GY),
    }
