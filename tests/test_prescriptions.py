"""Other prescriptions of the same plans: from stored courses, against the doses scaled before they are measured."""

import numpy as np
import pytest
from scipy.stats import norm
from synthetic_results import synthetic_problem, synthetic_results

import simulator
from simulator.answers.prescription import prescription_group
from simulator.metrics.biology import TissueResponse, TumourResponse
from simulator.metrics.evaluate import evaluate_biology, evaluate_metrics
from simulator.metrics.fraction_sums import FractionSums
from simulator.metrics.goals import parse_goal
from simulator.metrics.kinds import parse_metric
from simulator.population.intervals import wilson_interval
from simulator.population.prescriptions import ScaledMetric, crossing_scale, largest_scale, met_at
from simulator.results.views import joint_probability
from simulator.study_file.schema import StudyConfig

RNG = np.random.default_rng(3)
DOSE_GY = RNG.uniform(5, 60, (4, 300)).astype(np.float32)
VOLUME_CC = RNG.uniform(0.1, 1.0, 300)
N_FRACTIONS = 5
SUMS = FractionSums(DOSE_GY, DOSE_GY**2 / N_FRACTIONS)
RESPONSES = {
    "tcp": TumourResponse(np.full(4, 0.3), np.full(4, 10.0), 1e4),
    "ntcp": TissueResponse(np.full(4, 40.0), np.full(4, 0.3), 0.3, np.full(4, 3.0)),
}


@pytest.mark.parametrize("text", ["V20Gy", "CV30Gy", "V95%", "V20Gy cc"])
@pytest.mark.parametrize("scale", [0.7, 1.1])
def test_volumes_at_a_scaled_dose_are_those_at_another_threshold(text, scale):
    metric = parse_metric("Heart", *text.split())
    other, factor = metric.at_scale(scale)
    scaled = evaluate_metrics([metric], np.float32(scale) * DOSE_GY, VOLUME_CC, 50.0)
    np.testing.assert_allclose(factor * evaluate_metrics([other], DOSE_GY, VOLUME_CC, 50.0), scaled, rtol=1e-6)


@pytest.mark.parametrize("text", ["BED(10):D2cc", "EQD2(3):D0.5cc", "EQD2(3):V40Gy", "BED(3):Dmean", "TCP", "NTCP"])
@pytest.mark.parametrize("scale", [0.7, 1.1])
def test_biological_metrics_of_a_scaled_dose(text, scale):
    metric = parse_metric("Heart", text)
    other, factor = metric.at_scale(scale)
    sums = FractionSums(np.float32(scale) * DOSE_GY, np.float32(scale**2) * SUMS.squares_gy2)
    scaled = evaluate_biology([metric], sums, None, VOLUME_CC, RESPONSES, None)
    found = factor * evaluate_biology([other], SUMS, None, VOLUME_CC, RESPONSES, None)
    np.testing.assert_allclose(found, scaled, rtol=2e-5)


@pytest.mark.parametrize("text", ["D98%", "D0.035cc", "Dmean", "gEUD(a=8)"])
def test_doses_scale_with_the_dose(text):
    metric = parse_metric("Heart", text)
    assert metric.at_scale(0.9) is None
    whole, scaled = (evaluate_metrics([metric], s * DOSE_GY, VOLUME_CC, 50.0) for s in (np.float32(1), np.float32(0.9)))
    np.testing.assert_allclose(0.9 * whole, scaled, rtol=1e-5)


def test_metrics_at_a_scale_are_in_proportion_or_between_levels():
    proportional = ScaledMetric(np.ones(1), np.array([[10.0, 30.0]]), in_proportion=True)
    np.testing.assert_allclose(proportional.at(0.9), [9.0, 27.0])
    measured = ScaledMetric(
        np.array([0.5, 1.0, 1.5]), np.array([[4.0, 8.0], [10.0, 20.0], [11.0, 22.0]]), in_proportion=False
    )
    for scale, expected in (
        (0.4, [4, 8]),
        (0.5, [4, 8]),
        (0.75, [7, 14]),
        (1.0, [10, 20]),
        (1.4, [10.8, 21.6]),
        (2.0, [11, 22]),
    ):
        np.testing.assert_allclose(measured.at(scale), expected)
    np.testing.assert_allclose(measured.extremes.at(0.75), [7, 14])


@pytest.mark.parametrize("rises", [True, False])
def test_courses_cross_a_limit_between_the_scales_that_bracket_it(rises):
    scales = np.array([0.5, 1.0, 1.5])
    values = np.array([[10.0, 25, 2], [20, 30, 4], [30, 40, 6]]) * (1 if rises else -1)
    limit = 24.0 if rises else -24.0
    np.testing.assert_allclose(crossing_scale(scales, values, limit, rises=rises), [1.2, 0.0, np.inf])


def test_probabilities_are_counts_of_crossings():
    crossing = np.array([0.5, 0.8, 0.8, 1.2])
    scales = np.array([0.4, 0.8, 0.9, 1.3])
    np.testing.assert_allclose(met_at(scales, crossing, rises=False).mean(axis=1), [1.0, 0.75, 0.25, 0.0])
    np.testing.assert_allclose(met_at(scales, crossing, rises=True).mean(axis=1), [0.0, 0.75, 0.75, 1.0])


