"""A clinic's table of shifts: read right in every spelling, refused by line and column, and what is odd in it is said."""

import re
from datetime import date, timedelta

import numpy as np
import pytest
from shift_tables import HEAD, rows_of, shifts, text

from simulator.ground.spec import SimulatorError
from simulator.records.axes import CONVENTIONS
from simulator.records.findings import findings, first_images
from simulator.records.table import read_shifts

DICOM, IEC = CONVENTIONS["dicom"], CONVENTIONS["iec61217"]
TURNS = ("pitch", "yaw", "roll")
VALUES = np.round(shifts(patients=8), 2)
ROWS = rows_of(VALUES)
COMMA = [tuple(cell.replace(".", ",") for cell in row) for row in ROWS]
CM = [(*row[:2], *(f"{float(v) / 10:.3f}" for v in row[2:])) for row in ROWS]


def read(tmp_path, content, convention=DICOM, **options):
    (tmp_path / "shifts.csv").write_text(content, encoding="utf-8")
    return read_shifts(tmp_path / "shifts.csv", convention, **options)


def said(record, corrections=False):
    return "\n".join(findings(first_images(record), corrections=corrections))


def wide(values, name):
    n = values.shape[1]
    head = ("patient", *(name.format(axis=axis, f=f + 1) for f in range(n) for axis in ("LR", "AP", "SI")))
    return text([(f"pt-{p}", *(f"{v:.2f}" for v in of.ravel())) for p, of in enumerate(values)], head, ";")


@pytest.mark.parametrize(
    "content",
    [
        text(ROWS),
        text(ROWS).replace("\n", "\r\n"),
        text(ROWS, separator=";"),
        text(ROWS, separator="\t"),
        text(COMMA, separator=";"),
        text(COMMA, separator="\t"),
        text([tuple(f'"{cell}"' for cell in row) for row in COMMA]),
        text(CM, ("patient", "fraction", "LR [cm]", "AP [cm]", "SI [cm]")),
        text(ROWS, ("Patient ID", "Fx", "Lateral_mm", "Vertical mm", "Longitudinal (mm)")),
        text(ROWS, ("Pat-Nr.", "Session", "Couch Lat (mm)", "Couch Vrt (mm)", "Couch Lng (mm)")),
        text(ROWS, ("ID", "fraction", "Δx mm", "Δy mm", "Δz mm")),
        "Export of 2024\nsep=;\n" + text(ROWS, separator=";") + ";;;;\n",
        text([(p, f, "note", lr, ap, si) for p, f, lr, ap, si in ROWS], (*HEAD[:2], "remark", *HEAD[2:])),
        text([(si, ap, lr, f, p) for p, f, lr, ap, si in ROWS], HEAD[::-1]),
        text([tuple(cell.replace("-", "\u2212") for cell in row) for row in ROWS]),
        wide(VALUES, "{axis}{f} (mm)"),
        wide(VALUES, "Fx{f} {axis} mm"),
        wide(VALUES, "shift {axis}_fraction_{f}_mm"),
    ],
)
def test_the_same_shifts_in_many_spellings(content, tmp_path):
    record = read(tmp_path, content)
    np.testing.assert_allclose(record.shift_mm, VALUES.reshape(-1, 3), atol=1e-9)
    np.testing.assert_array_equal(record.patient, np.repeat(np.arange(8), 3))
    np.testing.assert_array_equal(record.fraction, np.tile([1, 2, 3], 8))


def test_iec_axes_and_signs(tmp_path):
    """IEC 61217, head first supine: x to the left, y superior, z anterior; DICOM: y posterior, z superior."""
    table = text(
        [("a", "1", "3", "1", "2"), ("b", "1", "0", "0", "0")], ("patient", "fraction", "x mm", "y mm", "z mm")
    )
    np.testing.assert_array_equal(read(tmp_path, table, IEC).shift_mm[0], (3, -2, 1))
    np.testing.assert_array_equal(read(tmp_path, table, DICOM).shift_mm[0], (3, 1, 2))
    named = text([("a", "1", "3", "2", "1"), ("b", "1", "0", "0", "0")])
    np.testing.assert_array_equal(read(tmp_path, named, IEC).shift_mm[0], (3, -2, 1))
    np.testing.assert_array_equal(read(tmp_path, named, IEC, corrections=True).shift_mm[0], (-3, 2, -1))
    head, test = IEC.self_test()
    assert "left, anterior, superior (x = LR, y = SI, z = AP)" in head
    assert "LR +3, AP +2, SI +1" in test
    assert "LR +3, AP -2, SI +1" in test
    assert "LR +3, AP -2, SI +1, and in a study" in DICOM.self_test()[1]


