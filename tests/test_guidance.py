"""Image guidance against closed forms; the two frames; causality."""

from types import SimpleNamespace

import numpy as np
import pytest
from drawing import by_fraction, delivered
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm
from test_sphere_truth import sphere_study

from simulator.ground.spec import ConfigError
from simulator.problem.preparation import prepare
from simulator.sampling.seen import moved_since
from simulator.strategy.guidance import (
    ExtendedNoActionLevel,
    GuidanceKind,
    GuidanceNoise,
    NoActionLevel,
    NoGuidance,
    OnlineBone,
    OnlineTarget,
)
from simulator.strategy.margin import Spread
from simulator.strategy.session import Session, Timeline
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty import Baseline, Drift, Setup, Uncertainty

PERFECT = {"match_mm": 0, "couch_mm": 0}
KINDS = [
    NoGuidance(),
    NoActionLevel(measured_fractions=2),
    ExtendedNoActionLevel(measured_fractions=2, then_every=2),
    OnlineBone(),
    OnlineBone(action_level_mm=3),
    OnlineTarget(couch_mm=0.5),
]


def noise(shape, seed=0):
    rng = np.random.default_rng(seed)
    return GuidanceNoise(rng.standard_normal(shape), rng.standard_normal(shape))


def normal(shape, sd, seed=1):
    return np.random.default_rng(seed).standard_normal(shape) * sd


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 7), st.integers(0, 2**31))
def test_a_protocol_never_sees_a_later_fraction(guidance, fraction, seed):
    shape = (5, 8, 3)
    seen, errors = normal(shape, 4, seed), noise(shape, seed)
    tampered = seen.copy()
    tampered[:, fraction:] = 1e6
    numbers = GuidanceNoise(errors.match.copy(), errors.couch.copy())
    numbers.match[:, fraction:] = numbers.couch[:, fraction:] = 1e6
    np.testing.assert_array_equal(
        guidance.correct(seen, errors)[:, :fraction], guidance.correct(tampered, numbers)[:, :fraction]
    )


@pytest.mark.parametrize(
    "guidance",
    [NoActionLevel(measured_fractions=2)]
    + [ExtendedNoActionLevel(measured_fractions=n, then_every=every) for n in (1, 2, 3) for every in (1, 2)],
)
@pytest.mark.parametrize("fraction", range(8))
def test_an_offline_protocol_corrects_before_it_images(guidance, fraction):
    """What is seen in a fraction, and its match error, count from the next one on."""
    seen, errors = normal((5, 8, 3), 4), noise((5, 8, 3))
    other, match = seen.copy(), errors.match.copy()
    other[:, fraction] += 7
    match[:, fraction] -= 9
    before, after = guidance.correct(seen, errors), guidance.correct(other, GuidanceNoise(match, errors.couch))
    np.testing.assert_array_equal(before[:, : fraction + 1], after[:, : fraction + 1])


SEEN, ERRORS = normal((40, 12, 3), 4), noise((40, 12, 3))
MATCH, COUCH = (0.5, 1.0, 2.0), (0.3, 0.6, 0.9)
MEASURED, MOVED = SEEN + ERRORS.match * MATCH, ERRORS.couch * COUCH


def test_an_online_protocol_corrects_what_it_measured_and_misses_by_the_couch():
    for kind in (OnlineBone, OnlineTarget):
        np.testing.assert_allclose(kind(match_mm=MATCH, couch_mm=COUCH).correct(SEEN, ERRORS), MEASURED + MOVED)
    found = OnlineBone(match_mm=MATCH, couch_mm=COUCH, action_level_mm=6).correct(SEEN, ERRORS)
    is_far = (MEASURED**2).sum(axis=-1) > 36
    assert 0.2 < is_far.mean() < 0.9
    np.testing.assert_allclose(found[is_far], (MEASURED + MOVED)[is_far])
    assert not found[~is_far].any()
    assert not OnlineBone(match_mm=0, action_level_mm=5).correct(np.full((1, 1, 3), [3.0, 4, 0]), ERRORS).any()


