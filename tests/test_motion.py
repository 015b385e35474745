"""Motion management against closed forms."""

import csv
from math import comb

import numpy as np
import pytest
from drawing import by_fraction, delivered, setting, strategy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import norm, qmc

import simulator
from simulator.sampling.delivery import strategy_timeline
from simulator.strategy.guidance import OnlineBone, OnlineTarget
from simulator.strategy.motion import (
    BreathHold,
    Compression,
    Gating,
    InternalTargetVolume,
    MidVentilation,
    NoMotionManagement,
    Tracking,
)
from simulator.strategy.session import Session
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty import Baseline, Drift, Respiration, Uncertainty

PERFECT = {"match_mm": 0, "couch_mm": 0}
PERFECT_BEAM = {"latency_s": 0, "error_systematic_mm": 0, "error_mm": 0}


def breathing(amplitude_mm=(0, 0, 10.0), **parameters):
    return Uncertainty(respiration=Respiration(amplitude_mm=amplitude_mm, **parameters))


def planned(n, instants=3600):
    """A finely sampled planning cycle."""
    source = Respiration(amplitude_mm=(0, 0, 1.0), n=n)
    wave = source.waveform("GTV")
    cycle = np.arange(instants)[None, None] / instants
    one = np.ones((1, 1))
    return type(source.planned(wave))(wave, cycle, one, np.ones(cycle.shape), one * 4)


def sine_power(m, angle):
    """Integral of sin^2m from 0 to an angle."""
    series = sum((-1) ** k * comb(2 * m, m - k) * np.sin(2 * k * angle) / (2 * k) for k in range(1, m + 1))
    return (comb(2 * m, m) * angle + 2 * series) / 4**m


