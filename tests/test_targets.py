"""Planning targets and margins against closed forms."""

from dataclasses import dataclass

import numpy as np
import pytest

from simulator.case.geometry import Grid
from simulator.ground.spec import CaseError
from simulator.plan.targets import Expansion, expand, planning_target

STILL = np.zeros((1, 3))


@dataclass(frozen=True)
class Sphere:
    centre_mm: tuple[float, float, float]
    radius_mm: float

    @property
    def bounds_mm(self):
        centre = np.array(self.centre_mm)
        return centre - self.radius_mm, centre + self.radius_mm

    def occupancy(self, grid: Grid) -> np.ndarray:
        n = 4
        part = (np.arange(n) + 0.5) / n - 0.5
        filled = np.zeros(grid.shape, np.float32)
        for dx in part:
            for dy in part:
                for dz in part:
                    x, y, z = (
                        a + d * s - c
                        for a, d, s, c in zip(grid.axes_mm, (dx, dy, dz), grid.spacing_mm, self.centre_mm, strict=True)
                    )
                    filled += x**2 + (y**2)[:, None] + (z**2)[:, None, None] <= self.radius_mm**2
        return filled / n**3


@dataclass(frozen=True)
class Block:
    lower_mm: tuple[float, float, float]
    upper_mm: tuple[float, float, float]

    @property
    def bounds_mm(self):
        return np.array(self.lower_mm), np.array(self.upper_mm)

    def occupancy(self, grid: Grid) -> np.ndarray:
        x, y, z = (
            np.clip((np.minimum(a + s / 2, high) - np.maximum(a - s / 2, low)) / s, 0, 1)
            for a, s, low, high in zip(grid.axes_mm, grid.spacing_mm, self.lower_mm, self.upper_mm, strict=True)
        )
        return (z[:, None, None] * y[:, None] * x).astype(np.float32)