def test_without_an_action_level_the_couch_moves_even_where_nothing_was_measured():
    """So that courses are left with the couch's error, as margin recipes assume."""
    for kind in (OnlineBone, OnlineTarget):
        guidance = kind(match_mm=0, couch_mm=COUCH)
        np.testing.assert_array_equal(guidance.correct(np.zeros_like(SEEN), ERRORS), MOVED)
        nothing = Spread(np.zeros(3), np.zeros(3), 12)
        np.testing.assert_allclose(guidance.residual(nothing, nothing).random_mm, COUCH)
        assert not kind(match_mm=0, couch_mm=COUCH, action_level_mm=1).correct(np.zeros_like(SEEN), ERRORS).any()


@pytest.mark.parametrize("first", [1, 3, 11])
def test_nal_corrects_by_the_mean_of_what_it_measured(first):
    found = NoActionLevel(measured_fractions=first, match_mm=MATCH, couch_mm=COUCH).correct(SEEN, ERRORS)
    assert not found[:, :first].any()
    expected = MEASURED[:, :first].sum(axis=1, keepdims=True) / first + MOVED[:, first:]
    np.testing.assert_allclose(found[:, first:], expected)


@pytest.mark.parametrize(("first", "every", "begin"), [(1, 1, None), (2, 3, None), (3, 5, 6), (1, 4, 7)])
def test_enal_corrects_by_the_line_through_what_it_measured(first, every, begin):
    """numpy's polynomial of first degree through the images before a fraction, once one has followed the first ones."""
    guidance = ExtendedNoActionLevel(
        measured_fractions=first, then_every=every, then_from=begin, match_mm=MATCH, couch_mm=COUCH
    )
    found = guidance.correct(SEEN, ERRORS)
    assert not found[:, :first].any()
    later = set(range((begin or first + 1) - 1, 12, every))
    for f in range(first, 12):
        days = [d for d in range(f) if d < first or d in later]
        degree = 1 if len(days) > first else 0
        line = np.polyfit(days, MEASURED[:, days].swapaxes(0, 1).reshape(len(days), -1), degree)
        expected = sum(c * f ** (degree - i) for i, c in enumerate(line)).reshape(40, 3)
        np.testing.assert_allclose(found[:, f], expected + MOVED[:, f])


def test_trial_courses_measure_what_an_action_level_leaves():
    """Setup of Σ = σ = 2 mm along one axis, 3 mm level, couch error 1 mm: Σ 0.519 and σ 1.360 mm; the target's own shift
    stays after a match on bone, and is part of what is matched on the target."""
    nothing = Spread(np.zeros(3), np.zeros(3), 200)
    along_lr = Spread(np.array([2.0, 0, 0]), np.array([2.0, 0, 0]), 200)
    protocol = {"action_level_mm": 3, "match_mm": 0, "couch_mm": (1, 0, 0)}
    for left in (
        OnlineBone(**protocol).residual(along_lr, nothing),
        OnlineTarget(**protocol).residual(along_lr, nothing),
        OnlineTarget(**protocol).residual(nothing, along_lr),
    ):
        np.testing.assert_allclose(left.systematic_mm, [0.519, 0, 0], atol=0.02)
        np.testing.assert_allclose(left.random_mm, [1.360, 0, 0], atol=0.01)
        assert left.n_fractions == 200
    shifted = OnlineBone(**protocol).residual(along_lr, Spread(np.array([0, 0, 3.0]), np.array([0, 1.0, 0]), 200))
    np.testing.assert_allclose(shifted.systematic_mm, [0.519, 0, 3.0], atol=0.09)
    np.testing.assert_allclose(shifted.random_mm, [1.360, 1.0, 0], atol=0.01)


def test_an_image_during_the_beam_sees_matched_targets_by_their_weights():
    moved = {name: np.random.default_rng(k).normal(size=(5, 3, 3)) for k, name in enumerate("ABC")}
    courses, place = SimpleNamespace(after_imaging_mm=moved), SimpleNamespace(lead="A")
    seen = moved_since(courses, OnlineTarget(targets={"A": 3, "B": 1}), place)
    np.testing.assert_allclose(seen, (0.75 * moved["A"] + 0.25 * moved["B"])[:, :, None])
    np.testing.assert_array_equal(moved_since(courses, OnlineTarget(), place), moved["A"][:, :, None])


