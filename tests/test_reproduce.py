"""Published studies: each value belongs to its study, and what agrees and what does not is found again."""

import csv
import re

import pytest

from simulator.commands.reproduce import Reproduced, reproduce, write_page
from simulator.ground.spec import ConfigError
from simulator.metrics.goals import parse_goal
from simulator.study_file.loading import load_study
from simulator.study_file.shipped import published_studies

DISAGREE = {"chang_2017", "van_herk_2000_random"}


@pytest.mark.parametrize("name", published_studies())
def test_a_published_value_is_of_its_study_and_says_where_it_stands(name):
    path = published_studies()[name]
    study = load_study(path)
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        assert row["strategy"] in [s.label() for s in study.candidates()]
        assert parse_goal(row["goal"]).text in study.goals
        assert row["quantity"] in ("probability", "mean")
        assert float(row["tolerance"]) > 0
        assert re.search(r"\b(19|20)\d\d\b", row["table"])
        assert row["remark"]


def test_values_agree_where_tolerance_and_interval_meet(tmp_path):
    def row(low, high):
        return Reproduced("one", "GTV Dmin >= 95%", 90.0, 1.0, (low + high) / 2, low, high, "a table", "because")

    assert [row(*ends).agrees for ends in ((91, 93), (91.1, 93), (80, 89), (80, 88.9))] == [True, False, True, False]
    write_page([row(91, 93), row(80, 81)], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| one | GTV Dmin >= 95% | 90 ± 1 | 92.0 (91.0-93.0) | agrees |" in page
    assert page.count("| disagrees |") == 1


def test_a_study_that_was_not_published_is_refused():
    with pytest.raises(ConfigError, match=r"no published study 'chang_2018'; they are .*did you mean 'chang_2017'"):
        list(reproduce("chang_2018"))


@pytest.mark.nightly
def test_published_studies_agree_where_they_should():
    assert {r.study for r in reproduce() if not r.agrees} == DISAGREE
