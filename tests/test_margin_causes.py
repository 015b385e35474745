"""Required margins along one axis and the difference to recipes by cause, where closed forms know them."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import chi, ncx2
from test_sphere_truth import rows, sphere_study

import simulator
from simulator.answers.margin_causes import CAUSES
from simulator.kernels.edges import distances_from_ellipsoid, margins_needed
from simulator.plan.penumbra import EllipsoidalDose
from simulator.population.edge_model import PLANE_MM, Edge, blurred_plane_mm, gaussian_margin_mm, margins_of_shifts
from simulator.population.required_margin import (
    Chain,
    falls_along,
    interpolation_error,
    margin_of_courses,
    required_margin,
)
from simulator.study_file.schema import StudyConfig

ISOTROPIC = Chain(np.array([3.0, 6, 9]), np.repeat([[3.0], [6], [9]], 6, axis=1))


def edge(isodose, sd_mm):
    """A Gaussian penumbra whose isodose (share of the plateau) lies on the PTV's surface."""
    depth = np.arange(-40, 40, 0.25)
    return Edge.of_profile(depth, ndtr(depth / sd_mm + ndtri(isodose))[None, None], isodose, 1.0)


def test_a_chain_grows_by_its_fastest_side():
    assert Chain(np.array([1.0, 3]), np.repeat([[1.0, 2, 3], [3, 6, 9]], 2, axis=1)).growth == 3


@pytest.mark.parametrize(("n_margins", "least"), [(2, 6), (3, 7)])
def test_a_larger_margin_falls_where_it_loses_courses_beyond_chance(n_margins, least):
    """Of n courses that only the smaller one meets, chance makes all with 2^-n, which has to be below 2.5 % over the pairs."""
    for n_lost in (least - 1, least):
        met = np.ones((n_margins, 100))
        met[-1, :n_lost] = -1
        excess = 0.5 * met
        assert falls_along([excess, np.abs(excess)]) == (n_lost == least)
        assert not falls_along([excess[::-1]])


