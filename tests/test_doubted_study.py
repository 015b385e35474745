"""A study whose errors are known only so far: what its results, files and pages say."""

import csv
import json

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.answers.goals import goals_group
from simulator.answers.groups import answer_groups
from simulator.answers.knowledge import Knowledge
from simulator.answers.knowledge_group import knowledge_of
from simulator.execution.stopping import first_run
from simulator.execution.study import run_study
from simulator.ground.conventions import percent
from simulator.problem.preparation import prepare
from simulator.report.knowledge import knowledge_sentences, knowledge_table, known_of_source
from simulator.report.page import render_report
from simulator.report.verdicts import first_sentence, sentences_of
from simulator.simulation.courses import course_draws
from simulator.study_file.schema import StudyConfig

ALLOWED_MM = {2: 3.15, 4: 5.2976937, 8: 9.5}  # shifts at which D98% falls to 95 %, by margin; that of 4 mm is exact


def study(known, margins_mm=(2, 4, 8), courses=2000, **changes):
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


def answers(config):
    """The answers of a study whose D98% falls with the distance of the target: no dose is computed."""
    problem = prepare(config)
    shift = config.uncertainty.setup.patient_mm(course_draws(problem, 0, config.courses), 1)[:, 0]
    margins_mm = [request.ptvs[0].margin_mm[0] for request in problem.requests]
    values = np.full((len(margins_mm), config.courses, len(problem.metric_labels)), 50.0)
    for i, margin in enumerate(margins_mm):
        spare_mm = ALLOWED_MM[margin] - np.linalg.norm(shift, axis=1)
        values[i, :, problem.column["GTV D98%"]] = 50 * (0.95 + 0.01 * spare_mm)
    labels = [s.label() for s in problem.strategies]
    doubt = knowledge_of(problem, values, labels)
    groups = answer_groups(problem, values, np.arange(len(labels), dtype=float), doubt)
    nominal = np.full((len(labels), len(problem.metric_labels)), 50.0)
    tree = xr.DataTree.from_dict(groups | {"goals": goals_group(problem, nominal, values, labels, doubt)})
    tree.attrs["n_courses"] = config.courses
    return tree


@pytest.fixture(scope="module")
def results():
    return answers(study({"patients": 15}))


def test_knowledge_stands_beside_the_predictive_probability(results):
    known, goals = results["knowledge"].to_dataset(), results["goals"].to_dataset()
    predictive = goals["probability"].values[:, 0]
    assert predictive[1] == pytest.approx(0.867, abs=3.3 * np.sqrt(0.867 * 0.133 / 2000) + 0.002)
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
    (sentence,) = knowledge_sentences(results)
    assert sentence.startswith("More courses would not decide")
    assert "“none, 4 mm, none” (wanted coverage 6" in sentence
    assert "known from 15 patients; one of " in sentence


def test_required_margins_over_what_errors_may_be(results):
    known = results["knowledge"].to_dataset()
    required = results["margins/required_mm"].values[0, 0]
    low, high, plug_in = (known[f"required_{end}_mm"].values[0, 0] for end in ("low", "high", "plug_in"))
    assert 2 < low < plug_in < required < high < 8
    assert plug_in == pytest.approx(3.75, abs=0.2)


def test_the_budget_says_what_one_does_not_know_of_a_source(results):
    """Its column is the range of the wanted coverage; sources that are known exactly have a dash."""
    strategy, known = "none, 4 mm, none", results["knowledge"].to_dataset()
    low, high = (
        float(known[f"joint_part_{end}"].sel(strategy=strategy, joint="wanted coverage")[0]) for end in ("low", "high")
    )
    assert known_of_source(results, strategy, "setup, systematic") == f"{percent(low)} to {percent(high)}"
    assert 0.65 < low < 0.72 < 0.96 < high < 0.99
    assert known_of_source(results, strategy, "setup, random") == "–"


def test_as_many_courses_are_wanted_as_say_it():
    """Also where they just do; where they do not, a few more than in proportion."""
    knowledge = Knowledge.of(prepare(study({"patients": 15}, (4,))))
    assert knowledge.courses_wanted(2000) == 2000
    wanted = knowledge.courses_wanted(300)
    assert wanted == np.ceil(300 * 420 / np.quantile(knowledge.effective(300)[:1024], 0.05))
    assert 700 < wanted < 1500


def both(patients):
    """Systematic and random errors from a record of five fractions a patient."""
    return {"systematic_mm": 2, "random_mm": 2, "known": {"patients": patients, "fractions": 5 * patients}}


def simulated(courses, setup, more=None, **changes):
    return first_run(prepare(study(None, (4,), courses, uncertainty={"setup": setup} | (more or {}), **changes)))