def test_in_a_single_fraction_all_is_systematic():
    """Σ² + σ² of courses of one fraction: no day tells the two apart."""
    spread = Spread(np.array([1.0, 0, 2]), np.array([3.0, 3, 0]), 1)
    left = GuidanceKind.residual(NoGuidance(), spread, Spread(np.zeros(3), np.zeros(3), 1))
    np.testing.assert_allclose(left.systematic_mm**2, [10, 9, 4], rtol=4 * np.sqrt(2 / 4000))
    np.testing.assert_array_equal(left.random_mm, 0)


def test_the_mean_of_few_fractions_is_no_systematic_error():
    """Courses of 3 fractions: the spread of their means is Σ² + σ²/3, and Σ is wanted."""
    spread = Spread(np.array([1.0, 0, 2]), np.array([3.0, 3, 0]), 3)
    left = GuidanceKind.residual(NoGuidance(), spread, Spread(np.zeros(3), np.zeros(3), 3))
    np.testing.assert_allclose(left.systematic_mm**2, [1, 0, 4], atol=4 * 4 * np.sqrt(2 / 4000))
    np.testing.assert_allclose(left.random_mm, [3, 3, 0], atol=4 * 3 / np.sqrt(2 * 8000))


def test_times_of_a_session():
    """Beam 120 s after the image for 100 s in four parts, an image each 30 s that takes 60 s; 10 Gy at 6 Gy/min."""
    session = Session(image_to_beam_s=120, dose_rate_gy_per_min=6, reimaging_s=60)
    assert session.beam_on_s(10) == 100
    timeline = session.timeline(100, 30, 4)
    np.testing.assert_allclose(60 * timeline.time_min, [132.5, 157.5 + 60, 182.5 + 120, 207.5 + 120])
    np.testing.assert_array_equal(timeline.image, [0, 1, 2, 2])
    assert timeline.n_images == 2
    np.testing.assert_array_equal(timeline.first_since(1000), [0, 0, 0, 0])
    np.testing.assert_array_equal(timeline.first_since(100), [0, 0, 2, 2])
    alone = session.timeline(100, None, 4)
    np.testing.assert_allclose(60 * alone.time_min, [132.5, 157.5, 182.5, 207.5])
    assert alone.n_images == 0
    np.testing.assert_array_equal(alone.first_since(40), [0, 0, 2, 2])
    assert OnlineBone(reimage_every_min=1.5).image_every_s == 90
    each_second = session.timeline(60, None, 60).first_since(7.3)
    np.testing.assert_array_equal(each_second, np.ceil(np.floor(np.arange(60) / 7.3) * 7.3))


class TestFrames:
    """Setup error of everything, and a target 4 mm posterior of its planned place."""

    uncertainty = Uncertainty(setup=Setup(random_mm=3), baseline=Baseline(mean_mm=(0, 4.0, 0)))

    def test_a_target_match_moves_the_dose_over_the_unmoved_cord_by_the_targets_shift(self):
        delivery = delivered(self.uncertainty, guidance=OnlineTarget(**PERFECT))
        np.testing.assert_allclose(delivery.motion("GTV").shift_mm, 0, atol=1e-12)
        cord = delivery.motion("SpinalCord").shift_mm
        np.testing.assert_allclose(cord, np.broadcast_to([0, -4.0, 0], cord.shape), atol=1e-12)

    def test_a_bone_match_leaves_the_target_shifted_and_the_cord_in_place(self):
        delivery = delivered(self.uncertainty, guidance=OnlineBone(**PERFECT))
        np.testing.assert_allclose(delivery.motion("SpinalCord").shift_mm, 0, atol=1e-12)
        target = delivery.motion("GTV").shift_mm
        np.testing.assert_allclose(target, np.broadcast_to([0, 4.0, 0], target.shape), atol=1e-12)

    def test_no_guidance_leaves_setup_on_everything(self):
        delivery = delivered(self.uncertainty)
        cord = delivery.motion("SpinalCord")
        assert cord.shift_mm.std() == pytest.approx(3, rel=0.5)
        np.testing.assert_allclose(
            by_fraction(delivery, "GTV"), by_fraction(delivery, "SpinalCord") + np.array([0, 4, 0])
        )
        np.testing.assert_allclose(cord.weight.sum(axis=1), 1)

    def test_a_target_match_takes_off_the_lever_of_a_rotation_and_a_bone_match_does_not(self):
        uncertainty, centre = Uncertainty(setup=Setup(mean_deg=(0, 0, 2))), {"GTV": np.array([50.0, 0, 0])}
        matched = delivered(uncertainty, guidance=OnlineTarget(**PERFECT), centres=centre).motion("GTV")
        np.testing.assert_allclose(matched.shift_mm, 0, atol=1e-12)
        assert matched.linear is not None, "the target stays turned about its own centre"
        bone = delivered(uncertainty, guidance=OnlineBone(**PERFECT), centres=centre).motion("GTV")
        np.testing.assert_allclose(np.linalg.norm(bone.shift_mm, axis=-1), 2 * 50 * np.sin(np.radians(1)))