def test_the_largest_scale_of_a_normal_crossing():
    """90 % of crossings lie above m - 1.2816 s; the lower end of the interval asks for somewhat more, the upper for less."""
    n = 10_000
    crossing = np.random.default_rng(1).permutation(norm.ppf((np.arange(n) + 0.5) / n, 1.0, 0.1))

    def interval(met):
        return wilson_interval(met.sum(), n)

    at, shown, most = largest_scale(crossing, 0.9, interval)
    assert at == pytest.approx(1 - 0.12816, abs=1e-4)
    half = 1.96 * 0.3 / 100
    assert shown == pytest.approx(norm.ppf(0.1 - half, 1, 0.1), abs=3e-4)
    assert most == pytest.approx(norm.ppf(0.1 + half, 1, 0.1), abs=3e-4)
    assert interval(crossing >= shown)[0] >= 0.9 > interval(crossing > shown)[0]
    assert np.isnan(largest_scale(crossing[:20], 0.9, lambda met: wilson_interval(met.sum(), 20))[1])


@pytest.mark.nightly
def test_probabilities_at_other_prescriptions_are_those_of_the_plan_simulated_again():
    """Goals on doses, volumes, cold volumes, biological doses and responses: equal to three decimals."""
    study = StudyConfig.model_validate(
        {
            "name": "scaled",
            "case": {
                "phantom": "sphere",
                "radius_mm": 10,
                "organs": {"Heart": {"radius_mm": 12, "gap_mm": 6}},
            },
            "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
            "plan": {"model": "penumbra", "penumbra_sd_mm": 4, "normalisation": "isodose"},
            "uncertainty": {"setup": {"systematic_mm": 3, "random_mm": 2}},
            "strategies": {"margins_mm": [5], "motion": ["none"], "guidance": ["none"]},
            "goals": [
                "GTV D98% >= 95%",
                "GTV V95% >= 99%",
                "GTV TCP >= 90%",
                "Heart D0.035cc <= 38 Gy",
                "Heart V20Gy <= 20%",
                "Heart CV30Gy >= 6 cc",
                "Heart EQD2(3):D0.5cc <= 60 Gy",
            ],
            "biology": {"tcp": {"GTV": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1.0e7}}},
            "numerics": {"max_points": 2000},
        }
    )
    told = simulator.run(study, courses=300)["prescription"].to_dataset().isel(strategy=0)
    found = []
    for scale in (0.8, 0.9, 1.1):
        again = study.model_copy(update={"plan": study.plan.model_copy(update={"scale": scale})})
        goals = simulator.run(again, courses=300)["goals"].to_dataset().isel(strategy=0)
        at = told.sel(scale=scale)
        np.testing.assert_allclose(at["probability"], goals["probability"], atol=1e-3)
        found.append(goals["probability"].values)
    assert np.mean(np.logical_and(np.array(found) > 0.02, np.array(found) < 0.98)) > 0.5


def test_the_order_at_the_studys_own_prescription_is_that_of_the_decision():
    results = synthetic_results(margins_mm=(0.0, 2.0, 3.0, 5.0))
    at, decision = results["prescription"].to_dataset().sel(scale=1.0), results["decision"].to_dataset()
    assert len(set(decision["verdict"].values)) > 2
    for key in ("verdict", "limits_held", "rank"):
        np.testing.assert_array_equal(at[key], decision[key])
    for key, joint in (("coverage_of_dose", "wanted coverage"), ("organs", "all organ goals")):
        for end, name in (("", "probability"), ("_low", "ci_low"), ("_high", "ci_high")):
            np.testing.assert_allclose(at[f"{key}{end}"], joint_probability(results, joint)[name], rtol=1e-12)


def test_less_dose_never_breaks_a_limit_nor_covers_more():
    told = synthetic_results()["prescription"].to_dataset()
    assert (told["limits_held"].diff("scale") <= 0).all()
    assert (told["coverage_of_dose"].diff("scale") >= 0).all()
    assert (told.sel(scale=0.4)["verdict"] == "spares, but").all()
    assert (told.sel(scale=1.4)["verdict"] == "covers, but").all()


def test_scales_at_which_a_metric_is_unknown_leave_the_others():
    """As a dose grid that ends too early leaves low-dose volumes unknown: V20Gy known, V15.4Gy at 1.3 times the dose not."""
    plans = [("none", "none", 3.0)]
    problem = synthetic_problem(plans, ["GTV D98%"])
    problem.column = {"GTV D98%": 0, "Organ1 V20Gy": 1, "Organ1 V25Gy": 2}
    problem.goals = [parse_goal("GTV D98% >= 95%"), parse_goal("Organ1 V20Gy <= 30%")]
    values = np.array(
        [[[50.0, 20, 12], [50, 29, 24], [50, 31, 27], [50, 50, 40]]]
    )  # V25Gy is V20Gy at 0.8 times the dose
    told = prescription_group(problem, values, np.ones(1), ["none"]).isel(strategy=0, goal=1)["probability"]
    assert told.sel(scale=[0.4, 0.8, 1.0, 1.4]).values.tolist() == [0.75, 0.75, 0.5, 0.5]
