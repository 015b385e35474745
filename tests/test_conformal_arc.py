"""The synthesised dose: single beams in closed form, kernels against numpy, whole plans against the RTOG table."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.special import ellipe, ndtr
from test_targets import STILL, Block, Sphere, equal

from simulator.case.anatomy import Case
from simulator.case.geometry import Grid, Volume
from simulator.case.phantoms import AbdominalPhantom, MediastinalPhantom, PelvicPhantom, SpherePhantom
from simulator.case.structures import Structure
from simulator.commands.monte_carlo import static_fields
from simulator.ground.spec import CaseError, ConfigError
from simulator.kernels.beams import add_beam, add_beam_at_points, blur_rows, outermost, radiological_depths, see_points
from simulator.plan.aperture import SAD_MM, Beam, BlurredField, Outline, Rows, blurred, side_by_side
from simulator.plan.beam_model import Treatment
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.dose import SplineDose
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.quality import hottest_gy, ptv_doses
from simulator.plan.targets import planning_target

RX = Prescription(dose_gy=50, fractions=5, isodose_percent=80)
LUNG = 0.26


def cylinder(lung_slab_mm=None, half_mm=(160.0, 110.0, 130.0)) -> Volume:
    """An elliptical water cylinder along z; between the given y, a slab of lung."""
    grid = Grid.covering(-np.array(half_mm) - 9, np.array(half_mm) + 9, 3.0)
    x, y, z = grid.axes_mm
    body = (x[None, None] / half_mm[0]) ** 2 + (y[None, :, None] / half_mm[1]) ** 2 <= 1
    density = np.where(body & (np.abs(z) <= half_mm[2])[:, None, None], 1.0, 0.0)
    if lung_slab_mm is not None:
        slab = (y >= lung_slab_mm[0]) & (y <= lung_slab_mm[1])
        density = np.where(slab[None, :, None] & (density > 0), LUNG, density)
    return Volume(grid, density.astype(np.float32))


def case_with(region, density=None) -> Case:
    return Case("phantom", {"GTV": Structure("GTV", "target", region)}, "GTV", density or cylinder())


def planned(model, case, margin_mm=0.0, rx=RX, path=STILL):
    return model.plan(Order(case, planning_target(case.gtv.region, path), equal(margin_mm), rx))


def single_beam(**changes) -> ConformalArc:
    """One static anterior beam on a block."""
    fixed = {"arcs": [{"start_deg": 0, "stop_deg": 0}], "block_margin_mm": 0.0, "axial_margin_mm": 0.0}
    return ConformalArc.model_validate({**fixed, **changes})


def along(dose, start, direction, distances_mm):
    return dose.at(np.asarray(start, float) + np.outer(distances_mm, direction))


WIDE = Block((-30.0, -5.0, -30.0), (30.0, 5.0, 30.0))


def square_field(model, half_mm, off_axis_mm, lung=0.0):
    """Closed form of a square field between two of its edges: the sum over Gaussians of products of two error functions."""
    sds, shares = model.spreads_mm, model.shares(np.array(lung))
    x = np.asarray(off_axis_mm, float)[:, None]
    along = ndtr((half_mm - x) / sds) - ndtr((-half_mm - x) / sds)
    return (shares * along * (2 * ndtr(half_mm / sds) - 1)).sum(axis=1)


@pytest.mark.parametrize("lung", [False, True])
def test_an_open_beam_is_a_sum_of_gaussian_edges(lung):
    """In water and in lung, and its 80-20 % width and edge; the block's nearer face is what the beam sees."""
    model = single_beam(dose_grid_mm=1.0)
    dose = planned(model, case_with(WIDE, cylinder(lung_slab_mm=(-100, 100) if lung else None))).dose
    distance = np.linspace(0, 45, 3001)
    truth = square_field(model, 30 * SAD_MM / (SAD_MM - 5), distance, float(lung))
    for axis in (0, 2):
        profile = along(dose, (0, 0, 0), np.eye(3)[axis], distance) / dose.at(np.zeros((1, 3)))[0]
        np.testing.assert_allclose(profile, truth / truth[0], atol=6e-3)
        widths = [np.diff(np.interp((-0.8, -0.2), -d, distance))[0] for d in (profile, truth / truth[0])]
        assert widths[0] == pytest.approx(widths[1], rel=0.02)