class TestOnline:
    def test_residual_is_match_and_couch_error_together(self):
        uncertainty = Uncertainty(setup=Setup(systematic_mm=5, random_mm=5))
        guidance = OnlineBone(match_mm=(0.5, 1, 2), couch_mm=(0.5, 0, 1))
        moved = delivered(uncertainty, guidance=guidance, n_courses=20_000, n_fractions=1, n_instants=1).motion("GTV")
        np.testing.assert_allclose(
            moved.shift_mm[:, 0].std(axis=0), np.hypot((0.5, 1, 2), (0.5, 0, 1)), rtol=4 / np.sqrt(40_000)
        )

    @pytest.mark.parametrize(("level", "one_axis"), [(1.0, 0.1935), (1.5, 0.4318), (2.0, 0.6713)])
    def test_an_action_level_leaves_a_truncated_normal(self, level, one_axis):
        """Residual SD per axis s sqrt(F(k^2; 5)) for errors N(0, s^2) on three axes, corrected beyond k s."""
        assert np.sqrt(chi2.cdf(level**2, 5)) == pytest.approx(one_axis, abs=1e-4)
        uncertainty = Uncertainty(setup=Setup(random_mm=2))
        guidance = OnlineBone(action_level_mm=2 * level, **PERFECT)
        left = (
            delivered(uncertainty, guidance=guidance, n_courses=40_000, n_fractions=1, n_instants=1)
            .motion("GTV")
            .shift_mm[:, 0]
        )
        expected = 2 * np.sqrt(chi2.cdf(level**2, 5))
        assert np.all(np.abs(left.std(axis=0) / expected - 1) < 0.02)
        uncorrected = (np.linalg.norm(left, axis=1) > 0).mean()
        assert uncorrected == pytest.approx(chi2.cdf(level**2, 3), abs=4 * 0.5 / 200)

    def test_an_action_level_reintroduces_systematic_error(self):
        """One axis, Σ = σ = 2 mm, 3 mm level, 1 mm correction error: Σ 0.519 and σ 1.360 mm left, 28.9 % corrected."""
        systematic = np.random.default_rng(0).standard_normal((4000, 1, 3)) * [2.0, 0, 0]
        seen = systematic + np.random.default_rng(1).standard_normal((4000, 200, 3)) * [2.0, 0, 0]
        guidance = OnlineBone(action_level_mm=3, match_mm=0, couch_mm=(1, 0, 0))
        correction = guidance.correct(seen, noise(seen.shape))
        left = (seen - correction)[..., 0]
        between = left.mean(axis=1).var() - left.var(axis=1, ddof=1).mean() / 200
        assert np.sqrt(between) == pytest.approx(0.519, abs=0.02)
        assert np.sqrt(left.var(axis=1, ddof=1).mean()) == pytest.approx(1.360, abs=0.01)
        assert (correction[..., 0] != 0).mean() == pytest.approx(0.289, abs=0.006)

    def test_only_a_6d_couch_corrects_rotations(self):
        uncertainty = Uncertainty(setup=Setup(random_deg=2))
        for couch, expected in (("4D", 2.0), ("6D", 0.4)):
            guidance = OnlineTarget(couch=couch)
            left = delivered(uncertainty, guidance=guidance, n_courses=5000).rotation[:, 0]
            about_si = np.degrees(np.arctan2(left[:, 1, 0], 1 + left[:, 0, 0]))
            assert about_si.std() == pytest.approx(expected, rel=0.05)

    def test_an_image_during_the_beam_starts_the_drift_anew(self):
        uncertainty = Uncertainty(drift=Drift(mean_mm_per_min=(0, 0, 1.0)))
        session = Session(image_to_beam_s=60, dose_rate_gy_per_min=2.5, reimaging_s=60)  # 4 min of beam
        guidance = OnlineBone(reimage_every_min=2, **PERFECT)
        path = by_fraction(delivered(uncertainty, guidance=guidance, session=session), "GTV")[0, 0, :, 2]
        first_minutes = 1 + 4 * (np.arange(10) + 0.5) / 20
        np.testing.assert_allclose(path[:10], first_minutes)
        np.testing.assert_allclose(path[10:], first_minutes - 1 + 4 * 10 / 20 + 2 - first_minutes[-1])

    def test_an_image_during_the_beam_sees_the_targets_shift_since_the_first_one(self):
        uncertainty = Uncertainty(baseline=Baseline(after_imaging_mean_mm=(0, 1.0, 2.2)))
        session = Session(dose_rate_gy_per_min=2.5)
        guidance = OnlineTarget(reimage_every_min=2, **PERFECT)
        path = by_fraction(delivered(uncertainty, guidance=guidance, session=session), "GTV")[0, 0]
        np.testing.assert_allclose(path[:10], np.broadcast_to([0, 1.0, 2.2], (10, 3)))
        np.testing.assert_allclose(path[10:], 0, atol=1e-12)
        cord = by_fraction(delivered(uncertainty, guidance=guidance, session=session), "SpinalCord")[0, 0]
        np.testing.assert_allclose(cord[10:], np.broadcast_to([0, -1.0, -2.2], (10, 3)))

    def test_images_before_the_first_instant_see_none_of_what_has_moved_since(self):
        """An image shows the instant before it: every 6 s, and instants of 30 s."""
        uncertainty = Uncertainty(setup=Setup(mean_mm=(5, 5, 5)), baseline=Baseline(after_imaging_mean_mm=(1, 2, 4.0)))
        guidance = OnlineTarget(reimage_every_min=0.1, **PERFECT)
        path = by_fraction(delivered(uncertainty, guidance=guidance, n_instants=5), "GTV")
        expected = np.zeros((5, 3))
        expected[0] = (1, 2, 4)
        np.testing.assert_allclose(path, np.broadcast_to(expected, path.shape), atol=1e-12)


