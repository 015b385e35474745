"""A study whose errors are known only so far: what its results, files and pages say."""

import csv
import json

import numpy as np
import pytest

import simulator
from simulator.execution.study import run_study
from simulator.report.page import render_report
from simulator.report.verdicts import first_sentence, sentences_of
from simulator.study_file.schema import StudyConfig


def study(known, margins_mm=(2, 4, 8), courses=1200, **changes):
    raw = {
        "name": "doubted",
        "case": {"phantom": "sphere", "radius_mm": 15},
        "prescription": {"dose_gy": 50, "fractions": 2, "isodose_percent": 95},
        "plan": {"model": "penumbra", "penumbra_sd_mm": 3.2, "normalisation": "plateau"},
        "uncertainty": {"setup": {"systematic_mm": 2, "known": known}},
        "strategies": {"margins_mm": list(margins_mm), "motion": ["none"], "guidance": ["none"]},
        "goals": ["GTV D98% >= 95%"],
        "courses": courses,
        "numerics": {"instants": 1, "max_points": 1000},
    }
    return StudyConfig.model_validate(raw | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("doubted") / "results"
    run_study(study({"patients": 15}), out)
    return out


@pytest.fixture(scope="module")
def results(folder):
    with simulator.open_results(folder) as tree:
        return tree.load()


def test_knowledge_stands_beside_the_predictive_probability(results):
    known, goals = results["knowledge"].to_dataset(), results["goals"].to_dataset()
    predictive = goals["probability"].values[:, 0]
    assert predictive[1] == pytest.approx(0.867, abs=3.3 * np.sqrt(0.867 * 0.133 / 1200) + 0.002)
    assert known["plug_in"].values[1, 0] == pytest.approx(0.929, abs=0.015)
    assert known["low"].values[1, 0] == pytest.approx(0.686, abs=0.025)
    assert known["high"].values[1, 0] == pytest.approx(0.970, abs=0.015)
    assert known["joint_low"].sel(joint="wanted coverage").values == pytest.approx(known["low"].values[:, 0], abs=1e-4)
    assert known["part_low"].values[0] == pytest.approx(known["low"].values)  # there is one part only
    assert known["unknown"].values.tolist() == ["setup, systematic"]
    assert known["effective_courses"].item() > 400


def test_the_verdict_says_when_knowledge_leaves_it_undecided(results):
    known, decision = results["knowledge"].to_dataset(), results["decision"].to_dataset()
    assert decision["verdict"].values.tolist() == ["spares, but", "undecided", "suits"]
    assert known["undecided_by"].values.tolist() == ["", "knowledge", ""]
    assert decision["courses_to_decide"].values.tolist() == [0, 0, 0]
    assert results["goals/holds"].values[:, 0].tolist() == [""] * 3  # the goal itself is not asked for
    assert known["record"].values[1] == "setup, systematic"
    low, plug_in = known["low"].values[1, 0], known["plug_in"].values[1, 0]
    assert known["record_to_decide"].values[1] == pytest.approx(15 * ((plug_in - low) / (plug_in - 0.9)) ** 2, abs=1)
    there = results["prescription"].to_dataset().sel(scale=1.0)
    assert there["verdict"].values.tolist() == decision["verdict"].values.tolist()
    (sentence,) = (s for s in sentences_of(results) if s.startswith("More courses would not decide"))
    assert sentence in first_sentence(results)
    assert "“none, 4 mm, none” (wanted coverage 6" in sentence
    assert "known from 15 patients; one of " in sentence
    assert not any("one new run of" in s for s in sentences_of(results))


def test_required_margins_over_what_errors_may_be(results):
    known = results["knowledge"].to_dataset()
    required = results["margins/required_mm"].values[0, 0]
    low, high, plug_in = (known[f"required_{end}_mm"].values[0, 0] for end in ("low", "high", "plug_in"))
    assert 2 < low < plug_in < required < high < 8
    assert plug_in == pytest.approx(3.75, abs=0.2)


def test_summary_and_page(folder, results, tmp_path):
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-3:] == ["plug_in", "knowledge_low", "knowledge_high"]
    assert float(rows[1]["knowledge_low"]) == pytest.approx(results["knowledge/low"].values[1, 0], rel=1e-4)
    render_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="knowledge-table"' in page
    assert "Over what the errors may be" in page
    assert any("known from 15 patients" in words for words in json.loads(results.attrs["words"]))


def test_too_few_courses_are_said_and_verdicts_stand_by_the_simulation_alone():
    few = simulator.run(study({"patients": 15}, (4, 8), 300))
    known = few["knowledge"].to_dataset()
    assert np.isnan(known["low"].values).all()
    assert 700 < known["courses_wanted"].item() < 1500
    assert few["decision/verdict"].values.tolist()[1] == "suits"
    assert any("300 courses are too few to say" in s for s in sentences_of(few))
    exact = simulator.run(study(None, (4,), 40))
    assert "knowledge" not in exact.children


def test_a_sweep_over_the_record():
    swept = simulator.run(
        study({"patients": 15}, (4,), 400, sweep={"uncertainty.setup.known.patients": [200, 400]}), seed=2
    )
    assert swept["knowledge/low"].dims == ("uncertainty.setup.known.patients", "strategy", "goal")
    low, high = swept["knowledge/low"].values[:, 0, 0], swept["knowledge/high"].values[:, 0, 0]
    assert high[0] - low[0] > high[1] - low[1] or np.isnan(low[0])
