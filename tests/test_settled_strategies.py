"""A study whose settled strategies stop: what it simulates, what it says of them, and what it refuses."""

import csv

import numpy as np
import pytest

import simulator
from simulator.execution import stopping
from simulator.execution import study as execution
from simulator.ground.spec import ConfigError
from simulator.plots.style import readable
from simulator.population.unequal import by_pairs, mean_intervals, numbers_of_courses
from simulator.population.verdicts import decide
from simulator.report.page import render_report
from simulator.report.verdicts import sentences_of
from simulator.study_file.schema import StudyConfig

_MARGINS = [0, 6, 9]


def study(**changes):
    return StudyConfig.model_validate(
        {
            "name": "settled",
            "case": {"phantom": "sphere", "radius_mm": 8},
            "prescription": {"dose_gy": 50, "fractions": 2, "isodose_percent": 95},
            "plan": {"model": "penumbra", "penumbra_sd_mm": 3.2, "normalisation": "plateau"},
            "uncertainty": {"setup": {"systematic_mm": 2, "random_mm": 2}},
            "strategies": {"margins_mm": _MARGINS, "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%", "GTV Dmean >= 99%"],
            "numerics": {"instants": 1, "max_points": 1000, "target_lattice_mm": 2, "block_courses": 100},
            "decision": {
                "target_goals": ["GTV D98% >= 95%", "GTV Dmean >= 90%"]
            },  # two: nothing is explained of margins
            "courses": 600,
            "decide": True,
        }
        | changes
    )


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    out = tmp_path_factory.mktemp("settled") / "run"
    return simulator.run(study(), out=out, workers=1), out


def test_settled_strategies_stop_and_the_others_go_on(settled):
    results, _ = settled
    n = results["decision/n_courses"].values
    assert n.tolist() == [300, 600, 300]
    values = results["metrics/value"]
    np.testing.assert_array_equal(numbers_of_courses(values.values), n)
    assert all(np.isfinite(own[:k]).all() and np.isnan(own[k:]).all() for own, k in zip(values.values, n, strict=True))
    met = (values.sel(metric="GTV D98%") >= 47.5) & (values.sel(metric="GTV Dmean") >= 45)
    np.testing.assert_allclose(results["joint/probability"].sel(joint="wanted coverage"), met.sum("course") / n)
    assert (results["decision/verdict"] != "undecided").values[n < 600].all()
    low, high = (results[f"joint/{end}"].sel(joint="wanted coverage").values for end in ("ci_low", "ci_high"))
    np.testing.assert_array_equal((low < 0.9) & (high >= 0.9), results["decision/verdict"] == "undecided")


def test_numbers_do_not_depend_on_workers_nor_on_an_interruption(settled, tmp_path, monkeypatch):
    results, _ = settled
    looks = iter([None])
    following = stopping.next_run

    def killed(*given):
        if next(looks, "over") is None:
            return following(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(stopping, "next_run", killed)
    with pytest.raises(KeyboardInterrupt):
        execution.run_study(study(), tmp_path / "run", workers=2)
    monkeypatch.setattr(stopping, "next_run", following)
    again = simulator.run(study(), out=tmp_path / "run", workers=2)
    assert again.attrs["result_hash"] == results.attrs["result_hash"]
    np.testing.assert_array_equal(again["decision/n_courses"], results["decision/n_courses"])


def test_what_stopped_is_said_wherever_its_probabilities_are(settled, tmp_path):
    results, out = settled
    first = results["decision"].to_dataset().isel(strategy=0)
    said = "stopped after 300 courses, settled"
    assert first["stopped"].item() == said
    with (out / "summary.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["strategy"] == first["strategy"].item()]
    assert {(row["stopped"], row["n_courses"]) for row in rows} == {(said, "300")}
    render_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count(said) >= 3 + int((results["decision/n_courses"] == 300).sum())
    n = int(results["decision/n_courses"].sum())
    (sentence,) = [s for s in sentences_of(results) if "were stopped before" in s]
    assert f"{n} courses were simulated in place of" in sentence
    assert readable(sentence) in page


@pytest.mark.nightly
def test_each_point_of_a_sweep_stops_by_itself(tmp_path):
    margins = {"margins_mm": [0, 9], "motion": ["none"], "guidance": ["none"]}
    sweep = {"uncertainty.setup.random_mm": [2, 6]}
    results = simulator.run(study(strategies=margins, sweep=sweep), out=tmp_path / "run", workers=1)
    n = results["decision/n_courses"].values
    assert n[0].tolist() == [300, 300]
    assert n.max() == results.attrs["n_courses"]
    with (tmp_path / "run" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["stopped"] for row in rows if row["n_courses"] == "300"} == {"stopped after 300 courses, settled"}
    render_report(results, tmp_path / "report.html")


def test_pairs_are_compared_on_the_courses_that_both_have(settled):
    n = settled[0]["decision/n_courses"].values
    found = settled[0]["comparison/difference"].sel(metric="GTV D98%").values
    d98 = settled[0]["metrics/value"].sel(metric="GTV D98%").values.astype(float)
    for i, j in np.ndindex(found.shape):
        both = min(n[i], n[j])
        assert found[i, j] == pytest.approx((d98[i, :both] - d98[j, :both]).mean(), abs=1e-4)


def test_helpers_of_unequal_numbers_agree_with_single_loops():
    rng, n = np.random.default_rng(1), np.array([7, 30, 12, 30])
    values = rng.normal(size=(4, 30))
    for own, k in zip(values, n, strict=True):
        own[k:] = np.nan
    differences = by_pairs(values, n, lambda some: (some[:, None] - some[None]).mean(axis=2))
    for i, j in np.ndindex(4, 4):
        both = min(n[i], n[j])
        assert differences[i, j] == pytest.approx((values[i, :both] - values[j, :both]).mean())
    np.testing.assert_allclose(mean_intervals(values, n)[0], np.nanmean(values, axis=1))
    np.testing.assert_array_equal(numbers_of_courses(values[..., None]), n)
    excess = np.abs(values)
    excess[0, :7] = 0.0  # surely the least
    assert decide(np.zeros(4, int), np.zeros((4, 1), int), excess, 0 * excess, np.ones(4), n).recommended == 0


def test_what_does_not_go_with_it_is_refused():
    for changes, message in (
        ({"precision": 0.02}, "decide: it stops strategies whose verdict is settled, and precision goes on"),
        ({"sampling": "sobol", "courses": 1024}, "decide: Sobol' nets cannot grow until verdicts are settled"),
        (
            {
                "uncertainty": {
                    "setup": {"systematic_mm": 2, "random_mm": 2, "known": {"patients": 20, "fractions": 100}}
                }
            },
            r"decide: more courses do not settle .* \(uncertainty.setup\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            study(**changes)


def test_a_course_that_was_not_simulated_is_not_looked_at(settled):
    results, _ = settled
    name = str(results["decision"]["strategy"].values[0])
    with pytest.raises(ConfigError, match="no course 300 in these results, which hold courses 0 to 299"):
        simulator.simulate_course(results, name, 300)
    assert simulator.simulate_course(results, name, 299).attrs["course"] == 299  # which is equal bit for bit, or raises
