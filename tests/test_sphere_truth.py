"""The ground-truth sphere against quadrature: every finite-fraction row of the reference tables that a study can express.

Pass rules for a probability p with standard error se over n courses: |z| < 4 with the variance p (1 - p) / n + se^2, and
|difference| <= 3.3 standard errors + 0.002 (the allowed discretisation bias).
"""

import csv
from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

import simulator
import simulator.uncertainty
from simulator.study_file.schema import StudyConfig

N_COURSES = 1000
GOALS = ("GTV D98% >= 95%", "GTV D98% >= 100%", "GTV Dmin >= 95%", "GTV Dmin >= 100%", "GTV Dmean >= 95%")


def sphere_study(*, radius_mm, penumbra_sd_mm, isodose_percent, systematic_mm, random_mm, margins_mm, fractions,
                 amplitude_mm=0.0, gridded=False, gate_percent=None, max_points=12_000, seed=11):  # fmt: skip
    """A study of a sphere in the closed-form dose."""
    uncertainty = {"setup": {"systematic_mm": systematic_mm, "random_mm": random_mm}}
    if amplitude_mm:
        uncertainty["respiration"] = {"amplitude_mm": [0, 0, amplitude_mm], "n": 2}
    motion = "none"
    if gate_percent is not None:
        motion = {"kind": "gating", "window_percent": gate_percent, "latency_s": 0, "plan_on": "mean"}
    return StudyConfig.model_validate(
        {
            "name": "sphere",
            "case": {"phantom": "sphere", "radius_mm": radius_mm},
            "prescription": {"dose_gy": 50, "fractions": fractions, "isodose_percent": isodose_percent},
            "plan": {
                "model": "penumbra",
                "penumbra_sd_mm": penumbra_sd_mm,
                "normalisation": "plateau" if isodose_percent == 95 else "isodose",
                "gridded": gridded,
            },
            "uncertainty": uncertainty,
            "strategies": {"margins_mm": list(margins_mm), "motion": [motion], "guidance": ["none"]},
            "goals": GOALS,
            "courses": N_COURSES,
            "seed": seed,
            "numerics": {"instants": 10 if gate_percent is None else 40, "max_points": max_points},
        }
    )


@cache
def simulate(**parameters):
    """Results of a sphere study, by goal and metric; axes strategy (margin), course."""
    return simulator.run(sphere_study(**parameters))


def rows(path, **wanted):
    with path.open(newline="", encoding="utf-8") as file:
        return [r for r in csv.DictReader(file) if all(r[k] == v for k, v in wanted.items())]


def assert_probability(found, expected, standard_error=0.0):
    one_course = 1 / N_COURSES
    variance = max(expected * (1 - expected), one_course) / N_COURSES + standard_error**2
    limit = min(4 * np.sqrt(variance), 3.3 * np.sqrt(variance) + 0.002)
    assert abs(found - expected) <= limit, f"{found:.4f} against {expected:.4f}, limit {limit:.4f}"


SPHERES = {
    "A_conventional": (1, 2, 3, 5, 30),
    "B_1cc_node": (1, 2, 3, 5),
    "C_lung80": (1, 2, 3, 5, 8),
    "D_random_dominated": (1, 2, 3, 5, 8),
    "E_large": (1, 3, 5, 30),
    "F_srs80": (1, 2, 3, 5),
}


def nightly(*values):
    """Left to the night, when a suite may take as long as it likes."""
    return pytest.param(*values, marks=pytest.mark.nightly)


DAILY = {"C_lung80": (1,), "F_srs80": (3,)}