class TestOffline:
    @pytest.mark.parametrize(("measured", "fractions"), [(1, 5), (2, 5), (3, 8)])
    def test_nal_leaves_the_closed_form_in_later_fractions(self, measured, fractions):
        """Σ² of the later fractions is (σ² + σ_match²) / N, that of the first ones stays."""
        systematic, random, match = 3.0, 2.0, 1.0
        shape = (40_000, fractions, 3)
        seen = normal((shape[0], 1, 3), systematic) + normal(shape, random, 2)
        left = seen - NoActionLevel(measured_fractions=measured, match_mm=match).correct(seen, noise(shape, 3))
        later = left[:, measured:].mean(axis=1)
        expected = (random**2 + match**2) / measured + random**2 / (fractions - measured)
        np.testing.assert_allclose(later.var(axis=0), expected, rtol=0.03)
        np.testing.assert_array_equal(left[:, :measured], seen[:, :measured])

    def test_nal_over_a_whole_course_is_the_closed_form(self):
        """Σ = 3, σ = 2, no match error, 3 of 30 fractions measured: variance of the course mean 1.0312 / ..."""
        n, fractions, systematic, random = 3, 30, 3.0, 2.0
        shape = (40_000, fractions, 3)
        seen = normal((shape[0], 1, 3), systematic) + normal(shape, random, 2)
        left = seen - NoActionLevel(measured_fractions=n, match_mm=0).correct(seen, noise(shape, 3))
        expected = (
            (n / fractions) ** 2 * systematic**2
            + ((2 * n - fractions) / fractions) ** 2 * random**2 / n
            + (fractions - n) * random**2 / fractions**2
        )
        np.testing.assert_allclose(left.mean(axis=1).var(axis=0), expected, rtol=0.03)
        assert expected == pytest.approx(1.0633, abs=0.05)

    def test_nal_that_measures_every_fraction_never_acts(self):
        seen = normal((10, 3, 3), 3)
        assert not NoActionLevel(measured_fractions=3).correct(seen, noise(seen.shape)).any()

    def test_enal_follows_a_trend_that_nal_misses(self):
        trend = 0.2 * np.arange(12.0)[None, :, None] * np.ones((1, 1, 3))
        extended = ExtendedNoActionLevel(measured_fractions=3, then_every=2, **PERFECT)
        left = trend - extended.correct(trend, noise(trend.shape))
        np.testing.assert_allclose(left[:, 4:], 0, atol=1e-12)
        left = trend - NoActionLevel(measured_fractions=3, **PERFECT).correct(trend, noise(trend.shape))
        np.testing.assert_allclose(left[0, 3:, 0], 0.2 * (np.arange(3, 12) - 1))

    def test_without_a_trend_the_line_of_enal_costs_what_regression_says(self):
        """SD of the prediction over σ after images 1-3, 6 and 11: sqrt(1/n + (t - mean)^2 / S)."""
        known, day = np.array([0, 1, 2, 3, 8]), 9
        seen = normal((40_000, 10, 3), 1.0)
        extended = ExtendedNoActionLevel(measured_fractions=3, then_every=5, **PERFECT)
        predicted = extended.correct(seen, noise(seen.shape))[:, day]
        centred = known - known.mean()
        expected = np.sqrt(1 / len(known) + (day - known.mean()) ** 2 / (centred**2).sum())
        np.testing.assert_allclose(predicted.std(axis=0), expected, rtol=0.02)

    @pytest.mark.parametrize(
        ("measured", "every", "begin", "images"),
        [
            (3, 5, None, [1, 2, 3, 4, 9, 14]),
            (3, 5, 6, [1, 2, 3, 6, 11, 16]),
            (1, 5, 6, [1, 6, 11, 16]),
            (2, 3, 10, [1, 2, 10, 13, 16]),
            (4, 20, 5, [1, 2, 3, 4, 5]),
        ],
    )
    def test_enal_images_the_first_fractions_and_then_those_of_its_schedule(self, measured, every, begin, images):
        """Only fractions with an image change later corrections."""
        guidance = ExtendedNoActionLevel(measured_fractions=measured, then_every=every, then_from=begin, **PERFECT)
        assert list(np.flatnonzero(guidance.is_imaged(np.arange(1, 17))) + 1) == images
        seen = normal((1, 17, 3), 3)
        for fraction in range(16):
            other = seen.copy()
            other[:, fraction] += 1
            changed = guidance.correct(other, noise(seen.shape)) != guidance.correct(seen, noise(seen.shape))
            assert changed.any() == (fraction + 1 in images)

    @pytest.mark.parametrize(
        ("images", "day", "truth"),
        [([1, 2, 3], 4, 1.52753), ([1, 2, 3, 6], 7, 1.18019), ([1, 2, 3, 6, 11, 16], 17, 0.895608)],
    )
    def test_the_weekly_line_predicts_as_well_as_regression_says(self, images, day, truth):
        """SD of a straight line's prediction over σ, images in the first three fractions and then weekly, no trend."""
        x = np.array(images, float) - np.mean(images)
        assert np.sqrt(1 / len(x) + (day - np.mean(images)) ** 2 / (x**2).sum()) == pytest.approx(truth, abs=1e-5)
        guidance = ExtendedNoActionLevel(measured_fractions=2, then_every=1, match_mm=0)
        if len(images) > 3:
            guidance = ExtendedNoActionLevel(measured_fractions=3, then_every=5, then_from=6, match_mm=0)
        predicted = guidance.correct(normal((40_000, day, 3), 1.0), noise((40_000, day, 3)))[:, day - 1]
        np.testing.assert_allclose(predicted.std(axis=0), truth, rtol=0.02)

    def test_further_images_come_after_the_measured_fractions_and_are_named(self):
        with pytest.raises(ValueError, match="then_from: fraction 3 is one of the 3 measured ones; give a later one"):
            ExtendedNoActionLevel(measured_fractions=3, then_from=3)
        said = ExtendedNoActionLevel(then_from=6).describe()
        assert "nal after 3 fractions, then images in fractions 6, 11, 16 and so on" in said

    @pytest.mark.parametrize("kind", ["nal", "enal"])
    @pytest.mark.parametrize(("measured", "fractions"), [(3, 3), (3, 1), (5, 4)])
    def test_a_protocol_that_never_corrects_is_refused(self, kind, measured, fractions):
        config = sphere_study(
            radius_mm=8, penumbra_sd_mm=3.2, isodose_percent=80, systematic_mm=1, random_mm=1, margins_mm=(3,),
            fractions=fractions, max_points=1000,
        ).model_dump(mode="json")  # fmt: skip
        config["strategies"]["guidance"] = [{"kind": kind, "measured_fractions": measured}]
        with pytest.raises(ConfigError) as refusal:
            prepare(StudyConfig.model_validate(config))
        assert str(refusal.value) == (
            f"strategies.guidance.{kind}: would correct from fraction {measured + 1} on, but prescription.fractions is "
            f"{fractions}; measure fewer fractions (measured_fractions), or choose another guidance"
        )
        config["strategies"]["guidance"] = [{"kind": kind, "measured_fractions": 1}]
        config["prescription"]["fractions"] = 2
        prepare(StudyConfig.model_validate(config))

    def test_offline_residuals_for_the_recipes_come_from_trial_courses(self):
        spread = Spread(np.full(3, 3.0), np.full(3, 2.0), 30)
        left = NoActionLevel(measured_fractions=3, match_mm=0).residual(spread, Spread(np.zeros(3), np.zeros(3), 30))
        assert np.all(left.systematic_mm < 1.2)
        assert np.all(left.random_mm == pytest.approx(2.2, abs=0.2))


