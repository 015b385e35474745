"""Courses given what the images of the first fractions showed."""

from dataclasses import replace

import numpy as np
import pytest
from drawing import by_fraction, setting, strategy

from simulator.ground.conventions import Stream
from simulator.ground.spec import ConfigError
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.observed import ObservedDraws, law_of
from simulator.sampling.quasi import SobolDraws
from simulator.sampling.seen import seen_mm
from simulator.sampling.streams import Draws
from simulator.strategy import motion as motions
from simulator.strategy.guidance import ExtendedNoActionLevel, NoActionLevel, NoGuidance, OnlineBone, OnlineTarget
from simulator.strategy.observed import ObservedFraction, Treated
from simulator.uncertainty import Uncertainty

N = 20_000
EQUAL = Uncertainty.model_validate({"setup": {"systematic_mm": 2, "random_mm": 2}})
MANY = Uncertainty.model_validate(
    {
        "setup": {"systematic_mm": [1, 2, 1.5], "random_mm": [1.5, 1, 2], "mean_mm": [0.3, -0.2, 0.5]}
        | {"correlation": [0.5, -0.2, 0.3], "systematic_deg": 0.5},
        "baseline": {"systematic_mm": [0.5, 1, 2], "random_mm": [0.5, 0.7, 1.5], "mean_mm": [0, 0, 1]}
        | {"after_imaging_systematic_mm": 0.5, "after_imaging_sd_mm": 0.5},
        "registration": {"systematic_mm": 0.7},
        "isocentre": {"systematic_mm": 0.4},
        "drift": {"sd_mm_per_min": 0.1, "brownian_mm_per_sqrt_min": 0.1},
        "respiration": {"amplitude_mm": [1, 2, 6], "course_cv": 0.2, "fraction_cv": 0.1},
        "organs": {"Bladder": {"systematic_mm": 2, "random_mm": 2, "correlation": 1, "degrees_of_freedom": 4}},
    }
)
SHIFTS = np.array([[2.0, -1.0, 4.0], [1.0, 0.5, 3.0]])


def images(shifts_mm, match="bone", **more):
    """An image of each of the first fractions."""
    return tuple(ObservedFraction(**{f"{match}_mm": tuple(s)}, **more) for s in np.asarray(shifts_mm).tolist())


def behind(seen, match_mm=0.0, delivered=None):
    """Fractions with some images, whose match errors are the same on bone and target."""
    errors_mm = tuple(np.broadcast_to(match_mm, 3).tolist())
    return Treated(delivered or strategy(), seen, errors_mm, errors_mm)


def given(uncertainty, treated, n_courses=N, seed=1, **parameters):
    """Courses drawn given some images, and their setting."""
    place = replace(setting(uncertainty, **parameters), treated=treated)
    draws = ObservedDraws(Draws(seed, 0, n_courses), law_of(place))
    return draw_courses(place, draws), place


@pytest.mark.parametrize(
    ("n", "match_mm", "given_mm", "by_mean_mm"),
    [
        (1, 0, 1.41, 2.00),
        (2, 0, 1.15, 1.41),
        (3, 0, 1.00, 1.15),
        (1, 0.87, 1.47, None),
        (2, 0.87, 1.22, None),
        (3, 0.87, 1.07, None),
    ],
)
def test_what_one_does_not_know_of_the_patient_after_some_fractions(n, match_mm, given_mm, by_mean_mm):
    """Σ = σ = 2 mm. The posterior against the mean of what was seen, which is the no-action-level protocol."""
    seen = images(np.tile([3.0, 0, -1], (n, 1)))
    place = replace(setting(EQUAL, n_fractions=5), treated=behind(seen, match_mm))
    draws = ObservedDraws(Draws(1, 0, N), law_of(place))
    systematic = 2 * draws.normals(Stream.SETUP_SYSTEMATIC, 3)
    mean, sd = law_of(place).patient()
    np.testing.assert_allclose(sd, given_mm, atol=0.005)
    np.testing.assert_allclose(systematic.std(axis=0), given_mm, atol=4 * given_mm / np.sqrt(2 * N) + 0.005)
    shrunk = 4 / (4 + (4 + match_mm**2) / n)
    np.testing.assert_allclose(mean, shrunk * np.array([3, 0, -1]), atol=1e-9)
    np.testing.assert_allclose(systematic.mean(axis=0), mean, atol=4 * given_mm / np.sqrt(N))
    if by_mean_mm is not None:
        plain = Draws(1, 0, N)
        left = 2 * plain.normals(Stream.SETUP_SYSTEMATIC, 3) - EQUAL.patient_mm(plain, 5)[:, :n].mean(axis=1)
        np.testing.assert_allclose(left.std(axis=0), by_mean_mm, atol=4 * by_mean_mm / np.sqrt(2 * N) + 0.005)


