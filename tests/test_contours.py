"""Regions from contours: closed forms of areas and volumes, and the rules for holes, gaps and end caps."""

import itertools

import numpy as np
import pytest
from dicom_factory import circle

from simulator.case.cells import sample_region
from simulator.case.contours import ContourRegion, slice_spacing
from simulator.case.geometry import Grid
from simulator.case.structures import Structure
from simulator.ground.spec import CaseError
from simulator.kernels.polygons import even_odd_coverage


def rectangle(x0, x1, y0, y1, z):
    return np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], float)


def volume_mm3(region, grid):
    return region.occupancy(grid).sum(dtype=float) * np.prod(grid.spacing_mm)


def grid_around(region, spacing, offset=0.0):
    lower, upper = region.bounds_mm
    shape = tuple(int(n) for n in np.ceil((upper - lower) / spacing).astype(int)[::-1] + 4)
    x, y, z = lower - 1.5 * spacing + offset
    return Grid((x, y, z), (spacing,) * 3, shape)


def even_odd_twin(polygons, shape, n):
    """Definition: share of n x n points per pixel that an odd number of polygons encloses."""
    rows, columns = shape
    y, x = np.meshgrid((np.arange(rows * n) + 0.5) / n, (np.arange(columns * n) + 0.5) / n, indexing="ij")
    inside = np.zeros(x.shape, bool)
    for polygon in polygons:
        for (xa, ya), (xb, yb) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if ya != yb:
                crosses = (y >= min(ya, yb)) & (y < max(ya, yb))
                inside ^= crosses & (x < xa + (y - ya) * (xb - xa) / (yb - ya))
    return inside.reshape(rows, n, columns, n).mean(axis=(1, 3))


def test_kernel_agrees_with_its_definition():
    rng = np.random.default_rng(20)
    polygons = [rng.uniform(-2, 14, size=(n, 2)) for n in (3, 4, 7)]
    points, offsets = np.concatenate(polygons), np.cumsum([0, 3, 4, 7])
    coverage = np.zeros((9, 12), np.float32)
    even_odd_coverage(points[:, 0].copy(), points[:, 1].copy(), offsets, 64, coverage)
    assert 0.2 < coverage.mean() < 0.8
    np.testing.assert_allclose(coverage, even_odd_twin(polygons, (9, 12), 64), atol=0.02)


def test_partly_filled_voxels_get_their_share():
    region = ContourRegion.from_contours([rectangle(0.25, 2.5, -1.2, 0.5, z) for z in (0.0, 2.0, 4.0)])
    occupancy = region.occupancy(Grid((0, -1, -2), (1, 1, 2), (5, 3, 4)))
    np.testing.assert_allclose(occupancy[2], np.outer([0.7, 1, 0], [0.25, 1, 1, 0]), atol=1e-6)
    np.testing.assert_allclose(occupancy[:, 1, 1], [0, 1, 1, 1, 0], atol=1e-6)
    lower, upper = region.bounds_mm
    np.testing.assert_allclose(lower, [0.25, -1.2, -1])
    np.testing.assert_allclose(upper, [2.5, 0.5, 5])


@pytest.mark.parametrize("spacing", [0.4, 1.0, 2.5, 6.0, 15.0])
def test_volume_does_not_depend_on_the_grid(spacing):
    rng = np.random.default_rng(3)
    region = ContourRegion.from_contours([circle(1.3, -2.1, z, 8) for z in np.arange(0, 12.1, 3)])
    truth = np.pi * 64 * 15
    for _ in range(4):
        grid = grid_around(region, spacing, rng.uniform(-0.5, 0.5, 3) * spacing)
        assert volume_mm3(region, grid) == pytest.approx(truth, rel=1e-3)


def test_nested_contours_cut_holes_and_islands():
    contours = [circle(0, 0, z, r) for z in (0.0, 3.0) for r in (20, 12, 5)]
    region = ContourRegion.from_contours(contours)
    assert region.n_contours == 6
    truth = np.pi * (20**2 - 12**2 + 5**2) * 6
    assert volume_mm3(region, grid_around(region, 1.0)) == pytest.approx(truth, rel=1e-3)


def test_keyhole_contour_is_an_annulus():
    outer, inner = circle(0, 0, 0, 20), circle(0, 0, 0, 12)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner])
    region = ContourRegion.from_contours([keyhole, keyhole + np.array([0, 0, 2])])
    assert region.n_contours == 2
    assert volume_mm3(region, grid_around(region, 1.0)) == pytest.approx(np.pi * (400 - 144) * 4, rel=1e-3)


