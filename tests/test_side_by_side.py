"""Studies side by side: numbers are those of each study, and what differs is said."""

import csv
import re
import shutil
import sys

import pytest
import xarray as xr
from test_report import Page

import simulator
from simulator.commands import side_by_side
from simulator.commands.side_by_side import differences, open_studies, rows_of, write_comparison
from simulator.execution.study import run_study
from simulator.ground.spec import ConfigError
from simulator.plots import strategies_apart
from simulator.report.comparison import paired_rows, strategy_rows
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
    other["uncertainty"] = {"setup": {"systematic_mm": [3, 3, 3], "random_mm": [1, 1, 1]}}
    swept = STUDY | {"name": "swept", "courses": 20, "sweep": {"seed": [5, 6]}}
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
    table, figure, page = write_comparison(studies, tmp_path)
    assert page.name == "comparison.html"
    with table.open(encoding="utf-8") as file:
        assert [(row["study"], row["n_courses"]) for row in csv.DictReader(file)] == [
            ("wide", "200"), ("wide", "200"), ("narrow", "100"), ("narrow", "100"),
        ]  # fmt: skip
    assert figure.read_bytes().count(b"clip-path") > 4


def test_what_differs_is_said(folders):
    said = differences(open_studies(folders[:2]))["narrow"]
    assert said.startswith("name: wide -> narrow; ")
    assert "strategies.margins_mm: " in said
    assert said.endswith("courses: 200 -> 100")


def test_single_studies_and_too_many_are_refused(folders, monkeypatch):
    monkeypatch.setattr(side_by_side, "MOST_STUDIES", 3)
    with pytest.raises(ConfigError, match="two results folders or more"):
        open_studies([folders[0], folders[0]])
    with pytest.raises(ConfigError, match="compare: 4 studies with the points of sweeps, at most 3"):
        open_studies(folders)


def test_a_sweep_is_a_study_for_each_point(folders):
    studies = open_studies([folders[0], folders[2] / "results.nc"])
    assert list(studies) == ["wide", "swept: seed 5", "swept: seed 6"]
    assert [results.attrs["seed"] for results in studies.values()] == [1, 5, 6]


def test_the_page_shows_paired_differences_on_common_courses(folders, tmp_path):
    studies = open_studies(folders[:3])
    tables = Page(write_comparison(studies, tmp_path)[-1].read_text(encoding="utf-8")).tables
    _, *rows = tables["paired-table"]
    assert [[cell.strip() for cell in row[:3]] for row in rows] == [["none, 3 mm, none", "narrow", "100"]]
    value = [studies[name]["metrics/value"].sel(strategy="none, 3 mm, none", metric="GTV D98%") for name in studies]
    difference_gy = float((value[1] - value[0][:100]).mean())
    assert rows[0][5].startswith(f"{difference_gy:+.1f} Gy ")
    assert difference_gy < -0.1, "narrow has the larger errors"
    met = [v[:100] >= 0.95 * 48 for v in value[:2]]
    assert rows[0][3].startswith(f"{100 * float(met[1].mean() - met[0].mean()):+.1f} ")
    assert rows[0][4].strip() == "–", "no goals on organs"


def test_every_table_of_the_page_has_a_caption_and_scopes(folders, tmp_path):
    page = write_comparison(open_studies(folders[:2]), tmp_path)[-1].read_text(encoding="utf-8")
    assert page.count("<caption>") == page.count("<table") == 4
    assert page.count("<th ") == page.count("<th scope=") == len(re.findall(r"<th\b", page))
    assert all(f'id="{place}"' in page for place in re.findall(r'href="#(\w+)"', page))
    assert page.count("Research software, not a medical device") == 1
    assert not [a for a in Page(page).addresses if not a.startswith(("#", "data:"))]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_folders_whose_names_are_not_unicode_are_written_out(folders, tmp_path):
    shutil.copytree(folders[0], tmp_path / "Gr\udcf6\udcdfe")
    studies = open_studies([folders[0], tmp_path / "Gr\udcf6\udcdfe"])
    assert list(studies)[1].endswith(r"/Gr\udcf6\udcdfe")
    write_comparison(studies, tmp_path / "out")


def test_equal_names_with_other_margins_are_told_apart(folders):
    studies = open_studies(folders[:2])
    assert strategies_apart(studies)["none, 3 mm, none"] == dict.fromkeys(studies, "none, 3 mm, none")
    plans = studies["narrow"]["plans"].to_dataset()
    plans["margin_mm"] = plans["margin_mm"] + xr.where(plans["direction"] == "superior", 2.0, 0.0)
    studies["narrow"]["plans"].dataset = plans
    apart = strategies_apart(studies)
    assert apart["none, 3 mm, none (3.0 mm)"] == {"wide": "none, 3 mm, none"}
    assert apart["none, 3 mm, none (3.0 / 3.0 / 3.0 / 3.0 / 3.0 / 5.0 mm)"] == {"narrow": "none, 3 mm, none"}
    assert {row["strategy"] for row in strategy_rows(studies)} == set(apart)
    assert paired_rows(studies, {"narrow": 100}) == []
    assert [row[0] for row in rows_of(studies)[::2]] == list(apart)
