"""Margins against published recipes; strategies that meet the same patients."""

import numpy as np
import pytest
from drawing import drawn, strategy

from simulator.problem.preparation import prepare
from simulator.sampling.courses import draw_courses
from simulator.sampling.streams import Draws
from simulator.strategy.guidance import NoActionLevel, NoGuidance, OnlineBone, OnlineTarget
from simulator.strategy.margin import (
    AsymmetricMargin,
    FiniteFractionMargin,
    FixedMargin,
    Spread,
    StroomMargin,
    VanHerkMargin,
)
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty import OrganMotion, Respiration, Setup, Uncertainty


def equal_spread(systematic, random, n_fractions=1):
    return Spread(np.full(3, float(systematic)), np.full(3, float(random)), n_fractions)


@pytest.mark.parametrize(
    ("sigma_penumbra", "isodose", "both", "expected"),
    [(3.2, 95, 1, 2.751), (3.2, 95, 2, 5.944), (3.2, 95, 3, 9.452), (3.2, 80, 1, 2.628)],
)
def test_van_herk_margin_is_the_published_recipe(sigma_penumbra, isodose, both, expected):
    margin = VanHerkMargin(isodose_percent=isodose, penumbra_sd_mm=sigma_penumbra).margin(equal_spread(both, both))
    np.testing.assert_allclose(margin, expected, atol=1.1e-3)


@pytest.mark.parametrize(("coverage", "alpha"), [(80, 2.1544), (90, 2.5003), (95, 2.7955), (99, 3.3682)])
def test_alpha_is_the_chi_quantile(coverage, alpha):
    margin = VanHerkMargin(coverage_percent=coverage).margin(equal_spread(1, 0))
    np.testing.assert_allclose(margin, alpha, atol=5e-5)


@pytest.mark.parametrize(
    ("fractions", "systematic", "random", "penumbra", "isodose", "expected"),
    [(1, 2, 2, 3.2, 95, 7.07), (3, 2, 2, 3.2, 95, 6.42), (5, 2, 2, 3.2, 95, 6.24), (5, 1, 2, 3.2, 95, 4.12),
     (5, 0.5, 3, 3.2, 95, 5.19), (3, 1, 1, 6.4, 80, 2.93), (10, 2, 2, 6.4, 80, 5.48)],
)  # fmt: skip
def test_finite_fraction_margins_are_the_tabulated_ones(fractions, systematic, random, penumbra, isodose, expected):
    """Values of the effective-Σ formula in the reference table of required margins."""
    recipe = FiniteFractionMargin(isodose_percent=isodose, penumbra_sd_mm=penumbra)
    np.testing.assert_allclose(recipe.margin(equal_spread(systematic, random, fractions)), expected, atol=0.0051)


def test_stroom_margin_is_two_sigma_and_seven_tenths():
    np.testing.assert_allclose(StroomMargin().margin(equal_spread(2, 3)), 2 * 2 + 0.7 * 3)


def test_mid_ventilation_margins_of_the_worked_example():
    """80 % isodose in lung, Σ = 0.4, 2.0 and 1.0 mm together, σ = 1 mm: 5.74 mm without motion, 8.44 mm at 20 mm."""
    systematic = np.sqrt(0.4**2 + 2.0**2 + 1.0**2)
    recipe = VanHerkMargin(isodose_percent=80, penumbra_sd_mm=6.4)
    for amplitude, expected in ((0, 5.74), (10, 6.53), (20, 8.44), (30, 10.88)):
        margin = recipe.margin(equal_spread(systematic, np.hypot(1.0, 0.36 * amplitude)))
        np.testing.assert_allclose(margin, expected, atol=0.02)  # the example rounds α to 2.5 and β to 0.84


def test_recipes_take_the_penumbra_of_water_where_none_is_said():
    """3.2 mm (van Herk 2000)."""
    errors = equal_spread(2, 3)
    np.testing.assert_array_equal(VanHerkMargin().margin(errors), VanHerkMargin(penumbra_sd_mm=3.2).margin(errors))


def test_what_a_strategy_says_of_itself():
    for prv_mm, said in ((0, None), (3, "3 mm")):
        assert strategy().model_copy(update={"prv_mm": prv_mm}).summary().get("PRV") == said


def test_fixed_margin_per_axis_and_per_direction():
    margin = FixedMargin(margin_mm=(3, 4, 5))
    np.testing.assert_array_equal(margin.margin(equal_spread(1, 1)), [3, 4, 5])
    np.testing.assert_array_equal(margin.directions(equal_spread(1, 1)), [[3, 3], [4, 4], [5, 5]])
    assert margin.label() == "3/4/5 mm"
    assert FixedMargin(margin_mm=5).label() == "5 mm"
    six = AsymmetricMargin(right_mm=1, left_mm=2, anterior_mm=3, posterior_mm=4, inferior_mm=5, superior_mm=6)
    np.testing.assert_array_equal(six.directions(equal_spread(1, 1)), [[1, 2], [3, 4], [5, 6]])
    assert six.label() == "R1 L2 A3 P4 I5 S6 mm"
    alike = AsymmetricMargin(right_mm=3, left_mm=3, anterior_mm=4, posterior_mm=4, inferior_mm=5, superior_mm=5)
    assert alike.label() == "3/4/5 mm"


