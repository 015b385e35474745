"""Maps of spread and percentiles, dose-volume coverage and dose-population histograms against plain counting."""

import numpy as np
import pytest

import simulator
from simulator.population.bands import count_levels
from simulator.population.coverage import (
    COVERAGE_VOLUMES,
    dose_population_histogram,
    dose_volume_coverage,
    dose_with_coverage,
)
from simulator.problem.preparation import prepare
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.plans import make_plan
from simulator.study_file.schema import StudyConfig

COURSES = 24


def study(**changes):
    return StudyConfig.model_validate(
        {
            "name": "maps",
            "case": {"phantom": "sphere", "radius_mm": 7},
            "prescription": {"dose_gy": 40, "fractions": 2, "isodose_percent": 80},
            "plan": {"model": "penumbra", "penumbra_sd_mm": 4, "normalisation": "isodose", "gridded": True},
            "uncertainty": {
                "setup": {"systematic_mm": 2, "random_mm": 2},
                "respiration": {"amplitude_mm": [0, 0, 8]},
            },
            "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%"],
            "courses": 40,
            "maps": {"courses": COURSES, "percentiles": [5, 50, 95]},
            "numerics": {"instants": 4, "max_points": 1000},
        }
        | changes
    )


@pytest.fixture(scope="module")
def results():
    return simulator.run(study(), workers=1)


STEEPEST_GY_PER_MM, MOST_CURVED_GY_PER_MM2 = 50 * 0.399 / 4, 50 * 0.242 / 4**2


@pytest.mark.parametrize(("turn_deg", "unresolved_mm"), [(0, 0.0), (1, 0.2)])
def test_maps_are_those_of_every_course_stored(turn_deg, unresolved_mm):
    """Each voxel's dose course by course: planned dose at its displaced position, summed over visits."""
    setup = {"systematic_mm": 2, "random_mm": 2, "systematic_deg": turn_deg, "isocentre_mm": [20, 0, 0]}
    turned = study(uncertainty={"setup": setup, "respiration": {"amplitude_mm": [0, 0, 8]}})
    results = simulator.run(turned)
    problem = prepare(turned)
    plan = make_plan(problem, problem.requests[0])
    draws = course_draws(problem, 0, COURSES)
    delivery = deliver_courses(problem, problem.strategies[0], draws)
    frame = problem.map_frame
    maps = results["dose"].to_dataset().isel(strategy=0)
    in_target = maps["structure_mask"].sel(structure="GTV").values >= 50
    chosen = np.random.default_rng(2).choice(np.argwhere(maps["nominal"].values > 5), 60)
    worst = 0.0
    for z, y, x in chosen:
        motion = delivery.motion("GTV" if in_target[z, y, x] else "")
        place = np.array([axis[i] for axis, i in zip(frame.grid.axes_mm, (x, y, z), strict=True)])
        at = place + motion.shift_mm
        if turn_deg:
            at = at + motion.linear @ (place - motion.centre_mm)
        gy = (plan.dose.at(at.reshape(-1, 3)).reshape(motion.weight.shape) * motion.weight).sum(axis=1)
        worst = max(worst, abs(gy.std(ddof=1) - maps["sd"].values[z, y, x]))
        for i, q in enumerate((5, 50, 95)):
            worst = max(worst, abs(np.percentile(gy, q) - maps["percentile"].values[i, z, y, x]))
    trilinear_gy = 3 / 8 * MOST_CURVED_GY_PER_MM2  # on a lattice of 1 mm
    assert worst < trilinear_gy + unresolved_mm * STEEPEST_GY_PER_MM


def test_the_same_bits_for_any_workers_and_without_a_change_to_other_numbers(results):
    two = simulator.run(study(), workers=2)
    for key in ("sd", "percentile"):
        np.testing.assert_array_equal(two["dose"][key].values, results["dose"][key].values)
    without = simulator.run(study(maps=None))
    assert without.attrs["result_hash"] == results.attrs["result_hash"]
    assert "sd" not in without["dose"].to_dataset()


def test_strategies_not_asked_for_have_no_maps():
    grid = {"margins_mm": [0, 3], "motion": ["none"], "guidance": ["none"]}
    asked = {"courses": COURSES, "strategies": ["none, 3 mm, none"]}
    maps = simulator.run(study(strategies=grid, maps=asked))["dose"].to_dataset()
    assert np.isnan(maps["sd"].sel(strategy="none, 0 mm, none")).all()
    assert np.isfinite(maps["sd"].sel(strategy="none, 3 mm, none")).all()
    with pytest.raises(ValueError, match=r"maps.strategies: 'none, 4 mm, none' is not a strategy of this study"):
        study(maps={"strategies": ["none, 4 mm, none"]})


def test_without_errors_every_percentile_is_the_plan():
    still = simulator.run(study(uncertainty={}, courses=20, maps={"courses": 20}))["dose"].to_dataset().isel(strategy=0)
    assert float(still["sd"].max()) < 1e-5
    for percentile in still["percentile"]:
        np.testing.assert_allclose(percentile, still["nominal"], atol=1e-4)


def test_coverage_maps_are_direct_counts():
    rng = np.random.default_rng(5)
    curves = np.sort(rng.uniform(0, 100, (300, 12)), axis=1)[:, ::-1]
    curves = np.rint(curves * 5) / 5  # the resolution of the levels
    found = dose_volume_coverage(count_levels(curves))
    expected = (curves[:, :, None] >= np.array(COVERAGE_VOLUMES) - 1e-9).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_coverage_of_a_study_is_that_of_its_metrics(results):
    dvh = results["dvh"].to_dataset().isel(strategy=0).sel(structure="GTV")
    d95 = results["metrics/value"].sel(metric="GTV D95%").values[0]
    coverage = dvh["coverage"].sel(volume=95).values
    step = float(dvh["dose"][1] - dvh["dose"][0])
    for q in (0.25, 0.5, 0.9):
        found = dose_with_coverage(dvh["dose"].values, coverage, q)
        lowest_of_share = np.sort(d95)[len(d95) - round(q * len(d95))]
        assert found == pytest.approx(lowest_of_share, abs=2 * step)


def test_dose_with_coverage_of_a_straight_line():
    dose_gy = np.arange(0.0, 11)
    assert dose_with_coverage(dose_gy, 1 - dose_gy / 10, 0.34) == pytest.approx(6.6)
    assert dose_with_coverage(dose_gy, np.ones(11), 0.9) == 10
    assert np.isnan(dose_with_coverage(dose_gy, 0.5 * np.ones(11), 0.9))


def test_dose_population_histogram_and_its_band():
    rng, outside = np.random.default_rng(9), 0
    value, share, low, high = dose_population_histogram(np.array([3.0, 1, 2, 2]))
    np.testing.assert_array_equal(value, [1, 2, 2, 3])
    np.testing.assert_allclose(share, [1, 0.75, 0.5, 0.25])
    for _ in range(400):
        value, _, low, high = dose_population_histogram(rng.uniform(size=200))
        outside += np.any((1 - value < low - 1 / 200) | (1 - value > high))
    assert outside / 400 <= 0.05
