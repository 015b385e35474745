"""Analytic regions and the points that stand for them, against closed forms."""

from itertools import pairwise

import numpy as np
import pytest

from simulator.case.cells import places, refined, sample_region
from simulator.case.geometry import Grid
from simulator.case.shapes import Ball, Difference, Ellipsoid, EllipticColumn, Tube, Union, surface_distance_mm
from simulator.case.structures import Structure, surface_points

SHAPES = {
    "ball": (Ball((0.3, -0.2, 0.1), 9.0), 4 / 3 * np.pi * 9**3),
    "ellipsoid": (Ellipsoid((1.0, 2.0, 3.0), (20.0, 12.0, 30.0)), 4 / 3 * np.pi * 20 * 12 * 30),
    "capsule": (Tube(((0, 0, -20), (0, 0, 20)), 6.0), np.pi * 36 * 40 + 4 / 3 * np.pi * 216),
    "column": (EllipticColumn((0, 0, 0), (20, 12), 15.3), np.pi * 20 * 12 * 30.6),
    "shell": (Difference(Ball((0, 0, 0), 20), (Ball((0, 0, 0), 14),)), 4 / 3 * np.pi * (20**3 - 14**3)),
    "two balls": (Union((Ball((-20, 0, 0), 9), Ball((20, 0, 0), 9))), 8 / 3 * np.pi * 9**3),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("spacing", "tolerance"), [(1.0, 1e-3), (2.0, 4e-3), (3.0, 0.01)])
def test_volume_of_the_points_is_the_closed_form(name, spacing, tolerance):
    shape, volume_mm3 = SHAPES[name]
    patch = sample_region(shape, spacing)
    assert patch.volume_cc.sum() * 1000 == pytest.approx(volume_mm3, rel=tolerance)


def numpy_distance(shape, points):
    """The definition of every shape's signed distance in plain numpy."""
    if isinstance(shape, Ball):
        return np.linalg.norm(points - shape.centre_mm, axis=-1) - shape.radius_mm
    if isinstance(shape, Tube):
        nearest = []
        for start, end in pairwise(np.array(shape.path_mm, float)):
            along = end - start
            share = np.clip((points - start) @ along / (along @ along), 0, 1)
            nearest.append(np.linalg.norm(points - start - share[..., None] * along, axis=-1))
        return np.min(nearest, axis=0) - shape.radius_mm
    if isinstance(shape, Ellipsoid | EllipticColumn):
        axes = np.array([*shape.semi_axes_mm, np.inf][:3])
        scaled = (points - shape.centre_mm) / axes
        level, slope = np.linalg.norm(scaled, axis=-1), np.linalg.norm(scaled / axes, axis=-1)
        side = level * (level - 1) / slope
        if isinstance(shape, Ellipsoid):
            return side
        return np.maximum(side, np.abs(points[..., 2] - shape.centre_mm[2]) - shape.half_height_mm)
    if isinstance(shape, Union):
        return np.min([numpy_distance(s, points) for s in shape.shapes], axis=0)
    distance = numpy_distance(shape.shape, points)
    for other in shape.without:
        lower, upper = other.bounds_mm
        near = np.all((points > lower - 12) & (points < upper + 12), axis=-1)
        carved = np.maximum(distance, shape.gap_mm - numpy_distance(other, points))
        distance = np.where(near, carved, distance)
    return distance


BENT = Tube(((0, 0, -20), (3, -4, 0), (9, 6, 15)), 6.0)
NESTED = Union(
    (
        Difference(Ellipsoid((1, 2, 3), (20, 12, 30)), (BENT, Union((Ball((12, 0, 0), 5), Ball((-9, 4, 8), 4)))), 1.0),
        Difference(EllipticColumn((30, 0, 0), (9, 7), 11), (Difference(Ball((33, 2, 1), 8), (BENT,)), BENT), 0.5),
    )
)