def test_rotations_turn_with_the_axes(tmp_path):
    """A turn about IEC's z (up) is the opposite turn about DICOM's y (down): the change of axes is itself a rotation."""
    head = ("patient", "x mm", "y mm", "z mm", "pitch", "roll", "rtn")
    record = read(tmp_path, text([("a", *"123456"), ("b", *"111", "", "", "")], head), IEC)
    np.testing.assert_array_equal(record.rotation_deg[0], (4, -6, 5))
    assert np.isnan(record.rotation_deg[1]).all()
    change = np.array([IEC.to_dicom(np.eye(3)[axis]) for axis in (0, 2, 1)])  # images of IEC's x, y, z
    assert np.linalg.det(change) == pytest.approx(1)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            text(ROWS, ("patient", "fraction", "LR", "AP", "SI")),
            {},
            ":1: mm or cm? column 3 does not say it; add --unit mm or",
        ),
        (text(ROWS), {"unit": "cm"}, ":1: column 3 says mm; leave out --unit cm"),
        (
            text(ROWS, (*HEAD[:4], "SI (cm)")),
            {},
            ":1: column 3 says mm, column 5 cm: axes in different units; write all",
        ),
        (text(ROWS, (*HEAD[:4], "remark")), {}, ":1: no column for SI; name columns patient, fraction, LR, AP, SI"),
        (text(ROWS, (*HEAD[:4], "AP (mm)")), {}, ":1: two columns for AP of the same fraction (column 5)"),
        (text(ROWS, ("who", *HEAD[1:])), {}, ": no row names a patient and the axes; name columns"),
        (text(COMMA), {}, ":2: 8 values under 5 column names (from column 6 on, 3 too many); separate columns by ;"),
        (text([*ROWS[:3], ("Doe^Jane", "1", "x", "0", "0")]), {}, ":5: LR (column 3) is no number; correct that line"),
        (text([*ROWS[:3], ("Doe^Jane", "one", "0", "0", "0")]), {}, ":5: the fraction (column 2) is no whole number"),
        (
            text([*ROWS[:3], ("", "1", "0", "0", "0")]),
            {},
            ":5: no patient (column 1); repeat the patient's code in each",
        ),
        (
            text([*ROWS[:3], ("Doe", "1", "0,5", "0", "0")], separator=";"),
            {},
            ":5: LR (column 3): decimal points and decimal",
        ),
        (
            text([*ROWS[:3], ("Doe", "1", "9999", "0", "0")]),
            {},
            ":5: LR (column 3) is a shift of more than 2000 mm; correct it, or the unit (mm)",
        ),
        (text(ROWS[:3]), {}, ": one patient; a spread between patients needs 2 or more"),
        (text([]), {}, ": no image 'before' has shifts"),
        ("PK\x03\x04", {}, ": a workbook, and a table of text is wanted; save the sheet as CSV (UTF-8)"),
        (
            text([(*row, "Doe") for row in ROWS], (*HEAD, "when")),
            {},
            ":2: column 6 does not say when the image was made",
        ),
        (wide(VALUES, "{axis}{f} (mm)").replace("LR1", "LR"), {}, ":1: no column for AP and SI; name"),
        (
            text([*ROWS[:3], ("Doe", "1", "0", "0")]),
            {},
            ":5: 4 values under 5 column names (from column 5 on, 1 too few); separate",
        ),
        (
            text(ROWS, (*HEAD[:3], "AP", "SI (mm)")),
            {},
            ":1: column 3 says mm, column 4 none: axes in different units; write all",
        ),
        (
            text([(*row, "0", "0", angle) for row, angle in zip(ROWS, ["359"] * 24, strict=True)], (*HEAD, *TURNS)),
            {},
            ":2: rotation about SI (column 8) is more than 90 degrees; correct it, or write angles about 0",
        ),
        (
            text([(*row, "0", "Doe", "0") for row in ROWS], (*HEAD, *TURNS)),
            {},
            ":2: rotation about AP (column 7) is no number; correct that line",
        ),
        (text([*ROWS[:3], ("Doe", "-2", "0", "0", "0")]), {}, ":5: the fraction (column 2) is no whole number"),
        (text([*ROWS[:3], ("Doe", "1.5", "0", "0", "0")]), {}, ":5: the fraction (column 2) is no whole number"),
        (
            wide(VALUES, "{axis}{f} (mm)").replace("LR2", "LR1"),
            {},
            ":1: two columns for LR of the same fraction (column 5); leave one of them",
        ),
    ],
)
def test_wrong_tables_are_refused_by_place_and_name_no_patient(content, options, message, tmp_path):
    with pytest.raises(SimulatorError) as refused:
        read(tmp_path, content, **options)
    assert f"shifts.csv{message}" in str(refused.value)
    assert "Doe" not in str(refused.value)
    assert "pt-" not in str(refused.value)


def test_clinics_may_number_their_patients_alike(tmp_path):
    rows = [(*row, clinic) for clinic in "AB" for row in ROWS]
    record = read(tmp_path, text(rows, (*HEAD, "clinic")))
    assert record.n_patients == 16
    np.testing.assert_array_equal(np.bincount(record.patient), 3)
    np.testing.assert_array_equal(record.clinic, np.repeat([0, 1], 24))


