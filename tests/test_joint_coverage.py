"""Several targets of a study: their joint coverage against closed forms, quadrature and brute force in plain numpy."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi, norm

from simulator.problem.margins import margin_spread
from simulator.problem.preparation import prepare
from simulator.sampling.by_source import errors_by_source
from simulator.sampling.courses import draw_courses
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.study_file.schema import StudyConfig

N = 20_000
ALLOWED_MM = 3.3
FAR_MM = 60.0
AXES = {"X": (FAR_MM, 0, 0), "Y": (0, FAR_MM, 0), "Z": (0, 0, FAR_MM)}


def problem_of(centres_mm, uncertainty, targets=None, seed=3, **changes):
    raw = {
        "name": "joint",
        "case": {
            "phantom": "sphere",
            "radius_mm": 5,
            "grid_mm": 5,
            "nodes": {name: {"centre_mm": centre, "diameter_mm": 10} for name, centre in centres_mm.items()},
        },
        "targets": targets or {name: {} for name in centres_mm},
        "prescription": {"dose_gy": 50, "fractions": 1, "isodose_percent": 80},
        "plan": {"model": "penumbra"},
        "uncertainty": uncertainty,
        "strategies": {"margins_mm": [ALLOWED_MM], "motion": "none", "guidance": "none"},
        "goals": [f"{name} D98% >= 95%" for name in centres_mm],
        "courses": N,
        "seed": seed,
        "numerics": {"instants": 1, "max_points": 1000},
    }
    return prepare(StudyConfig.model_validate(raw | changes))


def shifts_mm(problem, courses=N):
    """By target, (course, 3), relative to the beam in the first fraction."""
    delivery = deliver_courses(problem, problem.strategies[0], course_draws(problem, 0, courses))
    return {target.name: delivery.motion(target.name).shift_mm[:, 0] for target in problem.targets}


def covered(problem):
    """Boolean (target, course)."""
    return np.stack([np.linalg.norm(mm, axis=1) <= ALLOWED_MM for mm in shifts_mm(problem).values()])


def within(found, expected, n=N):
    """Four standard errors."""
    return abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


ABOUT_CENTRE = {"isocentre_mm": [0, 0, 0]}


def test_three_nodes_around_an_isocentre():
    """Shared shifts and rotations: far more likely together than the product of each says (stated figures, three digits)."""
    met = covered(problem_of(AXES, {"setup": {"systematic_mm": 1.2, "systematic_deg": 0.6} | ABOUT_CENTRE}))
    assert all(within(one, 0.906) for one in met.mean(axis=1))
    assert within(met.all(axis=0).mean(), 0.834)
    assert met.mean(axis=1).prod() == pytest.approx(0.743, abs=0.01)
    still = covered(
        problem_of({"Middle": (0, 0, 0)}, {"setup": {"systematic_mm": 1.2, "systematic_deg": 0.6} | ABOUT_CENTRE})
    )
    assert within(still.mean(), 0.944)


def test_skew_nodes_with_means_against_brute_force():
    """Rotation matrices about LR, then AP, then SI, written out again."""
    centres = {"A": (50, -20, 10), "B": (-35, 15, 40), "C": (5, 45, -30)}
    setup = {"systematic_mm": [1, 0.8, 1.2], "mean_mm": [0.5, -0.7, 0.9], "systematic_deg": [0.9, 0.4, 1.1]}
    met = covered(problem_of(centres, {"setup": setup | ABOUT_CENTRE}))
    rng = np.random.default_rng(0)
    n = 400_000
    shift = rng.normal(setup["mean_mm"], setup["systematic_mm"], (n, 3))
    (a, b, c), zero, one = np.radians(rng.normal(0, setup["systematic_deg"], (n, 3))).T, np.zeros(n), np.ones(n)
    about_x = np.array([[one, zero, zero], [zero, np.cos(a), -np.sin(a)], [zero, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), zero, np.sin(b)], [zero, one, zero], [-np.sin(b), zero, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), zero], [np.sin(c), np.cos(c), zero], [zero, zero, one]])
    turn = np.einsum("ijn,jkn,kln->nil", about_z, about_y, about_x)
    expected = np.stack(
        [np.linalg.norm(shift + turn @ np.array(at, float) - at, axis=1) <= ALLOWED_MM for at in centres.values()]
    )
    for found, brute in zip([*met, met.all(axis=0)], [*expected, expected.all(axis=0)], strict=True):
        assert within(found.mean(), brute.mean())


def test_two_nodes_and_one_rotation_by_quadrature():
    """A yaw moves both along one axis, where each has an error of its own."""
    centres, deg, own_mm = {"A": (FAR_MM, 0, 0), "B": (-40, 0, 0)}, 1.5, 1.0
    errors = {
        "setup": {"systematic_deg": [0, 0, deg]} | ABOUT_CENTRE,
        "registration": {"systematic_mm": [0, own_mm, 0]},
    }
    met = covered(problem_of(centres, errors))
    allowed = np.array([ALLOWED_MM, ALLOWED_MM])

    def chance(z, *which):
        moved = np.array([centres[name][0] for name in "AB"]) * np.sin(np.radians(deg * z))
        each = norm.cdf((allowed - moved) / own_mm) - norm.cdf((-allowed - moved) / own_mm)
        return each[list(which)].prod() * norm.pdf(z)

    for found, which in ((met[0], (0,)), (met[1], (1,)), (met.all(axis=0), (0, 1))):
        assert within(found.mean(), quad(chance, -6, 6, args=which)[0])


@pytest.mark.parametrize("deg", [1.0, 2.0])
@pytest.mark.parametrize("away_mm", [25, 50, 75, 100])
def test_rotation_at_a_distance(deg, away_mm):
    """Two axes turn a node over a plane: the shift is Rayleigh with d tan(s), up to second order in the angle."""
    shift = shifts_mm(problem_of({"A": (away_mm, 0, 0)}, {"setup": {"systematic_deg": deg} | ABOUT_CENTRE}))["A"]
    sd_mm = away_mm * np.radians(deg)
    r = np.linalg.norm(shift, axis=1)
    for quantile in (0.5, 0.9):
        assert within(np.mean(r <= sd_mm * np.sqrt(-2 * np.log(1 - quantile))), quantile)


def test_nodes_at_the_isocentre_are_one():
    setup = {"systematic_mm": 1.2, "systematic_deg": 2} | ABOUT_CENTRE
    met = covered(problem_of({"A": (0, 0, 0), "B": (0, 0, 0)}, {"setup": setup}))
    np.testing.assert_array_equal(met[0], met[1])


def test_errors_of_their_own_multiply():
    met = covered(problem_of(AXES, {"baseline": {"systematic_mm": 1.2}, "registration": {"systematic_mm": 0.8}}))
    one = chi.cdf(ALLOWED_MM / np.hypot(1.2, 0.8), 3)
    assert within(met.all(axis=0).mean(), one**3)


def test_shifts_that_go_together_are_one():
    targets = {"X": {}, "Y": {"baseline_correlation": 1}, "Z": {"baseline_correlation": 1}}
    errors = {"baseline": {"systematic_mm": 1.0, "random_mm": 0.6, "after_imaging_sd_mm": 0.4}}
    moved = shifts_mm(problem_of(AXES, errors, targets))
    np.testing.assert_allclose(moved["X"], moved["Y"], atol=1e-12)
    assert within(covered(problem_of(AXES, errors, targets)).all(axis=0).mean(), chi.cdf(ALLOWED_MM / np.sqrt(1.52), 3))


def test_a_correlation_is_that_of_the_shifts():
    errors = {"baseline": {"systematic_mm": 1.0}, "registration": {"systematic_mm": 1.0}}
    moved = shifts_mm(problem_of(AXES, errors, {"X": {}, "Y": {"baseline_correlation": 0.6}, "Z": {}}))
    found = np.cov([moved[name][:, 1] for name in "XYZ"])
    np.testing.assert_allclose(found, [[2, 0.6, 0], [0.6, 2, 0], [0, 0, 2]], atol=0.08)


def test_permuted_targets_are_permuted_results():
    errors = {"setup": {"systematic_mm": 1.2, "random_mm": 1, "systematic_deg": 0.6} | ABOUT_CENTRE}
    one = shifts_mm(problem_of(AXES, errors), 50)
    other = shifts_mm(problem_of(AXES, errors, {"Z": {}, "X": {}, "Y": {}}), 50)
    assert list(other) == ["Z", "X", "Y"]
    for name in AXES:
        np.testing.assert_array_equal(one[name], other[name])


def test_each_breathes_by_its_own_amplitude_on_one_signal():
    errors = {"respiration": {"amplitude_mm": [0, 0, 10]}}
    targets = {"X": {}, "Y": {"amplitude_mm": [0, 4, 0]}, "Z": {"lag_deg": [0, 0, 90]}}
    moved = shifts_mm(problem_of(AXES, errors, targets), 200)
    np.testing.assert_allclose(moved["Y"][:, 1] / 4, moved["X"][:, 2] / 10, atol=1e-12)
    assert np.corrcoef(moved["X"][:, 2], moved["Z"][:, 2])[0, 1] == pytest.approx(0, abs=0.25)


MATCHED = {"registration": {"systematic_mm": 0.0}, "baseline": {"systematic_mm": 1.5, "random_mm": 1.0}}


def test_a_match_on_several_leaves_the_least_sum_of_squares():
    """The weighted mean of what the nodes are off is zero, up to the match error, and no other translation does better."""
    guidance = {"kind": "online-target", "match_mm": 0, "targets": {"X": 1, "Y": 3}}
    strategies = {"margins_mm": [3], "motion": "none", "guidance": guidance}
    errors = MATCHED | {"setup": {"systematic_mm": 3, "systematic_deg": 1} | ABOUT_CENTRE}
    moved = shifts_mm(problem_of(AXES, errors, strategies=strategies), 500)
    np.testing.assert_allclose(moved["X"] + 3 * moved["Y"], 0, atol=1e-9)
    assert np.abs(moved["X"]).max() > 1


def test_an_action_level_sees_the_target_that_is_off_most():
    """Two nodes that are off by as much in opposite directions are off by nothing on average."""
    guidance = {"kind": "online-target", "match_mm": 0, "targets": {"X": 1, "Y": 1}, "action_level_mm": 4}
    strategies = {"margins_mm": [3], "motion": "none", "guidance": guidance}
    moved = shifts_mm(problem_of(AXES, MATCHED, strategies=strategies), 2000)
    whole = (moved["X"] + moved["Y"]) / 2
    largest = np.maximum(*(np.linalg.norm(moved[name], axis=1) for name in "XY"))
    left = np.abs(whole).max(axis=1) > 1e-9
    assert 0.1 < left.mean() < 0.9
    assert largest[left].max() <= 4


def test_recipes_count_what_the_match_leaves_of_each():
    """Σ and σ of margin recipes are the spread of what courses show, by target, axis and guidance."""
    targets = {"X": {}, "Y": {"baseline_correlation": 0.6}, "Z": {"baseline": {"systematic_mm": 2, "random_mm": 0.5}}}
    setup = {"systematic_mm": 2, "random_mm": 1, "systematic_deg": [0.5, 1, 1.5], "random_deg": 0.7} | ABOUT_CENTRE
    guidances = [
        {"kind": "online-bone", "name": "bone", "couch": "4D", "match_mm": 0.5},
        {"kind": "online-target", "name": "first", "couch": "4D", "match_mm": 0.5},
        {"kind": "online-target", "name": "mix", "couch": "6D", "match_mm": 0.5, "targets": {"X": 1, "Y": 2, "Z": 1}},
    ]
    strategies = {"margins_mm": [3], "motion": "none", "guidance": guidances}
    prescription = {"dose_gy": 50, "fractions": 5, "isodose_percent": 80}
    problem = problem_of(AXES, MATCHED | {"setup": setup}, targets, strategies=strategies, prescription=prescription)
    draws = course_draws(problem, 0, 4000)
    for strategy in problem.strategies:
        delivery = deliver_courses(problem, strategy, draws)
        for name in AXES:
            shift = delivery.motion(name).shift_mm
            assert shift.shape[1] == 5
            spread = margin_spread(problem.setting, strategy, name)
            random_mm = np.sqrt(shift.var(axis=1, ddof=1).mean(axis=0))
            systematic_mm = np.sqrt(np.maximum(shift.mean(axis=1).var(axis=0) - random_mm**2 / 5, 0))
            np.testing.assert_allclose(random_mm, spread.random_mm, rtol=0.05, atol=0.02)
            np.testing.assert_allclose(systematic_mm, spread.systematic_mm, rtol=0.06, atol=0.12)


def test_an_angle_between_image_and_beam_is_felt_off_the_isocentre():
    """A Winston-Lutz angle moves a node by its arm, opposite to the beam, whatever the images before it put right."""
    guidance = {"kind": "online-target", "match_mm": 0, "couch": "6D", "rotation_match_deg": 0}
    strategies = {"margins_mm": [3], "motion": "none", "guidance": guidance}
    errors = {
        "isocentre": {"systematic_deg": [0, 0, 0.4], "mean_deg": [0, 0, 0.5]},
        "setup": {"systematic_deg": 2} | ABOUT_CENTRE,
    }
    moved = shifts_mm(problem_of(AXES, errors, strategies=strategies))
    per_deg = FAR_MM * np.radians(1)
    assert moved["X"][:, 1].mean() == pytest.approx(-0.5 * per_deg, abs=0.02)
    assert moved["X"][:, 1].std() == pytest.approx(0.4 * per_deg, rel=0.03)
    assert moved["Y"][:, 0].mean() == pytest.approx(0.5 * per_deg, abs=0.02)
    np.testing.assert_allclose(moved["Z"], 0, atol=1e-9)


def test_sources_of_a_course_sum_to_what_each_target_does():
    targets = {"X": {}, "Y": {"baseline_correlation": 0.6, "registration": {"systematic_mm": 2}}, "Z": {}}
    errors = {
        "setup": {"systematic_mm": 1, "systematic_deg": 1} | ABOUT_CENTRE,
        "baseline": {"systematic_mm": 1, "after_imaging_sd_mm": 1},
        "isocentre": {"systematic_mm": 0.5, "systematic_deg": 0.5},
    }
    problem = problem_of(AXES, errors, targets)
    draws = course_draws(problem, 0, 20)
    strategy, courses = problem.strategies[0], draw_courses(problem.setting, draws)
    delivery = deliver_courses(problem, strategy, draws)
    for name in AXES:
        found = errors_by_source(courses, delivery, strategy, problem.setting, name)
        np.testing.assert_allclose(found["breathing"], 0, atol=1e-9)
        np.testing.assert_allclose(found["correction"], 0, atol=1e-9)
        np.testing.assert_allclose(sum(found.values()), delivery.motion(name).shift_mm, atol=1e-9)
