"""DVH metrics of linear dose gradients in a sphere, a cylinder and a cone, and of shifted gradients, in closed form."""

import numpy as np
import pytest
from drawing import delivered

from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.reach import Reach
from simulator.case.cells import Cells, sample_region, sub_voxel_moments
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ball, EllipticColumn
from simulator.kernels.cells import follow
from simulator.metrics.evaluate import evaluate_metrics
from simulator.metrics.extent import Extent
from simulator.metrics.kinds import parse_metric
from simulator.plan.dose import SplineDose
from simulator.sampling.tissue_motion import TissueMotion
from simulator.strategy.guidance import OnlineTarget
from simulator.uncertainty import Baseline, Setup, Uncertainty

RADIUS, GRADIENT, CENTRE = 12.0, 1.0, 16.0
METRICS = [parse_metric("X", m) for m in ("D99%", "D98%", "D95%", "D5%", "D1%", "Dmean")]


class Cone:
    """A cone with its base (radius 12 mm) at z = 0 and its apex at z = 24 mm: a region of the test's own."""

    @property
    def bounds_mm(self):
        return np.array([-RADIUS, -RADIUS, 0.0]), np.array([RADIUS, RADIUS, 2 * RADIUS])

    def distance_mm(self, points_mm):
        side = (np.linalg.norm(points_mm[..., :2], axis=-1) - RADIUS + points_mm[..., 2] / 2) * 2 / np.sqrt(5)
        return np.maximum(side, -points_mm[..., 2])

    def occupancy(self, grid):
        """Every voxel in 27 cells, each filled in proportion to its depth."""
        step = np.array(grid.spacing_mm)
        offsets = step * (np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3) - 1) / 3
        depth = np.stack([-self.distance_mm(grid.nodes_mm() + offset) for offset in offsets])
        return np.clip(0.5 + 3 * depth / step[0], 0, 1).mean(axis=0).astype(np.float32)

    def moments(self, grid, index_zyx):
        return sub_voxel_moments(self.occupancy, grid, index_zyx)


def metrics_of(shape, axis):
    cells, (nodes,) = Cells.of([sample_region(shape, 0.5)])
    dose = np.zeros((1, cells.n_all_nodes), np.float32)
    dose[0, : cells.n_nodes] = CENTRE + GRADIENT * nodes.points_mm[:, axis]
    follow(dose, cells.sources)
    volume_cc = np.concatenate([nodes.volume_cc, np.zeros(len(cells.sources))])
    extent = Extent(cells, np.full(len(cells.node), GRADIENT, np.float32))
    return evaluate_metrics(METRICS, dose, volume_cc, 50.0, extent=extent)[0]


def cone_levels(*shares):
    """Height z of a cone above which lies the hottest share of its volume (apex hot)."""
    return [2 * RADIUS * (1 - np.cbrt(s)) for s in shares]


CASES = {
    "sphere": (Ball((0, 0, 0), RADIUS), 1, [-0.882194, -0.831925, -0.729299, 0.729299, 0.882194, 0.0]),
    "cylinder across": (EllipticColumn((0, 0, 0), (RADIUS, RADIUS), 12), 1,
                        [-0.934333, -0.895341, -0.805384, 0.805384, 0.934333, 0.0]),
    "cylinder along": (EllipticColumn((0, 0, 0), (RADIUS, RADIUS), 12), 2, [-0.98, -0.96, -0.9, 0.9, 0.98, 0.0]),
    "cone across": (Cone(), 1, [-0.815741, -0.755199, -0.642022, 0.642022, 0.815741, 0.0]),
    "cone along": (Cone(), 2, [z / RADIUS for z in (*cone_levels(0.99, 0.98, 0.95, 0.05, 0.01), RADIUS / 2)]),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if "cone" in name else ()) for name in CASES]
)
def test_linear_gradient(name):
    shape, axis, levels = CASES[name]
    quarter_cell_gy = 0.5 / 4 * GRADIENT  # a half-filled cell's dose stands for the middle of its filled half
    np.testing.assert_allclose(
        metrics_of(shape, axis), CENTRE + GRADIENT * RADIUS * np.array(levels), atol=quarter_cell_gy
    )


def test_a_systematic_shift_moves_the_dvh_of_a_gradient_by_the_exact_amount():
    grid = Grid((-40, -40, -40), (2, 2, 2), (41, 41, 41))
    dose = SplineDose(Volume(grid, (40 + 0.5 * grid.nodes_mm()[..., 1]).astype(np.float32)))
    patch = sample_region(Ball((0, 0, 0), 8.0), 1.0)
    for shift_mm in (0.3, 2.0, -3.7):
        shift = np.array([1.1, shift_mm, -0.4])
        rows = LatticePoints(dose, patch, Reach.of(TissueMotion.still(shift)), 2)
        still, moved = (
            evaluate_metrics(METRICS, rows.accumulate(TissueMotion.still(s)), patch.volume_cc, 50.0)[0]
            for s in (np.zeros(3), shift)
        )
        np.testing.assert_allclose(moved - still, 0.5 * shift_mm, atol=2e-5)


def test_matching_a_shifted_target_moves_the_cords_dose_by_exactly_that_shift():
    grid = Grid((-60, -60, -60), (2, 2, 2), (61, 61, 61))
    radius = np.linalg.norm(grid.nodes_mm(), axis=-1)
    dose = SplineDose(Volume(grid, (50 / (1 + np.exp((radius - 15) / 4))).astype(np.float32)))
    uncertainty = Uncertainty(setup=Setup(mean_mm=2.5), baseline=Baseline(mean_mm=(0, 4.0, 0)))
    delivery = delivered(uncertainty, guidance=OnlineTarget(match_mm=0))
    cord = sample_region(EllipticColumn((0, 30, 0), (5, 5), 20), 1.0)
    target = sample_region(Ball((0, 0, 0), 8), 1.0)
    for name, patch, moved_mm in (("SpinalCord", cord, (0, -4.0, 0)), ("GTV", target, (0, 0, 0))):
        motion = delivery.motion(name)
        rows = LatticePoints(dose, patch, Reach.of(motion), 1, unblur=False)
        planned_there = dose.on_grid(rows.grid)
        index = np.rint(rows.grid.index_zyx(patch.points_mm + np.array(moved_mm))).astype(int)
        np.testing.assert_allclose(rows.accumulate(motion)[0], planned_there[tuple(index.T)], rtol=1e-6)
