"""Studies side by side: numbers are those of each study, and what differs is said."""

import csv

import pytest

import simulator
from simulator.commands.side_by_side import differences, open_studies, rows_of, write_comparison
from simulator.execution.study import run_study
from simulator.spec import ConfigError
from simulator.study_file.schema import StudyConfig

STUDY = {
    "name": "wide",
    "case": {"phantom": "sphere", "radius_mm": 8},
    "prescription": {"dose_gy": 48, "fractions": 4, "isodose_percent": 80},
    "plan": {"model": "penumbra", "normalisation": "isodose"},
    "uncertainty": {"setup": {"systematic_mm": [1, 1, 1], "random_mm": [1, 1, 1]}},
    "strategies": {"margins_mm": [0, 3], "motion": ["none"], "guidance": ["none"]},
    "goals": ["GTV D98% >= 95%"],
    "courses": 200,
    "numerics": {"max_points": 1000},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("studies")
    other = STUDY | {"name": "narrow", "courses": 100, "strategies": STUDY["strategies"] | {"margins_mm": [3, 6]}}
    swept = STUDY | {"name": "swept", "courses": 20, "sweep": {"seed": [1, 2]}}
    for study in (STUDY, other, swept):
        run_study(StudyConfig.model_validate(study), base / study["name"])
    return [base / "wide", base / "narrow", base / "swept"]


def test_each_study_keeps_its_numbers(folders, tmp_path):
    studies = open_studies([folders[0], folders[1] / "results.nc"])
    assert list(studies) == ["wide", "narrow"]
    rows = {(strategy, what): cells for strategy, what, *cells in rows_of(studies)}
    assert rows["none, 0 mm, none", "wanted coverage"][1] == "-"
    assert rows["none, 6 mm, none", "wanted coverage"][0] == "-"
    for name, cell in zip(studies, rows["none, 3 mm, none", "wanted coverage"], strict=True):
        goals = simulator.open_results(folders[0].parent / name)["goals"]
        p = 100 * goals["probability"].sel(strategy="none, 3 mm, none", goal="GTV D98% >= 95%").item()
        assert cell.startswith(f"{p:.1f} % (")
    assert sum("*" in cell for cells in rows.values() for cell in cells) <= 2
    assert {tuple(cells) for (_, what), cells in rows.items() if what == "all organ goals"} == {
        ("no such goals", "no such goals"), ("no such goals", "-"), ("-", "no such goals"),
    }, "goals that are not set are not met in 100 % of courses"  # fmt: skip
    table, figure = write_comparison(studies, tmp_path)
    with table.open(encoding="utf-8") as file:
        assert [(row["study"], row["n_courses"]) for row in csv.DictReader(file)] == [
            ("wide", "200"), ("wide", "200"), ("narrow", "100"), ("narrow", "100"),
        ]  # fmt: skip
    assert figure.read_bytes().count(b"clip-path") > 4


def test_what_differs_is_said(folders):
    said = differences(open_studies(folders[:2]))["narrow"]
    assert said.startswith("name: wide -> narrow; strategies.margins_mm: ")
    assert said.endswith("courses: 200 -> 100")


def test_sweeps_and_single_studies_are_refused(folders):
    with pytest.raises(ConfigError, match="two results folders or more"):
        open_studies([folders[0], folders[0]])
    with pytest.raises(ConfigError, match=r"a sweep; compare its points, which lie in .*points"):
        open_studies([folders[0], folders[2]])