def test_what_the_matches_see_is_what_was_seen():
    mixed = (*images(SHIFTS[:1], "bone"), *images(SHIFTS[1:], "target"))
    courses, place = given(MANY, behind(mixed), n_courses=50)
    bone, target = (seen_mm(courses, strategy(), place, on_target) for on_target in (False, True))
    np.testing.assert_allclose(bone[:, 0], np.tile(SHIFTS[0], (50, 1)), atol=1e-9)
    breathing = 0.05  # its mean over few instants differs a little from course to course
    np.testing.assert_allclose(target[:, 1], np.tile(SHIFTS[1], (50, 1)), atol=breathing)
    assert np.all(bone[:, 1].std(axis=0) > 0.3)


def test_courses_have_the_moments_of_the_gaussian_given_the_images():
    """Against the block formula of a joint Gaussian written out here: patient and target in all three fractions,
    bone seen in the first, both in the second."""
    bone_mm, target_mm = np.array([0.5, 0.8, 1.1]), np.array([1.0, 0.4, 0.7])
    seen = (*images(SHIFTS[:1], "bone"), *images(SHIFTS[1:], "target", bone_mm=(0.5, 0.0, 2.0)))
    courses, _ = given(MANY, Treated(strategy(), seen, tuple(bone_mm), tuple(target_mm)))
    found = np.concatenate([courses.patient_mm, courses.within_mm["GTV"]], axis=1).reshape(N, -1)

    def covariance(systematic, random, correlation):
        (xy, xz, yz), one, same = correlation, np.eye(3), np.ones((3, 3))
        r = np.array([[1, xy, xz], [xy, 1, yz], [xz, yz, 1]])
        return np.kron(same, r * np.outer(systematic, systematic)) + np.kron(one, r * np.outer(random, random))

    setup, baseline = MANY.setup, MANY.baseline
    joint = np.zeros((18, 18))
    joint[:9, :9] = covariance(setup.systematic_mm, setup.random_mm, setup.correlation)
    joint[9:, 9:] = covariance(baseline.systematic_mm, baseline.random_mm, (0, 0, 0))
    mean = np.concatenate([np.tile(setup.mean_mm, 3), np.tile(baseline.mean_mm, 3)])
    sees = np.zeros((9, 18))
    sees[:3, :3] = sees[3:6, 3:6] = sees[6:, 3:6] = sees[6:, 12:15] = np.eye(3)
    shown = np.array([*SHIFTS[0], 0.5, 0.0, 2.0, *SHIFTS[1]])
    inverse = np.linalg.inv(sees @ joint @ sees.T + np.diag([*bone_mm, *bone_mm, *target_mm]) ** 2)
    expected = mean + joint @ sees.T @ inverse @ (shown - sees @ mean)
    left = joint - joint @ sees.T @ inverse @ sees @ joint
    sd = np.sqrt(np.diag(left))
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=4.5 * sd.max() / np.sqrt(N))
    np.testing.assert_allclose(np.cov(found.T), left, atol=6 * (sd.max() ** 2) / np.sqrt(N))


def test_sources_that_no_match_sees_keep_their_numbers():
    plain = draw_courses(setting(MANY), Draws(1, 0, 30))
    seen, _ = given(MANY, behind(images(SHIFTS, "target")), n_courses=30)
    for key in ("after_imaging_mm", "misdrawn_mm"):
        np.testing.assert_array_equal(getattr(seen, key)["GTV"], getattr(plain, key)["GTV"])
    np.testing.assert_array_equal(seen.unseen_mm, plain.unseen_mm)
    np.testing.assert_array_equal(seen.drift.rate_mm_per_min, plain.drift.rate_mm_per_min)
    assert np.all(np.any(seen.patient_mm != plain.patient_mm, axis=(0, 1)))


def test_an_organ_that_follows_the_target_follows_what_was_seen_of_it():
    """Rank by rank, heavy tails and all: with a correlation of 1 its t-distributed shift is a function of the target's."""
    courses, _ = given(MANY, behind(images(SHIFTS, "target")), n_courses=400)
    draws = courses.draws
    z = draws.normals(Stream.BASELINE_COURSE, 3)
    organ = MANY.organs["Bladder"]
    expected = (
        organ._law(z)[:, None] * organ.systematic_mm + organ._law(draws.normals(Stream.BASELINE_FRACTION, 3, 3)) * 2
    )
    np.testing.assert_allclose(courses.organs["Bladder"].shift_mm, expected, atol=1e-12)
    assert z[:, 2].mean() > 0.3