def test_separate_contours_on_one_slice_add_up():
    contours = [circle(x, 0, z, 6) for x in (-10, 10) for z in (0.0, 2.0, 4.0)]
    region = ContourRegion.from_contours(contours)
    assert volume_mm3(region, grid_around(region, 1.5)) == pytest.approx(2 * np.pi * 36 * 6, rel=1e-3)


def test_a_contour_written_twice_counts_once():
    contours = [circle(0, 0, z, 6) for z in (0.0, 2.0)]
    twice = ContourRegion.from_contours(contours + [c.copy() for c in contours])
    assert twice.n_contours == 2
    assert volume_mm3(twice, grid_around(twice, 1.0)) == pytest.approx(np.pi * 36 * 4, rel=1e-3)


def test_uneven_slices_reach_half_way_to_their_neighbours():
    z = [0, 2, 4, 6, 11, 16, 21]
    radius = {0: 5, 2: 6, 4: 7, 6: 8, 11: 9, 16: 8, 21: 7}
    region = ContourRegion.from_contours([circle(0, 0, h, radius[h]) for h in z])
    assert region.gaps_mm == ()
    assert [(s.lower_mm, s.upper_mm) for s in region.slices] == [
        (-1, 1), (1, 3), (3, 5), (5, 8.5), (8.5, 13.5), (13.5, 18.5), (18.5, 23.5),
    ]  # fmt: skip
    truth = sum(np.pi * radius[s.z_mm] ** 2 * (s.upper_mm - s.lower_mm) for s in region.slices)
    assert volume_mm3(region, grid_around(region, 1.0)) == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize(
    ("z", "gaps", "slabs"),
    [
        ([0, 3, 6, 12, 15], ((6, 12),), 5),
        ([0, 3, 6, 9, 39, 63, 66], ((9, 39), (39, 63)), 7),
        ([0, 6, 12, 18], (), 8),
    ],
    ids=["one slice lacks", "three parts", "every other slice drawn"],
)
def test_gaps_are_left_empty_and_listed(z, gaps, slabs):
    region = ContourRegion.from_contours([circle(0, 0, h, 7) for h in z], slice_spacing_mm=3)
    assert region.gaps_mm == gaps
    assert volume_mm3(region, grid_around(region, 1.0)) == pytest.approx(np.pi * 49 * 3 * slabs, rel=1e-3)


def test_without_end_caps_the_region_ends_at_its_slices():
    contours = [circle(0, 0, h, 7) for h in (0, 3, 6, 9, 30, 33, 60)]
    region = ContourRegion.from_contours(contours, end_caps="none")
    assert region.bounds_mm[0][2] == 0
    assert region.bounds_mm[1][2] == 61.5
    assert volume_mm3(region, grid_around(region, 1.0)) == pytest.approx(np.pi * 49 * (9 + 3 + 3), rel=1e-3)


def test_single_slice_takes_the_spacing_of_the_image():
    region = ContourRegion.from_contours([circle(0, 0, 5, 7)], slice_spacing_mm=2.5)
    assert volume_mm3(region, grid_around(region, 0.5)) == pytest.approx(np.pi * 49 * 2.5, rel=1e-3)
    with pytest.raises(CaseError, match=r"^structure 'Node' has a single slice at z = 5 mm, and no image tells"):
        ContourRegion.from_contours([circle(0, 0, 5, 7)], name="Node")


def test_degenerate_contours_are_ignored():
    line = np.array([(0, 0, 8), (4, 0, 8), (9, 0, 8)], float)
    point = np.array([(0, 0, 11)], float)
    region = ContourRegion.from_contours([*(circle(0, 0, h, 7) for h in (0, 3, 6)), line, point])
    assert (region.n_contours, region.bounds_mm[1][2]) == (3, 7.5)
    with pytest.raises(CaseError) as raised:
        ContourRegion.from_contours([line, point], name="Marker")
    assert str(raised.value) == "structure 'Marker' is empty: it has no closed contour of three points or more"


def test_contour_that_leaves_its_plane_is_refused():
    tilted = circle(0, 0, 0, 10)
    tilted[:, 2] = np.linspace(0, 1, len(tilted))
    with pytest.raises(CaseError) as raised:
        ContourRegion.from_contours([tilted], name="GTV")
    assert str(raised.value) == (
        "structure 'GTV': a contour runs from z = 0 to 1 mm; only contours in transverse planes can be read, so "
        "draw or export it on transverse slices"
    )


