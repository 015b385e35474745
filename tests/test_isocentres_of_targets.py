"""Targets that are treated about isocentres of their own, one after the other in a session."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import simulator
from simulator.ground.spec import ConfigError
from simulator.plan.dose import DosePart, SumOfDoses
from simulator.problem.preparation import prepare
from simulator.sampling.courses import Isocentre, draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws
from simulator.sampling.tissue_motion import TissueMotion
from simulator.strategy.guidance import OnlineTarget
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty import Uncertainty
from tests.drawing import setting, strategy
from tests.test_targets_of_study import STUDY

NODE_MM = np.array([60.0, 0, 0])
PERFECT = OnlineTarget(match_mm=0, couch="4D")


def about_each(uncertainty, **parameters):
    """GTV at the origin and a node 60 mm to the left, each about its own isocentre, 10 Gy a fraction at 4 Gy/min each."""
    place = setting(uncertainty, others={"Node": uncertainty}, centres={"Node": NODE_MM}, **parameters)
    return replace(
        place, isocentres={"GTV": Isocentre(np.zeros(3), 10.0), "Node": Isocentre(NODE_MM, 10.0)}, fraction_gy=20.0
    )


def met(delivery, structure, place):
    """Displacement (course, visit, 3) of a structure while the plan of a place is on."""
    n = len(delivery.others) + 1
    return delivery.motion(structure).during(place / n, (place + 1) / n)


def test_a_rotation_moves_what_lies_away_from_the_isocentre_of_its_time():
    """4D couch, perfect matches: each target stays where it is planned in its own time, and turns about the other in the
    other's: (R - 1) arm."""
    place = about_each(Uncertainty.model_validate({"setup": {"systematic_mm": 3, "systematic_deg": 1.5}}))
    courses = draw_courses(place, Draws(1, 0, 50))
    delivery = deliver(courses, strategy(guidance=PERFECT), place)
    turned = Rotation.from_euler("xyz", courses.rotation_deg[:, 0], degrees=True).as_matrix() - np.eye(3)
    for k, (name, arm_mm) in enumerate((("GTV", -NODE_MM), ("Node", NODE_MM))):
        np.testing.assert_allclose(met(delivery, name, k).shift_mm, 0.0, atol=1e-12)
        np.testing.assert_allclose(delivery.about(name).motion(name).shift_mm, 0.0, atol=1e-12)
        other = met(delivery, name, 1 - k).shift_mm
        np.testing.assert_allclose(other, np.broadcast_to((turned @ arm_mm)[:, None], other.shape), atol=1e-12)
        assert np.abs(other).max() > 1.0


def test_drift_counts_from_the_image_of_each_isocentre():
    """1 mm a minute along SI: at 180 s from the image to the beam and 150 s of beam the second image is 5.5 minutes after
    the first; without a match drift goes on, with one it begins anew."""
    drift = Uncertainty.model_validate({"drift": {"mean_mm_per_min": [0, 0, 1.0], "sd_mm_per_min": 0}})
    place = about_each(drift, n_instants=4)
    own_min = 3 + 2.5 * (np.arange(4) + 0.5) / 4
    for guidance, begins in ((None, (0.0, 5.5)), (PERFECT, (0.0, 0.0))):
        delivery = deliver(draw_courses(place, Draws(1, 0, 2)), strategy(guidance=guidance), place)
        for k, begin in enumerate(begins):
            along_si = met(delivery, "GTV", k).shift_mm[0, :, 2].reshape(3, -1)
            assert along_si.mean(axis=1) == pytest.approx(begin + own_min.mean())


def test_brownian_drift_is_one_path_through_the_session():
    """Without a match the variance of the whole patient grows with time from the first image."""
    walk = Uncertainty.model_validate({"drift": {"sd_mm_per_min": 0, "brownian_mm_per_sqrt_min": 1.0}})
    place = about_each(walk, n_instants=1, n_fractions=1)
    delivery = deliver(draw_courses(place, Draws(2, 0, 20_000)), strategy(), place)
    first, second = (met(delivery, "GTV", k).shift_mm[:, 0, 2] for k in (0, 1))
    assert [first.var(), second.var()] == pytest.approx([4.25, 9.75], rel=0.04)
    assert np.cov(first, second)[0, 1] == pytest.approx(4.25, rel=0.05)


def test_each_isocentre_has_a_match_error_of_its_own():
    place = about_each(Uncertainty.model_validate({"setup": {"systematic_mm": 3}}), n_fractions=1)
    noisy = OnlineTarget(match_mm=1.0, couch="4D")
    delivery = deliver(draw_courses(place, Draws(3, 0, 20_000)), strategy(guidance=noisy), place)
    found = np.stack([met(delivery, "GTV", k).shift_mm[:, 0, 0] for k in (0, 1)])
    np.testing.assert_allclose(np.cov(found), np.eye(2), atol=0.04)