def test_the_spreads_are_the_kernels_and_the_sources():
    """Gaussians add in quadrature; the shares of water sum to 1, lung loses an eighth, and moves weight outwards."""
    sharp, blunt = ConformalArc(source_sd_mm=0.0), ConformalArc(source_sd_mm=2.0)
    np.testing.assert_allclose(blunt.spreads_mm**2 - sharp.spreads_mm**2, 4.0)
    water, lung = ConformalArc.shares(np.array([0.0, 1.0]))
    assert water.sum() == pytest.approx(1.0, abs=1e-9)
    assert lung.sum() == pytest.approx(0.874, abs=1e-3)
    assert lung[0] / lung.sum() < 0.55 * water[0]
    assert (ConformalArc.shares(np.array(1.52)) > 0).all()


def test_lung_is_a_matter_of_the_density_around():
    """Deep in slabs of a density the share of lung is that of Monte Carlo; halfway into water it lies between."""
    for density, share in ((0.15, 1.52), (0.26, 1.0), (0.4, 0.635), (1.0, 0.0), (1.6, 0.0)):
        grid = Grid((-120.0, -120.0, -120.0), (6.0, 6.0, 6.0), (41, 41, 41))
        around = Volume(grid, np.full(grid.shape, density, np.float32))
        medium = ConformalArc().medium(around, Treatment((), (), ()), Grid((-40.0,) * 3, (2.0,) * 3, (41,) * 3), map)
        np.testing.assert_allclose(medium.lung, share, atol=1e-3)


def test_the_model_is_monte_carlo():
    """Depth dose, penumbra, tails, output factors and lung over water of static fields, as `simulator validate` has them."""
    rows = list(static_fields())
    assert len(rows) == 28
    for name, expected, found, allowed, _, _ in rows:
        assert abs(found - expected) <= allowed, name
    worst = max(abs(found - expected) / allowed for _, expected, found, allowed, _, _ in rows)
    assert worst > 0.3, "tolerances that nothing comes near show nothing"


def test_a_plan_is_the_sum_over_gaussians_of_shares_and_blurred_apertures():
    """Each Gaussian by itself, in plain numpy: what an optimiser of leaf positions relies on."""
    model = single_beam(dose_grid_mm=2.0)
    case = case_with(WIDE, cylinder(lung_slab_mm=(-20, 70)))
    target = planning_target(case.gtv.region, STILL)
    treatment = model._treatment(target)
    medium = model.medium(case.density, treatment, model._dose_grid(case.density, target), map)
    shaped = model._shaped([Order(case, target, equal(0.0), RX)], map)
    (dose,) = model.deliver(medium, treatment, shaped, map)
    points = np.random.default_rng(8).uniform((-38, -40, -38), (38, 40, 38), (400, 3))
    (beam,), (rows,), (rays,) = treatment.beams, shaped[0].rows, medium.rays
    seen, open_dose = np.empty((400, 2)), np.empty(400, np.float32)
    see_points(points, *beam.geometry, *rays.arrays, seen, open_dose)
    lung = map_coordinates(medium.lung, medium.grid.index_zyx(points).T, order=1)
    total = np.zeros(400)
    for sd, share in zip(model.spreads_mm, model.shares(lung).T, strict=True):
        across = np.diff(ndtr((rows.edge_mm - seen[:, :1]) / sd), axis=1)
        along_u = ndtr((rows.high_mm - seen[:, 1:]) / sd) - ndtr((rows.low_mm - seen[:, 1:]) / sd)
        total += share * (across * along_u).sum(axis=1) * open_dose * beam.weight
    np.testing.assert_allclose(SplineDose(Volume(medium.grid, dose)).at(points), total, atol=0.008 * total.max())


