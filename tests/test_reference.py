"""Results of the shipped studies are those that are filed, to three decimals, and another result is found out."""

import csv

import pytest
from typer.testing import CliRunner

from simulator.commands import commissioning, reference_studies
from simulator.commands.cli import app
from simulator.commands.reference_studies import REFERENCE, differences
from simulator.study_file.shipped import examples, reference

BY_DAY = "sphere_truth"


def test_every_study_without_own_data_has_a_reference():
    studies = {name for name, _, needs in examples() if not needs} - {"shift_log", "invented_patient"}
    assert set(REFERENCE) == studies
    assert all(reference(name).is_file() for name in REFERENCE)


@pytest.mark.parametrize("name", [n if n == BY_DAY else pytest.param(n, marks=pytest.mark.nightly) for n in REFERENCE])
def test_a_shipped_study_gives_its_filed_results(name):
    for what, expected, found, allowed, _, _ in differences(name):
        assert abs(found - expected) <= allowed, what


def test_other_results_and_other_rows_are_found_out(tmp_path, monkeypatch):
    filed = reference(BY_DAY)
    rows = list(csv.reader(filed.read_text(encoding="utf-8").splitlines()))
    median = rows[0].index("median")
    monkeypatch.setattr(reference_studies, "write_reference", lambda _, path: write(path, rows))

    def write(path, table):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)

    def passed(table):
        write(tmp_path / "filed.csv", table)
        monkeypatch.setattr(reference_studies, "reference", lambda _: tmp_path / "filed.csv")
        return [abs(found) <= allowed for _, _, found, allowed, _, _ in differences(BY_DAY)]

    assert passed(rows) == [True, True, True]
    other = [row[:] for row in rows]
    other[1][median] = f"{float(other[1][median]) + 0.001:.6g}"
    assert passed(other) == [True, True, False]
    assert passed(rows[:-1]) == [False, False, False]


def test_the_command_compares_each_study(tmp_path, monkeypatch):
    made_up = {"Study made_up": lambda: iter([("probability", 0.0, 0.002, 0.0005, "", "filed")])}
    monkeypatch.setattr(reference_studies, "reference_groups", lambda quick: made_up)
    monkeypatch.setattr(commissioning, "_GROUPS", {"never": lambda: 1 / 0})
    done = CliRunner().invoke(app, ["validate", "--studies", "--out", str(tmp_path / "v")])
    assert done.exit_code == 1
    assert "0 of 1 checks passed" in done.stderr
    assert "Study made_up" in (tmp_path / "v" / "commissioning.html").read_text(encoding="utf-8")
