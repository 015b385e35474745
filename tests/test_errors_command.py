"""simulator errors: from a table of shifts to a block that a study takes, without a patient's name."""

import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from shift_tables import HEAD, rows_of, shifts, text
from test_messages import GOOD
from typer.testing import CliRunner

from simulator.commands import errors as command
from simulator.commands.cli import app
from simulator.commands.errors import errors_found, write_errors
from simulator.ground.spec import ConfigError, SimulatorError
from simulator.plots.records import record_of_shifts
from simulator.records import posterior as posterior_page
from simulator.records.estimates import chains_in_words
from simulator.records.estimates import rows_of as table_of
from simulator.study_file.schema import StudyConfig

DOCS = Path(__file__).parents[1] / "docs"
TURNS = (*HEAD, "pitch", "yaw", "roll")


@pytest.fixture(autouse=True)
def short_chains(monkeypatch):
    for name, value in (("_N_KEPT", 300), ("_WARM_UP", 100), ("_EVERY", (1,))):
        monkeypatch.setattr(posterior_page, name, value)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "shifts.csv"
    path.write_text(text(rows_of(shifts(3, 10, 4, mean=(0, 3, 0)), "Doe^Jane-{}")), encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["errors", *map(str, arguments)])


def with_block(found):
    """A study that has the block that the command writes."""
    study, block = yaml.safe_load(GOOD), yaml.safe_load(found.block)
    strategies = {**study["strategies"], **block.get("strategies", {})}
    return StudyConfig(**{**study, **block, "strategies": strategies})


def test_the_block_is_that_of_a_study(table):
    found = errors_found(table, "dicom")
    setup = with_block(found).uncertainty.setup
    errors = found.shifts.posterior.errors
    np.testing.assert_allclose(setup.systematic_mm, errors.systematic.value, atol=0.005)
    np.testing.assert_allclose(setup.random_mm, errors.random.value, atol=0.005)
    np.testing.assert_allclose(setup.mean_mm, errors.mean.value, atol=0.005)
    assert "From 10 patients, 40 images (4 each)" in found.block
    assert setup.systematic_deg == (0, 0, 0)


def test_what_was_measured_decides_where_it_goes(table):
    before, residual, during = (errors_found(table, "dicom", measured=m) for m in ("before", "residual", "during"))
    errors = before.shifts.posterior.errors
    total = np.hypot(errors.systematic.value, errors.random.value)
    np.testing.assert_allclose(with_block(residual).strategies.guidance[0].match_mm, total, atol=0.005)
    baseline = with_block(during).uncertainty.baseline
    np.testing.assert_allclose(baseline.after_imaging_systematic_mm, errors.systematic.value, atol=0.005)
    np.testing.assert_allclose(baseline.after_imaging_sd_mm, errors.random.value, atol=0.005)
    np.testing.assert_allclose(baseline.after_imaging_mean_mm, errors.mean.value, atol=0.005)


def test_units_conventions_and_corrections_change_signs_and_nothing_else(table, tmp_path):
    here = errors_found(table, "dicom").shifts.posterior.errors
    iec = errors_found(table, "iec61217").shifts
    moved = errors_found(table, "dicom", corrections=True).shifts
    cm = tmp_path / "cm.csv"
    rows = [(*row[:2], *(f"{float(v) / 10:.3f}" for v in row[2:])) for row in rows_of(shifts(3, 10, 4, mean=(0, 3, 0)))]
    cm.write_text(text(rows, ("patient", "fraction", "LR", "AP", "SI")), encoding="utf-8")
    np.testing.assert_allclose(errors_found(cm, "dicom", unit="cm").shifts.posterior.errors.mean.value, here.mean.value)
    for other, signs in ((iec, (1, -1, 1)), (moved, (-1, -1, -1))):
        np.testing.assert_allclose(other.posterior.errors.mean.value, signs * here.mean.value, atol=0.2)
        np.testing.assert_allclose(other.posterior.errors.systematic.value, here.systematic.value, rtol=0.1)
        np.testing.assert_allclose(other.posterior.errors.random.value, here.random.value, rtol=0.05)


