"""Delineation error against closed forms of spheres; tracked beams against convolution."""

import numpy as np
import pytest
from drawing import delivered
from scipy.stats import norm

import simulator
from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.reach import Reach
from simulator.accumulation.true_target import TrueTarget
from simulator.case.cells import Patch
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import Ball
from simulator.case.structures import Structure
from simulator.commands.overview import recommendation
from simulator.plan.dose import SplineDose
from simulator.report import render_report
from simulator.sampling.streams import Draws
from simulator.strategy.guidance import OnlineTarget
from simulator.strategy.motion import NoMotionManagement, Tracking
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty import Delineation, Respiration, Uncertainty


def true_target(radius_mm=9.0, **parameters):
    return TrueTarget.around(
        Structure("GTV", "target", Ball((0.2, -0.1, 0.3), radius_mm)), Delineation(**parameters), 12_000
    )


@pytest.mark.parametrize("distance_mm", [-1.5, -0.4, 0.0, 0.7, 2.0])
def test_a_uniform_distance_gives_the_volume_of_the_larger_or_smaller_sphere(distance_mm):
    target = true_target(mean_mm=distance_mm, sd_mm=0.5)
    volume = target.volume_cc(np.zeros((1, target.n_terms), np.float32))[0]
    assert volume.sum() == pytest.approx(4 / 3 * np.pi * (9 + distance_mm) ** 3 / 1000, rel=0.004)
    radius = np.linalg.norm(target.patch.points_mm - (0.2, -0.1, 0.3), axis=1)
    assert not volume[radius > 9 + distance_mm + 1].any()


def test_the_drawn_target_is_part_of_the_points():
    target = true_target(sd_mm=1.0, correlation_deg=40)
    assert target.patch.volume_cc.sum() == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.002)
    assert (target.patch.volume_cc == 0).sum() > 1000


def test_local_distances_have_the_stated_mean_and_sd_in_every_direction():
    target = true_target(sd_mm=1.0, correlation_deg=40, mean_mm=0.5)
    volume = target.volume_cc(target.delineation.draw(Draws(1, 0, 800), target.n_terms))
    voxel, step = target.patch.lattice.voxel_cc, target.patch.lattice.spacing_mm[0]
    points = target.patch.points_mm - (0.2, -0.1, 0.3)
    radius = np.linalg.norm(points, axis=1)
    for direction in np.eye(3):
        cone = points @ direction > np.cos(np.radians(8)) * radius
        shares = volume[:, cone] / voxel
        solid_angle = 2 * np.pi * (1 - np.cos(np.radians(8)))
        surface = (3 * shares.sum(axis=1) * step**3 / solid_angle) ** (1 / 3)
        assert surface.std() == pytest.approx(1.0, rel=0.15)
        assert surface.mean() == pytest.approx(9.5, abs=0.2)


def test_courses_do_not_depend_on_who_else_is_in_the_batch():
    target = true_target(sd_mm=1.0, correlation_deg=30)
    draw = target.delineation.draw
    together = target.volume_cc(draw(Draws(5, 0, 7), target.n_terms))
    np.testing.assert_array_equal(together[4:6], target.volume_cc(draw(Draws(5, 4, 2), target.n_terms)))


def sphere(max_points=6000, **uncertainty):
    return StudyConfig.model_validate(
        {
            "name": "surface",
            "case": {"phantom": "sphere", "radius_mm": 10},
            "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 95},
            "plan": {"model": "penumbra", "penumbra_sd_mm": 3.2, "normalisation": "plateau"},
            "uncertainty": uncertainty,
            "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%"],
            "courses": 400,
            "numerics": {"max_points": max_points},
        }
    )


def test_uniform_delineation_error_gives_the_closed_form_d98():
    """A sphere of radius r has D98% where 98 % of its volume is inside: at 0.98^(1/3) r."""
    from scipy.special import ndtr

    results = simulator.run(sphere(delineation={"sd_mm": 1.0}))
    d98 = np.sort(results["metrics/value"].sel(metric="GTV D98%").values[0] / 50)
    normals = np.sort(Delineation(sd_mm=1.0).draw(Draws(1, 0, 400), 1)[:, 0])[::-1]
    at = 0.98 ** (1 / 3) * (10 + np.clip(normals, -3.5, 3.5))
    expected = ndtr((10 + 3 + 1.6448536 * 3.2 - at) / 3.2)
    np.testing.assert_allclose(d98, expected, atol=2e-3)


def test_registration_error_is_a_shift_that_no_match_takes_off():
    shifted = sphere(1000, registration={"systematic_mm": 1.5})
    matched = shifted.model_copy(update={"strategies": sphere().strategies})
    setup = sphere(1000, setup={"systematic_mm": 1.5})
    by_registration = simulator.run(matched)["metrics/value"].sel(metric="GTV D98%").values[0]
    by_setup = simulator.run(setup)["metrics/value"].sel(metric="GTV D98%").values[0]
    assert abs(by_registration.mean() - by_setup.mean()) < 4 * np.hypot(by_setup.std(), by_registration.std()) / 20
    assert by_registration.std() > 0


