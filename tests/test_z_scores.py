"""z scores of sampled rows of the commissioning suite, their sum, and what no row covers."""

import csv

import pytest
from typer.testing import CliRunner

from simulator.commands import commissioning
from simulator.commands.cli import app
from simulator.commands.commissioning import Sampled, checks, z_sum
from simulator.commands.layers import covered, uncovered
from simulator.commands.z_scores import ZSum


def rows(*z, shares=False):
    return [Sampled(f"row {i}", 10.0, 10.0 + 0.5 * one, 0.5, "mm", "made up", shares) for i, one in enumerate(z)]


def test_a_row_off_by_five_standard_errors_is_flagged():
    low, right, high = checks({"g": lambda: iter(rows(-5, 3.9, 5))})
    assert (low.z, right.z, high.z) == pytest.approx((-5, 3.9, 5))
    assert (low.passed, right.passed, high.passed) == (False, True, False)
    probability = commissioning._probability("P", 0.9, 0.9 + 5 * (0.09 / 2000) ** 0.5, "made up").check("g")
    assert probability.z == pytest.approx(5)
    assert not probability.passed


def test_the_sum_is_of_rows_with_own_courses_alone():
    closed = ("closed form", 1.0, 1.4, 0.5, "Gy", "made up")
    total, left_out = z_sum(list(checks({"g": lambda: iter([closed, *rows(1, 2, -1, 2), *rows(3, shares=True)])})))
    assert (total.n, left_out) == (4, 1)
    assert total.total == pytest.approx(2.0)  # (1 + 2 - 1 + 2) / sqrt(4)
    assert total.chi2 == pytest.approx(10.0)
    assert total.p == pytest.approx(0.0404277, abs=1e-7)  # exp(-5) * (1 + 5)
    assert total.passed
    assert "z_total = sum of z / sqrt(4) = +2.00" in total.line(left_out)
    assert "1 more rows share courses" in total.line(left_out)


@pytest.mark.parametrize("z", [[1.5] * 9, [3.5, -3.5] * 3, [float("nan"), 0.0]])
def test_rows_that_pass_one_by_one_may_fail_together(z):
    assert not ZSum.of(z).passed


def test_no_sampled_row_is_no_failure():
    assert ZSum.of([]).passed
    assert "no sampled row" in ZSum.of([]).line(0)


def test_what_no_row_covers_is_said():
    guidance = covered("Known errors", "place of the bone")
    assert guidance == "guidance"
    assert covered("Sampled errors", "variance of Lujan breathing") == "breathing"
    assert covered("Sampled errors", "variance of the mean of fractions 4 to 8 after NAL") == "sampling, guidance"
    for name in ("P(Dmin >= 95 %)", "mean D98%", "margin that 90 % of patients need"):
        assert "accumulation" in covered("Population of courses", name)
    said = uncovered([guidance])
    assert "DICOM round trip" in said
    assert "; guidance;" in uncovered([])
    assert "; guidance;" not in said
    assert "not whether they are right" in uncovered([covered("Study sphere_truth", "median")])


def test_command_table_and_page_have_z_and_sum(tmp_path, monkeypatch):
    biased = [*rows(1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5), *rows(0.25, shares=True)]
    monkeypatch.setattr(commissioning, "_GROUPS", {"Sampled errors": lambda: iter(biased)})
    done = CliRunner().invoke(app, ["validate", "--out", str(tmp_path / "v")])
    assert "10 of 10 checks passed" in done.stderr
    assert "z_total = sum of z / sqrt(9) = +4.50" in " ".join(done.stderr.split())
    assert "No row covers: " in done.stderr
    assert done.exit_code == 1
    page = (tmp_path / "v" / "commissioning.html").read_text(encoding="utf-8")
    assert (page.count(">+1.50<"), page.count(">+0.25*<")) == (9, 1)
    assert "FAIL: 9 sampled rows" in page
    with (tmp_path / "v" / "commissioning.csv").open(encoding="utf-8") as file:
        assert [float(row["z"]) for row in csv.DictReader(file)] == [1.5] * 9 + [0.25]