@pytest.mark.parametrize(
    ("case", "fractions"),
    [(c, f) if f in DAILY.get(c, ()) else nightly(c, f) for c, fractions in SPHERES.items() for f in fractions],
)
def test_sphere_courses(case, fractions, reference_folder):
    truth = [r for r in rows(reference_folder / "sphere_truth.csv", case=case) if r["fractions"] == str(fractions)]
    assert truth
    results = simulate(
        radius_mm=float(truth[0]["gtv_radius_mm"]),
        penumbra_sd_mm=float(truth[0]["penumbra_sd_mm"]),
        isodose_percent=float(truth[0]["isodose_percent"]),
        systematic_mm=float(truth[0]["systematic_mm"]),
        random_mm=float(truth[0]["random_mm"]),
        margins_mm=tuple(float(r["margin_mm"]) for r in truth),
        fractions=fractions,
    )
    probability = results["goals/probability"]
    d98 = results["metrics/value"].sel(metric="GTV D98%").values / 50
    mean_dose = results["metrics/value"].sel(metric="GTV Dmean").values / 50
    for i, row in enumerate(truth):
        assert_probability(probability.sel(goal="GTV D98% >= 95%")[i].item(), float(row["p_d98_ge_95"]),
                           float(row["se_p_d98_ge_95"]))  # fmt: skip
        assert_probability(probability.sel(goal="GTV Dmin >= 95%")[i].item(), float(row["p_dmin_ge_95"]),
                           float(row["se_p_dmin_ge_95"]))  # fmt: skip
        if row["p_d98_ge_100"]:
            assert_probability(probability.sel(goal="GTV D98% >= 100%")[i].item(), float(row["p_d98_ge_100"]))
        expected, sd = float(row["mean_d98"]), float(row["sd_d98"])
        z = (d98[i].mean() - expected) / np.hypot(d98[i].std() / np.sqrt(N_COURSES), float(row["se_mean_d98"]))
        assert abs(z) < 4, f"mean D98: z = {z:.2f}"
        kurtosis = ((d98[i] - d98[i].mean()) ** 4).mean() / d98[i].var() ** 2
        z = (d98[i].var() - sd**2) / (sd**2 * np.sqrt((kurtosis - 1) / N_COURSES))
        assert abs(z) < 4, f"SD of D98: z = {z:.2f}"
        z = (mean_dose[i].mean() - float(row["mean_dose"])) / (mean_dose[i].std() / np.sqrt(N_COURSES))
        assert abs(z) < 4, f"mean dose: z = {z:.2f}"


BREATHING = {"P(Dmin>=0.95Rx)": "GTV Dmin >= 95%", "P(Dmin>=Rx)": "GTV Dmin >= 100%",
             "P(D98>=0.95Rx)": "GTV D98% >= 95%", "P(D98>=Rx)": "GTV D98% >= 100%"}  # fmt: skip


@pytest.mark.parametrize(
    ("amplitude", "fractions"),
    [(5, 1), (20, 1), *(nightly(*at) for at in ((0, 1), (0, 3), (5, 3), (15, 1), (15, 3), (20, 3)))],
)
def test_breathing_sphere_planned_at_its_mean_position(amplitude, fractions, reference_folder):
    table = rows(reference_folder / "validation_truth.csv", section="S6c", motion=f"midV A={amplitude} gate w=1")
    truth = [r for r in table if r["N_fractions"] == str(fractions)]
    assert len(truth) == 5
    results = simulate(
        radius_mm=10.0, penumbra_sd_mm=6.4, isodose_percent=80.0, systematic_mm=1.5, random_mm=1.5, margins_mm=(5.0,),
        fractions=fractions, amplitude_mm=float(amplitude), max_points=3000,
    )  # fmt: skip
    for row in truth:
        if row["metric"] == "E[D98]/Rx":
            d98 = results["metrics/value"].sel(metric="GTV D98%").values[0] / 50
            standard_error = np.hypot(d98.std() / np.sqrt(N_COURSES), float(row["se"]))
            assert abs(d98.mean() - float(row["value"])) / standard_error < 4
        else:
            found = results["goals/probability"].sel(goal=BREATHING[row["metric"]])[0].item()
            assert_probability(found, float(row["value"]), float(row["se"]))


@pytest.mark.parametrize(("amplitude", "window", "fractions"), [(20, 0.3, 1), nightly(20, 0.5, 1), nightly(15, 0.3, 3)])
def test_gated_sphere_planned_at_its_mean_position_in_the_gate(amplitude, window, fractions, reference_folder):
    table = rows(
        reference_folder / "validation_truth.csv", section="S6c", motion=f"gate_exhale A={amplitude} gate w={window}"
    )
    truth = [r for r in table if r["N_fractions"] == str(fractions)]
    assert len(truth) == 5
    results = simulate(
        radius_mm=10.0, penumbra_sd_mm=6.4, isodose_percent=80.0, systematic_mm=1.5, random_mm=1.5, margins_mm=(5.0,),
        fractions=fractions, amplitude_mm=float(amplitude), gate_percent=100 * window, max_points=3000,
    )  # fmt: skip
    for row in truth:
        if row["metric"] == "E[D98]/Rx":
            d98 = results["metrics/value"].sel(metric="GTV D98%").values[0] / 50
            standard_error = np.hypot(d98.std() / np.sqrt(N_COURSES), float(row["se"]))
            assert abs(d98.mean() - float(row["value"])) / standard_error < 4
        else:
            found = results["goals/probability"].sel(goal=BREATHING[row["metric"]])[0].item()
            assert_probability(found, float(row["value"]), float(row["se"]))