def test_rotations_are_estimated_beside_shifts(tmp_path):
    rows = [(*row, *row[2:]) for row in rows_of(shifts(3, 8, 4))]
    path = tmp_path / "shifts.csv"
    path.write_text(text(rows, TURNS), encoding="utf-8")
    found = errors_found(path, "dicom")
    setup = with_block(found).uncertainty.setup
    assert setup.systematic_deg == setup.systematic_mm
    assert [row[:2] for row in table_of(found)[1]][9] == ("M, °", "LR")
    path.write_text(text([*rows[:20], *((*row[:5], "", "", "") for row in rows[20:])], TURNS), encoding="utf-8")
    assert "rotations stand in 20 of 32 images" in errors_found(path, "dicom").notes


def test_the_draws_are_those_of_the_table(table, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "render_errors", lambda found, path: path.touch())
    found = errors_found(table, "dicom")
    write_errors(found, tmp_path / "out")
    with xr.open_dataset(tmp_path / "out" / "posterior.nc", engine="h5netcdf") as draws:
        assert dict(draws.sizes) == {"draw": 1200, "clinic": 1, "axis": 3, "other_axis": 3}
        low, median = draws["systematic_mm"].quantile([0.025, 0.5], "draw").values
        covariance = draws["systematic_covariance_mm2"].values
        np.testing.assert_array_equal(draws["systematic_mm"], np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)))
        assert (draws["patient_variance_shape_mm"] > 1).all()
        assert draws.attrs["patients"] == 10
    np.testing.assert_allclose(median, found.shifts.posterior.errors.systematic.value)
    np.testing.assert_allclose(low, found.shifts.posterior.errors.systematic.low)


def test_the_command_says_all_and_names_no_patient(table, tmp_path):
    done = run(table, "--convention", "iec61217", "--out", tmp_path / "out")
    assert done.exit_code == 0
    for words in (
        "IEC 61217: plus is to the patient's left, anterior, superior",
        "Self-test: a patient who lies 3 mm",
        "Errors of 10 patients, 40 images",
        "R-hat at most",
        "  setup:\n    systematic_mm: [",
    ):
        assert words in done.stdout
    written = [path for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert {path.name for path in written} >= {
        "errors.html", "errors.yaml", "errors.csv", "errors.svg", "posterior.nc",
    }  # fmt: skip
    assert not any(b"Doe" in path.read_bytes() for path in written)
    assert "Doe" not in done.output
    assert (tmp_path / "out" / "errors.yaml").read_text(encoding="utf-8") in done.stdout


@pytest.mark.parametrize(
    ("r_hat", "n_effective", "settled"), [(1.001, 400, True), (1.02, 4000, False), (1.0, 399, False)]
)
def test_chains_that_have_not_settled_are_told(r_hat, n_effective, settled, table):
    found = errors_found(table, "dicom")
    judged = replace(found.shifts.posterior, r_hat=r_hat, n_effective=n_effective)
    words = chains_in_words(replace(found, shifts=replace(found.shifts, posterior=judged)))
    assert f"R-hat at most {r_hat:.3f}, {n_effective} effective draws or more" in words
    assert ("do not use these intervals" in words) != settled


def test_several_clinics_share_a_spread(tmp_path):
    rows = [(*row, "A" if int(row[0][3:]) < 6 else "B") for row in rows_of(shifts(3, 10, 4))]
    path = tmp_path / "shifts.csv"
    path.write_text(text(rows, (*HEAD, "clinic")), encoding="utf-8")
    found = errors_found(path, "dicom")
    assert [row[0] for row in table_of(found)[1]][:9:3] == ["M, clinic 1, mm", "M, clinic 2, mm", "Σ, mm"]
    assert "of clinic 1, the first of the table" in found.block


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convention": None}, "--convention: which way is plus? say iec61217 or dicom"),
        ({"convention": "varian"}, "--convention: 'varian' is none? say iec61217 or dicom"),
        ({"measured": "after"}, "--measured: 'after' is none? say before or residual or during"),
        ({"unit": "inch"}, "--unit: 'inch' is none? say mm or cm"),
    ],
)
def test_settings_that_are_none(options, message, table):
    with pytest.raises(ConfigError) as refused:
        errors_found(table, **{"convention": "dicom", **options})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y * (1, 1, 0), "shifts.csv: SI does not vary within any patient: an axis that was not measured"),
        (lambda y: y[:, :1] + 0 * y, "shifts.csv: LR and AP and SI do not vary within any patient"),
        (lambda y: 0 * y[:, :1], "LR and AP and SI do not vary at all"),
        (lambda y: y[..., [0, 0, 2]], "shifts.csv: one axis follows from the others, as if a column were copied"),
    ],
)
def test_shifts_without_a_spread_are_refused(change, message, tmp_path):
    path = tmp_path / "shifts.csv"
    path.write_text(text(rows_of(change(shifts(3, 10, 4)))), encoding="utf-8")
    with pytest.raises(SimulatorError) as refused:
        errors_found(path, "dicom")
    assert message in str(refused.value)


