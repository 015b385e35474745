"""Whom a study is about: what its spreads mean, and which of them look like the other's."""

import json

import numpy as np
import pytest
import yaml
from test_messages import GOOD

from simulator.ground.spec import SimulatorError
from simulator.problem.preparation import prepare
from simulator.problem.words import study_in_words
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.study_file.loading import load_study
from simulator.study_file.schema import StudyConfig


def notes(subject, **uncertainty):
    raw = yaml.safe_load(GOOD) | {"subject": subject, "uncertainty": uncertainty}
    return [note for note in prepare(StudyConfig.model_validate(raw)).notes if "spread between patients" in note]


@pytest.mark.parametrize(
    ("course_cv", "fraction_cv", "is_said"),
    [(0.6, 0.2, True), (0.21, 0.0, True), (0.2, 0.0, False), (0.3, 0.35, False), (0.36, 0.35, True), (0, 0, False)],
)
def test_a_population_s_spread_in_a_patient_s_study_is_said(course_cv, fraction_cv, is_said):
    spreads = {"amplitude_mm": 5, "course_cv": course_cv, "fraction_cv": fraction_cv}
    assert bool(notes("patient", respiration=spreads)) is is_said
    assert not notes("population", respiration=spreads)


def test_the_note_says_what_it_means_now():
    (note,) = notes("patient", respiration={"amplitude_mm": 5, "course_cv": 0.4, "fraction_cv": 0.2})
    assert note == (
        "uncertainty.respiration.course_cv 0.4 looks like the spread between patients, and `subject: patient` makes it how "
        "well this patient's own amplitude is known: one measurement of his leaves about fraction_cv (0.2); keep it only where "
        "nothing of his was measured"
    )


def test_volumes_follow_the_same_rule():
    own = {"filling_course_cv": 0.3, "filling_fraction_cv": 0.3}
    raw = yaml.safe_load(GOOD) | {
        "case": {"phantom": "pelvic"},
        "plan": {"model": "conformal-arc"},
        "subject": "patient",
    }
    for course_cv, is_said in ((0.3, False), (0.4, True)):
        organ = {**own, "filling_course_cv": course_cv}
        study = StudyConfig.model_validate(raw | {"uncertainty": {"organs": {"Bladder": organ}}})
        said = [
            note for note in prepare(study).notes if note.startswith("uncertainty.organs.Bladder.filling_course_cv")
        ]
        assert bool(said) is is_said


def test_the_report_says_whom_it_is_about():
    raw = yaml.safe_load(GOOD)
    words = {
        s: json.loads(study_in_words(prepare(StudyConfig.model_validate(raw | {"subject": s})), 1000))
        for s in ("population", "patient")
    }
    assert words["population"][1].startswith("The study is about a population: each course is another patient")
    assert words["patient"][1].startswith("The study is about one patient: each course is what may happen to him")
    assert json.loads(study_in_words(prepare(StudyConfig.model_validate(raw)), 1000))[1] == words["population"][1]


def test_nobody_else(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD + "subject: clinic\n", encoding="utf-8")
    with pytest.raises(SimulatorError, match=r"subject: .*'population' or 'patient'"):
        load_study(tmp_path / "a.yaml")


def test_whom_it_is_about_changes_no_number():
    raw = yaml.safe_load(GOOD) | {
        "uncertainty": {"respiration": {"amplitude_mm": 5, "course_cv": 0.3, "fraction_cv": 0.2}}
    }
    shifts = []
    for subject in ("population", "patient"):
        problem = prepare(StudyConfig.model_validate(raw | {"subject": subject}))
        delivery = deliver_courses(problem, problem.strategies[0], course_draws(problem, 0, 5))
        shifts.append(delivery.motion("GTV").shift_mm)
    np.testing.assert_array_equal(*shifts)
