"""Dose accumulation kernels against plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import laplace
from scipy.spatial.transform import Rotation

from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.points import RadialPoints
from simulator.accumulation.reach import Reach
from simulator.case.cells import Patch
from simulator.case.geometry import Grid, Volume
from simulator.kernels.points import accumulate_gather, accumulate_radial, quads_of
from simulator.kernels.splines import less_laplacian
from simulator.kernels.tiles import volumes_within
from simulator.kernels.visits import count_visits, enough_scratch, merge_visits
from simulator.plan.dose import PlannedDose, SplineDose
from simulator.sampling.tissue_motion import TissueMotion


def motion(shift, weight=None, linear=None, centre=(0.0, 0.0, 0.0), n_fractions=1):
    """Displacements (course, k, 3) as a motion, equally weighted by default."""
    shift = np.asarray(shift, float)
    weight = np.full(shift.shape[:2], 1 / shift.shape[1]) if weight is None else weight
    return TissueMotion(shift, weight, linear, np.asarray(centre, float), n_fractions)


def trilinear(dose, grid, points_mm):
    """Definition: trilinear interpolation of dose[z, y, x] at points (n, 3) in mm."""
    index = grid.index_zyx(points_mm)
    low = np.floor(index).astype(int)
    part = index - low
    total = np.zeros(len(points_mm))
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(low + corner, np.array(grid.shape) - 1)
        total += np.prod(np.where(corner, part, 1 - part), axis=1) * dose[tuple(at.T)]
    return total


class GridDose(PlannedDose):
    """A planned dose that is exactly what its lattice says."""

    def __init__(self, seed):
        self.seed = seed

    def on_grid(self, grid):
        points = grid.nodes_mm()
        return self.at(points.reshape(-1, 3)).reshape(grid.shape).astype(np.float32)

    def at(self, points_mm):
        wave = np.random.default_rng(self.seed).uniform(0.1, 0.5, (4, 3))
        return 20 + 5 * np.sin(points_mm @ wave.T).sum(axis=1)


def ragged_patch(spacing_mm, seed):
    """A patch with holes, gaps and single points."""
    rng = np.random.default_rng(seed)
    lattice = Grid.covering((-4, -6, -5), (7, 5, 6), spacing_mm)
    index = np.argwhere(rng.random(lattice.shape) < 0.4).astype(np.int32)
    return Patch(lattice, index, rng.uniform(0.1, 1, len(index)))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_rows_equal_a_trilinear_gather(stride):
    rng = np.random.default_rng(stride)
    patch = ragged_patch(1.5, 5)
    shift = rng.normal(0, 3, (4, 6, 3))
    weight = rng.dirichlet(np.ones(6), 4)
    dose = GridDose(1)
    moved = motion(shift, weight)
    rows = LatticePoints(dose, patch, Reach.of(moved), stride, unblur=False)
    values = dose.on_grid(rows.grid)
    for c, total in enumerate(rows.accumulate(moved)):
        expected = sum(
            w * trilinear(values, rows.grid, patch.points_mm + s) for s, w in zip(shift[c], weight[c], strict=True)
        )
        np.testing.assert_allclose(total, expected, rtol=2e-6)


def test_less_laplacian_is_its_numpy_twin():
    values = np.random.default_rng(9).uniform(0, 60, (9, 7, 12)).astype(np.float32)
    truth = (values - laplace(values.astype(float)) / 12)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(less_laplacian(values, np.float32(1 / 12)), truth, rtol=1e-6, atol=1e-5)


def test_no_displacement_is_the_planned_dose_bit_for_bit():
    patch = ragged_patch(1.0, 2)
    dose = GridDose(3)
    still = TissueMotion.still(np.zeros(3))
    rows = LatticePoints(dose, patch, Reach.of(still), 1, unblur=False)
    planned = dose.on_grid(patch.lattice)[tuple(patch.index_zyx.T)]
    np.testing.assert_array_equal(rows.accumulate(still)[0], planned)


def test_sign_tissue_that_moves_posteriorly_receives_the_dose_posterior_of_its_plan():
    grid = Grid((-30, -30, -30), (1, 1, 1), (61, 61, 61))
    y = grid.nodes_mm()[..., 1]
    patch = Patch(grid, np.array([[30, 30, 30]], np.int32), np.ones(1))
    dose = SplineDose(Volume(grid, (10 + 0.1 * y).astype(np.float32)))
    moved = TissueMotion.still(np.array([0.0, 4.0, 0.0]))
    rows = LatticePoints(dose, patch, Reach.of(moved), 1)
    assert rows.accumulate(moved)[0, 0] == pytest.approx(10.4, abs=1e-5)


def test_whole_lattice_shift_then_unshift_is_the_identity():
    patch = ragged_patch(1.0, 7)
    dose = GridDose(4)
    shift = np.array([3.0, -2.0, 5.0])
    away, home = TissueMotion.still(shift), TissueMotion.still(np.zeros(3))
    there = LatticePoints(dose, patch, Reach.of(away), 1).accumulate(away)
    moved = Patch(patch.lattice, patch.index_zyx + np.array([5, -2, 3], np.int32), patch.volume_cc)
    back = LatticePoints(dose, moved, Reach.of(TissueMotion.still(-shift)), 1).accumulate(home)
    np.testing.assert_array_equal(there, back)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-9, 9)] * 3), min_size=1, max_size=8), st.integers(1, 3))
def test_merged_visits_keep_weight_and_mean_displacement(shifts, stride):
    shift = np.array(shifts, float)
    weight = np.full(len(shift), 1 / len(shift))
    scratch = enough_scratch(np.zeros(0), shift)
    node, share = np.empty(8 * len(shift), np.int64), np.empty(8 * len(shift))
    shape = (30, 31, 32)
    n = merge_visits(shift, weight, shape, stride, scratch, node, share)
    node, share = node[:n], share[:n]
    assert not scratch.any()
    assert len(np.unique(node)) == n
    home = 12  # a node so far inside that no displacement leaves the lattice
    rz, ry, rx, qz, qy, qx = np.unravel_index(
        node + np.ravel_multi_index((home,) * 3, shape), (stride, stride, stride, *shape)
    )
    offset = np.stack([qz, qy, qx], axis=1) * stride + np.stack([rz, ry, rx], axis=1) - home * stride
    assert share.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(share @ offset, shift.mean(axis=0), atol=1e-5)


def test_visit_counts_do_not_depend_on_the_order_of_courses():
    rng = np.random.default_rng(1)
    shift, weight = rng.normal(0, 2, (50, 4, 3)), np.full((50, 4), 0.25)
    low = np.full(3, -15)
    forward, backward = np.zeros((2, 31, 31, 31), np.int64)
    count_visits(shift, weight, low, 2.0**40, forward)
    for c in np.arange(50)[::-1]:
        count_visits(shift[c : c + 1], weight[c : c + 1], low, 2.0**40, backward)
    np.testing.assert_array_equal(forward, backward)
    assert forward.sum() / 2.0**40 == pytest.approx(50, abs=1e-9)


@pytest.mark.parametrize("turns", [False, True])
def test_radial_kernel_equals_numpy(turns):
    rng = np.random.default_rng(3)
    table = np.linspace(50, 0, 400)
    points, shift = rng.normal(0, 8, (30, 3)), rng.normal(0, 2, (3, 5, 3))
    arm, linear = rng.normal(0, 5, (30, 3)), rng.normal(0, 0.05, (3, 5 * turns, 3, 3))
    weight = rng.dirichlet(np.ones(5), 3)
    total = np.empty((3, 30), np.float32)
    accumulate_radial(table, 0.1, points, arm, shift, linear, weight, total)
    place = points[None, :, None] + shift[:, None]
    if turns:
        place = place + np.einsum("ckab,pb->cpka", linear, arm)
    radius = np.linalg.norm(place, axis=-1)
    expected = (weight[:, None] * np.interp(radius / 0.1, np.arange(400), table)).sum(axis=2)
    np.testing.assert_allclose(total, expected, rtol=1e-6)


@pytest.mark.parametrize("alike", [[6], [1, 2, 3], [1] * 6, []])
def test_gather_kernel_equals_numpy(alike):
    """Visits share a linear part in groups; some points leave the lattice."""
    rng = np.random.default_rng(4)
    grid = Grid((0, 0, 0), (1, 1, 1), (30, 25, 20))
    dose = rng.random(grid.shape).astype(np.float32)
    node, arm = rng.uniform(0, 18, (20, 3)), rng.uniform(-4, 4, (20, 3))
    shift, linear = rng.normal(0, 2, (2, 6, 3)), np.repeat(rng.normal(0, 0.1, (2, len(alike), 3, 3)), alike, axis=1)
    weight = rng.dirichlet(np.ones(6), 2)
    total = np.empty((2, 20), np.float32)
    quads, every = quads_of(dose), np.empty((0, 20), bool)
    accumulate_gather(quads, dose.shape, node, arm, shift, linear, weight, every, total)
    counted, of_some = rng.random((2, 20)) < 0.4, np.empty((2, 20), np.float32)
    accumulate_gather(quads, dose.shape, node, arm, shift, linear, weight, counted, of_some)
    np.testing.assert_array_equal(of_some, np.where(counted, total, 0))
    for c in range(2):
        place = [node + shift[c, k] + (arm @ linear[c, k].T if alike else 0) for k in range(6)]
        inside = [np.clip(p, 0, np.array(dose.shape) - 1)[:, ::-1] for p in place]
        expected = sum(w * trilinear(dose, grid, p) for w, p in zip(weight[c], inside, strict=True))
        np.testing.assert_allclose(total[c], expected, atol=2.0**-14)  # two roundings along three axes of slope 1


@pytest.mark.parametrize("n_points", [8, 50, 700])
def test_volumes_within_a_surface_equal_numpy(n_points):
    rng = np.random.default_rng(5)
    basis, factor = rng.normal(size=(7, n_points)).astype(np.float32), rng.normal(size=(4, 7)).astype(np.float32)
    distance = rng.uniform(-6, 6, n_points).astype(np.float32)
    distance[::5] = -np.inf
    mean, sd, farthest, per_mm = (np.float32(v) for v in (0.3, 1.5, 3.0, 0.4))
    volume = np.empty((4, n_points))
    volumes_within(basis, factor, mean, sd, farthest, distance, per_mm, 0.02, volume)
    surface = np.clip(0.3 + 1.5 * (factor.astype(float) @ basis), -3, 3)
    expected = 0.02 * np.clip((surface - distance) * 0.4 + 0.5, 0, 1)
    np.testing.assert_allclose(volume, expected, atol=1e-7)


@pytest.mark.parametrize("degrees", [0.5, 3.0])
def test_rotated_points_receive_the_dose_of_their_rotated_places(degrees):
    """Cells of points against each point on its own; the dose falls by 8 % per mm."""
    lattice = Grid.covering((-25, -25, -25), (25, 25, 25), 1.0)
    index = np.argwhere(np.linalg.norm(lattice.nodes_mm(), axis=-1) < 20).astype(np.int32)
    patch = Patch(lattice, index, np.ones(len(index)))
    grid = Grid.covering((-60, -60, -60), (60, 60, 60), 1.0)
    dose = SplineDose(Volume(grid, (50 / (1 + np.exp((grid.nodes_mm()[..., 1] - 10) / 3))).astype(np.float32)))
    turns = Rotation.from_euler("xyz", np.random.default_rng(6).normal(0, degrees, (40, 3)), degrees=True).as_matrix()
    linear = (turns - np.eye(3)).reshape(2, 20, 3, 3)
    moved = motion(np.random.default_rng(7).normal(0, 2, (2, 20, 3)), linear=linear, centre=(4, 0, -3))
    rows = LatticePoints(dose, patch, Reach.of(moved, np.full(3, 28.0)), 1)
    points = patch.points_mm
    for c, total in enumerate(rows.accumulate(moved)):
        places = [points + moved.shift_mm[c, k] + (points - moved.centre_mm) @ linear[c, k].T for k in range(20)]
        expected = np.mean([dose.at(p) for p in places], axis=0)
        difference = total - expected
        gradient_gy_per_mm, edge_mm = 50 / 12, max(6.0, Reach.of(moved, np.full(3, 28.0)).cell_mm)
        one_turn_gy = gradient_gy_per_mm * np.radians(degrees) * edge_mm / np.sqrt(6)
        expected_rms_gy = one_turn_gy / np.sqrt(20)  # two axes turn points across the gradient, 20 turns average out
        assert np.sqrt((difference**2).mean()) < expected_rms_gy
        assert np.abs(difference).max() < 6 * expected_rms_gy


def test_tabulated_radial_dose_is_the_closed_form():
    from simulator.plan.penumbra import RadialDose

    dose = RadialDose(centre_mm=np.zeros(3), radius50_mm=20.0, sd_mm=3.2, max_gy=50.0)
    points = np.random.default_rng(0).uniform(-25, 25, (500, 3))
    still = RadialPoints(dose.profile(), points).accumulate(TissueMotion.still(np.zeros(3)))[0]
    np.testing.assert_allclose(still, dose.at(points), atol=1e-5)


def test_the_blur_of_trilinear_sums_is_taken_off_on_average():
    patch = Patch(Grid((0, 0, 0), (1, 1, 1), (1, 1, 1)), np.zeros((1, 3), np.int32), np.ones(1))
    moved = motion(np.random.default_rng(2).uniform(-3, 3, (20_000, 1, 3)))
    dose = GridDose(5)
    exact = dose.at(moved.shift_mm[:, 0])
    plain, unblurred = (
        LatticePoints(dose, patch, Reach.of(moved), 1, unblur=unblur).accumulate(moved)[:, 0] - exact
        for unblur in (False, True)
    )
    correlation = np.polyfit(exact - 20, plain, 1)[0], np.polyfit(exact - 20, unblurred, 1)[0]
    assert correlation[0] < -0.005, "trilinear sums flatten the wave"
    assert abs(correlation[1]) < 0.1 * abs(correlation[0])


@pytest.mark.parametrize("turns", [False, True])
def test_fractions_and_courses_of_a_motion_are_its_visits_in_order(turns):
    rng = np.random.default_rng(5)
    shift, weight, linear = rng.normal(size=(3, 6, 3)), rng.dirichlet(np.ones(6), 3), rng.normal(size=(3, 6, 3, 3))
    whole = motion(shift, weight, linear if turns else None, centre=(1.0, 2.0, 3.0), n_fractions=3)
    parts = [(part, slice(None), slice(2 * f, 2 * f + 2)) for f, part in enumerate(whole.fractions())]
    parts.append((whole.courses(slice(1, 3)), slice(1, 3), slice(None)))
    assert len(parts) == 4
    for part, courses, visits in parts:
        np.testing.assert_array_equal(part.shift_mm, shift[courses, visits])
        np.testing.assert_array_equal(part.weight, weight[courses, visits])
        np.testing.assert_array_equal(part.centre_mm, (1, 2, 3))
        if turns:
            np.testing.assert_array_equal(part.linear, linear[courses, visits])
        else:
            assert part.linear is None
