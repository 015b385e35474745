"""The commissioning suite passes, and would not if the simulator were wrong."""

import csv
import re

import pytest

from simulator.commands import commissioning
from simulator.commands.commissioning import Check, commission

# By day test_study.py, test_plan_dose.py, test_conformal_arc.py, test_near_maximum.py and test_knowledge.py compare the same.
BY_NIGHT = ("Reproducibility", "Planned dose", "Synthesised plan", "Near-maximum doses of organs", "Known errors")


def test_a_check_passes_only_within_what_is_allowed():
    assert Check("g", "n", 10.0, 10.2, 0.2001, "mm", "s").passed
    assert not Check("g", "n", 10.0, 10.21, 0.2, "mm", "s").passed
    assert not Check("g", "n", 10.0, float("nan"), 0.2, "mm", "s").passed


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(g, marks=pytest.mark.nightly) if g in BY_NIGHT else g
        for g in commissioning._GROUPS
        if g != "Population of courses"
    ],
)
def test_every_check_passes(group):
    done = list(commissioning.checks({group: commissioning._GROUPS[group]}))
    assert done
    for check in done:
        assert check.passed, check.name
        assert check.covers, check.name


def test_the_page_and_the_table_say_what_passed(tmp_path, monkeypatch):
    fail = "too high", 1.0, 2.0, 0.5, "Gy", "made up"
    pass_ = "right", 1.0, 1.0, 0.5, "Gy", "made up"
    monkeypatch.setattr(commissioning, "_GROUPS", {"Made up": lambda: iter([fail, pass_])})
    said: list[str] = []
    done = commission(tmp_path, said.append)
    assert ([c.passed for c in done], said) == ([False, True], ["made up"])
    page = (tmp_path / "commissioning.html").read_text(encoding="utf-8")
    assert "1 of 2 checks passed" in page
    assert page.count("<caption>") == page.count("<table") == 1
    assert all(f'id="{place}"' in page for place in re.findall(r'href="#([\w-]+)"', page))
    assert page.count("<th ") == page.count("<th scope=")
    assert (page.count(">FAIL<"), page.count(">pass<")) == (1, 1)
    with (tmp_path / "commissioning.csv").open(encoding="utf-8") as file:
        assert [row["passed"] for row in csv.DictReader(file)] == ["False", "True"]


def test_the_quick_suite_leaves_out_what_takes_long(tmp_path, monkeypatch):
    monkeypatch.setattr(commissioning, "_GROUPS", {"slow": commissioning._population, "fast": lambda: iter([])})
    said: list[str] = []
    assert commission(tmp_path, said.append, quick=True) == []
    assert "slow" not in said