@pytest.mark.parametrize(
    ("fractions", "every"), [nightly("1", 1), nightly("2", 1), nightly("3", 1), nightly("5", 1), ("5", 4)]
)
def test_margins_that_cover_ninety_percent(fractions, every, reference_folder):
    table = rows(reference_folder / "validation_truth.csv", section="S1d", N_fractions=fractions)
    assert len(table) >= 8
    for row in table[::every]:
        isodose = 100 * float(row["isodose_at_PTV_edge"])
        results = simulate(
            radius_mm=float(row["R_mm"]), penumbra_sd_mm=float(row["sigma_p_mm"]), isodose_percent=isodose,
            systematic_mm=float(row["Sigma_mm"]), random_mm=float(row["sigma_mm"]),
            margins_mm=(float(row["value"]),), fractions=int(row["N_fractions"]), max_points=1000,  # only Dmin is asked for
        )  # fmt: skip
        edge = "GTV Dmin >= 95%" if isodose == 95 else "GTV Dmin >= 100%"
        per_mm = 0.9 / (
            2.5 * np.hypot(float(row["Sigma_mm"]), float(row["sigma_mm"]) / np.sqrt(int(row["N_fractions"])))
        )
        assert_probability(results["goals/probability"].sel(goal=edge)[0].item(), 0.9, per_mm * float(row["se"]))


def test_the_gridded_path_agrees_with_the_closed_form():
    parameters = {"radius_mm": 6.2, "penumbra_sd_mm": 3.2, "isodose_percent": 95.0, "systematic_mm": 1.0, "random_mm": 1.0,
                  "margins_mm": (2.0,), "fractions": 3}  # fmt: skip
    parameters["max_points"] = 3000
    exact, gridded = (simulator.run(sphere_study(**parameters, gridded=g), courses=500) for g in (False, True))
    error = (gridded["metrics/value"] - exact["metrics/value"]).sel(metric=["GTV D98%", "GTV Dmean", "GTV Dmin"])
    stated = float(gridded["dvh/interpolation_error_gy"].max())
    assert 0 < stated < 3 * 0.5**2 / 8 * 50 * 0.242 / 3.2**2  # h^2 / 8 of the steepest second derivative, three axes
    assert abs(error).max() < stated
    difference = gridded["goals/probability"] - exact["goals/probability"]
    assert abs(difference).max() <= 0.002 + 1e-12


def lens_share(radius, isodose_radius, shift):
    """Share of a ball of `radius` inside a ball of `isodose_radius` whose centre lies `shift` away."""
    q, r, s = isodose_radius, radius, shift
    if s <= q - r:
        return 1.0
    volume = np.pi * (q + r - s) ** 2 * (s**2 + 2 * s * r - 3 * r**2 + 2 * s * q + 6 * r * q - 3 * q**2) / (12 * s)
    return volume / (4 / 3 * np.pi * r**3)


@pytest.mark.parametrize(
    ("shift", "gridded"),
    [(1.0, False), (6.0, False), (2.5, True), (4.0, True)]
    + [nightly(*at) for at in ((2.5, False), (4.0, False), (1.0, True), (6.0, True))],
)
def test_d98_of_a_shifted_sphere_is_the_lens_closed_form(shift, gridded):
    study = sphere_study(radius_mm=10.0, penumbra_sd_mm=3.2, isodose_percent=95.0, systematic_mm=0.0, random_mm=0.0,
                         margins_mm=(2.0,), fractions=1, gridded=gridded)  # fmt: skip
    moved = study.model_copy(
        update={"uncertainty": simulator.uncertainty.Uncertainty(setup={"mean_mm": (0.0, 0.6 * shift, -0.8 * shift)})}
    )
    results = simulator.run(moved, courses=2)
    edge = 10 + 2 + 1.6448536 * 3.2
    dose = brentq(lambda d: lens_share(10, edge - 3.2 * _quantile(d), shift) - 0.98, 0.01, 0.9999)
    stated = float(results["dvh/interpolation_error_gy"].max()) / 50
    assert results["metrics/value"].sel(metric="GTV D98%").values[0, 0] / 50 == pytest.approx(dose, abs=1e-3 + stated)


def _quantile(share):
    return brentq(lambda z: ndtr(z) - share, -9, 9)
