"""The page of simulator errors: the numbers of the command, what is odd, figures of each axis and patient, and no request."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from browser import opened
from shift_tables import HEAD, rows_of, shifts, text
from test_report import Page

from simulator.commands.errors import errors_found
from simulator.plots.records import errors_along_axis, intervals_of_errors, patients_by_fraction
from simulator.records import posterior as posterior_page
from simulator.records.estimates import rows_of as table_of
from simulator.report import errors as errors_page
from simulator.report import render_errors

VALUES = shifts(3, 14, 4, mean=(0, 3, 0))
VALUES[2, 1, 2] += 60


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "Doe^Jane.csv"
    rows = [(*row, *(f"{float(v) / 3:.2f}" for v in row[2:])) for row in rows_of(VALUES, "Doe^Jane-{}")]
    path.write_text(text(rows, (*HEAD, "pitch", "yaw", "roll")), encoding="utf-8")
    with pytest.MonkeyPatch.context() as short:
        for name, value in (("_N_KEPT", 200), ("_WARM_UP", 100), ("_EVERY", (1,))):
            short.setattr(posterior_page, name, value)
        return errors_found(path, "dicom")


@pytest.fixture(scope="module")
def path(found, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "errors.html"
    render_errors(found, path)
    return path


@pytest.fixture(scope="module")
def page(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(errors_page, "svg_uri", lambda figure: "data:,")


def test_the_table_is_that_of_the_command(found, page):
    head, *rows = Page(page).tables["errors-table"]
    columns, expected = table_of(found)
    assert [cell.strip() for cell in head] == list(columns)
    assert [[cell.strip() for cell in row[1:]] for row in rows] == [list(row[1:]) for row in expected]
    assert [row[0].strip() for row in rows][::3] == [row[0] for row in expected][::3]
    assert len(rows) == 18, "shifts and rotations"


def test_block_notes_and_uses_stand_there(found, page):
    assert unescape(re.search(r'<pre id="block">(.*?)</pre>', page, re.S)[1]) == found.block
    for words in (
        "line 11: patient 3, fraction 2: SI is",
        "Self-test: a patient who lies 3 mm",
        "<code>setup.systematic_mm</code>: SD of patient means",
        "14 patients, 56 images (4 each), measured before any correction",
        "R-hat at most",
    ):
        assert words in page
    answer = " / ".join(f"{v:.1f}" for v in found.shifts.posterior.errors.systematic.value)
    assert f"Shifts: Σ = {answer} mm" in page


@pytest.mark.parametrize(("measured", "key"), [("residual", "match_mm"), ("during", "baseline.after_imaging_sd_mm")])
def test_uses_follow_what_was_measured(measured, key, found, tmp_path, no_figures):
    render_errors(replace(found, measured=measured, turns=None), tmp_path / "errors.html")
    page = (tmp_path / "errors.html").read_text(encoding="utf-8")
    assert key in page
    assert "setup.systematic_mm" not in page


def test_chains_that_have_not_settled_are_told_at_the_top(found, tmp_path, no_figures):
    said = "The chains have not settled: do not use the intervals"
    for r_hat, told in ((1.02, True), (1.0, False)):
        judged = replace(found.shifts.posterior, r_hat=r_hat, n_effective=500.0)
        one = replace(found, turns=None, shifts=replace(found.shifts, posterior=judged))
        render_errors(one, tmp_path / "errors.html")
        assert (said in (tmp_path / "errors.html").read_text(encoding="utf-8")) == told


def test_the_page_names_no_patient_and_refers_to_nothing(page):
    assert "Doe" not in page
    assert all(address.startswith(("#", "data:")) for address in Page(page).addresses)
    assert "<script" not in page


@pytest.mark.parametrize("width", [1280, 400])
def test_it_opens_offline_and_fits(width, path):
    with opened(path, width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        images = page.evaluate("Array.from(document.images, i => i.complete && i.naturalWidth > 0)")
        assert images == [True] * (2 + 6 + 2)


def test_figures_show_what_the_record_holds(found):
    left, right = errors_along_axis(found.shifts, 2).axes
    np.testing.assert_array_equal(left.lines[0].get_ydata(), found.record.shift_mm[:, 2])
    assert right.lines[0].get_xdata()[0] == found.shifts.classical.systematic.value[2]
    assert errors_along_axis(found.turns, 0).axes[1].get_xlabel() == "one SD, °"
    of_patient = patients_by_fraction(found.record, [4, 2]).axes[1]
    assert of_patient.get_title("left") == "patient 3"
    np.testing.assert_array_equal(of_patient.lines[2].get_ydata(), found.record.shift_mm[8:12, 2])
    assert of_patient.get_ylim()[1] < 60, "a slip does not set the scale"
    dots = [line for line in intervals_of_errors(found.shifts).axes[1].lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(dots[1].get_xdata(), found.shifts.posterior.errors.systematic.value)


def test_of_very_many_patients_those_furthest_from_the_mean_are_drawn(found, tmp_path, no_figures):
    record = found.record
    n = 60
    far = np.where(np.arange(n) == 57, 9.0, 0.1)
    many = replace(
        record,
        patient=np.repeat(np.arange(n), 2),
        fraction=np.tile([1, 2], n),
        shift_mm=found.shifts.posterior.errors.mean.value + np.repeat(far, 2)[:, None] * np.ones(3),
        line=np.arange(2 * n),
    )
    render_errors(replace(found, record=many, turns=None), tmp_path / "errors.html")
    page = (tmp_path / "errors.html").read_text(encoding="utf-8")
    assert "48 of 60 patients: those furthest from M." in page
    assert page.count("Shifts of each patient") == 2 * 4