def test_motions_in_turn_keep_their_visits_and_their_weight():
    rng = np.random.default_rng(1)
    parts = [
        TissueMotion(rng.normal(size=(2, 3 * k, 3)), np.full((2, 3 * k), 1 / (3 * k)), None, np.zeros(3), 3)
        for k in (2, 4)
    ]
    whole = TissueMotion.in_turn(parts)
    np.testing.assert_allclose(whole.weight.sum(axis=1), 1)
    for k, part in enumerate(parts):
        own = whole.during(k / 2, (k + 1) / 2)
        visited = own.weight > 1e-12
        np.testing.assert_allclose(own.shift_mm[visited].reshape(part.shift_mm.shape), part.shift_mm)
        np.testing.assert_allclose(own.weight[visited].reshape(part.weight.shape), part.weight)


def test_a_sum_in_turn_has_each_dose_in_its_own_time():
    doses = (object(), object(), object())
    assert SumOfDoses(doses, in_turn=True).parts == tuple(DosePart(d, k / 3, (k + 1) / 3) for k, d in enumerate(doses))
    assert len(SumOfDoses(doses).parts) == 1


def each_study(**by_key):
    return copy.deepcopy(STUDY) | {"session": {"isocentres": "each"}} | by_key


@pytest.mark.nightly
def test_rotation_alone_costs_little_about_own_isocentres_and_much_about_one():
    """Turns of 4 degrees, matched on the first target by a 4D couch: the other lies 100 mm away from it, 7 mm a turn."""
    errors = {"setup": {"systematic_deg": 4}}
    case = STUDY["case"] | {"nodes": {"Node": {"centre_mm": [0, 0, 100], "diameter_mm": 12}}}
    matched = {"margins_mm": [3], "motion": "none", "guidance": {"kind": "online-target", "match_mm": 0, "couch": "4D"}}
    covered = {}
    for isocentres in ("one", "each"):
        raw = each_study(uncertainty=errors, strategies=matched, session={"isocentres": isocentres}, case=case)
        results = simulator.run(StudyConfig.model_validate(raw), workers=1)
        covered[isocentres] = results["targets/probability"].values[0]
        away = results["targets/isocentre_distance_mm"].values
        assert np.allclose(away, 0, atol=0.2) == (isocentres == "each")
    assert covered["each"].tolist() == [1.0, 1.0]
    assert covered["one"][0] == 1.0
    assert covered["one"][1] < 0.5


@pytest.mark.nightly
def test_sources_of_a_course_sum_to_the_whole_about_own_isocentres():
    """Drift, rotation and match of the first target are those while its own plan is on."""
    errors = {"setup": {"systematic_mm": 2, "systematic_deg": 1}, "drift": {"brownian_mm_per_sqrt_min": 0.5}}
    raw = each_study(uncertainty=errors, courses=20)
    results = simulator.run(StudyConfig.model_validate(raw), workers=1)
    found = results["courses"].to_dataset()
    assert float(np.abs(found["error_mm"].sel(source="drift")).max()) > 0.1
    assert float(np.abs(found["error_mm"].sel(source="rotation")).max()) < 1e-6


def test_recipes_know_that_no_arm_is_left():
    raw = each_study(uncertainty={"setup": {"systematic_deg": 1}, "registration": {"systematic_mm": 1}})
    margins = {"margins_mm": [{"recipe": "van-herk"}], "motion": "none", "guidance": "none"}
    problem = prepare(StudyConfig.model_validate(raw | {"strategies": margins}))
    both = [ptv.margin_mm for ptv in problem.requests[0].ptvs]
    assert problem.setting.about("Node").number == 1
    one = prepare(StudyConfig.model_validate(raw | {"strategies": margins, "session": {"isocentres": "one"}}))
    assert max(one.requests[0].ptvs[0].margin_mm) > max(both[0]) == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": {"GTV": {}}, "goals": ["GTV D98% >= 95%"]}, "there is one target"),
        ({"uncertainty": {"setup": {"systematic_mm": 1, "isocentre_mm": [0, 0, 0]}}}, "isocentre_mm is one for all"),
        (
            {"strategies": {"margins_mm": [3], "motion": "none",
                            "guidance": {"kind": "online-target", "targets": {"GTV": 1, "Node": 1}}}},
            "matches several targets at once",
        ),
        (
            {"subject": "patient", "observed": {"bone_match_mm": 1, "fractions": [{"bone_mm": [1, 0, 0]}]}},
            "fractions that lie behind",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=f"session.isocentres: each target about its own, but .*{message}"):
        prepare(StudyConfig.model_validate(each_study(**change)))