def test_spacing_rule():
    assert slice_spacing([4.0]) is None
    assert slice_spacing([0, 3, 6, 9, 39]) == 3
    assert slice_spacing([0, 2, 4, 6, 11, 16, 21]) == 5
    assert slice_spacing([0, 3, 33]) == 3


def test_structure_volume_and_samples_agree_with_the_slabs():
    """A 1 cc sphere drawn every 2 mm: samples at any spacing weigh what the slabs weigh."""
    radius = 6.2
    contours = [circle(10, 20, h, np.sqrt(radius**2 - h**2)) for h in range(-6, 7, 2)]
    structure = Structure("GTV", "target", ContourRegion.from_contours(contours))
    slabs = sum(np.pi * (radius**2 - h**2) * 2 for h in range(-6, 7, 2)) / 1000
    assert structure.volume_cc == pytest.approx(slabs, rel=1e-3)
    for spacing in (0.5, 1.0, 3.0):
        patch = sample_region(structure.region, spacing)
        assert patch.volume_cc.sum() == pytest.approx(slabs, rel=2e-3)
        np.testing.assert_allclose(np.average(patch.points_mm, axis=0, weights=patch.volume_cc), (10, 20, 0), atol=0.02)


def ball_slices(radius, z):
    return [circle(0, 0, h, np.sqrt(radius**2 - h**2)) for h in z if abs(h) < radius]


def volume_cc(contours, **options):
    return Structure("Organ", "oar", ContourRegion.from_contours(contours, **options)).volume_cc


JITTERS = {
    "two parts 0.05 mm apart": lambda i, part: 0.05 * part,
    "two parts 0.5 mm apart": lambda i, part: 0.5 * part,
    "two parts 0.9 mm apart": lambda i, part: 0.9 * part,
    "two parts half a slice apart": lambda i, part: 1.5 * part,
    "two parts 1.1 mm apart": lambda i, part: 1.1 * part,
    "random": lambda i, part: np.random.default_rng([i, part]).uniform(-0.1, 0.1),
    "rounded to a millimetre": lambda i, part: 0.4 * ((i + part) % 2),
    "rounded to a tenth": lambda i, part: 0.1 * ((i + part) % 2),
}


@pytest.mark.parametrize("jitter", JITTERS.values(), ids=JITTERS)
@pytest.mark.parametrize("spacing", [None, 3.0], ids=["without image", "with image"])
def test_parts_of_one_slice_may_differ_in_height(jitter, spacing):
    """Two cylinders of 6 mm radius, 27 mm long."""
    contours = [circle(x, 0, 3.0 * i + jitter(i, part), 6) for i in range(9) for part, x in enumerate((-20, 20))]
    assert volume_cc(contours, slice_spacing_mm=spacing) == pytest.approx(2 * np.pi * 36 * 27 / 1000, rel=0.01)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_a_shell_drawn_at_jittering_heights_keeps_its_hole_and_its_volume(spacing, share):
    """Ball of 30 mm with a round hole of 10 mm along its axis; heights are off by up to a share of the spacing."""
    rng = np.random.default_rng(5)
    z = np.arange(-30 + spacing / 2, 30, spacing)
    contours = ball_slices(30, z) + [circle(0, 0, h, 5) for h in z if abs(h) < 29]
    exact = volume_cc(contours)
    off = min(share * spacing, 0.12)
    jittered = [c + np.array([0, 0, rng.uniform(-off, off)]) for c in contours]
    assert volume_cc(jittered) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("degrees", [0.05, 0.1, 0.3])
def test_slightly_tilted_planes_are_read(degrees):
    """Two cylinders 60 mm apart on planes that are not quite transverse."""
    slope = np.tan(np.radians(degrees))
    contours = [circle(x, 0, 3.0 * i, 12) for i in range(10) for x in (-30, 30)]
    for c in contours:
        c[:, 2] += slope * c[:, 0]
    assert volume_cc(contours) == pytest.approx(2 * np.pi * 144 * 30 / 1000, rel=0.01)