def corrections(guidance, seen, **parameters):
    """What the couch did, (course, fraction, 3), where bone does not move otherwise."""
    treated = behind(seen, 0.87, strategy(guidance=guidance))
    courses, place = given(EQUAL, treated, n_courses=40, n_fractions=5, **parameters)
    delivery = deliver(courses, strategy(guidance=guidance), place)
    return courses.patient_mm - by_fraction(delivery, "")[:, :, 0]


def test_guidance_acts_on_what_was_seen():
    seen = images(SHIFTS)
    daily = corrections(OnlineBone(), seen)
    np.testing.assert_allclose(daily[:, :2], np.tile(SHIFTS, (40, 1, 1)), atol=1e-9)
    assert np.all(daily[:, 2:].std(axis=0) > 0.5)
    late = corrections(NoActionLevel(measured_fractions=2), seen)
    np.testing.assert_allclose(late[:, :2], 0, atol=1e-9)
    np.testing.assert_allclose(late[:, 2:], np.tile(SHIFTS.mean(axis=0), (40, 3, 1)), atol=1e-9)
    spared = corrections(OnlineBone(action_level_mm=4.0), seen)
    np.testing.assert_allclose(spared[:, :2], np.tile([SHIFTS[0], [0, 0, 0]], (40, 1, 1)), atol=1e-9)


def test_what_was_done_is_what_happened():
    done = (0.0, -1.0, 2.0)
    seen = images(SHIFTS, corrected_mm=done)
    for guidance in (NoGuidance(), OnlineBone()):
        np.testing.assert_allclose(corrections(guidance, seen)[:, :2], np.tile(done, (40, 2, 1)), atol=1e-9)


def test_another_guidance_goes_on_where_the_delivered_one_ends():
    done = images(SHIFTS, "target", corrected_mm=(1.0, 0.0, 0.0))
    before, after = strategy(guidance=OnlineBone(reimage_every_min=1.0)), strategy(guidance=OnlineTarget())
    courses, place = given(MANY, behind(done, 0.5, before), n_courses=20)
    after_alone = replace(place, treated=behind(done, 0.5, after))
    one, two, both = (deliver(courses, s, p) for s, p in ((before, place), (after, after_alone), (after, place)))
    for name in ("GTV", "Bladder", ""):
        np.testing.assert_array_equal(by_fraction(both, name)[:, :2], by_fraction(one, name)[:, :2])
        np.testing.assert_array_equal(by_fraction(both, name)[:, 2:], by_fraction(two, name)[:, 2:])
    assert not both.slow
    assert not np.array_equal(by_fraction(one, "")[:, 2:], by_fraction(two, "")[:, 2:])


def test_the_place_of_a_breath_hold_is_learned_by_a_target_match():
    hold = motions.BreathHold(systematic_mm=2, hold_mm=0.5)
    delivered = strategy(hold, OnlineTarget())
    still = Uncertainty.model_validate({"respiration": {"amplitude_mm": [0, 0, 6]}})
    _, place = given(still, behind(images(SHIFTS, "target"), 0.5, delivered), n_courses=1)
    _, sd = law_of(place).patient()
    np.testing.assert_allclose(sd, 2 * np.sqrt(1 - 4 / (4 + 0.5 / 2)), rtol=1e-6)


@pytest.mark.parametrize(("n_fractions", "base"), [(30, Draws(1, 0, 64)), (4, SobolDraws(1, 0, 64, 64, 4, MANY))])
def test_courses_given_images_can_be_drawn_alone(n_fractions, base):
    place = replace(setting(MANY, n_fractions=n_fractions), treated=behind(images(SHIFTS, "target"), 0.5))
    draws = ObservedDraws(base, law_of(place))
    for stream, shape in ((Stream.SETUP_SYSTEMATIC, (3,)), (Stream.BASELINE_FRACTION, (n_fractions, 3))):
        np.testing.assert_array_equal(draws.part(40, 7).normals(stream, *shape), draws.normals(stream, *shape)[40:47])