def test_an_arc_delivers_an_aperture_from_angles_5_degrees_apart():
    """On circles around the isocentre in water the dose ripples with the angles of the beams, in % of its mean; a static beam
    for each control point would let it ripple by 0.02, 1.2 and 18 %."""
    model, case = ConformalArc(dose_grid_mm=1.5), case_with(Sphere((0, 0, 0), 8.0))
    plan = planned(model, case)
    assert plan.delivery.treatment.control == tuple(np.repeat(np.arange(36), 2))
    treatment = model._treatment(planning_target(case.gtv.region, STILL))
    medium = model.medium(case.density, treatment, plan.grid, map)
    (static,) = model.deliver(medium, treatment, [plan.delivery.apertures], map)
    angle = np.deg2rad(np.arange(720) / 2)
    for radius_mm, before, allowed in ((20.0, 0.02, 0.01), (45.0, 1.1, 0.2), (60.0, 17.0, 1.0)):
        circle = radius_mm * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
        found = [np.abs(np.fft.rfft(d.at(circle))) for d in (plan.dose, SplineDose(Volume(plan.grid, static)))]
        ripple, static_ripple = (200 * f[36::36].sum() / f[0] for f in found)
        assert ripple < allowed < before < static_ripple


def test_depth_dose_is_exponential_and_inverse_square():
    dose = planned(single_beam(), case_with(WIDE)).dose
    y = np.array([-60.0, -30.0, 0.0, 30.0, 60.0])
    ratio = along(dose, (0, 0, 0), (0, 1, 0), y) / dose.at(np.zeros((1, 3)))[0]
    truth = np.exp(-0.0047 * y) * (SAD_MM / (SAD_MM + y)) ** 2
    np.testing.assert_allclose(ratio, truth, rtol=2e-3)


def test_depth_is_radiological():
    """Behind 60 mm of lung the beam has lost only what 0.26 x 60 mm of water take away."""
    water, lung = (single_beam(), cylinder()), (single_beam(), cylinder(lung_slab_mm=(-61.5, -1.5)))
    region = Block((-30.0, 38.0, -30.0), (30.0, 42.0, 30.0))
    points = np.array([[0, 30.0, 0], [0, 60.0, 0]])
    doses = []
    for model, density in (water, lung):
        plan = planned(model, case_with(region, density))
        doses.append(plan.dose.at(points) / plan.delivery.scale)
    np.testing.assert_allclose(doses[1] / doses[0], np.exp(0.0047 * 60 * (1 - LUNG)), rtol=5e-3)


def test_build_up():
    """The maximum lies at 15 mm of water; a third of the extrapolated dose at the surface."""
    depth = np.arange(0, 60, 0.1)
    curve = ConformalArc().depth_dose(depth)
    assert depth[curve.argmax()] == pytest.approx(15, abs=0.5)
    assert curve[0] == pytest.approx(0.305)


@pytest.mark.parametrize(("gantry", "couch", "source"), [
    (0, 0, (0, -1, 0)), (90, 0, (1, 0, 0)), (180, 0, (0, 1, 0)), (270, 0, (-1, 0, 0)),
    (90, 90, (0, 0, -1)), (270, 90, (0, 0, 1)), (90, 270, (0, 0, 1)),
])  # fmt: skip
def test_where_the_beam_comes_from(gantry, couch, source):
    """Head first supine: gantry 90 from the left; couch 90 turns the feet to where gantry 90 stands."""
    beam = Beam.at(np.array([5, 6, 7]), gantry, couch, 1.0)
    np.testing.assert_allclose(beam.source_mm, np.array([5, 6, 7]) + SAD_MM * np.array(source), atol=1e-9)
    np.testing.assert_allclose(beam.axes @ beam.axes.T, np.eye(3), atol=1e-12)


def outline_of_a_ball(gantry) -> Outline:
    target = planning_target(Sphere((0, 0, 0), 15.0), STILL)
    return Beam.at(np.zeros(3), gantry, 0, 1.0).outline(target)


def test_silhouette_of_a_sphere_is_its_divergent_disc():
    outline = outline_of_a_ball(33)
    truth = 15 * SAD_MM / np.sqrt(SAD_MM**2 - 15**2)
    assert outline.v_mm[-1] == pytest.approx(truth, abs=0.1)
    inner = np.abs(outline.v_mm) < 13
    chord = np.sqrt(truth**2 - outline.v_mm[inner] ** 2)
    np.testing.assert_allclose(outline.high_mm[inner], chord, atol=0.35)
    np.testing.assert_allclose(outline.low_mm[inner], -chord, atol=0.35)