@pytest.mark.parametrize(
    ("guidance", "systematic", "random"),
    [(NoGuidance(), 2.0, 3.0), (OnlineBone(match_mm=1), 0.0, 1.0), (OnlineTarget(match_mm=1, couch_mm=1), 0.0, 2**0.5)],
)
def test_what_guidance_leaves_for_the_margin(guidance, systematic, random):
    left = guidance.residual(equal_spread(2, 3), equal_spread(0, 0))
    np.testing.assert_allclose(left.systematic_mm, systematic)
    np.testing.assert_allclose(left.random_mm, random)


def test_every_strategy_meets_the_same_patients_whoever_else_is_drawn():
    uncertainty = Uncertainty(setup=Setup(random_mm=2), respiration=Respiration(amplitude_mm=6))
    first, place = drawn(uncertainty, n_courses=8, n_fractions=5)
    again = draw_courses(place, Draws(1, 4, 4))
    np.testing.assert_array_equal(first.patient_mm[4:], again.patient_mm)
    np.testing.assert_array_equal(first.breathing.displacement_mm("GTV")[4:], again.breathing.displacement_mm("GTV"))
    moving = {"Bladder": OrganMotion(random_mm=3), "SpinalCord": OrganMotion(random_mm=1)}
    more, _ = drawn(uncertainty.model_copy(update={"organs": moving}), n_courses=8, n_fractions=5)
    alone, _ = drawn(
        uncertainty.model_copy(update={"organs": {"Bladder": moving["Bladder"]}}), n_courses=8, n_fractions=5
    )
    np.testing.assert_array_equal(first.patient_mm, more.patient_mm)
    np.testing.assert_array_equal(more.organs["Bladder"].shift_mm, alone.organs["Bladder"].shift_mm)


ALL_SOURCES = {
    "setup": {"systematic_mm": 3, "random_mm": 2},
    "baseline": {"systematic_mm": 1.5, "random_mm": 1.2, "after_imaging_sd_mm": 0.7},
    "registration": {"systematic_mm": 0.8},
    "delineation": {"sd_mm": 0.9},
    "isocentre": {"systematic_mm": 0.4},
}
RECIPES = ["van-herk", "finite-fraction", "stroom"]


def margins_mm(uncertainty, motion="none", guidance="none", recipes=RECIPES):
    """Margins (recipe, axis) of candidates in five fractions, penumbra 3.2 mm."""
    study = StudyConfig.model_validate(
        {
            "name": "sources",
            "case": {"phantom": "sphere", "radius_mm": 8},
            "prescription": {"dose_gy": 50, "fractions": 5},
            "plan": {"model": "penumbra", "penumbra_sd_mm": 3.2},
            "uncertainty": uncertainty,
            "strategies": {"margins_mm": recipes, "motion": [motion], "guidance": [guidance]},
            "goals": ["GTV D98% >= 95%"],
            "numerics": {"max_points": 1000},
        }
    )
    six = np.array([request.ptvs[0].margin_mm for request in prepare(study).requests])
    np.testing.assert_array_equal(six[:, ::2], six[:, 1::2])
    return six[:, ::2]


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [
        ("online-bone", (5.618, 5.843, 5.128)),  # Σ² = 1.5² + 0.8² + 0.9² + 0.4², σ² = 1² + 1.2² + 0.7²
        ("online-target", (3.542, 3.752, 3.392)),  # Σ² = 0.8² + 0.9² + 0.4², σ² = 1² + 0.7²
        ({"kind": "online-bone", "match_mm": 0.87}, (5.563, 5.769, 5.077)),  # σ² = 0.87² + 1.2² + 0.7²
        ({"kind": "online-target", "match_mm": 0.87}, (3.484, 3.660, 3.319)),  # σ² = 0.87² + 0.7²
        ("none", (10.317, 10.474, 8.877)),  # Σ² = 3² + 1.5² + 0.8² + 0.9² + 0.4², σ² = 2² + 1.2² + 0.7²
    ],
)
def test_recipes_cover_every_source_that_guidance_leaves(guidance, expected):
    """α = 2.5003, β = 1.6449: α Σ + β (sqrt(σ² + 3.2²) - 3.2), the same with Σ² + σ²/5 and 4 σ²/5, and 2 Σ + 0.7 σ."""
    margin = margins_mm(ALL_SOURCES, guidance=guidance)
    np.testing.assert_allclose(margin, np.repeat(np.array(expected)[:, None], 3, axis=1), atol=1.1e-3)


def test_what_stays_of_the_shift_after_imaging_is_systematic():
    """Stroom's 2 Σ + 0.7 σ after a match on the target: Σ = 0.7, σ² = 1² + 0.5²."""
    shift = {"baseline": {"after_imaging_systematic_mm": 0.7, "after_imaging_sd_mm": 0.5}}
    margin = margins_mm(shift, guidance="online-target", recipes=["stroom"])[0]
    np.testing.assert_allclose(margin, 1.4 + 0.7 * np.hypot(1, 0.5), atol=6e-4)