def ball_cc(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 * 1e-3


def equal(margin_mm: float) -> Expansion:
    return Expansion(np.full(3, margin_mm), np.full(3, margin_mm))


CENTRES = [(0.0, 0.0, 0.0), (0.13, -0.21, 0.37)]


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("radius", [4.0, 7.5, 15.0])
def test_region_itself_keeps_volume_and_centroid(centre, radius):
    target = planning_target(Sphere(centre, radius), STILL)
    assert target.volume_cc == pytest.approx(ball_cc(radius), rel=2e-3)
    np.testing.assert_allclose(target.centroid_mm, centre, atol=0.01)
    assert not target.mask[[0, -1]].any()
    assert np.array_equal(target.path_mm, STILL)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("radius", [7.5, 15.0])
@pytest.mark.parametrize("margin", [1.0, 3.0, 5.0, 8.0])
def test_expanded_ball_has_the_volume_of_the_larger_ball(centre, radius, margin):
    ptv = expand(planning_target(Sphere(centre, radius), STILL), equal(margin))
    assert ptv.volume_cc == pytest.approx(ball_cc(radius + margin), rel=0.007)
    np.testing.assert_allclose(ptv.centroid_mm, centre, atol=0.01)
    distance = np.linalg.norm(ptv.surface_mm - centre, axis=1)
    assert abs(distance.mean() - radius - margin) < 0.04
    assert np.abs(distance - radius - margin).max() < 0.2


@pytest.mark.parametrize(
    ("negative", "positive"),
    [((3, 4, 5), (3, 4, 5)), ((2, 6, 3), (5, 1, 8)), ((0, 0, 0), (4, 0, 0)), ((0, 0, 6), (0, 0, 2))],
)
def test_expanded_box_is_a_rounded_box(negative, positive):
    """V = abc + sum of faces x margins + sum of edges x quarter ellipses + eight ellipsoid octants.

    Sharp edges, and faces in a direction of zero margin, are known to half a voxel: 0.25 mm here.
    """
    block = Block((-20.1, -18.2, -22.3), (20.2, 18.4, 21.9))
    target = planning_target(block, STILL)
    ptv = expand(target, Expansion(np.array(negative, float), np.array(positive, float)))
    side, margins = np.subtract(block.upper_mm, block.lower_mm), np.add(negative, positive)
    a, b, c = side
    p, q, r = margins
    faces = a * b * r + a * c * q + b * c * p
    edges = np.pi / 4 * (a * q * r + b * p * r + c * p * q)
    truth = (a * b * c + faces + edges + np.pi / 6 * p * q * r) * 1e-3
    assert ptv.volume_cc == pytest.approx(truth, rel=0.01)
    middle = np.abs(ptv.surface_mm) < 10
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        along = ptv.surface_mm[middle[:, others].all(axis=1), axis]
        low_error = along.min() - (block.lower_mm[axis] - negative[axis])
        high_error = along.max() - (block.upper_mm[axis] + positive[axis])
        assert abs(low_error) < (0.1 if negative[axis] else 0.26)
        assert abs(high_error) < (0.1 if positive[axis] else 0.26)


def test_directions_are_those_of_the_patient():
    """Only the superior margin moves the upper end of z, only the right margin the lower end of x."""
    target = planning_target(Sphere((0, 0, 0), 8.0), STILL)
    ptv = expand(target, Expansion(np.array([4.0, 0, 0]), np.array([0, 0, 6.0])))
    lower, upper = ptv.surface_mm.min(axis=0), ptv.surface_mm.max(axis=0)
    np.testing.assert_allclose(lower, [-12, -8, -8], atol=0.26)
    np.testing.assert_allclose(upper, [8, 8, 14], atol=0.26)


def test_zero_margin_is_the_target_itself():
    target = planning_target(Sphere((0.2, 0.1, 0), 6.0), STILL)
    assert np.array_equal(expand(target, equal(0.0)).occupancy, target.occupancy)


@pytest.mark.parametrize("end", [(0, 0, 10), (3, -4, 12)])
def test_union_along_a_segment_is_a_capsule(end):
    radius, length = 7.5, float(np.linalg.norm(end))
    itv = planning_target(Sphere((0.1, 0.2, 0.3), radius), np.array([(0, 0, 0), end], float))
    assert itv.volume_cc == pytest.approx(ball_cc(radius) + np.pi * radius**2 * length * 1e-3, rel=3e-3)
    np.testing.assert_allclose(itv.centroid_mm, np.array([0.1, 0.2, 0.3]) + np.array(end) / 2, atol=0.02)


def test_expanded_capsule():
    itv = planning_target(Sphere((0, 0, 0), 7.5), np.array([[0, 0, -6], [0, 0, 6.0]]))
    truth = ball_cc(12.5) + np.pi * 12.5**2 * 12 * 1e-3
    assert expand(itv, equal(5.0)).volume_cc == pytest.approx(truth, rel=0.005)


def test_a_displaced_position_displaces_the_target():
    path = np.array([[1.3, -2.2, 4.7]])
    target = planning_target(Sphere((0, 0, 0), 7.5), np.repeat(path, 3, axis=0))
    np.testing.assert_allclose(target.centroid_mm, path[0], atol=0.01)
    assert target.path_mm.shape == (1, 3)


def test_mask_on_another_grid():
    target = planning_target(Sphere((0, 0, 0), 10.0), STILL)
    grid = Grid.covering((-40, -40, -40), (40, 40, 40), 1.0)
    inside = target.on_grid(grid)
    assert inside.sum() * 1e-3 == pytest.approx(ball_cc(10.0), rel=0.01)
    assert not inside[np.linalg.norm(grid.nodes_mm(), axis=-1) > 10.3].any()
    assert not target.on_grid(Grid((60.0, 0, 0), (1.0, 1.0, 1.0), (4, 4, 4))).any()


def test_an_empty_region_is_an_error():
    class Nothing(Sphere):
        def occupancy(self, grid):
            return np.zeros(grid.shape, np.float32)

    with pytest.raises(CaseError, match="empty"):
        planning_target(Nothing((0, 0, 0), 5.0), STILL)


def test_negative_margins_are_refused():
    with pytest.raises(ValueError, match="at least 0 mm"):
        equal(-1.0)