@pytest.mark.parametrize("window", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_gating_duty_cycle_and_residual_motion_are_the_closed_forms(n, window):
    """Gate 0 <= A sin^2n <= w A around exhale: with phi = asin(w^(1/2n)), duty 2 phi / pi and moments from sin^2m."""
    cycle = planned(n)
    gate = Gating(window_percent=100 * window, latency_s=0)
    phi = np.arcsin(window ** (1 / (2 * n)))
    assert gate.duty_cycle(cycle) == pytest.approx(2 * phi / np.pi, abs=1e-3)
    inside = -gate.path_mm(cycle, "GTV")[:, 2] + comb(2 * n, n) / 4**n
    mean = sine_power(n, phi) / phi
    assert inside.mean() == pytest.approx(mean, abs=1e-3)
    assert inside.std() == pytest.approx(np.sqrt(sine_power(2 * n, phi) / phi - mean**2), abs=1e-3)


def test_gating_of_lujan_motion_is_that_of_the_reference_table(reference_folder):
    with (reference_folder / "validation_truth.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["section"] == "S3" and "w=" in r["motion"]]
    found = {
        "duty_cycle": lambda gate, cycle, inside: gate.duty_cycle(cycle),
        "gated_mean/A": lambda gate, cycle, inside: inside.mean(),
        "gated_SD/A": lambda gate, cycle, inside: inside.std(),
    }
    checked = [r for r in rows if r["metric"] in found]
    assert len(checked) >= 40
    for row in checked:
        n, window = (float(part.split("=")[1]) for part in row["motion"].split()[-2:])
        cycle, gate = planned(int(n)), Gating(window_percent=100 * window, latency_s=0)
        inside = -gate.path_mm(cycle, "GTV")[:, 2] + comb(2 * int(n), int(n)) / 4 ** int(n)
        assert found[row["metric"]](gate, cycle, inside) == pytest.approx(float(row["value"]), abs=1e-3), row["motion"]


@pytest.mark.parametrize("around", ["exhale", "inhale"])
def test_a_phase_window_is_on_for_its_share_of_the_cycle(around):
    gate = Gating(signal="phase", around=around, window_percent=30)
    cycle = planned(2)
    assert gate.duty_cycle(cycle) == pytest.approx(0.30, abs=1e-9)
    sign = 1 if around == "exhale" else -1
    assert sign * gate.offset_mm(cycle, "GTV")[2] > 0, "exhale is superior of the mean"


def test_gated_dose_is_given_inside_the_window_and_planned_there():
    gate = Gating(window_percent=30, latency_s=0)
    delivery = delivered(breathing(n=1), gate, OnlineTarget(**PERFECT), n_instants=200)
    place = setting(breathing(n=1))
    path = by_fraction(delivery, "GTV")[..., 2]
    on = delivery.weight > 0
    offset = gate.offset_mm(place.planned, "GTV")[2]
    assert np.ptp(path[on]) <= 3.0 + 1e-9, "30 % of 10 mm"
    assert np.average(path, weights=delivery.weight) == pytest.approx(offset, abs=0.05)
    np.testing.assert_allclose(delivery.weight.sum(axis=(1, 2)), 1)
    bone = delivered(breathing(n=1), gate, OnlineTarget(**PERFECT), n_instants=200)
    np.testing.assert_allclose(by_fraction(bone, "SpinalCord"), 0, atol=0.05)


def test_latency_shifts_the_window_along_the_cycle():
    late = delivered(breathing(n=1, period_s=4), Gating(window_percent=20, latency_s=0.4), n_instants=400)
    prompt = delivered(breathing(n=1, period_s=4), Gating(window_percent=20, latency_s=0.0), n_instants=400)
    spread = [np.ptp(by_fraction(d, "GTV")[d.weight > 0][:, 2]) for d in (late, prompt)]
    phi = np.arcsin(np.sqrt(0.2))
    assert spread[1] == pytest.approx(2.0, abs=0.05)
    assert spread[0] == pytest.approx(10 * np.sin(phi + np.pi * 0.4 / 4) ** 2, abs=0.05)


@pytest.mark.parametrize("latency_s", [0.0, 0.4])
def test_planning_on_the_mean_in_the_window_leaves_its_spread_to_the_margin(latency_s):
    """The window about exhale of the planning cycle, which knows no latency; the union leaves nothing."""
    cycle = setting(breathing((0, 0, 10.0), n=2)).planned
    gate = Gating(window_percent=30, latency_s=latency_s, plan_on="mean")
    within = cycle.displacement_mm("GTV")[0, 0][cycle.depth()[0, 0] <= 0.3]
    np.testing.assert_allclose(gate.spread(cycle, "GTV").random_mm, within.std(axis=0))
    np.testing.assert_allclose(gate.path_mm(cycle, "GTV"), within.mean(axis=0)[None])
    assert not Gating(plan_on="union").spread(cycle, "GTV").random_mm.any()


def test_gating_stretches_the_session_by_the_duty_cycle():
    place = setting(breathing(n=2))
    gate = Gating(window_percent=30)
    times = [strategy_timeline(strategy(motion), place).beam_s for motion in (NoMotionManagement(), gate)]
    assert times[0] == pytest.approx(150)
    assert times[1] == pytest.approx(150 / gate.duty_cycle(place.planned))
    drift = Uncertainty(respiration=breathing(n=2).respiration, drift=Drift(mean_mm_per_min=(1, 0, 0)))
    free, gated = (by_fraction(delivered(drift, motion), "SpinalCord")[..., 0].max() for motion in (None, gate))
    assert gated > free + 1.0


class TestTracking:
    def test_a_perfect_beam_stops_the_target_and_passes_its_motion_to_everything_else(self):
        uncertainty = breathing((0, 0, 15.0))
        tracked = delivered(uncertainty, Tracking(**PERFECT_BEAM), OnlineTarget(**PERFECT))
        free = delivered(uncertainty, NoMotionManagement(), OnlineTarget(**PERFECT))
        np.testing.assert_allclose(by_fraction(tracked, "GTV"), 0, atol=1e-12)
        mirrored = -by_fraction(free, "GTV")
        np.testing.assert_allclose(by_fraction(tracked, "SpinalCord"), mirrored, atol=1e-12)
        np.testing.assert_allclose(by_fraction(free, "SpinalCord"), 0, atol=1e-12)

    def test_the_residual_of_a_late_beam_is_latency_times_velocity(self):
        """A sine of 10 mm and 4 s moves at up to pi A / tau: SD of the residual A/2 2 sin(pi lag / tau) / sqrt 2."""
        late = Tracking(latency_s=0.2, error_systematic_mm=0, error_mm=0)
        left = by_fraction(delivered(breathing(n=1, period_s=4), late, OnlineTarget(**PERFECT)), "GTV")[..., 2]
        exact = 10 * np.sin(np.pi * 0.2 / 4) / np.sqrt(2)
        np.testing.assert_allclose(left.std(axis=-1), exact, rtol=1e-9)
        velocity_sd = np.pi * 10 / 4 / np.sqrt(2)
        assert left.std() == pytest.approx(0.2 * velocity_sd, rel=0.01)

    def test_tracking_error_has_its_sd_per_course_and_instant(self):
        beam = Tracking(latency_s=0, error_systematic_mm=0.5, error_mm=(0.6, 0.7, 0.8))
        left = by_fraction(delivered(Uncertainty(), beam, n_courses=4000), "GTV")
        np.testing.assert_allclose(
            left.mean(axis=(1, 2)).std(axis=0), np.hypot(0.5, np.array([0.6, 0.7, 0.8]) / np.sqrt(60)), rtol=0.06
        )
        np.testing.assert_allclose(left.std(axis=2, ddof=1).mean(axis=(0, 1)), [0.6, 0.7, 0.8], rtol=0.03)

    def test_slow_shifts_are_followed_as_often_as_the_model_is_updated(self):
        uncertainty = Uncertainty(drift=Drift(mean_mm_per_min=(0, 0, 1.0)))
        session = Session(image_to_beam_s=0, dose_rate_gy_per_min=2.5)  # 4 min of beam: instants 12 s apart
        tracked = delivered(uncertainty, Tracking(**PERFECT_BEAM, reimaging_interval_s=60), session=session)
        left = by_fraction(tracked, "GTV")[0, 0, :, 2]
        np.testing.assert_allclose(left, np.tile(np.arange(5) * 0.2, 4), atol=1e-12)

    def test_setup_errors_are_the_business_of_guidance(self):
        uncertainty = Uncertainty(baseline=Baseline(mean_mm=(0, 3.0, 0)))
        alone = delivered(uncertainty, Tracking(**PERFECT_BEAM))
        np.testing.assert_allclose(by_fraction(alone, "GTV")[..., 1], 3.0)
        matched = delivered(uncertainty, Tracking(**PERFECT_BEAM), OnlineTarget(**PERFECT))
        np.testing.assert_allclose(by_fraction(matched, "GTV"), 0, atol=1e-12)


class TestBreathHold:
    def test_every_hold_has_its_own_place_about_the_systematic_one(self):
        hold = BreathHold(systematic_mm=1.5, hold_mm=(1, 2, 3), hold_s=30)
        moved = delivered(Uncertainty(), hold, OnlineBone(**PERFECT), n_courses=4000)
        path = by_fraction(moved, "GTV")
        holds = path[:, :, ::4]  # 150 s of beam: five holds of four instants
        np.testing.assert_array_equal(np.repeat(holds, 4, axis=2), path)
        np.testing.assert_allclose(holds.std(axis=2, ddof=1).mean(axis=(0, 1)) / 0.9400, [1, 2, 3], rtol=0.03)
        expected = np.sqrt(1.5**2 + np.array([1, 4, 9]) / 15)
        np.testing.assert_allclose(path.mean(axis=(1, 2)).std(axis=0), expected, rtol=0.05)
        assert not by_fraction(moved, "SpinalCord").any()

    def test_a_target_match_is_made_in_a_hold_of_its_own(self):
        hold = BreathHold(systematic_mm=5, hold_mm=1, hold_s=1000)
        left = by_fraction(delivered(Uncertainty(), hold, OnlineTarget(**PERFECT), n_courses=4000, n_instants=1), "GTV")
        np.testing.assert_allclose(left[:, 0, 0].std(axis=0), np.sqrt(2), rtol=0.05)

    def test_no_breathing_is_left_and_structures_rest_where_the_depth_says(self):
        source = Respiration(amplitude_mm=(0, 0, 10.0), n=1, structures={"Bladder": (0, 0, 20.0)})
        steady = {"systematic_mm": 0, "hold_mm": 0}
        hold = BreathHold(depth=1.5, geometry_mm={"SpinalCord": (0, 1, 0)}, **steady)
        moved = delivered(Uncertainty(respiration=source), hold, OnlineBone(**PERFECT))
        for name, expected in (("GTV", (0, 0, -10.0)), ("Bladder", (0, 0, -20.0)), ("SpinalCord", (0, 1, 0))):
            path = by_fraction(moved, name)
            np.testing.assert_allclose(path, np.broadcast_to(expected, path.shape), atol=1e-9)
            place = setting(Uncertainty(respiration=source))
            np.testing.assert_allclose(hold.offset_mm(place.planned, name), expected, atol=1e-9)

    def test_holds_share_the_dose_evenly_however_many_instants_each_has(self):
        """20 instants in three holds: 7, 6 and 7."""
        weight = delivered(Uncertainty(), BreathHold(hold_s=50)).weight
        expected = np.repeat(1 / (3 * np.array([7.0, 6, 7])), [7, 6, 7]) / 3
        np.testing.assert_allclose(weight, np.broadcast_to(expected, weight.shape))

    def test_structures_miss_their_places_in_proportion_to_their_amplitudes(self):
        """Bladder breathes half as much as the target, the cord not at all; geometry alone moves all of the miss."""
        source = Respiration(amplitude_mm=(0, 0, 10.0), structures={"Bladder": (3, 4, 0), "SpinalCord": (0, 0, 0)})
        hold = BreathHold(systematic_mm=(1, 2, 3), hold_mm=(3, 2, 1), hold_s=1000)
        moved = delivered(Uncertainty(respiration=source), hold)
        target, bladder = (by_fraction(moved, name) - hold.offset_mm(moved.setting.planned, name)
                           for name in ("GTV", "Bladder"))  # fmt: skip
        np.testing.assert_allclose(bladder, target / 2, atol=1e-9)
        assert np.all(target.std(axis=(0, 1, 2)) > 0.3)
        assert not by_fraction(moved, "SpinalCord").any()

    def test_what_does_not_breathe_goes_where_the_hold_puts_it_and_no_farther(self):
        source = Respiration(amplitude_mm=(0, 0, 10.0))
        hold = BreathHold(systematic_mm=5, hold_mm=3, geometry_mm={"SpinalCord": (0, 1, 0)}, hold_s=1000)
        path = by_fraction(delivered(Uncertainty(respiration=source), hold), "SpinalCord")
        np.testing.assert_allclose(path, np.broadcast_to((0, 1, 0), path.shape), atol=1e-9)

    def test_creep_varies_between_fractions_about_its_mean(self):
        hold = BreathHold(systematic_mm=0, hold_mm=0, creep_mean_mm=(1, 2, 3), creep_sd_mm=(3, 1, 2), hold_s=1000)
        path = by_fraction(delivered(Uncertainty(), hold, n_courses=4000), "GTV")
        creep = (path[:, :, -1] - path[:, :, 0]) / (19 / 20)
        np.testing.assert_allclose(creep.mean(axis=(0, 1)), [1, 2, 3], atol=4 * 3 / np.sqrt(12_000))
        np.testing.assert_allclose((creep[:, 0] - creep[:, 1]).std(axis=0), np.sqrt(2) * np.array([3, 1, 2]), rtol=0.05)

    def test_creep_grows_within_each_hold(self):
        hold = BreathHold(systematic_mm=0, hold_mm=0, creep_mean_mm=(0, 0, 4.0), hold_s=75)
        path = by_fraction(delivered(Uncertainty(), hold), "GTV")[0, 0, :, 2]
        np.testing.assert_allclose(path, np.tile(4 * (np.arange(10) + 0.5) / 10, 2), atol=1e-9)

    @pytest.mark.parametrize("hold_s", [150, 75, 20])
    def test_a_target_match_sees_the_time_average_of_the_hold(self, hold_s):
        """Creep c from begin to end of a hold: the target passes from -c/2 to +c/2 about the place that was matched."""
        hold = BreathHold(systematic_mm=0, hold_mm=0, creep_mean_mm=(0, 1, 4.0), creep_sd_mm=0.5, hold_s=hold_s)
        path = by_fraction(delivered(Uncertainty(), hold, OnlineTarget(**PERFECT), n_instants=120), "GTV")
        np.testing.assert_allclose(path.mean(axis=2), 0, atol=1e-9)
        free = by_fraction(delivered(Uncertainty(), hold, OnlineBone(**PERFECT), n_instants=120), "GTV")
        np.testing.assert_allclose(path, free - free.mean(axis=2, keepdims=True), atol=1e-9)
        first, last = path[:, :, 0], path[:, :, -1]
        np.testing.assert_allclose(first, -last, atol=1e-9)

    @pytest.mark.nightly
    def test_coverage_of_a_creeping_sphere_after_a_target_match_is_that_of_quadrature(self):
        """Creep 1.6 mm along SI, match error 0.5 mm: P(D98% >= 95 %) is 98.5 %, and 86.9 % if the match saw the begin."""
        creep, match, margin, n = 1.6, 0.5, 1.0, 2000
        study = StudyConfig.model_validate(
            {
                "name": "creep",
                "case": {"phantom": "sphere", "radius_mm": 10},
                "prescription": {"dose_gy": 10, "fractions": 1, "isodose_percent": 95},
                "plan": {"model": "penumbra", "penumbra_sd_mm": 3.2},
                "strategies": {
                    "margins_mm": [margin],
                    "motion": [
                        {"kind": "breath-hold", "systematic_mm": 0, "hold_mm": 0, "creep_mean_mm": [0, 0, creep]}
                    ],
                    "guidance": [{"kind": "online-target", "match_mm": match}],
                },
                "goals": ["GTV D98% >= 95%"],
            }
        )
        found = float(simulator.run(study, courses=n)["goals/probability"][0, 0])
        truth = _coverage_of_a_blurred_sphere(10.0, margin, 3.2, match, creep, seen=0.5)
        assert truth == pytest.approx(0.985, abs=0.003)
        assert _coverage_of_a_blurred_sphere(10.0, margin, 3.2, match, creep, seen=0.0) < 0.88
        assert abs(found - truth) <= 3.3 * np.sqrt(truth * (1 - truth) / n) + 0.002

    def test_the_number_of_holds_follows_from_the_beam_on_time(self):
        hold = BreathHold(hold_s=20, pause_s=15)
        assert (hold.n_holds(150), hold.n_holds(20), hold.n_holds(5)) == (8, 1, 1)
        assert hold.beam_time_s(150, setting(Uncertainty()).planned) == 150 + 7 * 15


def _coverage_of_a_blurred_sphere(radius, margin, penumbra, match, creep, seen):
    """P(D98% >= 95 %) of a sphere that creeps along z and is matched where it is after a share `seen` of the creep."""
    cube = qmc.Sobol(3, seed=1).random(2**13) * 2 - 1
    points = radius * cube[np.linalg.norm(cube, axis=1) < 1]
    half = radius + margin + norm.ppf(0.95) * penumbra
    along = creep * ((np.arange(8) + 0.5) / 8 - seen)

    def d98(aside, up):
        moved = points[:, None] + np.stack([np.full(8, aside), np.zeros(8), up + along], axis=-1)
        return np.quantile(norm.cdf((half - np.linalg.norm(moved, axis=-1)) / penumbra).mean(axis=1), 0.02)

    aside, up = np.linspace(0, 5 * match, 11), np.linspace(-5 * match, 5 * match, 21)
    values = RegularGridInterpolator((aside, up), [[d98(a, u) for u in up] for a in aside])
    error = match * np.random.default_rng(1).standard_normal((400_000, 3))
    error = error[np.abs(error).max(axis=1) < 3.5 * match]
    return float((values(np.stack([np.hypot(*error[:, :2].T), error[:, 2]], axis=1)) >= 0.95).mean())


class TestCompression:
    def test_amplitudes_shrink_by_the_drawn_ratio(self):
        squeeze = Compression(ratio=(1, 0.8, 0.6), ratio_cv=0.2)
        moved = delivered(breathing((2, 4, 10)), squeeze, n_courses=8000, n_fractions=1)
        width = np.ptp(by_fraction(moved, "GTV")[:, 0], axis=1)
        free = np.ptp(by_fraction(delivered(breathing((2, 4, 10)), n_courses=8000, n_fractions=1), "GTV")[:, 0], axis=1)
        ratio = width / free
        np.testing.assert_allclose(ratio.mean(axis=0), (1, 0.8, 0.6), rtol=4 * 0.2 / np.sqrt(8000))
        np.testing.assert_allclose(ratio.std(axis=0) / ratio.mean(axis=0), 0.2, rtol=0.05)

    def test_it_shifts_the_target_and_a_match_on_bone_leaves_that(self):
        squeeze = Compression(systematic_mm=2, random_mm=1)
        moved = delivered(Uncertainty(), squeeze, OnlineBone(**PERFECT), n_courses=8000, n_instants=1)
        left = by_fraction(moved, "GTV")[:, :, 0]
        np.testing.assert_allclose(left.mean(axis=1).std(axis=0), np.sqrt(4 + 1 / 3), rtol=0.04)
        matched = by_fraction(delivered(Uncertainty(), squeeze, OnlineTarget(**PERFECT)), "GTV")
        np.testing.assert_allclose(matched, 0, atol=1e-12)


class TestPlanning:
    def test_planning_targets_follow_the_strategy(self):
        cycle = setting(breathing((0, 0, 8.0))).planned
        kinds = (InternalTargetVolume(), MidVentilation(), Gating(), BreathHold(), Tracking(), Compression())
        extent = {m.kind: np.ptp(m.path_mm(cycle, "GTV")[:, 2]) for m in (*kinds, NoMotionManagement())}
        assert extent["itv"] == pytest.approx(8.0, rel=0.01)
        assert extent["compression"] == pytest.approx(8 * 0.61, rel=0.01)
        assert 0 < extent["gating"] <= 8 * 0.3
        assert extent["mid-ventilation"] == extent["tracking"] == extent["none"] == extent["breath-hold"] == 0

    @pytest.mark.parametrize(("n", "share"), [(1, 0.353553), (2, 0.364434), (3, 0.357673)])
    def test_mid_ventilation_counts_breathing_as_a_random_error(self, n, share):
        spread = MidVentilation().spread(setting(breathing((0, 0, 10.0), n=n)).planned, "GTV")
        np.testing.assert_allclose(spread.random_mm, [0, 0, 10 * share], atol=1e-5)
        assert not NoMotionManagement().spread(setting(breathing()).planned, "GTV").random_mm.any()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([NoMotionManagement(), InternalTargetVolume(), Gating(), BreathHold(), Tracking(), Compression()]),
    st.integers(0, 2**31),
)
def test_weights_of_a_course_sum_to_one_whatever_the_strategy(motion, seed):
    delivery = delivered(breathing(breath_cv=0.4, course_cv=0.5, n=3), motion, seed=seed)
    np.testing.assert_allclose(delivery.weight.sum(axis=(1, 2)), 1, rtol=1e-12)
    assert np.all(delivery.weight >= 0)


def test_compression_shrinks_every_structure_and_shifts_it_alike():
    source = Respiration(amplitude_mm=(2, 4, 10), structures={"Bladder": (4, 2, 5)})
    squeeze = Compression(ratio=(1, 0.8, 0.6), ratio_cv=0, systematic_mm=(1, 2, 3), random_mm=(3, 1, 2))
    squeezed, free = (delivered(Uncertainty(respiration=source), m, n_courses=4000) for m in (squeeze, None))
    target, bladder = (
        by_fraction(squeezed, name) - by_fraction(free, name) * (1, 0.8, 0.6) for name in ("GTV", "Bladder")
    )
    np.testing.assert_allclose(target, bladder, atol=1e-9)
    np.testing.assert_allclose(np.ptp(target, axis=2), 0, atol=1e-9)
    shift = target[:, :, 0]
    np.testing.assert_allclose((shift[:, 0] - shift[:, 1]).std(axis=0), np.sqrt(2) * np.array([3, 1, 2]), rtol=0.05)
    np.testing.assert_allclose(shift[:, 0].std(axis=0), np.hypot((1, 2, 3), (3, 1, 2)), rtol=0.05)


def test_a_match_sees_the_day_but_no_single_breath():
    """Twice the planned amplitude leaves the mean in the gate twice as far; breaths of their own average out unseen."""
    gate = Gating(signal="phase", window_percent=50, latency_s=0)
    uncertainty = breathing(n=1, delivery_factor=2)
    left = delivered(uncertainty, gate, OnlineTarget(**PERFECT), n_instants=40)
    mean = 3 * (left.weight * by_fraction(left, "GTV")[..., 2]).sum(axis=2)
    np.testing.assert_allclose(mean, 10 / np.pi, atol=0.03)
    free, matched = (delivered(breathing(breath_cv=0.5), None, g) for g in (None, OnlineTarget(**PERFECT)))
    np.testing.assert_allclose(by_fraction(matched, "GTV"), by_fraction(free, "GTV"), atol=1e-12)


def test_gating_around_inhale_lets_the_deepest_share_through():
    """Within 30 % of the peak-to-peak signal from inhale: 7 to 10 mm inferior of exhale, itself 5 mm superior."""
    gate = Gating(around="inhale", window_percent=30, latency_s=0)
    path = gate.path_mm(setting(breathing(n=1)).planned, "GTV")[:, 2]
    assert path.min() == pytest.approx(-5)
    assert path.max() == pytest.approx(-2, abs=0.4)
    assert path.max() <= -2
    assert gate.duty_cycle(planned(1)) == pytest.approx(2 * np.arcsin(np.sqrt(0.3)) / np.pi, abs=1e-3)


@pytest.mark.parametrize("motion", [Gating(), BreathHold()])
def test_what_does_not_breathe_is_planned_where_it_lies(motion):
    np.testing.assert_array_equal(motion.offset_mm(planned(1), "SpinalCord"), np.zeros(3))


def test_a_hold_moves_what_breathes_by_its_depth_and_what_is_given_besides():
    """Exhale of a sine of 1 mm lies 0.5 mm superior of its mean, a hold at 1.5 times the way to inhale at -1 mm."""
    hold = BreathHold(depth=1.5, geometry_mm={"GTV": (1, 2, 3), "SpinalCord": (4, 5, 6)})
    np.testing.assert_allclose(hold.offset_mm(planned(1), "GTV"), (1, 2, 3 - 1))
    np.testing.assert_allclose(hold.path_mm(planned(1), "GTV"), [(1, 2, 3 - 1)])
    np.testing.assert_allclose(hold.offset_mm(planned(1), "SpinalCord"), (4, 5, 6))


def test_a_gate_that_nothing_enters_is_on_at_the_nearest_instant():
    gate = Gating(window_percent=0.01, latency_s=0)
    weight = delivered(breathing(n=1, delivery_factor=2), gate).weight
    assert np.all((weight > 0).sum(axis=2) >= 1)
    path = by_fraction(delivered(breathing(n=1, delivery_factor=2), gate), "GTV")[..., 2]
    np.testing.assert_array_equal(weight > 0, path == path.max(axis=2, keepdims=True))


def test_defaults_are_those_of_their_sources():
    hold, beam, squeeze, gate = BreathHold(), Tracking(), Compression(), Gating()
    assert (hold.systematic_mm, hold.hold_mm) == ((1.0, 1.1, 1.2), (0.7, 0.9, 1.0))  # PMC6913352, table 3
    assert (hold.depth, hold.hold_s, hold.pause_s) == (0, 20, 20)
    assert hold.creep_mean_mm == hold.creep_sd_mm == (0, 0, 0)
    assert (squeeze.ratio, squeeze.ratio_cv) == ((0.98, 0.73, 0.61), 0.2)  # PMC5523845
    assert squeeze.systematic_mm == squeeze.random_mm == (0, 0, 0)
    assert (gate.window_percent, gate.latency_s, gate.signal, gate.around, gate.plan_on) == (
        30, 0.1, "amplitude", "exhale", "union"
    )  # fmt: skip
    assert (beam.latency_s, beam.error_systematic_mm, beam.error_mm) == (0.1, (0.3,) * 3, (0.6,) * 3)
    assert beam.reimaging_interval_s == 60
