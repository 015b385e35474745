"""Arcs that treat several targets at once: apertures, weights, and the dose between targets."""

import copy

import numpy as np
import pytest
from test_targets_of_study import STUDY

from simulator.ground.spec import CaseError, ConfigError
from simulator.plan.aperture import Rows, opened_together
from simulator.plan.quality import hottest_gy, ptv_doses
from simulator.plan.shared_arcs import factors_for_all
from simulator.problem.preparation import prepare
from simulator.problem.words import study_in_words
from simulator.simulation.plans import make_plan
from simulator.study_file.schema import StudyConfig

AP = {"arcs": [{"start_deg": 0, "stop_deg": 0}], "block_margin_mm": 0, "axial_margin_mm": 0}


def planned(centre_mm, dose_gy=40, **plan):
    """The study's GTV and a node elsewhere, both with 3 mm, and their plan."""
    raw = copy.deepcopy(STUDY)
    raw["case"]["nodes"] = {"Node": {"centre_mm": centre_mm, "diameter_mm": 12}}
    raw["targets"] = {"GTV": {}, "Node": {"dose_gy": dose_gy}}
    raw["plan"] |= {"arcs_for": "all"} | plan
    problem = prepare(StudyConfig.model_validate(raw))
    return problem, make_plan(problem, problem.requests[0])


def along(plan, centre_mm, n=9):
    """Doses from the GTV's centre to the node's."""
    return plan.dose.at(np.linspace(0, 1, n)[:, None] * np.array(centre_mm, float))


def test_a_leaf_pair_opens_over_what_lies_between():
    """Rows 0-2 on the left, 1-3 on the right, and 5-6 farther up: 1-2 spans both, 3-5 is closed."""
    left, right, above = (
        Rows(np.array([a, b], float), np.array([low], float), np.array([high], float))
        for a, b, low, high in ((0, 2, -9, -4), (1, 3, 5, 7), (5, 6, -1, 1))
    )
    both = opened_together([left, right, above])
    assert both.edge_mm.tolist() == [0, 1, 2, 3, 5, 6]
    assert both.low_mm[[0, 1, 2, 4]].tolist() == [-9, -9, 5, -1]
    assert both.high_mm[[0, 1, 2, 4]].tolist() == [-4, 7, 7, 1]
    assert both.low_mm[3] == both.high_mm[3]
    shut = Rows(left.edge_mm, np.array([-6.0]), np.array([-6.0]))
    assert opened_together([shut, right]).low_mm.tolist()[-2:] == [5, 5]


def test_between_two_nodes_in_one_leaf_track_lies_an_open_field():
    """From the front at the same height the field between them is open; arcs of their own leave it closed."""
    centre = [40, 0, 0]
    _, together = planned(centre, **AP)
    _, apart = planned(centre, arcs_for="each", **AP)
    open_gy, closed_gy = along(together, centre), along(apart, centre)
    assert np.ptp(open_gy) < 0.04 * open_gy.mean()
    assert closed_gy[4] < 0.15 * closed_gy[0]
    assert together.bridge_cc > 3 * apart.bridge_cc


def test_nodes_far_apart_along_the_axis_get_what_their_own_arcs_give():
    """No leaf pair meets both, so that only scatter and the slant of rays differ."""
    centre = [0, 0, 50]
    _, together = planned(centre)
    _, apart = planned(centre, arcs_for="each")
    assert np.abs(along(together, centre) - along(apart, centre)).max() < 0.01 * 50


@pytest.fixture(scope="module")
def two():
    return planned([40, 0, 10], dose_gy=30)


def test_each_target_gets_its_own_prescription(two):
    """By passes on the first alone beside the shared ones; the plan that is delivered again is the planned one."""
    problem, plan = two
    for target, one in zip(problem.targets, plan.planned, strict=True):
        assert hottest_gy(*ptv_doses(plan.dose, one.ptv), 95.0) == pytest.approx(target.prescription.dose_gy, rel=2e-4)
        assert one.quality.ptv_d95_gy == pytest.approx(target.prescription.dose_gy, rel=2e-4)
    n = len(plan.delivery.treatment.beams_per_control)
    shared, first = np.array(plan.delivery.apertures.weight).reshape(-1, n).sum(axis=1)
    assert shared > 2 * first > 0
    points = np.random.default_rng(1).uniform((-10, -10, -5), (50, 10, 15), (200, 3))
    np.testing.assert_allclose(
        plan.dose_on(problem.case.density).at(points), plan.dose.at(points), rtol=1e-4, atol=1e-3
    )
    parts = plan.parts_in(problem.case.density, 60, (np.full(3, -10.0), np.full(3, 10.0)))
    inside = points[np.all(np.abs(points) < 8, axis=1)]
    np.testing.assert_allclose(sum(part.dose.at(inside) for part in parts), plan.dose.at(inside), rtol=2e-3)
    assert parts[-1].end == 1


def factors(gy, wanted=(2.0, 1.0)):
    """Of one point in each of two targets."""
    doses = [np.array(one, float)[:, None] for one in gy]
    return factors_for_all(doses, [np.ones(1)] * 2, np.array(wanted), ["A", "B"])


def test_shared_apertures_give_as_much_as_they_can():
    """Shared 1 to both, own 1 to each: 1 of it is shared. With a tenth of spill the solution of two linear equations."""
    assert factors([(1, 1, 0), (1, 0, 1)]) == pytest.approx([1, 1, 0], abs=1e-4)
    shared, first, second = factors([(1, 1, 0.1), (1, 0.1, 1)])
    assert second == 0
    assert [shared + first, shared + 0.1 * first] == pytest.approx([2, 1], rel=1e-4)
    with pytest.raises(CaseError, match=r"targets\.B: the plans of the other targets give it more"):
        factors([(1, 1, 0), (1, 0.9, 1)])


def test_the_study_in_words_says_so(two):
    problem, _ = two
    assert "One set of arcs treats all targets at once" in study_in_words(problem, 60)


def test_the_beam_is_on_for_what_is_given_at_once(two):
    """30 Gy to both and 10 Gy more to the first, in two fractions; arcs of their own need 70 Gy."""
    problem, _ = two
    assert problem.setting.fraction_gy == pytest.approx(20)
    assert problem.config.plan.model_copy(update={"arcs_for": "each"}).beam_gy([20, 15], 20) == 35


def test_one_isocentre_for_arcs_that_treat_all():
    raw = copy.deepcopy(STUDY) | {"session": {"isocentres": "each"}}
    raw["plan"]["arcs_for"] = "all"
    with pytest.raises(ConfigError, match="one plan treats all targets"):
        prepare(StudyConfig.model_validate(raw))


@pytest.mark.nightly
def test_one_target_is_planned_as_ever():
    raw = copy.deepcopy(STUDY) | {"targets": {"GTV": {}}, "goals": ["GTV D98% >= 95%"]}
    doses = []
    for arcs_for in ("each", "all"):
        raw["plan"]["arcs_for"] = arcs_for
        problem = prepare(StudyConfig.model_validate(raw))
        doses.append(make_plan(problem, problem.requests[0]).dose.at(np.zeros((1, 3))))
    np.testing.assert_array_equal(*doses)