def test_courses_that_weights_lack_are_simulated():
    """As many more as tell it, up to twice those asked for with one uncertain error, four times with several."""
    one = {"systematic_mm": 2, "known": {"patients": 15}}

    assert 600 < (enough := simulated(600, one)) <= 1200
    assert simulated(enough, one) == enough
    assert simulated(300, one) == 300  # they would be more than twice as many
    assert simulated(1024, one, sampling="sobol") == 1024
    assert simulated(600, {"systematic_mm": 2}) == 600


def test_of_several_errors_all_at_once_are_told_before_each_alone():
    """All at once within four times the courses; beyond that each part by itself, and the report says what is missing."""
    two = {"baseline": both(15)}

    def effective(courses, patients, more=None):
        uncertainty = {"setup": both(patients)} | (more or {})
        knowledge = Knowledge.of(prepare(study(None, (4,), courses, uncertainty=uncertainty)))
        return [np.quantile(knowledge.effective(courses, part)[:1024], 0.05) for part in (None, *knowledge.parts)]

    assert 1000 < (enough := simulated(1000, both(15), two)) <= 4000
    assert effective(enough, 15, two)[0] >= 400
    assert min(effective(1200, 15, two)[1:]) >= 400 > effective(1200, 15, two)[0]  # the parts alone would stop here
    n = simulated(1000, both(8), {"baseline": both(8)})
    assert min(effective(n, 8, {"baseline": both(8)})[1:]) >= 400 > effective(n, 8, {"baseline": both(8)})[0]
    assert simulated(300, both(8)) == 300


def test_ranges_put_together_from_parts_are_said():
    found = answers(study(None, (4,), 1200, uncertainty={"setup": both(20)}))
    known = found["knowledge"].to_dataset()
    assert np.isfinite(known["low"].values).all()
    assert knowledge_table(found)["put_together"] == ""
    known["courses_wanted"].values[...] = 1234
    assert "about 1234 courses would tell them at once" in knowledge_table(found)["put_together"]


def test_too_few_courses_are_said_and_verdicts_stand_by_the_simulation_alone():
    few = answers(study({"patients": 15}, (4, 8), 300))
    known = few["knowledge"].to_dataset()
    assert np.isnan(known["low"].values).all()
    assert 700 < known["courses_wanted"].item() < 1500
    assert few["decision/verdict"].values.tolist()[1] == "suits"
    assert "300 courses are too few to say" in knowledge_sentences(few)[0]
    exact = answers(study(None, (4,), 40))
    assert "knowledge" not in exact.children
    assert knowledge_sentences(exact) == []


def test_a_run_writes_tables_and_a_page(tmp_path):
    run_study(study({"patients": 60}, (4,), 300), tmp_path / "doubted")
    with simulator.open_results(tmp_path / "doubted") as tree:
        results = tree.load()
    n_courses = results.attrs["n_courses"]
    assert 400 < n_courses == results["knowledge/courses_wanted"].item() < 600
    assert f"{n_courses} (300 asked for; so many tell" in results.attrs["words"]
    with (tmp_path / "doubted" / "summary.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert list(row)[-3:] == ["plug_in", "knowledge_low", "knowledge_high"]
    assert float(row["knowledge_low"]) == pytest.approx(results["knowledge/low"].item(), rel=1e-4)
    assert results["decision/verdict"].item() == "undecided"
    assert "as too little is known of the errors" in first_sentence(results)
    assert "over what the errors may be 8" in first_sentence(results)
    assert not any("one new run of" in s for s in sentences_of(results))
    render_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="knowledge-table"' in page
    assert any("known from 60 patients" in words for words in json.loads(results.attrs["words"]))


@pytest.mark.nightly
def test_a_study_that_is_precise_goes_on_until_it_tells_what_is_not_known():
    """± 25 % needs 59 courses or so; what the errors may be 400 effective ones."""
    results = simulator.run(
        study({"patients": 60}, (4,), 20000, precision=0.25, numerics={"instants": 1, "block_courses": 50})
    )
    assert 400 < results.attrs["n_courses"] == results["knowledge/courses_wanted"].item() < 700
    assert simulator.run(study(None, (4,), 20000, precision=0.25), courses=20000).attrs["n_courses"] < 400


@pytest.mark.nightly
def test_a_sweep_over_the_record():
    swept = simulator.run(
        study({"patients": 15}, (4,), 1500, sweep={"uncertainty.setup.known.patients": [15, 60]}), seed=2
    )
    assert swept["knowledge/low"].dims == ("uncertainty.setup.known.patients", "strategy", "goal")
    low, high = swept["knowledge/low"].values[:, 0, 0], swept["knowledge/high"].values[:, 0, 0]
    assert high[0] - low[0] > 2 * (high[1] - low[1])
