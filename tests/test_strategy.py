"""Margins and guidance against recipes and closed forms; the two frames."""

import numpy as np
import pytest

from simulator.sampling.courses import Courses, deliver, draw_courses
from simulator.sampling.streams import Draws
from simulator.strategy import Strategy
from simulator.strategy.guidance import NoGuidance, OnlineBone, OnlineTarget
from simulator.strategy.margin import FixedMargin, Spread, VanHerkMargin
from simulator.strategy.motion import InternalTargetVolume, NoMotionManagement
from simulator.uncertainty import Respiration, Setup, Uncertainty


@pytest.mark.parametrize(
    ("sigma_penumbra", "isodose", "both", "expected"),
    [(3.2, 95, 1, 2.751), (3.2, 95, 2, 5.944), (3.2, 95, 3, 9.452), (3.2, 80, 1, 2.628)],
)
def test_van_herk_margin_is_the_published_recipe(sigma_penumbra, isodose, both, expected):
    spread = Spread(np.full(3, float(both)), np.full(3, float(both)))
    margin = VanHerkMargin(isodose_percent=isodose, penumbra_sd_mm=sigma_penumbra).margin(spread)
    np.testing.assert_allclose(margin, expected, atol=1.1e-3)


@pytest.mark.parametrize(("coverage", "alpha"), [(80, 2.1544), (90, 2.5003), (95, 2.7955), (99, 3.3682)])
def test_alpha_is_the_chi_quantile(coverage, alpha):
    margin = VanHerkMargin(coverage_percent=coverage).margin(Spread(np.ones(3), np.zeros(3)))
    np.testing.assert_allclose(margin, alpha, atol=5e-5)


def test_fixed_margin_per_axis():
    margin = FixedMargin(margin_mm=(3, 4, 5))
    np.testing.assert_array_equal(margin.margin(Spread(np.ones(3), np.ones(3))), [3, 4, 5])
    assert margin.label() == "3/4/5 mm"
    assert FixedMargin(margin_mm=5).label() == "5 mm"


def strategy(guidance):
    return Strategy(margin=FixedMargin(margin_mm=5), motion=NoMotionManagement(), guidance=guidance)


def target_shifted_posteriorly(by_mm):
    internal = np.zeros((2, 3, 4, 3))
    internal[..., 1] = by_mm
    patient = np.random.default_rng(0).normal(0, 3, (2, 3, 3))
    return Courses(patient, {"GTV": internal}, np.zeros((2, 3, 3)))


def test_a_target_match_moves_the_dose_over_the_unmoved_cord_by_the_targets_shift():
    delivery = deliver(target_shifted_posteriorly(4.0), strategy(OnlineTarget()), "GTV")
    target, _ = delivery.displacement_mm("GTV")
    cord, _ = delivery.displacement_mm("SpinalCord")
    np.testing.assert_allclose(target, 0, atol=1e-12)
    np.testing.assert_allclose(cord, np.broadcast_to([0, -4.0, 0], cord.shape), atol=1e-12)


def test_a_bone_match_leaves_the_target_shifted_and_the_cord_in_place():
    delivery = deliver(target_shifted_posteriorly(4.0), strategy(OnlineBone()), "GTV")
    target, _ = delivery.displacement_mm("GTV")
    cord, _ = delivery.displacement_mm("SpinalCord")
    np.testing.assert_allclose(target, np.broadcast_to([0, 4.0, 0], target.shape), atol=1e-12)
    np.testing.assert_allclose(cord, 0, atol=1e-12)


def test_no_guidance_leaves_setup_on_everything():
    courses = target_shifted_posteriorly(4.0)
    delivery = deliver(courses, strategy(NoGuidance()), "GTV")
    cord, weight = delivery.displacement_mm("SpinalCord")
    np.testing.assert_array_equal(cord, courses.patient_mm)
    np.testing.assert_allclose(weight.sum(axis=1), 1)


def test_residual_error_after_a_match_is_the_match_error():
    uncertainty = Uncertainty(setup=Setup(systematic_mm=5, random_mm=5))
    drawn = draw_courses(uncertainty, "GTV", 4, 1, Draws(1, 0, 20_000))
    cord, _ = deliver(drawn, strategy(OnlineBone(match_mm=(0.5, 1, 2))), "GTV").displacement_mm("SpinalCord")
    np.testing.assert_allclose(cord.reshape(-1, 3).std(axis=0), [0.5, 1, 2], rtol=0.02)


def test_every_strategy_meets_the_same_patients():
    uncertainty = Uncertainty(setup=Setup(random_mm=2), respiration=Respiration(amplitude_mm=6))
    first = draw_courses(uncertainty, "GTV", 5, 10, Draws(3, 0, 8))
    again = draw_courses(uncertainty, "GTV", 5, 10, Draws(3, 4, 4))
    np.testing.assert_array_equal(first.patient_mm[4:], again.patient_mm)
    np.testing.assert_array_equal(first.internal_mm["GTV"][4:], again.internal_mm["GTV"])


def test_itv_plans_on_the_whole_cycle_and_none_on_the_mean_position():
    cycle = Respiration(amplitude_mm=(0, 0, 8)).planning_path_mm("GTV", "GTV")
    np.testing.assert_array_equal(InternalTargetVolume().planning_path(cycle), cycle)
    np.testing.assert_array_equal(NoMotionManagement().planning_path(cycle), np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("guidance", "systematic", "random"),
    [(NoGuidance(), 2.0, 3.0), (OnlineBone(match_mm=1), 0.0, 1.0), (OnlineTarget(match_mm=1), 0.0, 1.0)],
)
def test_what_guidance_leaves_for_the_margin(guidance, systematic, random):
    left = guidance.residual(Spread(np.full(3, 2.0), np.full(3, 3.0)), Spread(np.zeros(3), np.zeros(3)))
    np.testing.assert_allclose(left.systematic_mm, systematic)
    np.testing.assert_allclose(left.random_mm, random)