def test_distance_from_an_ellipsoid_is_the_smallest_over_its_surface():
    rng, side = np.random.default_rng(0), np.array([3.0, 5, 4, 4, 8, 2])
    points = rng.normal(0, 12, (40, 3))
    direction = rng.standard_normal((400_000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    surface = direction * side.reshape(3, 2)[np.arange(3), (direction > 0).astype(int)]
    found = np.empty(len(points))
    distances_from_ellipsoid(points, side, found)
    octant = side.reshape(3, 2)[np.arange(3), (points > 0).astype(int)]
    for point, distance, axes in zip(points, found, octant, strict=True):
        inside = np.square(point / axes).sum() <= 1
        expected = 0.0 if inside else np.linalg.norm(surface - point, axis=1).min()
        assert distance == pytest.approx(expected, abs=0.03)
    flat = np.empty(2)
    distances_from_ellipsoid(np.array([[0.0, 0, 5], [3.0, 4, 0]]), np.array([0.0, 0, 0, 0, 2, 2]), flat)
    assert flat == pytest.approx([3, 5])


@pytest.mark.parametrize("sides", [ISOTROPIC.sides_mm, np.array([[2, 2, 3, 3, 3, 3], [2, 2, 3, 3, 9, 6.0]])])
def test_the_margin_of_a_point_is_where_its_dose_reaches_the_level(sides):
    rng = np.random.default_rng(3)
    chain, radius, one = Chain.of(np.asarray(sides, float)), 12.0, edge(0.9, 4.0)
    shift, weight = rng.normal((0, 0, 5), (0.7, 0.7, 2), (4, 3, 3)), rng.dirichlet(np.ones(3), 4)
    points, path = radius * np.array([[0, 0, 1], [0.6, 0, 0.8], [0.0, 0.28, 0.96]]), np.array([[0.0, 0, -1], [0, 0, 1]])
    frame = np.repeat(np.eye(3)[None], 4, axis=0)
    needed = margins_needed(one.table, shift, weight, frame, points, path, radius, chain.size_mm, chain.sides_mm)
    n_found = 0
    for c in range(4):
        for p in range(3):
            at = points[p] + shift[c]
            nearest = np.stack([np.zeros(3), np.zeros(3), np.clip(at[:, 2], -1, 1)], axis=1)
            distance = np.empty(3)
            if not chain.size_mm[0] - 29 < needed[c, p] < chain.size_mm[-1] + 59:
                continue  # no margin along this chain does it
            n_found += 1
            distances_from_ellipsoid(at - nearest, np.maximum(chain.sides_at(needed[c, p]), 0), distance)
            if chain.is_isotropic:
                distance = np.linalg.norm(at - nearest, axis=1) - needed[c, p]
            dose = weight[c] @ ndtr((radius - distance) / 4 + ndtri(0.9))
            assert dose == pytest.approx(0.9, abs=2e-4)
    assert n_found >= 4


def test_the_margin_of_a_point_does_not_depend_on_the_points_before_it():
    rng, chain = np.random.default_rng(5), Chain.of(np.array([[2.0, 2, 3, 3, 3, 3], [2, 2, 3, 3, 9, 6]]))
    shift, weight, frame = rng.normal(0, 3, (20, 3, 3)), np.full((20, 3), 1 / 3), np.repeat(np.eye(3)[None], 20, axis=0)
    points = rng.normal(size=(40, 3))
    points *= 12 / np.linalg.norm(points, axis=1, keepdims=True)

    def needed(some):
        path = np.zeros((1, 3))
        return margins_needed(
            edge(0.9, 4.0).table, shift, weight, frame, some, path, 12.0, chain.size_mm, chain.sides_mm
        )

    forwards, backwards = needed(points), needed(points[::-1].copy())[:, ::-1]
    is_met = np.abs(forwards - 6) < 30
    assert 0.1 < is_met.mean() < 0.9  # others need no margin, or more than there is
    np.testing.assert_allclose(backwards[is_met], forwards[is_met], atol=5e-3)


@pytest.mark.parametrize("fractions", ["1", pytest.param("3", marks=pytest.mark.nightly), "5"])
def test_gaussian_margins_of_a_sphere_are_those_of_quadrature(fractions, reference_folder):
    for row in rows(reference_folder / "validation_truth.csv", section="S1d", N_fractions=fractions):
        isodose, systematic, random = (float(row[k]) for k in ("isodose_at_PTV_edge", "Sigma_mm", "sigma_mm"))
        one, sds = edge(isodose, float(row["sigma_p_mm"])), (np.full(3, systematic), np.full(3, random))
        found = gaussian_margin_mm(one, ISOTROPIC, *sds, int(fractions), 0.9, float(row["R_mm"]), 100)
        assert found == pytest.approx(float(row["value"]), abs=0.02 + 0.03 * np.hypot(systematic, random))


def test_the_share_of_courses_that_a_margin_covers_is_that_of_quadrature(reference_folder):
    for row in rows(reference_folder / "sphere_truth.csv", case="A_conventional", fractions="1"):
        size = chi.ppf((np.arange(2000) + 0.5) / 2000, 3)
        shift = size[:, None, None] * np.sqrt(8) * np.array([0.48, 0.6, 0.64])
        wanted = margins_of_shifts(edge(0.95, 3.2), ISOTROPIC, shift, np.ones((2000, 1)), np.zeros((1, 3)), 15.0, 98.0)
        assert (wanted <= float(row["margin_mm"])).mean() == pytest.approx(float(row["p_d98_ge_95"]), abs=0.003)


def test_a_blurred_plane_needs_the_margin_of_van_herk():
    systematic, random = np.full(3, 2.0), np.full(3, 2.0)
    one = edge(0.95, 3.2)
    assert one.formula_mm(systematic, random, 0.9) == pytest.approx([5.944] * 3, abs=1e-3)
    assert blurred_plane_mm(one, ISOTROPIC, systematic, random, 0.9) == pytest.approx(5.944, abs=0.01)
    in_proportion = Chain(np.array([1.0, 3]), np.repeat([[1.0, 2, 3], [3, 6, 9]], 2, axis=1))
    unequal = blurred_plane_mm(one, in_proportion, np.array([0.5, 1, 1.5]), np.zeros(3), 0.9)
    assert unequal == pytest.approx(0.5 * chi.ppf(0.9, 3), abs=0.01)


def run(courses, goal="GTV Dmin >= 95%", **changes):
    parameters = {"radius_mm": 15, "penumbra_sd_mm": 3.2, "isodose_percent": 95.0, "systematic_mm": 2.0, "random_mm": 0.0,
                  "margins_mm": (3, 5, 7, 9), "fractions": 1, "max_points": 1000} | changes  # fmt: skip
    study = sphere_study(**parameters).model_dump() | {"decision": {"target_goals": [goal]}, "courses": courses}
    return simulator.run(StudyConfig.model_validate(study))["margins"].to_dataset().isel(series=0)


def covered(systematic_mm, margin_mm, axial_mm):
    """P(a Gaussian displacement lies in an ellipsoid), LR and AP alike: with a convex PTV, that the minimum dose is kept."""
    within = lambda z: -np.expm1(-(margin_mm**2) * (1 - (z / axial_mm) ** 2) / (2 * systematic_mm[0] ** 2))  # noqa: E731
    density = lambda z: np.exp(-((z / systematic_mm[2]) ** 2) / 2) / (systematic_mm[2] * np.sqrt(2 * np.pi))  # noqa: E731
    return 2 * quad(lambda z: within(z) * density(z), 0, axial_mm)[0]


@pytest.mark.nightly
def test_the_margin_required_along_one_axis_is_that_of_quadrature():
    """Errors of 1, 1 and 2 mm; 4 mm on LR and AP, candidates along SI: (4, 4, m)."""
    systematic = (1.0, 1.0, 2.0)
    truth = brentq(lambda m: covered(systematic, 4.0, m) - 0.9, 3, 9)
    found = run(600, systematic_mm=systematic, margins_mm=tuple((4, 4, m) for m in (3, 4, 5)))
    low, at, high = (found[key].values for key in ("low_mm", "required_mm", "high_mm"))
    np.testing.assert_array_equal(at[:4], 4)
    error = float(found["interpolation_mm"])
    assert low[4] - error - 0.02 <= truth <= high[4] + error + 0.02
    assert high[4] - low[4] < 1
    assert np.isnan(found["cause_mm"].sel(direction="left")).all()
    causes = found["cause_mm"].sel(direction="superior", recipe="van Herk")
    assert float(causes.sel(cause="one margin for several axes")) == pytest.approx(truth - 5.0, abs=0.05)


@pytest.mark.nightly
def test_the_difference_to_each_recipe_is_the_sum_of_its_causes(reference_folder):
    """Five fractions: quadrature knows the margin for the plane, the sphere and the recipes."""
    found = run(1000, random_mm=2.0, fractions=5, margins_mm=(5, 6, 7, 8))
    difference = found["required_mm"] - found["recipe_mm"]
    np.testing.assert_allclose(found["cause_mm"].sum("cause"), difference.transpose("recipe", "direction"), atol=1e-9)
    causes = found["cause_mm"].isel(direction=4)
    truth = rows(reference_folder / "validation_truth.csv", section="S1d", N_fractions="5", Sigma_mm="2.0",
                 sigma_mm="2.0", R_mm="15", sigma_p_mm="3.2", isodose_at_PTV_edge="0.95")[0]  # fmt: skip
    known = causes.isel(cause=slice(0, 4)).sum("cause") + found["recipe_mm"].isel(direction=4)
    assert known.values == pytest.approx([float(truth["value"])] * 4, abs=0.06)
    herk, finite, stroom = (
        causes.sel(recipe=r) for r in ("van Herk", "finite fractions, isodose of the plan", "Stroom")
    )
    assert float(herk.sel(cause="factors and dose edge")) == pytest.approx(0, abs=0.01)
    assert float(stroom.sel(cause="factors and dose edge")) == pytest.approx(5.944 - 5.4, abs=0.01)
    assert float(finite.sel(cause="finite fractions")) == pytest.approx(6.44 - 6.24, abs=0.06)
    assert 0.05 < float(herk.sel(cause="round target")) < 4 / (15 + 6)  # sigma^2 / (R + M) for infinitely many
    for cause in ("part of the volume", "mean shifts"):
        np.testing.assert_array_equal(causes.sel(cause=cause), 0)
    assert abs(float(causes.sel(cause="shape of the dose edge")[0])) < 0.01
    limit = float(found["interpolation_mm"]) + 0.05
    assert np.all(np.abs(causes.sel(cause="not explained by these")) < limit)
    noise = float((found["high_mm"] - found["low_mm"])[4])
    assert np.all(np.abs(causes.sel(cause="errors as delivered")) < noise)


@pytest.mark.nightly
def test_what_a_mean_shift_costs_is_that_of_the_noncentral_law():
    study = sphere_study(radius_mm=15, penumbra_sd_mm=3.2, isodose_percent=95.0, systematic_mm=1.5, random_mm=0.0,
                         margins_mm=(4, 5, 6, 7), fractions=1, max_points=1000)  # fmt: skip
    moved = {"setup": {"systematic_mm": 1.5, "mean_mm": [0, 1.2, -1.6]}}
    study = study.model_dump() | {
        "uncertainty": moved,
        "decision": {"target_goals": ["GTV Dmin >= 95%"]},
        "courses": 1500,
    }
    found = simulator.run(StudyConfig.model_validate(study))["margins"].to_dataset().isel(series=0, direction=0)
    with_mean = brentq(lambda m: ncx2.cdf((m / 1.5) ** 2, 3, (2 / 1.5) ** 2) - 0.9, 2, 12)
    causes = found["cause_mm"].sel(recipe="van Herk")
    half = float(found["high_mm"] - found["low_mm"]) / 2
    assert float(causes.sel(cause="mean shifts")) == pytest.approx(with_mean - 1.5 * chi.ppf(0.9, 3), abs=half)
    assert abs(float(causes.sel(cause="not explained by these"))) < float(found["interpolation_mm"]) + 0.05


@pytest.mark.nightly
def test_a_plan_that_gives_the_wanted_dose_beyond_its_ptv_needs_less():
    """The prescription at 80 % on the PTV's surface, 95 % of it wanted."""
    found = run(1000, isodose_percent=80.0, margins_mm=(2, 3.5, 5, 6.5), goal="GTV Dmin >= 95%")
    causes = found["cause_mm"].isel(direction=0).sel(recipe="van Herk, isodose of the plan")
    granted = 3.2 * (ndtri(0.8) - ndtri(0.76))
    assert float(causes.sel(cause="factors and dose edge")) == pytest.approx(-granted, abs=0.02)
    assert abs(float(causes.sel(cause="not explained by these"))) < float(found["interpolation_mm"]) + 0.05


@pytest.mark.nightly
def test_goals_that_the_model_cannot_express_are_left_unexplained():
    found = run(40, goal="GTV Dmean >= 99%", margins_mm=(0, 3))
    assert list(found["cause"].values) == list(CAUSES)
    assert Chain.of(np.array([[4.0, 4, 4, 4, 3, 3], [4.0, 4, 4, 4, 4, 4]])).growth == 0.5  # placed by the sum of sides
    assert np.isnan(found["cause_mm"]).all()


def test_leaving_a_candidate_out_bounds_the_interpolation_error():
    rng = np.random.default_rng(2)
    place = rng.normal(4, 1.5, 800)
    dose = lambda m: ndtr((m[:, None] - place) / 4 + 1.0) - 0.95  # noqa: E731
    fine, coarse = np.arange(0, 16.1, 0.25), np.array([0.0, 4, 8, 12, 16])
    exact = required_margin(margin_of_courses(dose(fine), fine), 0.9).at
    found = required_margin(margin_of_courses(dose(coarse), coarse), 0.9).at
    bound = interpolation_error([dose(coarse)], coarse, 0.9)
    assert 0 < abs(found - exact) < bound < 1
    assert np.isnan(interpolation_error([dose(coarse[[1, 4]])], coarse[[1, 4]], 0.9))


def test_the_ellipsoidal_dose_is_the_radial_one_where_all_sides_are_alike():
    dose = EllipsoidalDose((1.0, 2, 3), np.full(6, 4.0), 15.0, 3.2, 50.0)
    points = np.random.default_rng(4).normal((1, 2, 3), 10, (200, 3))
    radius = np.linalg.norm(points - [1, 2, 3], axis=1)
    outside = radius > 4
    np.testing.assert_allclose(dose.at(points)[outside], 50 * ndtr((19 - radius[outside]) / 3.2), rtol=1e-9)


def test_a_dose_edge_that_is_nearer_in_one_direction_asks_for_more_margin_there():
    """Displacements along +z alone; the dose ends 2 mm earlier above the target than below it."""
    depth = np.arange(-40, 40, 0.25)
    below, above = (ndtr((depth - late) / 3.2 + ndtri(0.95)) for late in (0.0, 2.0))
    uneven = Edge.of_profile(depth, np.stack([below, above])[:, None], 0.95, 1.0)
    for sign, more in ((-1, 0.0), (1, 2.0)):
        shift = sign * np.array([[[0, 0, 4.0]]])
        found = margins_of_shifts(uneven, ISOTROPIC, shift, np.ones((1, 1)), np.zeros((1, 3)), 15.0, 100)
        assert found == pytest.approx([4 + more], abs=0.01)


def test_a_very_large_ball_is_a_plane():
    sds = np.full(3, 1.0), np.full(3, 2.0)
    one_fraction = gaussian_margin_mm(edge(0.95, 3.2), ISOTROPIC, *sds, 1, 0.9, PLANE_MM, 100)
    assert one_fraction == pytest.approx(np.sqrt(5) * chi.ppf(0.9, 3), abs=0.02)
