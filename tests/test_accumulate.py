"""Dose accumulation kernels against plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.accumulation import LatticeRows, RadialPoints, Reach
from simulator.case.geometry import Grid, Volume
from simulator.case.structures import Patch
from simulator.kernels.accumulate import accumulate_radial, count_visits, merge_visits
from simulator.plan.dose import SplineDose


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


class GridDose:
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
    rows = LatticeRows(dose, patch, Reach.of(shift), stride, unblur=False)
    values = dose.on_grid(rows.grid)
    for c, total in enumerate(rows.accumulate(shift, weight)):
        expected = sum(
            w * trilinear(values, rows.grid, patch.points_mm + s) for s, w in zip(shift[c], weight[c], strict=True)
        )
        np.testing.assert_allclose(total, expected, rtol=2e-6)


def test_no_displacement_is_the_planned_dose_bit_for_bit():
    patch = ragged_patch(1.0, 2)
    dose = GridDose(3)
    still = np.zeros((1, 1, 3))
    rows = LatticeRows(dose, patch, Reach.of(still), 1, unblur=False)
    planned = dose.on_grid(patch.lattice)[tuple(patch.index_zyx.T)]
    np.testing.assert_array_equal(rows.accumulate(still, np.ones((1, 1)))[0], planned)


def test_sign_tissue_that_moves_posteriorly_receives_the_dose_posterior_of_its_plan():
    grid = Grid((-30, -30, -30), (1, 1, 1), (61, 61, 61))
    y = grid.nodes_mm()[..., 1]
    patch = Patch(grid, np.array([[30, 30, 30]], np.int32), np.ones(1))
    dose = SplineDose(Volume(grid, (10 + 0.1 * y).astype(np.float32)))
    shift = np.array([[[0.0, 4.0, 0.0]]])
    rows = LatticeRows(dose, patch, Reach.of(shift), 1)
    assert rows.accumulate(shift, np.ones((1, 1)))[0, 0] == pytest.approx(10.4, abs=1e-5)


def test_whole_lattice_shift_then_unshift_is_the_identity():
    patch = ragged_patch(1.0, 7)
    dose = GridDose(4)
    shift = np.array([[[3.0, -2.0, 5.0]]])
    there = LatticeRows(dose, patch, Reach.of(shift), 1).accumulate(shift, np.ones((1, 1)))
    moved = Patch(patch.lattice, patch.index_zyx + np.array([5, -2, 3], np.int32), patch.volume_cc)
    back = LatticeRows(dose, moved, Reach.of(-shift), 1).accumulate(np.zeros((1, 1, 3)), np.ones((1, 1)))
    np.testing.assert_array_equal(there, back)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-9, 9)] * 3), min_size=1, max_size=8))
def test_merged_visits_keep_weight_and_mean_displacement(shifts):
    shift = np.array(shifts, float)
    weight = np.full(len(shift), 1 / len(shift))
    offset, share = merge_visits(shift, weight)
    assert share.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(share @ offset, shift.mean(axis=0), atol=1e-12)


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


def test_radial_kernel_equals_numpy():
    rng = np.random.default_rng(3)
    table = np.linspace(50, 0, 400)
    points, shift = rng.normal(0, 8, (30, 3)), rng.normal(0, 2, (3, 5, 3))
    weight = rng.dirichlet(np.ones(5), 3)
    total = np.empty((3, 30), np.float32)
    accumulate_radial(table, 0.1, points, shift, weight, total)
    radius = np.linalg.norm(points[None, :, None] + shift[:, None], axis=-1)
    expected = (weight[:, None] * np.interp(radius / 0.1, np.arange(400), table)).sum(axis=2)
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_tabulated_radial_dose_is_the_closed_form():
    from simulator.plan.penumbra import RadialDose

    dose = RadialDose(centre_mm=np.zeros(3), radius50_mm=20.0, sd_mm=3.2, max_gy=50.0)
    points = np.random.default_rng(0).uniform(-25, 25, (500, 3))
    still = RadialPoints(dose, points).accumulate(np.zeros((1, 1, 3)), np.ones((1, 1)))[0]
    np.testing.assert_allclose(still, dose.at(points), atol=1e-5)


def test_the_blur_of_trilinear_sums_is_taken_off_on_average():
    patch = Patch(Grid((0, 0, 0), (1, 1, 1), (1, 1, 1)), np.zeros((1, 3), np.int32), np.ones(1))
    shift = np.random.default_rng(2).uniform(-3, 3, (20_000, 1, 3))
    dose, one = GridDose(5), np.ones((20_000, 1))
    exact = dose.at(shift[:, 0])
    plain, unblurred = (
        LatticeRows(dose, patch, Reach.of(shift), 1, unblur=unblur).accumulate(shift, one)[:, 0] - exact
        for unblur in (False, True)
    )
    correlation = np.polyfit(exact - 20, plain, 1)[0], np.polyfit(exact - 20, unblurred, 1)[0]
    assert correlation[0] < -0.005, "trilinear sums flatten the wave"
    assert abs(correlation[1]) < 0.1 * abs(correlation[0])