def test_under_a_perfectly_tracking_beam_a_static_organ_receives_the_mirrored_convolution():
    """A target moving 15 mm is still; the dose of a static organ is the planned one convolved with mirrored motion."""
    grid = Grid.covering((-60, -60, -60), (60, 60, 60), 2.0)
    radius = np.linalg.norm(grid.nodes_mm(), axis=-1)
    dose = SplineDose(Volume(grid, (50 / (1 + np.exp((radius - 15) / 4))).astype(np.float32)))
    uncertainty = Uncertainty(respiration=Respiration(amplitude_mm=(0, 0, 15.0), n=2))
    beam = Tracking(latency_s=0, error_systematic_mm=0, error_mm=0)
    perfect = OnlineTarget(match_mm=0)
    lattice = Grid.covering((-10, 20, -20), (10, 30, 20), 2.0)
    index = np.argwhere(np.ones(lattice.shape, bool)).astype(np.int32)
    organ = Patch(lattice, index, np.ones(len(index)))
    path = Respiration(amplitude_mm=(0, 0, 15.0), n=2).waveform("GTV").position("GTV", np.arange(400) / 400)
    expected = {
        "tracked": np.mean([dose.at(organ.points_mm - u) for u in path], axis=0),
        "free": dose.at(organ.points_mm),
    }
    for name, motion in (("tracked", beam), ("free", NoMotionManagement())):
        delivery = delivered(uncertainty, motion, perfect, n_courses=1, n_fractions=4, n_instants=50)
        moved = delivery.motion("SpinalCord")
        found = LatticePoints(dose, organ, Reach.of(moved), 2, unblur=True).accumulate(moved)[0]
        np.testing.assert_allclose(found, expected[name], atol=0.06)
    still = delivered(uncertainty, beam, perfect, n_courses=1, n_fractions=4, n_instants=50).motion("GTV")
    np.testing.assert_allclose(still.shift_mm, 0, atol=1e-12)


def vanishing_study(radius_mm=6.0, goals=("GTV D98% >= 95%",), **delineation):
    """A sphere whose drawn surface is as uncertain as it is large."""
    return StudyConfig.model_validate(
        {
            "name": "vanishing",
            "case": {"phantom": "sphere", "radius_mm": radius_mm},
            "prescription": {"dose_gy": 50, "fractions": 2, "isodose_percent": 95},
            "plan": {"model": "penumbra"},
            "uncertainty": {"delineation": delineation},
            "strategies": {"margins_mm": [15, 20], "motion": ["none"], "guidance": ["none"]},
            "goals": list(goals),
            "biology": {"tcp": {"GTV": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1e7}}},
            "numerics": {"max_points": 1000, "block_courses": 100},
        }
    )


def test_a_course_without_a_true_target_is_counted_and_not_covered():
    """A uniform error N(0, 3 mm) on a radius of 6 mm leaves nothing with P(z < -2) = 2.3 %; margins cover all the rest."""
    goals = ("GTV D98% >= 95%", "GTV Dmin >= 90%", "GTV V95% >= 95 %", "GTV CV40Gy <= 0.01 cc", "GTV CV40Gy <= 1 %",
             "GTV TCP >= 50 %", "GTV gEUD(a=-20) >= 45 Gy", "GTV Dmean >= 45 Gy")  # fmt: skip
    results = simulator.run(vanishing_study(goals=goals, sd_mm=3.0), courses=500)
    value, goal = results["metrics/value"], results["goals"].to_dataset()
    assert np.isfinite(value).all()
    n_lost = int(results["metrics/n_without_target"])
    share, expected = n_lost / 500, norm.cdf(-2)
    assert n_lost > 0
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 500) + norm.cdf(-1.9) - expected
    lost = (value.sel(metric="GTV D98%", strategy="none, 20 mm, none") == 0).values
    assert lost.sum() == n_lost
    for name, probability in zip(goal["goal"].values, goal["probability"].values[1], strict=True):
        assert probability == pytest.approx(1 - share), f"{name} is met where there is no target"
    drawn_cc = 4 / 3 * np.pi * 0.6**3
    assert value.sel(metric="GTV CV40Gy", strategy="none, 20 mm, none").values[lost] == pytest.approx(
        drawn_cc, rel=0.01
    )
    assert f"In {n_lost} of 500 courses the delineation error leaves nothing of the true target" in recommendation(
        results
    )


@pytest.mark.parametrize("courses", [1, pytest.param(3, marks=pytest.mark.nightly)])
def test_a_study_without_any_true_target_ends_with_nothing_covered(courses, tmp_path):
    study = vanishing_study(sd_mm=0.1, mean_mm=-8.0)
    results = simulator.run(study, courses=courses)
    assert results["metrics/n_without_target"] == courses
    assert not results["goals/probability"].values.any()
    assert not results["dvh/volume_percent"].sel(structure="GTV").values.any()
    render_report(results, tmp_path / "report.html")
    assert f"In {courses} of {courses} courses the delineation error" in (tmp_path / "report.html").read_text(
        encoding="utf-8"
    )


def test_without_delineation_error_no_course_is_lost():
    results = simulator.run(vanishing_study(sd_mm=0.2), courses=50)
    assert results["metrics/n_without_target"] == 0
    assert "true target" not in recommendation(results)