@pytest.mark.parametrize("shape", [*(s for s, _ in SHAPES.values()), BENT, NESTED])
def test_kernels_are_their_numpy_twins(shape):
    points = np.random.default_rng(8).uniform(-50, 50, (20, 100, 3))
    np.testing.assert_allclose(shape.distance_mm(points), numpy_distance(shape, points), atol=1e-9)
    grid = Grid((-26.0, -19.0, -33.0), (2.0, 2.5, 3.0), (23, 17, 35))
    nodes, step = grid.nodes_mm(), np.array(grid.spacing_mm)
    thirds = np.array(list(np.ndindex(3, 3, 3)))[:, ::-1] / 3 - 1 / 3
    depth = np.mean(
        [np.clip(0.5 - numpy_distance(shape, nodes + t * step) * 3 / step.mean(), 0, 1) for t in thirds], axis=0
    )
    centre = numpy_distance(shape, nodes)
    truth = np.where(np.abs(centre) <= 0.6 * np.linalg.norm(step), depth, centre < 0)
    box = np.all((nodes > shape.bounds_mm[0] - step) & (nodes < shape.bounds_mm[1] + step), axis=-1)
    np.testing.assert_allclose(shape.occupancy(grid)[box], truth[box], atol=1e-6)
    assert not shape.occupancy(grid)[~box].any()


@pytest.mark.parametrize("name", ["ball", "ellipsoid"])
def test_centroid_is_the_centre(name):
    shape, _ = SHAPES[name]
    np.testing.assert_allclose(Structure("GTV", "target", shape).centroid_mm, shape.centre_mm, atol=0.01)


def test_surface_points_lie_on_the_surface():
    ball = Ball((0.1, 0.2, 0.3), 10.0)
    depth = ball.distance_mm(surface_points(Structure("GTV", "target", ball)))
    assert np.abs(depth).max() < 0.005, "marching cubes alone miss a 1 mm lattice's sphere by 0.08 mm"


def test_distance_between_surfaces():
    assert surface_distance_mm(Ball((0, 0, 0), 10), Ball((0, 0, 27), 9)) == pytest.approx(8, abs=0.15)
    assert surface_distance_mm(Ball((0, 0, 0), 10), Tube(((15, 0, -50), (15, 0, 50)), 2)) == pytest.approx(3, abs=0.15)


def test_parts_of_cells_tile_them_exactly_once():
    organ = Ellipsoid((60, 5, 10), (70, 60, 80))
    coarse = sample_region(organ, 9.0)
    chosen = coarse.points_mm[:, 0] < 20
    fine = refined(organ, coarse, chosen)
    rest = coarse.some(~chosen)
    assert fine.volume_cc.sum() + rest.volume_cc.sum() == pytest.approx(4 / 3 * np.pi * 7 * 6 * 8, rel=1e-3)
    assert set(places(fine, 3)) <= set(places(coarse.some(chosen))), "a sliver may lie within one of the parts"
    assert not set(places(fine, 3)) & set(places(rest))


def test_moments_of_a_cut_cell():
    """A half space cuts a cell of 2 mm: centroid and variance of a slab."""
    slab = EllipticColumn((0, 0, 0), (300, 300), 20.5)
    found = slab.moments(Grid((0.0, 0.0, 20.0), (2.0, 2.0, 2.0), (1, 1, 1)), np.zeros((1, 3), int))[0]
    thickness, centre = 0.75, -0.125  # of 2 mm, from the lower face at 19 mm to the end at 20.5 mm
    np.testing.assert_allclose(found[0], thickness, atol=1e-9)
    np.testing.assert_allclose(
        found[1:4], [thickness * centre, 0, 0], atol=1 / 6 / 6 / 8 + 1e-9
    )  # half a sub-cell is filled
    np.testing.assert_allclose(found[4] / thickness - centre**2, thickness**2 / 12, atol=4e-3)
    np.testing.assert_allclose(found[5:], [thickness / 12, thickness / 12, 0, 0, 0], atol=1e-9)


def test_grid_indices_and_points_are_inverse():
    grid = Grid((-10, 5, 2), (1.5, 2.0, 3.0), (4, 5, 6))
    nodes = grid.nodes_mm()
    np.testing.assert_allclose(grid.index_zyx(nodes), np.moveaxis(np.indices(grid.shape), 0, -1), atol=1e-12)
    np.testing.assert_allclose(nodes[1, 2, 3], [-10 + 3 * 1.5, 5 + 2 * 2.0, 2 + 3.0])