@pytest.mark.parametrize("margin", [-4.0, -0.2, 0.0, 0.2, 3.0])
@pytest.mark.parametrize("axial", [0.0, 1.5])
def test_opened_disc(margin, axial):
    """Area of an ellipse opened by a margin: pi a b + margin perimeter + pi margin^2 (Steiner)."""
    rows = outline_of_a_ball(0).stretched(axial).opened(margin)
    area = np.sum(np.diff(rows.edge_mm) * (rows.high_mm - rows.low_mm))
    radius = 15 * SAD_MM / np.sqrt(SAD_MM**2 - 15**2)
    perimeter = 4 * (radius + axial) * ellipe(1 - (radius / (radius + axial)) ** 2)
    truth = np.pi * radius * (radius + axial) + margin * perimeter + np.pi * margin**2
    assert area == pytest.approx(truth, rel=0.015)
    assert rows.edge_mm[-1] == pytest.approx(radius + axial + margin, abs=0.1)


def numpy_beam(points, lung, source, axes, sad, maps, map_origin, map_step, fan, fan_origin, fan_step):
    """The definition of a beam's dose in plain numpy."""
    u, v, w = axes @ (points - source).T
    u, v = u * sad / w, v * sad / w
    pixel = [(v - map_origin[0]) / map_step, (u - map_origin[1]) / map_step]
    seen = (pixel[0] >= 0) & (pixel[1] >= 0) & (pixel[0] < maps.shape[0] - 1) & (pixel[1] < maps.shape[1] - 1)
    soft, wide = (map_coordinates(maps[..., i].astype(float), pixel, order=1, mode="constant") for i in range(2))
    ray = [(c - o) / s for c, o, s in zip((v, u, w), fan_origin, fan_step, strict=True)]
    ray = [np.clip(r, 0, n - 1) for r, n in zip(ray, fan.shape, strict=True)]
    return seen * ((1 - lung) * soft + lung * wide) * map_coordinates(fan.astype(float), ray, order=1)


def beam_arrays(rng, n_plans=1):
    beam = Beam.at(np.array([4, -3, 5]), 40, 25, 1.0)
    maps = rng.uniform(0, 1, (41, 45, 2, n_plans)).astype(np.float32)
    fan = rng.uniform(0.3, 1, (6, 7, 40)).astype(np.float32)
    field = maps, np.array([-20.0, -22.0]), 1.0
    return beam.geometry, field, (fan, np.array([-15.0, -18.0, 850]), np.array([6.0, 6, 8]))


def test_kernels_are_their_numpy_twins():
    rng = np.random.default_rng(11)
    geometry, (maps, *pixels), rays = beam_arrays(rng, n_plans=3)
    grid = Grid((-60.0, -70.0, -50.0), (4.0, 5.0, 4.5), (24, 27, 31))
    lung = rng.uniform(0, 1, grid.shape).astype(np.float32)
    lung[lung < 0.3] = 0
    dose = np.ones((*grid.shape, 3), np.float32)
    add_beam(dose, *grid.axes_mm, lung, *geometry, maps, *pixels, *rays)
    for plan in range(3):
        truth = numpy_beam(grid.nodes_mm().reshape(-1, 3), lung.ravel(), *geometry, maps[..., plan], *pixels, *rays)
        assert (truth > 0).sum() > 1000
        np.testing.assert_allclose(dose[..., plan].ravel() - 1, truth, atol=1e-6)
    points = rng.uniform(-40, 40, (500, 3))
    share = rng.uniform(0, 1, 500).astype(np.float32)
    seen, open_dose, at_points = np.empty((500, 2)), np.empty(500, np.float32), np.zeros(500)
    see_points(points, *geometry, *rays, seen, open_dose)
    add_beam_at_points(at_points, seen, open_dose, share, maps[..., :1].copy(), *pixels)
    np.testing.assert_allclose(at_points, numpy_beam(points, share, *geometry, maps[..., 0], *pixels, *rays), atol=1e-6)