@pytest.mark.parametrize(
    ("left_out", "systematic_squared", "random_squared"),
    [
        ("setup", 2.25 + 0.64 + 0.81 + 0.16, 1.0 + 1.44 + 0.49),
        ("baseline", 0.64 + 0.81 + 0.16, 1.0),
        ("registration", 2.25 + 0.81 + 0.16, 1.0 + 1.44 + 0.49),
        ("delineation", 2.25 + 0.64 + 0.16, 1.0 + 1.44 + 0.49),
        ("isocentre", 2.25 + 0.64 + 0.81, 1.0 + 1.44 + 0.49),
    ],
)
def test_each_source_has_its_part_of_the_margin(left_out, systematic_squared, random_squared):
    """Stroom's 2 Σ + 0.7 σ after a match on bone, which takes setup off."""
    some = {name: source for name, source in ALL_SOURCES.items() if name != left_out}
    expected = 2 * np.sqrt(systematic_squared) + 0.7 * np.sqrt(random_squared)
    np.testing.assert_allclose(margins_mm(some, guidance="online-bone", recipes=["stroom"])[0], expected, atol=6e-4)


def test_each_axis_has_its_own_margin():
    """2 Σ + 0.7 σ of setup (1, 2, 3) and (3, 1, 2), baseline (2, 3, 1) and (1, 3, 2), after imaging (2, 1, 3)."""
    uncertainty = {
        "setup": {"systematic_mm": [1, 2, 3], "random_mm": [3, 1, 2]},
        "baseline": {"systematic_mm": [2, 3, 1], "random_mm": [1, 3, 2], "after_imaging_sd_mm": [2, 1, 3]},
        "registration": {"systematic_mm": [0, 1, 2]},
        "isocentre": {"systematic_mm": [2, 0, 1]},
    }
    systematic = np.sqrt([1 + 4 + 0 + 4, 4 + 9 + 1 + 0, 9 + 1 + 4 + 1])
    random = np.sqrt([9 + 1 + 4, 1 + 9 + 1, 4 + 4 + 9])
    np.testing.assert_allclose(margins_mm(uncertainty, recipes=["stroom"])[0], 2 * systematic + 0.7 * random, atol=6e-4)


@pytest.mark.parametrize(
    ("motion", "systematic", "random"),
    [
        ("none", (0, 0, 0), (0, 0, 0)),
        ("itv", (0, 0, 0), (0, 0, 0)),
        ("gating", (0, 0, 0), (0, 0, 0)),
        ("mid-ventilation", (0, 0, 0), (0, 0, 10 / np.sqrt(8))),  # SD of a sine of 10 mm from peak to peak
        ({"kind": "gating", "signal": "phase", "window_percent": 100, "plan_on": "mean"}, (0, 0, 0), (0, 0, 10 / 8**0.5)),
        ({"kind": "breath-hold", "systematic_mm": [1, 2, 3], "hold_mm": [0.3, 0.4, 1.2], "creep_sd_mm": [0.8, 0.6, 1]},
         (1, 2, 3), (0.5, 0.5, 1.3)),
        ({"kind": "tracking", "error_systematic_mm": [0.1, 0.2, 0.3], "error_mm": [0.4, 0.5, 0.6]},
         (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ({"kind": "compression", "systematic_mm": [3, 2, 1], "random_mm": [1, 2, 3]}, (3, 2, 1), (1, 2, 3)),
    ],
)  # fmt: skip
def test_recipes_cover_what_motion_management_leaves(motion, systematic, random):
    """Stroom's 2 Σ + 0.7 σ, no other error, breathing of 10 mm along SI."""
    breathing = {"respiration": {"amplitude_mm": [0, 0, 10], "n": 1}}
    expected = 2 * np.array(systematic) + 0.7 * np.array(random)
    np.testing.assert_allclose(margins_mm(breathing, motion, recipes=["stroom"])[0], expected, atol=6e-4)


def test_offline_protocols_leave_a_third_of_the_variance_of_three_images():
    """Three of 300 fractions measured, no match error: Σ² = σ²/3 and all of σ, and setup and baseline seen together or not."""
    patient, target = Spread(np.full(3, 3.0), np.full(3, 2.0), 300), Spread(np.full(3, 1.5), np.full(3, 1.2), 300)
    on_bone = NoActionLevel(measured_fractions=3, match_mm=0).residual(patient, target)
    np.testing.assert_allclose(on_bone.systematic_mm, np.sqrt(4 / 3 + 1.5**2), rtol=0.05)
    np.testing.assert_allclose(on_bone.random_mm, np.hypot(2, 1.2), rtol=0.03)
    on_target = NoActionLevel(measured_fractions=3, match_mm=0, match="target").residual(patient, target)
    np.testing.assert_allclose(on_target.systematic_mm, np.sqrt((4 + 1.2**2) / 3), rtol=0.05)
    np.testing.assert_allclose(on_target.random_mm, np.hypot(2, 1.2), rtol=0.03)
    assert on_target.n_fractions == 300