REPETITIONS = {
    "same": lambda c: c.copy(),
    "next start": lambda c: np.roll(c, 1, axis=0),
    "other start": lambda c: np.roll(c, 77, axis=0),
    "reversed": lambda c: c[::-1],
    "reversed elsewhere": lambda c: np.roll(c[::-1], 40, axis=0),
    "closed": lambda c: np.vstack([c, c[:1]]),
    "a point more": lambda c: np.vstack([c[:50], (c[49:50] + c[50:51]) / 2, c[50:]]),
    "rounded": lambda c: np.round(c, 1),
    "shifted": lambda c: c + np.array([0.03, -0.02, 0]),
    "higher": lambda c: c + np.array([0, 0, 0.04]),
    "lower": lambda c: np.roll(c, 5, axis=0) + np.array([0, 0, -0.3]),
}


@pytest.mark.parametrize("again", REPETITIONS.values(), ids=REPETITIONS)
@pytest.mark.parametrize("which", [[4], list(range(9)), [0, 8]], ids=["one slice", "all slices", "ends"])
def test_a_contour_repeated_in_any_way_counts_once(again, which):
    once = [circle(1, 2, 3.0 * i, 15) for i in range(9)]
    truth = np.pi * 225 * 27 / 1000
    assert volume_cc(once + [again(once[i]) for i in which]) == pytest.approx(truth, rel=0.01)
    assert volume_cc(once + 2 * [again(once[i]) for i in which]) == pytest.approx(truth, rel=0.01)


def test_a_thin_wall_is_no_repetition():
    contours = [circle(0, 0, z, r) for z in (0.0, 3.0, 6.0) for r in (20, 19.7)]
    assert volume_cc(contours) == pytest.approx(np.pi * (400 - 19.7**2) * 9 / 1000, rel=0.01)


@pytest.mark.parametrize(
    "steps",
    [[3] * 5 + [6] * 2, [6] * 2 + [3] * 5, [3, 6] * 4, [6, 6, 3, 3, 3, 3, 6, 6], [6, 3, 3] * 3, [3] * 4 + [6] * 4, [6, 3] * 2],
    ids=["6 above", "6 below", "in turns", "6 at both ends", "every third", "half", "short"],
)  # fmt: skip
def test_slices_3_and_6_mm_apart_leave_no_gap(steps):
    z = np.cumsum([0, *steps])
    region = ContourRegion.from_contours([circle(0, 0, h, 9) for h in z], slice_spacing_mm=3)
    length = z[-1] + (steps[0] + steps[-1]) / 2
    assert region.gaps_mm == ()
    assert volume_mm3(region, grid_around(region, 1.0)) == pytest.approx(np.pi * 81 * length, rel=0.01)


def test_what_the_image_has_no_slice_for_is_no_gap():
    z = [0, 3, 6, 9, 15, 18, 21]
    contours = [circle(0, 0, h, 9) for h in z]
    assert ContourRegion.from_contours(contours, 3.0, image_z_mm=[-3, *z, 24]).gaps_mm == ()
    assert ContourRegion.from_contours(contours, 3.0, image_z_mm=np.arange(-3, 25, 3)).gaps_mm == ((9, 15),)
    assert ContourRegion.from_contours(contours, 3.0, image_z_mm=[9]).gaps_mm == ((9, 15),)


def test_a_coordinate_that_is_no_number_is_refused():
    broken = circle(0, 0, 3, 9)
    broken[7, 1] = np.nan
    with pytest.raises(CaseError, match=r"^structure 'Heart': a contour has a coordinate that is not a number; export"):
        ContourRegion.from_contours([circle(0, 0, 0, 9), broken, circle(0, 0, 6, 9)], name="Heart")


def test_an_island_between_the_slices_of_another_part_takes_nothing_from_it():
    contours = [circle(-20, 0, 3.0 * i, 9) for i in range(9)] + [circle(20, 0, 10.6, 4)]
    assert volume_cc(contours, slice_spacing_mm=3) == pytest.approx(np.pi * (81 * 27 + 16 * 3) / 1000, rel=0.01)


def test_points_on_the_edges_of_slabs_reach_their_corners():
    square = np.array([[0.0, 0, 0], [10, 0, 0], [10, 4, 0], [0, 4, 0]])
    region = ContourRegion.from_contours([square, square + np.array([0, 0, 3.0])])
    points = region.edges_mm(1.0)
    np.testing.assert_array_equal(np.unique(points[:, 2]), [-1.5, 1.5, 4.5])
    for corner in itertools.product((0, 10), (0, 4), (-1.5, 4.5)):
        assert (np.abs(points - corner).max(axis=1) < 1e-12).any()
    face = points[points[:, 2] == 4.5]
    assert len(face) == 28
    np.testing.assert_allclose(np.linalg.norm(np.roll(face, -1, axis=0) - face, axis=1), 1.0)