def test_blurred_rows_are_the_product_of_their_blurred_boxes():
    """A tabulated Gaussian edge against the error function: linear between points 0.002 SD apart."""
    rng = np.random.default_rng(5)
    edge = np.linspace(-9.3, 11.1, 31)
    rows = Rows(edge, rng.uniform(-12, -3, 30), rng.uniform(2, 14, 30))
    factors = np.array([[0.8, 0.1], [0.3, 0.5], [0.0, 1.0]])
    field = blurred(rows, np.array([3.2, 6.4]), factors, 0.5, 9.0)
    v, u = (0.5 * (a + np.arange(n)) for a, n in zip(field.first, field.maps.shape, strict=False))
    each = []
    for sd in (3.2, 6.4):
        across = np.diff(ndtr((edge - v[:, None]) / sd), axis=1)
        along = ndtr((rows.high_mm[:, None] - u) / sd) - ndtr((rows.low_mm[:, None] - u) / sd)
        each.append(np.pad((across @ along)[1:-1, 1:-1], 1))
    np.testing.assert_allclose(field.maps, np.stack(each, axis=-1) @ factors.T, atol=1e-6)
    assert v[1] <= edge[0] - 9.0 <= v[1] + 0.5
    assert u[-2] - 0.5 <= rows.high_mm.max() + 9.0 <= u[-2]


def test_rows_beyond_the_profile_leave_nothing():
    blurry = np.ones((2, 3), np.float32)
    profile = ndtr(np.arange(-4000, 4001) / 500)
    blur_rows(
        np.array([0.0, 1.0]),
        np.array([0.0]),
        np.array([1.0]),
        np.array([40.0, 50]),
        np.arange(3.0),
        profile,
        500.0,
        blurry,
    )
    assert not blurry.any()


def test_fields_side_by_side_are_each_of_them():
    rng = np.random.default_rng(6)
    fields = [
        BlurredField(rng.random((n, m, 2)).astype(np.float32), np.array(first), 0.5)
        for n, m, first in ((7, 9, (-3, -4)), (5, 12, (-2, -6)))
    ]
    maps, origin, step = side_by_side(fields)
    np.testing.assert_array_equal(origin, [-1.5, -3.0])
    assert step == 0.5
    np.testing.assert_array_equal(maps[:7, 2:11, :, 0], fields[0].maps)
    np.testing.assert_array_equal(maps[1:6, :12, :, 1], fields[1].maps)
    assert maps.sum() == pytest.approx(sum(f.maps.sum() for f in fields), rel=1e-5)


def test_outermost_points_are_the_extremes_of_each_part():
    rng = np.random.default_rng(7)
    u, v = rng.normal(0, 5, 400), rng.uniform(0, 10, 400)
    start = np.array([v.min(), 2.0, 3.0, 3.001, 7.5])
    low, high = np.empty((2, 5, 2))
    outermost(u, v, start, low, high)
    part = np.searchsorted(start, v, side="right") - 1
    for i in range(5):
        own = np.flatnonzero(part == i)
        if not len(own):
            assert np.isnan(low[i]).all()
            assert np.isnan(high[i]).all()
            continue
        for found, index in ((low, own[u[own].argmin()]), (high, own[u[own].argmax()])):
            np.testing.assert_array_equal(found[i], (v[index], u[index]))


def test_a_plan_is_the_same_whichever_margins_are_made_with_it():
    case = case_with(Sphere((5, -6, 7), 8.0), cylinder(lung_slab_mm=(-70, -10)))
    target = planning_target(case.gtv.region, STILL)
    model = ConformalArc(dose_grid_mm=3.0)
    together = model.plans([Order(case, target, equal(m), RX) for m in (6.0, 0.0, 3.0)], map)
    for plan, margin in zip(together, (6.0, 0.0, 3.0), strict=True):
        alone = model.plan(Order(case, target, equal(margin), RX))
        np.testing.assert_array_equal(plan.dose.on_grid(plan.grid), alone.dose.on_grid(alone.grid))
        assert plan.quality == alone.quality