def test_axes_that_go_together_are_told(tmp_path):
    values = shifts(3, 20, 4)
    values[..., 2] += 3 * values.mean(axis=1, keepdims=True)[..., 1]
    path = tmp_path / "shifts.csv"
    path.write_text(text(rows_of(values)), encoding="utf-8")
    notes = errors_found(path, "dicom").notes
    assert [note[:27] for note in notes] == ["Σ of AP and SI go together:"]


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(SimulatorError, match="no spatial registration"):
        errors_found(tmp_path, "dicom")
    with pytest.raises(SimulatorError, match=r"none\.csv: cannot be read \(No such file or directory\)"):
        errors_found(tmp_path / "none.csv", "dicom")


def test_the_figure_shows_every_image_and_both_estimates(table):
    found = errors_found(table, "dicom")
    figure = record_of_shifts(found.record, found.shifts.classical, found.shifts.posterior)
    top, below = figure.axes[1], figure.axes[4]
    np.testing.assert_array_equal(top.lines[0].get_ydata(), found.record.shift_mm[:, 1])
    assert [line.get_xdata()[0] for line in below.lines] == [
        found.shifts.classical.systematic.value[1],
        found.shifts.classical.random.value[1],
    ]
    assert top.get_title("left") == "AP"
    assert top.get_ylabel() == "anterior (-) to posterior (+), mm"


def test_the_page_shows_what_the_command_says():
    """The invented clinic is that of its script, and the page's numbers are those of the command up to the chains' length."""
    log = runpy.run_path(str(DOCS / "make_shift_log.py"))
    assert (DOCS.parent / "configs" / "shift_log.csv").read_text(encoding="utf-8") == log["shift_log"]()
    page = (DOCS / "how-to" / "errors.md").read_text(encoding="utf-8")
    found = errors_found(DOCS.parent / "configs" / "shift_log.csv", "iec61217")
    answer = page.split("<!-- answer: begin -->")[1].split("<!-- answer: end -->")[0].strip().splitlines()[2:]
    for line, row in zip(answer, table_of(found)[1], strict=True):
        shown = [cell.strip() for cell in line.strip("|").split("|")]
        assert shown[:3] == [row[0].removesuffix(", mm"), *row[1:3]]
        numbers, own = (np.array(re.findall(r"-?[0-9.]+", " ".join(cells[3:])), float) for cells in (shown, row))
        np.testing.assert_allclose(numbers, own, atol=0.4)
        np.testing.assert_allclose(numbers[::3], own[::3], atol=0.12)
    flat = " ".join(page.split())
    for words in (*found.convention.self_test(), *(f"note: {note}" for note in found.notes)):
        assert words in flat
    block = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1]
    assert re.sub(r"-?[0-9]+\.[0-9]+", "", block.strip()) in re.sub(r"-?[0-9]+\.[0-9]+", "", found.block)
    for interval, truth in zip(
        (
            found.shifts.posterior.errors.mean,
            found.shifts.posterior.errors.systematic,
            found.shifts.posterior.errors.random,
        ),
        (log["MEAN_MM"], log["SYSTEMATIC_MM"], log["RANDOM_MM"]),
        strict=True,
    ):
        assert np.all((interval.low < truth) | np.isclose(interval.low, truth, atol=0.1))
        assert np.all(truth < interval.high)
