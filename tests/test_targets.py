"""Several targets in one setting: what is a target's own, and what all share."""

import numpy as np
import pytest

from simulator.conventions import Stream
from simulator.plan.conformal_arc import ConformalArc
from simulator.problem.margins import plan_request
from simulator.sampling.courses import deliver, draw_courses
from simulator.sampling.streams import Draws, TargetDraws
from simulator.strategy import Strategy
from simulator.strategy.guidance import OnlineTarget
from simulator.strategy.margin import VanHerkMargin
from simulator.strategy.motion import NoMotionManagement
from simulator.uncertainty import Uncertainty
from tests.drawing import setting, strategy

COURSES = 20_000
FIRST = Uncertainty.model_validate(
    {
        "setup": {"systematic_mm": 1, "random_mm": 1, "systematic_deg": 0.5},
        "baseline": {"systematic_mm": 0.6, "after_imaging_sd_mm": 0.3},
        "registration": {"systematic_mm": 0.8},
    }
)
SECOND = FIRST.model_copy(
    update={
        "baseline": FIRST.baseline.model_copy(update={"systematic_mm": (1.0, 1.0, 1.0)}),
        "registration": FIRST.registration.model_copy(update={"systematic_mm": (2.0, 2.0, 2.0)}),
    }
)
BOTH = setting(FIRST, n_fractions=1, n_instants=1, others={"Node": SECOND}, centres={"Node": np.array([60.0, 0, 0])})
ALONE = setting(FIRST, n_fractions=1, n_instants=1)


def delivered(place, guidance=None):
    return deliver(draw_courses(place, Draws(1, 0, COURSES)), strategy(guidance=guidance), place)


def test_a_second_target_changes_nothing_for_the_first():
    for guidance in (None, OnlineTarget(match_mm=0.5)):
        one, two = delivered(ALONE, guidance).motion("GTV"), delivered(BOTH, guidance).motion("GTV")
        np.testing.assert_array_equal(one.shift_mm, two.shift_mm)
        np.testing.assert_array_equal(one.linear, two.linear)


def test_own_errors_are_independent_and_the_patients_are_shared():
    """Σ² of setup is the covariance of two targets; registration and baseline of each stay in it alone."""
    moved = delivered(BOTH)
    shift = [moved.bone_mm[:, 0, 0, 1] + moved.internal_mm[name][:, 0, 0, 1] for name in ("GTV", "Node")]
    own = [0.8**2 + 0.6**2 + 0.3**2, 2.0**2 + 1.0**2 + 0.3**2]
    expected = np.array([[own[0], 0], [0, own[1]]]) + 2.0
    np.testing.assert_allclose(np.cov(shift), expected, atol=0.12)


def test_a_match_on_the_first_target_leaves_the_distance_to_the_second():
    """At 60 mm on x a roll of 0.5 degrees is 0.52 mm along y, and the baseline shifts of both are left."""
    perfect = OnlineTarget(match_mm=0)
    moved = delivered(BOTH, perfect)
    y = moved.motion("Node").shift_mm[:, 0, 1]
    arm_mm = 60 * np.radians(0.5)
    assert y.var() == pytest.approx(2.0**2 + 1.0**2 + 0.3**2 + 0.6**2 + arm_mm**2, rel=0.04)
    assert moved.motion("GTV").shift_mm[:, 0, 1].var() == pytest.approx(0.8**2 + 0.3**2, rel=0.04)


def test_each_target_has_the_margin_of_its_own_errors():
    """Van Herk without random errors: 2.5 Σ."""
    place = setting(
        Uncertainty.model_validate({"registration": {"systematic_mm": 0.8}}),
        others={"Node": Uncertainty.model_validate({"registration": {"systematic_mm": 2.0}})},
    )
    van_herk = Strategy(margin=VanHerkMargin(), motion=NoMotionManagement(), guidance=strategy().guidance)
    asked = plan_request(place, van_herk, ConformalArc())
    assert [ptv.margin_mm[0] for ptv in asked.ptvs] == pytest.approx([2.5 * 0.8, 2.5 * 2.0], rel=0.002)


def test_numbers_of_a_target_are_its_own_in_any_part():
    base = Draws(3, 0, 8)
    first, second = TargetDraws(base, 0), TargetDraws(base, 1)
    plain = base.normals(Stream.REGISTRATION, 3)
    np.testing.assert_array_equal(first.normals(Stream.REGISTRATION, 3), plain)
    assert not np.any(second.normals(Stream.REGISTRATION, 3) == plain)
    part = second.part(5, 2)
    np.testing.assert_array_equal(part.normals(Stream.REGISTRATION, 3), second.normals(Stream.REGISTRATION, 3)[5:7])
    np.testing.assert_array_equal(part.uniforms(Stream.REGISTRATION), second.uniforms(Stream.REGISTRATION)[5:7])
    assert part.n_courses == 2