def test_ray_tracing_is_its_numpy_twin():
    rng = np.random.default_rng(2)
    grid = Grid((-50.0, -40.0, -30.0), (4.0, 5.0, 6.0), (11, 17, 25))
    density = rng.uniform(0, 2, grid.shape).astype(np.float32)
    beam = Beam.at(np.zeros(3), 70, 10, 1.0)
    origin, step = np.array([-10.0, -12, 930]), np.array([5.0, 6, 2])
    depth = np.empty((5, 5, 70), np.float32)
    radiological_depths(
        density, np.array(grid.origin_mm), np.array(grid.spacing_mm), *beam.geometry, origin, step, depth
    )
    v, u, w = np.meshgrid(
        *(o + s * np.arange(n) for o, s, n in zip(origin, step, depth.shape, strict=True)), indexing="ij"
    )
    rays = np.stack([u / SAD_MM, v / SAD_MM, np.ones_like(w)], axis=-1) @ beam.axes
    points = beam.source_mm + w[..., None] * rays
    index = np.moveaxis(grid.index_zyx(points), -1, 0)
    inside = np.all((index >= 0) & (index <= np.array(grid.shape)[:, None, None, None] - 1), axis=0)
    local = np.where(inside, map_coordinates(density.astype(float), index, order=1, mode="nearest"), 0)
    before = np.concatenate([np.zeros_like(local[..., :1]), local[..., :-1]], axis=-1)
    truth = np.cumsum(0.5 * (before + local), axis=-1) * 2 * np.linalg.norm(rays, axis=-1)
    np.testing.assert_allclose(depth, truth, atol=1e-3)


@pytest.fixture(scope="module")
def sphere_plan():
    return planned(ConformalArc(), case_with(Sphere((0, 0, 0), 10.0)), 3.0)


def test_ninety_five_percent_of_the_ptv_gets_the_prescription(sphere_plan):
    assert hottest_gy(*ptv_doses(sphere_plan.dose, sphere_plan.ptv), 95) == pytest.approx(50, rel=1e-3)
    assert sphere_plan.quality.ptv_d95_gy == pytest.approx(50, rel=1e-3)


def test_a_symmetric_phantom_gets_a_symmetric_dose(sphere_plan):
    points = np.random.default_rng(4).uniform(-45, 45, (2000, 3))
    gy = sphere_plan.dose.at(points)
    for axis in range(3):
        mirrored = points * np.where(np.arange(3) == axis, -1, 1)
        assert np.abs(sphere_plan.dose.at(mirrored) - gy).max() < 0.25


@pytest.mark.parametrize("isodose", [65.0, 80.0, 90.0])
def test_auto_block_margin_gives_the_prescription_isodose(isodose):
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=isodose)
    plan = planned(ConformalArc(), case_with(Sphere((20.0, -10.0, 5.0), 10.0)), 3.0, rx)
    assert plan.quality.max_gy == pytest.approx(rx.highest_gy, rel=4e-3)
    assert plan.quality.isodose_percent == pytest.approx(isodose, rel=4e-3)


def test_a_wider_aperture_is_more_homogeneous():
    case = case_with(Sphere((0, 0, 0), 10.0))
    tight, wide = (planned(ConformalArc(block_margin_mm=m), case).quality for m in (0.0, 4.0))
    assert tight.isodose_percent < wide.isodose_percent - 5
    assert tight.r100 == pytest.approx(wide.r100, abs=0.1)


def test_an_impossible_isodose_is_explained():
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=100)
    with pytest.raises(ConfigError, match=r"100 % cannot be had for a PTV of 1\.8 cc, the nearest is 99\."):
        planned(ConformalArc(), case_with(Sphere((0, 0, 0), 7.5)), 0.0, rx)


def test_a_ptv_outside_the_image_is_an_error():
    with pytest.raises(CaseError, match="reaches beyond the density grid"):
        planned(ConformalArc(), case_with(Sphere((0, 0, 136.0), 7.5)))


@pytest.mark.parametrize(("radius", "margin"), [(7.5, 0.0), (7.5, 5.0), (15.0, 3.0), (15.0, 8.0)])
def test_default_plans_meet_rtog(radius, margin):
    quality = planned(ConformalArc(), case_with(Sphere((12.0, -20.0, 3.0), radius)), margin).quality
    assert quality.r100 <= 1.2
    assert quality.r50_deviation in ("none", "minor")
    assert quality.d2cm_deviation in ("none", "minor")


def test_default_plan_of_an_itv_meets_rtog():
    path = np.array([[0, 0, -6.0], [0, 1.0, 6.0]])
    quality = planned(ConformalArc(), case_with(Sphere((0, 0, 0), 10.0)), 5.0, path=path).quality
    assert quality.r100 <= 1.2
    assert quality.r50_deviation in ("none", "minor")
    assert quality.d2cm_deviation in ("none", "minor")