def test_sobol_points_given_images_have_their_mean():
    place = replace(setting(EQUAL), treated=behind(images(SHIFTS), 0.87))
    law = law_of(place)
    draws = ObservedDraws(SobolDraws(1, 0, 4096, 4096, 3, EQUAL), law)
    mean, sd = law.patient()
    systematic = 2 * draws.normals(Stream.SETUP_SYSTEMATIC, 3)
    np.testing.assert_allclose(systematic.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(systematic.std(axis=0), sd, rtol=0.02)


def test_a_finding_that_the_errors_cannot_give_is_refused():
    constant = Uncertainty.model_validate({"setup": {"systematic_mm": [2, 2, 0], "random_mm": [2, 2, 0]}})
    place = replace(setting(constant), treated=behind(images(SHIFTS)))
    with pytest.raises(ConfigError) as found:
        law_of(place)
    assert str(found.value) == (
        "observed.fractions.0.bone_mm: 4 mm on SI cannot happen in this study, whose errors leave no room for it; give "
        "uncertainty or bone_match_mm a spread there"
    )


def test_turns_about_a_distant_isocentre_that_a_match_would_see_are_refused():
    place = replace(setting(MANY, isocentre=(0, 0, 150)), treated=behind(images(SHIFTS, "target")))
    with pytest.raises(
        ConfigError, match=r"^observed: the matches see 1\.[2-6] mm \(root mean square\) that are no Gaussian"
    ):
        law_of(place)
    assert law_of(replace(place, treated=behind(images(SHIFTS)))) is not None


def test_unlikely_findings_are_said_to_be_so():
    place = setting(EQUAL)
    likely, unlikely = (law_of(replace(place, treated=behind(images(s * SHIFTS)))) for s in (1, 4))
    assert likely.warning == ""
    assert likely.probability == pytest.approx(0.814, abs=0.001)  # y'(S^-1)y = 0.50 + 0.29 + 2.17 of 6
    assert unlikely.warning.startswith(
        "observed: fewer than 0.1 % of the study's patients show errors as unlikely as these"
    )


GUIDANCES = {
    "none": NoGuidance(),
    "nal": NoActionLevel(measured_fractions=2),
    "nal-target": NoActionLevel(measured_fractions=3, match="target"),
    "enal": ExtendedNoActionLevel(measured_fractions=1, then_every=1),
    "online-bone": OnlineBone(action_level_mm=2.0, couch_mm=0.3),
    "online-target": OnlineTarget(couch="6D", reimage_every_min=1.0),
}


def calibration(guidance, n_patients, n_draws=60, n_bins=20):
    """Largest |z| over bins of stated probabilities: patients of the population, observed for two fractions out of five.

    Given what was observed, a patient and courses drawn given it are exchangeable, so that of n of them which meet a goal the
    patient is one with probability n over their number: exactly, however few courses are drawn.
    """
    plan, place = strategy(guidance=guidance), setting(MANY, n_fractions=5, n_instants=4)
    people, n = Draws(77, 0, n_patients), 2
    truth = draw_courses(place, people)
    match_mm = np.array(guidance.match_error_mm or (0.87, 0.87, 0.87))
    seen = seen_mm(truth, plan, place, guidance.matches_target)[:, :n]
    seen = seen + people.normals(Stream.GUIDANCE, 5, 3)[:, :n] * match_mm
    match = "target" if guidance.matches_target else "bone"

    def is_met(delivery):
        """Stands for a goal: the target close to its place on average, and never far in what remains."""
        shift = by_fraction(delivery, "GTV").mean(axis=2)
        close = np.linalg.norm(shift.mean(axis=1), axis=-1) < limit[0]
        return close & np.all(np.linalg.norm(shift[:, n:], axis=-1) < limit[1], axis=1)

    of_truth = deliver(truth, plan, place)
    shift = by_fraction(of_truth, "GTV").mean(axis=2)
    limit = (
        np.median(np.linalg.norm(shift.mean(axis=1), axis=-1)) * 1.2,
        np.quantile(np.linalg.norm(shift[:, n:], axis=-1).max(axis=1), 0.7),
    )
    met, law, share = is_met(of_truth), None, np.zeros(n_patients)
    for i in range(n_patients):
        own = replace(place, treated=behind(images(seen[i], match), match_mm, plan))
        law = law_of(own) if law is None else replace(law, shift_mm=seen[i].ravel())
        draws = ObservedDraws(Draws(5, i * n_draws, n_draws), law)
        share[i] = (is_met(deliver(draw_courses(own, draws), plan, own)).sum() + met[i]) / (n_draws + 1)
    assert np.ptp(share) > 0.2
    bins = np.array_split(np.argsort(share, kind="stable"), n_bins)
    z = np.array([(met[b] - share[b]).sum() / np.sqrt((share[b] * (1 - share[b])).sum()) for b in bins])
    return np.abs(z).max(), z


@pytest.mark.parametrize("guidance", ["none", "nal"])
def test_stated_probabilities_are_calibrated(guidance):
    worst, z = calibration(GUIDANCES[guidance], 400, n_draws=30, n_bins=5)
    print(guidance, np.round(z, 2))
    assert worst < 4


@pytest.mark.nightly
@pytest.mark.parametrize("guidance", list(GUIDANCES))
def test_stated_probabilities_are_calibrated_for_each_guidance(guidance):
    """20 bins, 5,000 patients."""
    worst, z = calibration(GUIDANCES[guidance], 5000)
    print(guidance, np.round(z, 2))
    assert worst < 4
