"""Margins against published recipes; strategies that meet the same patients."""

import numpy as np
import pytest
from drawing import drawn

from simulator.sampling.courses import draw_courses
from simulator.sampling.streams import Draws
from simulator.strategy.guidance import NoGuidance, OnlineBone, OnlineTarget
from simulator.strategy.margin import (
    AsymmetricMargin,
    FiniteFractionMargin,
    FixedMargin,
    Spread,
    StroomMargin,
    VanHerkMargin,
)
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


def test_fixed_margin_per_axis_and_per_direction():
    margin = FixedMargin(margin_mm=(3, 4, 5))
    np.testing.assert_array_equal(margin.margin(equal_spread(1, 1)), [3, 4, 5])
    np.testing.assert_array_equal(margin.directions(equal_spread(1, 1)), [[3, 3], [4, 4], [5, 5]])
    assert margin.label() == "3/4/5 mm"
    assert FixedMargin(margin_mm=5).label() == "5 mm"
    six = AsymmetricMargin(right_mm=1, left_mm=2, anterior_mm=3, posterior_mm=4, inferior_mm=5, superior_mm=6)
    np.testing.assert_array_equal(six.directions(equal_spread(1, 1)), [[1, 2], [3, 4], [5, 6]])
    assert six.label() == "R1 L2 A3 P4 I5 S6 mm"


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
