"""Several targets in one setting: what is a target's own, and what all share."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.answers.joint import COVERAGE, JOINT, goals_of, joint_met
from simulator.answers.margins import margin_families
from simulator.case.anatomy import Case
from simulator.case.phantoms import SpherePhantom
from simulator.ground.conventions import Stream
from simulator.ground.parallel import SerialExecutor
from simulator.plan.conformal_arc import ConformalArc
from simulator.problem.margins import plan_request
from simulator.problem.preparation import prepare
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws, TargetDraws
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.strategy import Strategy
from simulator.strategy.guidance import OnlineTarget
from simulator.strategy.margin import VanHerkMargin
from simulator.strategy.motion import NoMotionManagement
from simulator.study_file.schema import StudyConfig
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
        centres={"Node": np.zeros(3)},
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


STUDY = StudyConfig.model_validate(
    {
        "name": "two-targets",
        "case": {"phantom": "sphere", "radius_mm": 8, "organs": {"Node": {"gap_mm": 9, "radius_mm": 6}}, "grid_mm": 4},
        "prescription": {"dose_gy": 40, "fractions": 2, "isodose_percent": 80},
        "plan": {"model": "penumbra", "normalisation": "isodose"},
        "uncertainty": {
            "setup": {"systematic_mm": 2, "random_mm": 2},
            "registration": {"systematic_mm": 1},
            "delineation": {"sd_mm": 0.5},
        },
        "strategies": {"margins_mm": [3, 6], "motion": "none", "guidance": "none"},
        "goals": ["GTV D98% >= 95%", "Node D98% >= 20 Gy"],
        "courses": 30,
        "numerics": {"instants": 2, "max_points": 1000},
    }
)


def values_of(problem, plan, metric=None):
    """Metrics (course, metric), or one of them, under the first strategy."""
    strategy, draws = problem.strategies[0], course_draws(problem, 0, 30)
    delivery = deliver_courses(problem, strategy, draws)
    values = prepare_work(problem, strategy, plan, [delivery], SerialExecutor()).block(draws, delivery)["values"]
    return values if metric is None else values[:, problem.column[metric]]


@pytest.fixture
def two_targets(monkeypatch):
    """The problem of a case whose node beside the sphere is a target too, and a plan for the first target alone."""
    alone = prepare(STUDY)
    plan = make_plan(alone, alone.requests[0])
    build = SpherePhantom.build

    def with_node(phantom: SpherePhantom) -> Case:
        case = build(phantom)
        return replace(case, structures=case.structures | {"Node": replace(case.structures["Node"], role="target")})

    monkeypatch.setattr(SpherePhantom, "build", with_node)
    monkeypatch.setattr(Case, "targets", property(lambda case: (case.structures["GTV"], case.structures["Node"])))
    case = STUDY.case.model_copy(update={"grid_mm": 5.0})
    decision = STUDY.decision.model_copy(update={"target_goals": ("GTV D98% >= 97%", "Node D2% >= 50%")})
    return alone, plan, prepare(STUDY.model_copy(update={"case": case, "decision": decision}))


def test_a_study_of_two_targets_up_to_its_plans(two_targets):
    """Coverage is joint, and the first target's courses are those of a study of its own."""
    alone, plan, problem = two_targets
    assert [(t.number, t.name) for t in problem.targets] == [(0, "GTV"), (1, "Node")]
    assert [g.text for g in problem.wanted] == ["GTV D98% >= 97%", "Node D2% >= 50%"]
    assert problem.moving[-2:] == ["GTV", "Node"]
    assert all(len(request.ptvs) == 2 for request in problem.requests)
    assert [volume.centroid_mm[0] for volume in problem.planning_targets[problem.requests[0]]] == pytest.approx(
        [0, 15], abs=0.05
    )
    assert [target.name for target, *_ in margin_families(problem)] == ["GTV", "Node"]
    np.testing.assert_array_equal(values_of(alone, plan, "GTV D98%"), values_of(problem, plan, "GTV D98%"))
    values = values_of(problem, plan)
    each = [g.is_met(values[:, problem.column[g.metric.label]].astype(float), 40.0) for g in problem.wanted]
    assert all(0 < met.mean() < 1 for met in each)
    np.testing.assert_array_equal(joint_met(problem, values[None])[0, COVERAGE], each[0] & each[1])
    assert [g.metric.structure for g in goals_of(problem, JOINT[1])] == ["GTV", "Node"]
    assert goals_of(problem, JOINT[2]) == []