def test_share_of_errors_beyond_a_one_axis_action_level():
    seen = np.zeros((60_000, 1, 3))
    seen[..., 2] = normal((60_000, 1), 2.0)
    corrected = OnlineBone(action_level_mm=3, **PERFECT).correct(seen, noise(seen.shape))
    assert (corrected[..., 2] != 0).mean() == pytest.approx(2 * norm.sf(1.5), abs=4 * 0.5 / np.sqrt(60_000))


def test_defaults_are_those_of_their_sources():
    """Match and couch on a humanoid phantom: 0.8 to 1.2 mm in each direction."""
    for kind in (NoActionLevel, ExtendedNoActionLevel, OnlineBone, OnlineTarget):
        assert kind().match_mm == (1.0, 1.0, 1.0)
        assert kind().couch_mm == (0, 0, 0)
    offline = ExtendedNoActionLevel()
    assert (offline.measured_fractions, offline.then_every, offline.match) == (3, 5, "bone")
    assert NoActionLevel().measured_fractions == NoActionLevel().fractions_before_correction() == 3
    online = OnlineTarget()
    assert (online.action_level_mm, online.couch, online.rotation_match_deg) == (0, "4D", (0.4, 0.4, 0.4))
    session = Session()
    assert (session.image_to_beam_s, session.dose_rate_gy_per_min, session.reimaging_s) == (180, 4, 60)


def test_an_instant_on_the_border_of_two_intervals_belongs_to_the_later_one():
    """Every 5 s of 100 s, and intervals of 10 s: pairs, whatever tenths of a minute are in binary."""
    timeline = Timeline(3 + np.arange(20) * 5 / 60, np.zeros(20, int), 100.0)
    np.testing.assert_array_equal(timeline.first_since(10.0), np.arange(20) // 2 * 2)