def test_a_record_names_no_patient(tmp_path):
    record = read(tmp_path, text(rows_of(shifts(), "Doe^Jane-{}")))
    assert "Doe" not in repr(record)
    np.testing.assert_array_equal(np.unique(record.patient), np.arange(6))


def test_images_of_other_times_are_set_aside_and_counted(tmp_path):
    rows = [(*row, when) for row in ROWS for when in ("pre-treatment", "post")]
    content = text(rows, (*HEAD, "image"))
    assert len(read(tmp_path, content).line) == len(ROWS)
    record = read(tmp_path, content, measured="residual")
    assert record.line[0] == 3
    assert f"{len(ROWS)} images of other times than 'residual' set aside" in said(record)


def test_gaps_are_listed(tmp_path):
    rows = [row for row in ROWS if row[:2] != ("pt-3", "2")]
    rows[0] = (*rows[0][:3], "", rows[0][4])
    record = read(tmp_path, text(rows))
    assert len(record.line) == len(ROWS) - 2
    words = said(record)
    assert "line 2: fraction 1 has no value for AP; the image is left out" in words
    assert "patient 3: no image of fraction 2" in words
    blank = wide(VALUES, "{axis}{f} (mm)").replace(";".join(f"{v:.2f}" for v in VALUES[2, 1]), ";;")
    assert "blank fractions: 1, of" in said(read(tmp_path, blank))
    assert "patient 3: no image of fraction 2" in said(read(tmp_path, blank))


def test_repeated_images_are_listed_and_not_used(tmp_path):
    again = [(*row[:2], *(f"{float(v) / 10:.2f}" for v in row[2:])) for row in ROWS[:4]]
    record = first_images(read(tmp_path, text([*ROWS, *again])))
    np.testing.assert_allclose(record.shift_mm, VALUES.reshape(-1, 3))
    words = said(record)
    assert "images that repeat a fraction are not used (lines 26, 27, 28, 29): RMS 0.2 mm against" in words
    assert "of the first ones, like residuals after correction or intrafraction motion" in words


def test_too_few_are_told(tmp_path):
    few = said(read(tmp_path, text(ROWS[:9])))
    assert "3 patients: Σ is known poorly" in few
    assert "one image for each patient" not in few
    assert "one image for each patient: Σ and σ cannot be told apart" in said(read(tmp_path, text(ROWS[::3])))


def test_outliers_and_quiet_patients_are_listed_and_kept(tmp_path):
    values = VALUES.copy()
    values[1, 2, 2] += 40
    values[4] = 0.05
    record = read(tmp_path, text(rows_of(values)))
    assert len(record.line) == len(ROWS)
    words = said(record)
    assert "line 7: patient 2, fraction 3: SI is +" in words
    assert "patient 5: RMS 0.1 mm against" in words
    assert said(read(tmp_path, text(ROWS))) == ""


def test_couch_corrections_are_recognised(tmp_path):
    content = text(ROWS, (*HEAD[:2], "Couch Lat (mm)", "Couch Vrt (mm)", "Couch Lng (mm)"))
    assert read(tmp_path, content).correcting
    assert not read(tmp_path, text(ROWS)).correcting
    assert "if these are couch movements, add --corrections" in said(read(tmp_path, content))
    assert "--corrections" not in said(read(tmp_path, content, corrections=True), corrections=True)
    level = np.where(np.abs(VALUES).max(axis=2, keepdims=True) > 3, VALUES, 0.0)
    assert "images show exactly no shift: these look like couch corrections" in said(
        read(tmp_path, text(rows_of(level)))
    )
    with pytest.raises(
        SimulatorError, match=r"shifts of 9\d\d mm are usual: these look like couch positions, not errors"
    ):
        read(tmp_path, text(rows_of(VALUES + np.array([0, 150, 900]))))
    assert "are they in cm?" in said(read(tmp_path, text(CM)))


@pytest.mark.parametrize("form", ["{:%Y-%m-%d}", "{:%d.%m.%Y}", "{:%Y%m%d}", "{:%d/%m/%Y 09:30}"])
def test_a_trend_over_months_is_said(form, tmp_path):
    values = 0.3 * shifts(patients=12)
    values[:, :, 2] += 0.5 * np.arange(12)[:, None]
    dates = [form.format(date(2024, 1, 1) + timedelta(30.44 * (int(row[0][3:]) - 1))) for row in rows_of(values)]
    rows = [(*row, day) for row, day in zip(rows_of(values), dates, strict=True)]
    words = said(read(tmp_path, text(rows, (*HEAD, "date"))))
    slope = re.search(r"SI of patients drifts by (\S+) mm per month", words)
    assert float(slope[1]) == pytest.approx(0.5, abs=0.1)
    assert "LR of patients drifts" not in words
    assert "2024" not in words
