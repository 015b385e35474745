"""Sources of error against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from drawing import by_fraction, delivered, drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import kurtosis

from simulator.sampling.streams import Draws
from simulator.strategy.guidance import OnlineTarget
from simulator.strategy.session import Session
from simulator.uncertainty import (
    Baseline,
    Delineation,
    Drift,
    Isocentre,
    OrganMotion,
    Registration,
    Respiration,
    Setup,
    Uncertainty,
)
from simulator.uncertainty.delineation import SurfaceField
from simulator.uncertainty.respiration import TiedStructure

LUJAN = {1: (0.5, 1 / 8), 2: (3 / 8, 17 / 128), 3: (5 / 16, 131 / 1024), 4: (35 / 128, 3985 / 32768)}
N = 20_000


def assert_sd(values, expected, limit=4.0):
    """SD of independent numbers along the first axis: |z| below the limit."""
    values = np.asarray(values, float)
    centred = values - values.mean(axis=0)
    fourth = (centred**4).mean(axis=0) / np.maximum(centred.var(axis=0), 1e-30) ** 2
    error = np.asarray(expected) ** 2 * np.sqrt(np.maximum(fourth - 1, 0) / len(values))
    z = np.abs(values.var(axis=0) - np.square(expected)) / np.maximum(error, 1e-12)
    assert np.all(z < limit), f"SD {values.std(axis=0)} against {expected}: z = {z}"


def assert_mean(values, expected, limit=4.0):
    values = np.asarray(values, float)
    z = np.abs(values.mean(axis=0) - expected) / np.maximum(values.std(axis=0) / np.sqrt(len(values)), 1e-12)
    assert np.all(z < limit), f"mean {values.mean(axis=0)} against {expected}: z = {z}"


class TestRespiration:
    def draw(self, n_courses, n_fractions, n_instants, **parameters):
        source = Respiration(**parameters)
        return source.draw(Draws(1, 0, n_courses), source.waveform("GTV"), n_fractions, n_instants)

    @pytest.mark.parametrize("n", LUJAN)
    @pytest.mark.parametrize("instants", [10, 20])
    def test_instants_have_the_exact_mean_and_variance_in_every_fraction(self, n, instants):
        depth = self.draw(50, 3, instants, amplitude_mm=1, n=n).displacement_mm("GTV")[..., 0]
        np.testing.assert_allclose(depth.mean(axis=-1), 0, atol=1e-12)
        np.testing.assert_allclose(depth.var(axis=-1), LUJAN[n][1], atol=1e-12)

    def test_instants_are_in_no_order_that_a_drift_could_follow(self):
        depth = self.draw(400, 3, 20, amplitude_mm=1).displacement_mm("GTV")[..., 0]
        with_time = depth @ (np.arange(20) - 9.5) / 20
        straight = np.sort(depth, axis=-1) @ (np.arange(20) - 9.5) / 20
        assert np.abs(with_time).mean() < 0.2 * straight.mean()
        assert_mean(with_time.mean(axis=1), 0)

    @pytest.mark.parametrize(("instants", "step"), [(20, 13), (10, 7), (8, 5), (2, 1), (1, 1)])
    def test_instants_follow_each_other_by_the_golden_section_of_the_cycle(self, instants, step):
        """The first whole step from 0.618 of the instants on that meets each of them once, from a random one on."""
        cycle = self.draw(200, 2, instants, amplitude_mm=1).cycle
        follows = np.round((cycle[..., 1:] - cycle[..., :-1]) * instants) % instants
        np.testing.assert_array_equal(follows, np.full(follows.shape, step % instants))
        assert_mean(cycle[:, 0, 0], 0.5)
        assert_sd(cycle[:, 0, 0], 1 / np.sqrt(12))

    def test_the_middle_95_percent_of_a_record_are_its_amplitude(self):
        """0 to 40 mm evenly: exhale is at 1 mm and inhale at 39 mm; 41 samples in 20.5 s are 5.125 cycles of 4 s."""
        source = Respiration(amplitude_mm=(0, 0, 19), trace="record.csv", period_s=4)
        wave = source.waveform("GTV", (np.arange(41.0), 20.5))
        cycle = np.arange(41) / 41 * 20.5 / 4
        np.testing.assert_allclose(wave.depth(cycle), (np.arange(41) - 1) / 38, atol=1e-9)
        np.testing.assert_allclose(wave.depth(cycle[:40] + 20.5 / 4 / 82), (np.arange(40) - 0.5) / 38, atol=1e-9)
        assert wave.depth(np.array(20.5 / 4 * 81 / 82)) == pytest.approx(19 / 38)  # half-way back to the first sample
        np.testing.assert_allclose(wave.position("GTV", cycle)[:, 2], -(np.arange(41) - 20) / 2, atol=1e-9)
        for n_records in (-1, 1, 2):
            np.testing.assert_allclose(wave.depth(cycle + n_records * 20.5 / 4), wave.depth(cycle), atol=1e-9)
        lagged = source.model_copy(update={"lag_deg": (0, 0, 90)}).waveform("GTV", (np.arange(41.0), 20.5))
        np.testing.assert_allclose(lagged.position("GTV", cycle + 0.25), wave.position("GTV", cycle), atol=1e-9)
        np.testing.assert_allclose(wave.at_shares(np.array([0, 0.5, 0.999])) * 4 / 20.5 * 41, [0, 20, 40])

    def test_planning_sees_the_middles_of_equal_shares_of_a_record(self):
        source = Respiration(amplitude_mm=(0, 0, 19), trace="record.csv", period_s=4)
        wave = source.waveform("GTV", (np.arange(2000.0), 1000.0))
        exhale, inhale = 1999 * np.array([0.025, 0.975])
        depth_mm = wave.depth(wave.planning_cycles(20)) * (inhale - exhale) + exhale
        np.testing.assert_allclose(depth_mm, 2000 * (np.arange(20) + 0.5) / 20, atol=1e-6)

    @pytest.mark.parametrize(
        "more", [{"amplitude_mm": (0, 0, 5)}, {"structures": {"Liver": 5}}, {"trace": "record.csv"}]
    )
    def test_phases_are_the_whole_motion(self, more):
        phases = {"GTV": [(0, 0, 0), (0, 0, 5)]}
        with pytest.raises(ValidationError, match="phases_mm replaces amplitude_mm, structures and trace"):
            Respiration.model_validate({"phases_mm": phases} | more)

    def test_breathing_goes_towards_inhale_left_anterior_inferior(self):
        source = Respiration(amplitude_mm=(2, 3, 8))
        path = source.planned(source.waveform("GTV")).displacement_mm("GTV")[0, 0]
        depth = source.planned(source.waveform("GTV")).depth()[0, 0]
        exhale, inhale = path[np.argmin(depth)], path[np.argmax(depth)]
        np.testing.assert_allclose(inhale - exhale, [2, -3, -8], atol=1e-12)
        np.testing.assert_allclose(exhale, [-0.75, 9 / 8, 3], atol=1e-12)

    def test_amplitude_varies_with_the_stated_cv_and_never_turns_negative(self):
        size = self.draw(N, 2, 2, amplitude_mm=10, course_cv=0.5, fraction_cv=0.2, delivery_factor=1.15).size / 1.15
        assert size.min() > 0
        assert_mean(size.mean(axis=1), 1)
        assert_sd(np.log(size[:, 0]), np.sqrt(np.log1p(0.5**2) + np.log1p(0.2**2)))
        between = np.cov(np.log(size).T)[0, 1]
        assert between == pytest.approx(np.log1p(0.5**2), rel=0.04)

    def test_breaths_and_periods_vary_with_the_stated_cv(self):
        breathing = self.draw(N, 2, 4, amplitude_mm=10, breath_cv=0.3, period_s=4, period_cv=0.1)
        assert_sd(np.log(breathing.breath[:, 0, 0]), np.sqrt(np.log1p(0.09)))
        assert_sd(np.log(breathing.period_s[:, 0] / 4), np.sqrt(2 * np.log1p(0.01)))
        assert_mean(breathing.period_s[:, 0], 4)

    def test_hysteresis_is_a_lag_of_one_axis_behind_another(self):
        breathing = self.draw(2, 2, 8, amplitude_mm=(0, 4, 10), n=1, lag_deg=(0, 90, 0))
        path = breathing.displacement_mm("GTV")
        circle = (path[..., 1] / 2) ** 2 + (path[..., 2] / 5) ** 2
        np.testing.assert_allclose(circle, 1.0, atol=1e-12)

    def test_a_tied_structure_has_its_own_amplitude_in_phase_with_the_target(self):
        breathing = self.draw(3, 2, 8, amplitude_mm=(0, 0, 5), structures={"Liver": (0, 0, 15)})
        np.testing.assert_allclose(breathing.displacement_mm("Liver"), 3 * breathing.displacement_mm("GTV"), atol=1e-12)

    def test_phases_of_a_4dct_are_met_about_their_mean(self):
        table = ((0, 0, -6.0), (1, 0, -3), (0, 0, 2), (-1, 0, 3))
        breathing = self.draw(1, 500, 4, phases_mm={"GTV": table})
        path = breathing.displacement_mm("GTV")
        np.testing.assert_allclose(path.mean(axis=2), 0, atol=1e-12)
        at_phases = breathing.waveform.position("GTV", np.arange(4) / 4)
        np.testing.assert_allclose(at_phases, np.array(table) - np.mean(table, axis=0), atol=1e-12)

    def test_the_signal_of_4dct_phases_is_the_way_between_inhale_and_half_a_cycle_later(self):
        """Along (0, 0, -8) of the target: -6, -3, 2 and 3 mm are 1, 2/3, 1/9 and 0 of the depth."""
        table = ((0, 0, -6.0), (1, 0, -3), (0, 0, 2), (-1, 0, 3))
        wave = Respiration(phases_mm={"GTV": table, "Liver": ((0, 0, 3.0),) * 4}).waveform("GTV")
        np.testing.assert_allclose(wave.depth(np.arange(4) / 4), [1, 2 / 3, 1 / 9, 0], atol=1e-12)
        np.testing.assert_allclose(wave.depth(np.array([0.125, 0.875, 1.25])), [5 / 6, 1 / 2, 2 / 3], atol=1e-12)
        assert not wave.position("Liver", np.linspace(0, 1, 9)).any()
        assert wave.names() == ("GTV", "Liver")

    def test_a_tied_structure_may_lag_on_its_own(self):
        """A sine in the target, a quarter of a cycle later and twice as large in the liver."""
        tied = {"Liver": {"amplitude_mm": (0, 0, 10), "lag_deg": (0, 0, 90)}}
        breathing = self.draw(2, 2, 8, amplitude_mm=(0, 0, 5), n=1, structures=tied)
        target, liver = (breathing.displacement_mm(name)[..., 2] for name in ("GTV", "Liver"))
        np.testing.assert_allclose(np.square(target / 2.5) + np.square(liver / 5), 1, atol=1e-12)
        angle = 2 * np.pi * breathing.cycle
        np.testing.assert_allclose(liver, -5 * np.cos(angle - np.pi / 2), atol=1e-12)

    def test_a_record_is_met_with_its_own_distribution_of_depths(self):
        time_s = np.arange(0, 60, 0.2)
        depth_mm = 3 + 8 * np.cos(np.pi * time_s / 3.7) ** 6 + 0.02 * time_s
        source = Respiration(amplitude_mm=(0, 0, 10), trace="record.csv", period_s=3.7)
        wave = source.waveform("GTV", (depth_mm, 60.0))
        drawn_z = -source.draw(Draws(1, 0, 200), wave, 3, 20).displacement_mm("GTV")[..., 2]
        low, high = np.percentile(depth_mm, (2.5, 97.5))
        expected = 10 * (depth_mm - depth_mm.mean()) / (high - low)
        assert drawn_z.mean() == pytest.approx(0, abs=0.02)
        assert drawn_z.std() == pytest.approx(expected.std(), rel=0.01)
        for share in (5, 50, 95):
            assert np.percentile(drawn_z, share) == pytest.approx(np.percentile(expected, share), abs=0.15)


class TestSetup:
    def test_mean_systematic_and_random_sd(self):
        setup = Setup(systematic_mm=(1, 2, 3), random_mm=(0.5, 1, 1.5), mean_mm=(0, 1, 2.2))
        moved = setup.patient_mm(Draws(2, 0, N), 5)
        assert_mean(moved.mean(axis=1), [0, 1, 2.2])
        assert_sd(moved.mean(axis=1), np.sqrt(np.array([1, 2, 3]) ** 2 + np.array([0.5, 1, 1.5]) ** 2 / 5))
        assert_sd(moved[:, 0] - moved[:, 1], np.sqrt(2) * np.array([0.5, 1, 1.5]))

    def test_axes_are_correlated_as_asked(self):
        moved = Setup(systematic_mm=(1, 2, 3), correlation=(0.6, -0.3, 0.2)).patient_mm(Draws(2, 0, N), 1)[:, 0]
        found = np.corrcoef(moved.T)
        np.testing.assert_allclose([found[0, 1], found[0, 2], found[1, 2]], [0.6, -0.3, 0.2], atol=4 / np.sqrt(N))
        assert_sd(moved, [1, 2, 3])

    @pytest.mark.parametrize("which", [0, 1, 2])
    def test_a_single_correlation_couples_its_two_axes_for_both_errors(self, which):
        """LR-AP, LR-SI and AP-SI in this order; of the means of courses and of the differences between fractions."""
        value = np.zeros(3)
        value[which] = 0.8
        setup = Setup(systematic_mm=(1, 2, 3), random_mm=(3, 1, 2), correlation=tuple(value))
        moved = setup.patient_mm(Draws(2, 0, N), 2)
        systematic = setup.model_copy(update={"random_mm": (0, 0, 0)}).patient_mm(Draws(2, 0, N), 1)[:, 0]
        for errors, sd in ((systematic, [1, 2, 3]), (moved[:, 0] - moved[:, 1], np.sqrt(2) * np.array([3, 1, 2]))):
            found = np.corrcoef(errors.T)[[0, 0, 1], [1, 2, 2]]
            np.testing.assert_allclose(found, value, atol=4 / np.sqrt(N))
            assert_sd(errors, sd)

    def test_impossible_correlations_are_refused(self):
        with pytest.raises(ValidationError, match="no three axes can have the correlations"):
            Setup(correlation=(0.9, 0.9, -0.9))

    def test_rotations_have_their_sd(self):
        turned = Setup(systematic_deg=(1, 2, 0.5), random_deg=(1, 0, 0.5), mean_deg=(0, 1, 0)).draw_rotation(
            Draws(2, 0, N), 3
        )
        assert_mean(turned.mean(axis=1), [0, 1, 0])
        assert_sd(turned[:, 0], np.hypot((1, 2, 0.5), (1, 0, 0.5)))

    @pytest.mark.parametrize("degrees", [0.5, 2.0, 25.0])
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_a_rotation_displaces_an_off_axis_target_by_its_chord(self, degrees, axis):
        """|displacement| = 2 d sin(angle / 2), with d the distance from the axis of rotation."""
        angle = np.zeros(3)
        angle[axis] = degrees
        centre = np.array([50.0, 20, -30])
        moved = delivered(Uncertainty(setup=Setup(mean_deg=tuple(angle))), centres={"GTV": centre}).motion("GTV")
        arm = np.delete(centre, axis)
        expected = 2 * np.linalg.norm(arm) * np.sin(np.radians(degrees) / 2)
        np.testing.assert_allclose(np.linalg.norm(moved.shift_mm, axis=-1), expected, rtol=1e-12)

    def test_positive_rotation_about_si_turns_left_towards_posterior(self):
        moved = delivered(Uncertainty(setup=Setup(mean_deg=(0, 0, 90))), centres={"GTV": np.array([10.0, 0, 0])})
        np.testing.assert_allclose(moved.motion("GTV").shift_mm[0, 0], [-10, 10, 0], atol=1e-12)

    def test_everything_turns_about_the_isocentre(self):
        """A quarter turn about SI at (20, 5, 0): 30 mm to its left end up 30 mm posterior of it, points about that alike."""
        uncertainty = Uncertainty(setup=Setup(mean_deg=(0, 0, 90)))
        place = {
            "centres": {"GTV": np.array([50.0, 5, 0]), "SpinalCord": np.array([20.0, 15, 7])},
            "isocentre": (20, 5, 0),
        }
        moved = delivered(uncertainty, **place)
        for name, expected in (("GTV", (-30, 30, 0)), ("SpinalCord", (-10, -10, 0)), ("", (0, 0, 0))):
            np.testing.assert_allclose(moved.motion(name).shift_mm[0, 0], expected, atol=1e-12)
        np.testing.assert_allclose(moved.motion("GTV").linear[0, 0], [[-1, -1, 0], [1, -1, 0], [0, 0, 0]], atol=1e-12)
        np.testing.assert_array_equal(moved.motion("GTV").centre_mm, (50, 5, 0))
        np.testing.assert_array_equal(moved.motion("").centre_mm, (20, 5, 0))
        matched = delivered(uncertainty, guidance=OnlineTarget(match_mm=0), **place)
        np.testing.assert_allclose(matched.motion("GTV").shift_mm, 0, atol=1e-12)
        np.testing.assert_allclose(matched.motion("SpinalCord").shift_mm[0, 0], (20, -40, 0), atol=1e-12)

    def test_a_lever_turns_rotations_into_transverse_displacements(self):
        """2.146 σ L is the 90th percentile of the Rayleigh law: 1 degree at 60 mm gives 2.25 mm."""
        uncertainty = Uncertainty(setup=Setup(random_deg=1))
        moved = delivered(
            uncertainty, centres={"GTV": np.array([60.0, 0, 0])}, n_courses=N, n_fractions=1, n_instants=1
        )
        distance = np.linalg.norm(moved.motion("GTV").shift_mm[:, 0], axis=1)
        assert np.percentile(distance, 90) == pytest.approx(2.25, rel=0.02)

    def test_one_number_means_all_axes_and_negative_sd_is_refused(self):
        assert Setup(systematic_mm=2).systematic_mm == (2, 2, 2)
        with pytest.raises(ValidationError, match="greater than or equal to 0"):
            Setup(random_mm=(1, -1, 1))
        with pytest.raises(ValidationError, match=r"3 values wanted \(LR, AP, SI\), got 2: \[1.5, 1.5\]"):
            Setup(random_mm=[1.5, 1.5])


class TestDrift:
    session = Session(image_to_beam_s=120, dose_rate_gy_per_min=5)  # 2 min of beam for 10 Gy: instants at 2.05-3.95 min

    def test_linear_part_grows_with_the_time_since_the_image(self):
        moved = delivered(Uncertainty(drift=Drift(mean_mm_per_min=(0, 0, 0.5))), session=self.session, n_instants=20)
        times = 2 + 2 * (np.arange(20) + 0.5) / 20
        np.testing.assert_allclose(
            by_fraction(moved, "GTV")[..., 2], np.broadcast_to(0.5 * times, (4, 3, 20)), atol=1e-12
        )

    def test_rates_and_brownian_variance(self):
        drift = Drift(sd_mm_per_min=(0.3, 0, 0), brownian_mm_per_sqrt_min=(0, 0.4, 0))
        moved = delivered(Uncertainty(drift=drift), session=self.session, n_courses=N, n_fractions=1)
        path = by_fraction(moved, "GTV")[:, 0]
        for k in (0, 10, 19):
            minutes = 2 + 2 * (k + 0.5) / 20
            assert_sd(path[:, k, 0], 0.3 * minutes)
            assert_sd(path[:, k, 1], 0.4 * np.sqrt(minutes))
        assert_sd(path[:, 19, 1] - path[:, 9, 1], 0.4 * np.sqrt(2 * 10 / 20))

    def test_each_fraction_has_its_own_rate(self):
        rate = (
            Drift(mean_mm_per_min=(1, 0, 0), sd_mm_per_min=(0.3, 0.1, 0.2)).draw(Draws(2, 0, N), 3, 4).rate_mm_per_min
        )
        assert_mean(rate[:, 0], [1, 0, 0])
        for first, second in ((0, 1), (1, 2), (0, 2)):
            assert_sd(rate[:, first] - rate[:, second], np.sqrt(2) * np.array([0.3, 0.1, 0.2]))

    def test_it_moves_every_structure_alike(self):
        moved = delivered(Uncertainty(drift=Drift(brownian_mm_per_sqrt_min=1)))
        np.testing.assert_array_equal(moved.motion("GTV").shift_mm, moved.motion("SpinalCord").shift_mm)


class TestBaseline:
    def test_shift_of_the_target_has_its_sd_and_leaves_the_cord(self):
        shift = Baseline(mean_mm=(0, 1, 2), systematic_mm=(1, 2, 3), random_mm=2)
        moved = delivered(Uncertainty(baseline=shift), n_courses=N, n_instants=1)
        target = moved.motion("GTV").shift_mm
        assert_mean(target.mean(axis=1), [0, 1, 2])
        assert_sd(target[:, 0], np.hypot((1, 2, 3), 2))
        assert_sd(target[:, 0] - target[:, 1], np.full(3, np.sqrt(8)))
        assert not moved.motion("SpinalCord").shift_mm.any()

    @pytest.mark.parametrize("shape", [None, 50.0])
    def test_organs_follow_it_with_their_correlation(self, shape):
        """Also where each patient has a spread of the days of their own, here nearly the same for all."""
        organs = {"Bladder": OrganMotion(systematic_mm=3, random_mm=3, correlation=0.7)}
        baseline = Baseline(systematic_mm=1, random_mm=2, patient_variance_shape=shape)
        uncertainty = Uncertainty(baseline=baseline, organs=organs)
        moved = delivered(uncertainty, n_courses=N, n_instants=1)
        target, organ = (moved.motion(name).shift_mm for name in ("GTV", "Bladder"))
        difference = lambda shift: shift[:, 0, 2] - shift[:, 1, 2]  # noqa: E731
        assert np.corrcoef(difference(target), difference(organ))[0, 1] == pytest.approx(0.7, abs=4 / np.sqrt(N))
        expected = 0.7 * (1 * 3 + 2 * 3) / np.sqrt((1 + 4) * (9 + 9))
        assert np.corrcoef(target[:, 0, 2], organ[:, 0, 2])[0, 1] == pytest.approx(expected, abs=4 / np.sqrt(N))


class TestOrgans:
    def test_an_organ_may_follow_the_targets_shift_after_imaging(self):
        organs = {"Bladder": OrganMotion(follows_after_imaging=0.5)}
        moved = delivered(Uncertainty(baseline=Baseline(after_imaging_mean_mm=(0, 1, 2)), organs=organs))
        np.testing.assert_allclose(by_fraction(moved, "Bladder"), 0.5 * by_fraction(moved, "GTV"))
        np.testing.assert_allclose(by_fraction(moved, "GTV")[0, 0, 0], [0, 1, 2])

    def test_an_organ_has_its_mean_and_its_sd_of_course_and_fraction(self):
        organ = OrganMotion(mean_mm=(3, -2, 1), systematic_mm=(1, 2, 3), random_mm=(3, 1, 2))
        moved = delivered(Uncertainty(organs={"Bladder": organ}), n_courses=N, n_instants=1).motion("Bladder").shift_mm
        assert_mean(moved.mean(axis=1), [3, -2, 1])
        assert_sd(moved[:, 0], np.hypot((1, 2, 3), (3, 1, 2)))
        assert_sd(moved[:, 0] - moved[:, 1], np.sqrt(2) * np.array([3, 1, 2]))

    def test_a_filling_organ_never_loses_more_than_95_percent_of_its_volume(self):
        """100 cc that lose 30 cc/min: 0.1 at 3 min, then the least ratio, 0.05."""
        path = OrganMotion(filling_cc_per_min=-30).draw(
            Draws(1, 0, 1), "Bladder", np.zeros((1, 3)), np.zeros((1, 1, 3)), 3
        )
        size = path.scaling(np.array([[[0.0, 3.0, 4.0]]]), 100.0)
        np.testing.assert_allclose(size**3, [[[1, 0.1, 0.05]]])

    def test_student_law_keeps_the_sd_and_fattens_the_tails(self):
        def shift(**law):
            organs = {"Bladder": OrganMotion(random_mm=4.5, **law)}
            return (
                delivered(Uncertainty(organs=organs), n_courses=N, n_fractions=1, n_instants=1)
                .motion("Bladder")
                .shift_mm
            )

        heavy, gaussian = shift(degrees_of_freedom=6).ravel(), shift().ravel()
        assert heavy.std() == pytest.approx(4.5, rel=0.02)
        assert kurtosis(heavy) == pytest.approx(6 / (6 - 4), rel=0.35)
        assert np.mean(np.abs(heavy) > 4 * 4.5) > 10 * np.mean(np.abs(gaussian) > 4 * 4.5)
        three = shift(degrees_of_freedom=3).ravel()
        quartiles = np.percentile(three, 75) - np.percentile(three, 25)
        assert quartiles == pytest.approx(2 * 0.7649 * 4.5 / np.sqrt(3), rel=0.02)  # t with 3: quartile 0.7649

    def test_heavy_tails_follow_the_target_as_gaussian_ones_do(self):
        """Rank by rank: a correlation of 0.9 falls a little by the tails of 6 degrees of freedom."""
        organs = {"Bladder": OrganMotion(systematic_mm=3, correlation=0.9, degrees_of_freedom=6)}
        moved = delivered(Uncertainty(baseline=Baseline(systematic_mm=2), organs=organs), n_courses=N, n_instants=1)
        target, organ = (moved.motion(name).shift_mm[:, 0, 2] for name in ("GTV", "Bladder"))
        assert 0.85 < np.corrcoef(target, organ)[0, 1] < 0.9

    def test_peristalsis_is_a_stationary_ornstein_uhlenbeck_wave(self):
        organs = {"Bladder": OrganMotion(peristalsis_mm=(0, 0, 3), peristalsis_s=20)}
        session = Session(dose_rate_gy_per_min=5)  # instants 6 s apart
        moved = delivered(Uncertainty(organs=organs), n_courses=N, n_fractions=1, session=session)
        wave = by_fraction(moved, "Bladder")[:, 0, :, 2]
        for k in (0, 7, 19):
            assert_sd(wave[:, k], 3.0)
        for lag in (1, 3, 10):
            for first in (0, 5):
                found = np.corrcoef(wave[:, first], wave[:, first + lag])[0, 1]
                assert found == pytest.approx(np.exp(-6 * lag / 20), abs=4 / np.sqrt(N))

    def test_peristalsis_forgets_by_the_time_that_has_passed(self):
        """Steps of 2, 30 and 5 s of a wave of 20 s."""
        organ = OrganMotion(peristalsis_mm=(0, 0, 3), peristalsis_s=20)
        seconds = np.array([0.0, 2, 32, 37])
        path = organ.draw(Draws(1, 0, N), "Bladder", np.zeros((N, 3)), np.zeros((N, 1, 3)), 4)
        wave = path.at(np.broadcast_to(seconds / 60, (N, 1, 4)))[:, 0, :, 2]
        expected = 9 * np.exp(-np.abs(seconds[:, None] - seconds) / 20)
        np.testing.assert_allclose(np.cov(wave.T), expected, atol=4 * 9 * np.sqrt(2 / N))

    def test_peristalsis_is_about_the_place_of_the_day(self):
        organ = OrganMotion(mean_mm=(3, -2, 1), random_mm=2, peristalsis_mm=(1, 2, 3))
        path = by_fraction(delivered(Uncertainty(organs={"Bladder": organ}), n_courses=N, n_fractions=1), "Bladder")
        assert_mean(path[:, 0, 7], [3, -2, 1])
        assert_sd(path[:, 0, 7], np.hypot(2, (1, 2, 3)))

    def test_filling_scales_about_the_centroid_and_so_does_the_volume(self):
        organs = {"Bladder": OrganMotion(filling_course_cv=0.3, filling_fraction_cv=0.2, filling_cc_per_min=2)}
        moved = delivered(Uncertainty(organs=organs), n_courses=N, n_fractions=1, n_instants=1)
        motion = moved.motion("Bladder")
        volume = np.linalg.det(np.eye(3) + motion.linear[:, 0])
        minutes = 3 + 10 / 4 / 2  # 180 s to the beam, then half of its 2.5 min
        assert not motion.shift_mm.any()
        assert_mean(volume, 1 + 2 * minutes / 100)
        assert_sd(np.log(volume - 2 * minutes / 100), np.sqrt(np.log1p(0.09) + np.log1p(0.04)))
        assert moved.motion("GTV").linear is None

    def test_a_filling_organ_that_turns_does_both_about_its_centre(self):
        """Twice the volume, a quarter turn about SI and a lever of 10 mm: x of the planned 1 mm becomes y of cbrt(2)."""
        organ = OrganMotion(filling_cc_per_min=100 / 3)
        uncertainty = Uncertainty(setup=Setup(mean_deg=(0, 0, 90)), organs={"Bladder": organ})
        session = Session(image_to_beam_s=180 - 75)  # 150 s of beam, its middle 3 min after the image
        moved = delivered(uncertainty, centres={"Bladder": np.array([10.0, 0, 0])}, session=session, n_instants=1)
        motion = moved.motion("Bladder")
        np.testing.assert_allclose(motion.shift_mm[0, 0], [-10, 10, 0], atol=1e-9)
        turned = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]) - np.eye(3)
        np.testing.assert_allclose(motion.linear[0, 0], turned + (np.cbrt(2) - 1) * np.eye(3), atol=1e-9)

    def test_what_moves_slowly_is_delivered_in_four_parts_of_a_fraction(self):
        """Parts have the means of their instants; what breathes or has peristalsis keeps every instant."""
        filling = OrganMotion(systematic_mm=(2, 2, 2), filling_course_cv=0.3, filling_cc_per_min=2)
        waves = OrganMotion(peristalsis_mm=(1, 1, 1))
        uncertainty = Uncertainty(
            organs={"Bladder": filling, "SpinalCord": waves}, drift=Drift(sd_mm_per_min=(0.5, 0.5, 0.5))
        )
        slow = delivered(uncertainty, n_courses=6)
        motion, every = slow.motion("Bladder"), replace(slow, slow=frozenset()).motion("Bladder")
        assert slow.motion("SpinalCord").weight.shape == every.weight.shape == (6, 60)
        assert motion.weight.shape == slow.motion("GTV").weight.shape == (6, 12)
        np.testing.assert_allclose(motion.weight, 1 / 12)
        for part, instants in ((motion.shift_mm, every.shift_mm), (motion.linear, every.linear)):
            means = instants.reshape(6, 12, 5, *instants.shape[2:]).mean(axis=2)
            np.testing.assert_allclose(part, means, atol=1e-12)
            assert np.ptp(instants[:, :20], axis=1).max() > 0
        breathing = uncertainty.model_copy(update={"respiration": Respiration(amplitude_mm=(0, 0, 5))})
        assert delivered(breathing).motion("GTV").weight.shape == (4, 60)


class TestUnseen:
    @pytest.mark.parametrize(
        ("source", "name", "sign"), [(Registration, "registration", 1), (Isocentre, "isocentre", -1)]
    )
    def test_constant_shifts_have_their_mean_and_sd(self, source, name, sign):
        uncertainty = Uncertainty(**{name: source(systematic_mm=(1, 2, 0.5), mean_mm=(0, 0, 1))})
        shift = delivered(uncertainty, n_courses=N, n_instants=1).motion("GTV").shift_mm
        np.testing.assert_array_equal(shift[:, 0], shift[:, 2])
        assert_mean(shift[:, 0], [0, 0, sign])
        assert_sd(shift[:, 0], [1, 2, 0.5])

    def test_registration_moves_the_true_target_alone_and_isocentre_everything(self):
        target_only = delivered(Uncertainty(registration=Registration(systematic_mm=2)))
        assert not target_only.motion("SpinalCord").shift_mm.any()
        everything = delivered(Uncertainty(isocentre=Isocentre(systematic_mm=2)))
        np.testing.assert_array_equal(everything.motion("SpinalCord").shift_mm, everything.motion("GTV").shift_mm)


class TestDelineation:
    @staticmethod
    def directions(degrees):
        angle = np.radians(degrees)
        return np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)

    @pytest.mark.parametrize("correlation_deg", [15, 30, 60])
    def test_the_field_has_unit_sd_and_the_stated_correlation(self, correlation_deg):
        degrees = np.array([0.0, 10, 20, 45, 90, 180])
        field = SurfaceField.on(self.directions(degrees), correlation_deg).basis.astype(float)
        covariance = field.T @ field
        expected = np.exp(-(1 - np.cos(np.radians(degrees))) / np.radians(correlation_deg) ** 2)
        np.testing.assert_allclose(np.diag(covariance), 1, atol=1e-5)
        np.testing.assert_allclose(covariance[0], expected, atol=2e-3)

    @pytest.mark.parametrize("correlation_deg", [20, 45])
    def test_the_correlation_depends_on_the_angle_between_directions_alone(self, correlation_deg):
        directions = np.random.default_rng(2).standard_normal((40, 3))
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        field = SurfaceField.on(directions, correlation_deg).basis.astype(float)
        expected = np.exp(-(1 - unit @ unit.T) / np.radians(correlation_deg) ** 2)
        np.testing.assert_allclose(field.T @ field, expected, atol=2e-3)

    def test_distances_are_cut_off_at_three_and_a_half_sd(self):
        assert Delineation(sd_mm=2, mean_mm=-1.5).farthest_mm == 1.5 + 7

    def test_without_correlation_length_the_surface_moves_as_one(self):
        field = SurfaceField.on(self.directions(np.array([0.0, 70, 180])), None).basis
        np.testing.assert_allclose(field, np.ones((1, 3)), rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["setup", "drift", "baseline", "registration", "isocentre"]), st.integers(0, 2**32))
def test_a_source_of_size_zero_changes_nothing(name, seed):
    nothing, _ = drawn(Uncertainty(), seed=seed)
    empty = Uncertainty(**{name: {}})
    moved = delivered(empty, seed=seed)
    assert nothing.patient_mm.any() == moved.motion("GTV").shift_mm.any() == False  # noqa: E712


def test_defaults_move_nothing_but_what_is_asked_for():
    """A breathing cycle of 3.5 s (Siva 2013), cos^4, and organs that neither follow, fill nor move."""
    breathing = Respiration()
    assert (breathing.n, breathing.period_s, breathing.delivery_factor) == (2, 3.5, 1)
    assert (breathing.course_cv, breathing.fraction_cv, breathing.breath_cv, breathing.period_cv) == (0, 0, 0, 0)
    assert breathing.inhale_direction == (1, -1, -1)
    assert breathing.lag_deg == TiedStructure(amplitude_mm=1).lag_deg == breathing.amplitude_mm == (0, 0, 0)
    sources = (Setup(), Drift(), Baseline(), Registration(), Isocentre(), Delineation(), OrganMotion())
    left = {key: value for source in sources for key, value in source.model_dump().items() if np.any(value)}
    assert {key: value for key, value in left.items() if value is not None} == {"peristalsis_s": 20}