def test_r50_in_lung_is_below_that_of_delivered_plans():
    """Delivered lung plans average R50 4.4 (0.8) and R100 1.03 (0.07) (Yaparpalvi 2018, PMC5965485), with leaves of 5 mm,
    leakage and organs to spare; with the penumbra of Monte Carlo a bare conformal arc is tighter by more than one SD."""
    density = cylinder(lung_slab_mm=(-80, 80))
    tumour = np.linalg.norm(density.grid.nodes_mm(), axis=-1) <= 15
    density = Volume(density.grid, np.where(tumour, 1.0, density.values).astype(np.float32))
    lung = planned(ConformalArc(), case_with(Sphere((0, 0, 0), 15.0), density), 3.0).quality
    water = planned(ConformalArc(), case_with(Sphere((0, 0, 0), 15.0)), 3.0).quality
    assert lung.r50_deviation == "none"
    assert water.r50 < lung.r50 < 4.4 - 0.8
    assert abs(lung.r100 - 1.03) < 0.1


PHANTOMS = {
    "mediastinal": MediastinalPhantom(),
    "abdominal": AbdominalPhantom(),
    "pelvic": PelvicPhantom(),
    "sphere": SpherePhantom(),
}


BY_DAY = (("mediastinal", 65.0), ("pelvic", 65.0), ("abdominal", 80.0), ("sphere", 80.0))


@pytest.mark.parametrize(
    ("phantom", "isodose", "d99"),
    [
        pytest.param(phantom, isodose, d99, marks=() if (phantom, isodose) in BY_DAY else pytest.mark.nightly)
        for phantom in PHANTOMS
        for isodose, d99 in ((65.0, 0.94), (80.0, 0.95))
    ],
)
def test_the_ends_of_the_ptv_along_the_rotation_axis_are_covered(phantom, isodose, d99):
    """RTOG wants 99 % of the PTV at 90 % of the prescription; steeper doses (a lower isodose) have lower D99%."""
    case = PHANTOMS[phantom].build()
    target = planning_target(case.gtv.region, STILL)
    rx = Prescription(dose_gy=50, fractions=5, isodose_percent=isodose)
    for plan in ConformalArc().plans([Order(case, target, equal(m), rx) for m in (3.0, 5.0, 8.0)], map):
        quality = plan.quality
        assert quality.ptv_v90_percent >= 99.5
        assert quality.v90_deviation == "none"
        assert quality.ptv_d99_gy >= d99 * rx.dose_gy
        assert quality.r100 <= 1.1
        height = plan.ptv.surface_mm[:, 2] - plan.ptv.centroid_mm[2]
        dose = plan.dose.at(plan.ptv.surface_mm)
        ends, sides = (dose[np.abs(height) >= 0.85 * height.max()], dose[np.abs(height) <= 0.3 * height.max()])
        assert ends.mean() == pytest.approx(sides.mean(), rel=0.03)


def test_non_coplanar_beams_reach_beyond_the_axial_slab():
    model = ConformalArc.model_validate({"arcs": [{"start_deg": 30, "stop_deg": 60, "couch_deg": 60}]})
    plan = planned(model, case_with(Sphere((0, 0, 0), 10.0)))
    away = plan.grid.nodes_mm()[plan.dose.on_grid(plan.grid) > 25]
    assert np.abs(away[:, 2]).max() > 40


def test_delivery_to_a_displaced_patient():
    """In the plan's own density the dose is the plan's; in water moved along the beam it changes by exp(-mu d)."""
    case = case_with(WIDE)
    plan = planned(single_beam(), case)
    points = np.array([[0, 0.0, 0], [5.0, 20, -5]])
    np.testing.assert_allclose(plan.delivery.dose(case.density).at(points), plan.dose.at(points), rtol=1e-6)
    grid = case.density.grid
    x, y, z = grid.origin_mm
    moved = Volume(Grid((x, y - 6.0, z), grid.spacing_mm, grid.shape), case.density.values)
    np.testing.assert_allclose(
        plan.delivery.dose(moved).at(points) / plan.dose.at(points), np.exp(-0.0047 * 6), rtol=2e-3
    )
