"""A folder of spatial registrations: shifts and turns about the isocentre, whichever way a matrix goes, without a name."""

import numpy as np
import pytest
from registration_factory import (
    DEFORMABLE,
    ISOCENTRE,
    PLAN,
    ROOT,
    STRUCTURES,
    item,
    plan,
    pose,
    registration,
    save,
    write_clinic,
)
from shift_tables import rows_of, shifts, text
from typer.testing import CliRunner

from simulator.case.dicom_registrations import read_registrations
from simulator.commands import errors as command
from simulator.commands.cli import app
from simulator.commands.errors import errors_found
from simulator.ground.spec import SimulatorError
from simulator.records import posterior as posterior_page
from simulator.records.findings import findings, first_images
from simulator.report import errors as errors_page

FRAME, IMAGE = f"{ROOT}.1.0", f"{ROOT}.2.0.0"
DIRECTIONS = ("image to plan", "plan to image", "image alone", "plan alone", "both to a third")


@pytest.fixture(autouse=True)
def short_chains(monkeypatch):
    for name, value in (("_N_KEPT", 200), ("_WARM_UP", 50), ("_EVERY", (1,))):
        monkeypatch.setattr(posterior_page, name, value)


def recorded(folder, isocentre_mm=None, image_isocentre_mm=None):
    return command._registered(folder, isocentre_mm, image_isocentre_mm)


def refused(folder, *options) -> str:
    with pytest.raises(SimulatorError) as raised:
        recorded(folder, *options)
    words = str(raised.value).removeprefix(str(folder))
    assert not any(name in words for name in ("Doe", "ID-", "reg_", ".dcm"))
    return words


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_shift_is_where_the_patient_was_whichever_way_the_matrix_goes(direction, tmp_path):
    """3 mm to the left, 2 mm anterior and 1 mm superior of the plan, turned by 1, -2 and 3 degrees about the isocentre."""
    truth, turn = np.array([[[3.0, -2, 1]], [[-4, 0.5, 2]]]), np.array([[[1.0, -2, 3]], [[0, 0, -1.5]]])
    record = recorded(write_clinic(tmp_path, truth, turn, direction=direction))
    np.testing.assert_allclose(record.shift_mm, truth[:, 0], atol=1e-5)
    np.testing.assert_allclose(record.rotation_deg, turn[:, 0], atol=1e-6)
    np.testing.assert_array_equal(record.line, [2, 4])


def test_the_shift_is_that_of_the_isocentre_and_not_of_the_origin(tmp_path):
    """A turn of 2 degrees about the isocentre moves the origin 140 mm away by 4.9 mm, and the isocentre by nothing."""
    record = recorded(write_clinic(tmp_path, np.zeros((2, 1, 3)), np.full((2, 1, 3), (2.0, 0, 0))))
    matrix = pose((0, 0, 0), (2, 0, 0))
    assert np.linalg.norm(matrix[:3, 3]) == pytest.approx(2 * np.hypot(140, 35) * np.sin(np.radians(1)), abs=1e-9)
    np.testing.assert_allclose(record.shift_mm, 0, atol=1e-6)
    assert record.rotation_deg is None
    assert "registrations never turn about AP, SI: rotations are not used" in record.notes


def test_images_with_the_isocentre_at_their_origin(tmp_path):
    truth = shifts(2, 4, 3)
    write_clinic(tmp_path, truth, image_isocentre=(0, 0, 0))
    words = refused(tmp_path)
    assert "planned isocentres lie 1" in words
    assert "add --image-isocentre 0,0,0" in words
    record = recorded(tmp_path, None, (0, 0, 0))
    np.testing.assert_allclose(record.shift_mm, truth.reshape(-1, 3), atol=1e-5)


def test_an_isocentre_near_the_origin_is_told_and_not_refused(tmp_path):
    for p in range(2):
        for f in range(3):
            matrix = pose((1, f, p), (0, 0, 0), (20, -20, 5), (0, 0, 0))
            save(registration(matrix, f"{ROOT}.4.{p}", f"{ROOT}.5.{f}"), tmp_path / f"{p}" / f"{f}.dcm", f"{p}")
    record = recorded(tmp_path, (20, -20, 5))
    assert "isocentres lie nearer to the origin of the images" in "\n".join(record.notes)


def test_a_clinic_of_registrations_is_that_of_its_table(tmp_path):
    values = np.round(shifts(5, 6, 4), 2)
    write_clinic(tmp_path / "clinic", values)
    (tmp_path / "shifts.csv").write_text(text(rows_of(values)), encoding="utf-8")
    folder, table = errors_found(tmp_path / "clinic", None), errors_found(tmp_path / "shifts.csv", "dicom")
    for name in ("patient", "fraction", "clinic"):
        np.testing.assert_array_equal(getattr(folder.record, name), getattr(table.record, name))
    np.testing.assert_allclose(folder.record.shift_mm, table.record.shift_mm, atol=1e-5)
    np.testing.assert_allclose(
        folder.shifts.posterior.errors.systematic.value, table.shifts.posterior.errors.systematic.value, atol=1e-3
    )
    assert folder.record.day[4] - folder.record.day[3] == pytest.approx(28)


def test_days_are_fractions_and_the_first_image_of_a_day_counts(tmp_path):
    write_clinic(tmp_path, np.ones((2, 3, 3)))
    again = registration(pose((0.1, 0.1, 0.1)), FRAME, f"{ROOT}.2.0.9")
    save(again, tmp_path / "Doe^Jane-0" / "again.dcm", "ID-0", when="20240102T0945")
    record = recorded(tmp_path)
    np.testing.assert_array_equal(record.fraction, [1, 2, 2, 3, 1, 2, 3])
    kept = first_images(record)
    np.testing.assert_allclose(kept.shift_mm, 1, atol=1e-6)
    assert "images that repeat a fraction are not used (file 1): RMS 0.1 mm against 1.0" in "\n".join(kept.notes)


def test_without_dates_each_image_is_a_fraction(tmp_path):
    write_clinic(tmp_path, np.ones((2, 2, 3)))
    save(registration(pose((1, 1, 1)), FRAME, f"{ROOT}.2.0.9"), tmp_path / "Doe^Jane-0" / "x.dcm", "ID-0")
    record = recorded(tmp_path)
    np.testing.assert_array_equal(record.fraction, [1, 2, 3, 1, 2])
    assert record.day is None
    assert "each image counts as a fraction" in "\n".join(record.notes)


def test_patients_are_told_apart_by_id_or_subfolder(tmp_path):
    by_id = write_clinic(tmp_path / "a", np.ones((2, 2, 3)))
    for i, path in enumerate(sorted(by_id.rglob("*.dcm"))):
        path.rename(by_id / f"{i}.dcm")
    assert recorded(by_id).n_patients == 2
    assert "by PatientID" in recorded(by_id).notes[0]
    by_folder = write_clinic(tmp_path / "b", np.ones((3, 2, 3)), ids="ANON")
    assert recorded(by_folder).n_patients == 3
    assert "by subfolder" in recorded(by_folder).notes[0]


def test_without_a_plan_the_isocentre_is_said_and_the_frame_follows(tmp_path):
    """All registrations of a patient share the plan's frame; where they do not, the RTSTRUCT tells."""
    write_clinic(tmp_path, np.ones((2, 2, 3)), np.full((2, 2, 3), (2.0, 0, 0)), plans=False, direction="plan to image")
    assert "patient 1: no RTPLAN with an isocentre; add it to the folder, or say --isocentre X,Y,Z" in refused(tmp_path)
    shift = recorded(tmp_path, ISOCENTRE).shift_mm
    np.testing.assert_allclose(shift[:2], 1, atol=1e-5)
    assert np.abs(shift[2:] - 1).max() > 0.1, "the second patient's isocentre lies elsewhere"
    (tmp_path / "Doe^Jane-0" / "reg_1.dcm").unlink()
    assert "patient 1: which image of a registration is the plan's?" in refused(tmp_path, ISOCENTRE)
    structures = plan(FRAME)
    del structures.BeamSequence
    save(structures, tmp_path / "Doe^Jane-0" / "rs.dcm", "ID-0", STRUCTURES)
    np.testing.assert_allclose(recorded(tmp_path, ISOCENTRE).shift_mm[0], 1, atol=1e-5)


def test_registrations_to_other_frames_are_left_out_and_listed(tmp_path):
    write_clinic(tmp_path, np.ones((2, 2, 3)))
    save(registration(pose((9, 9, 9)), f"{ROOT}.7", f"{ROOT}.8"), tmp_path / "Doe^Jane-0" / "mr.dcm", "ID-0")
    record = recorded(tmp_path)
    assert len(record.line) == 4
    assert "files 1: registered to another frame of reference than the plan's; left out" in "\n".join(record.notes)


def scaled(matrix):
    return matrix * np.array([1.1, 1.1, 1.1, 1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda d: d.RegistrationSequence.append(item(f"{ROOT}.4", np.eye(4))), "relates 3 frames of reference"),
        (lambda d: d.RegistrationSequence.clear(), "relates 0 frames of reference"),
        (lambda d: setattr(d.RegistrationSequence[1], "FrameOfReferenceUID", FRAME), "relates 1 frames of reference"),
        (
            lambda d: d.RegistrationSequence.__setitem__(1, item(IMAGE, np.eye(4), np.eye(4))),
            "has 2 matrices, one wanted",
        ),
        (lambda d: d.RegistrationSequence.__setitem__(1, item(IMAGE, np.eye(3))), "has 9 numbers, 16 wanted"),
        (lambda d: d.RegistrationSequence.__setitem__(1, item(IMAGE, scaled(np.eye(4)))), "is not rigid: it scales"),
        (lambda d: d.RegistrationSequence.__setitem__(1, item(IMAGE, np.diag([-1, 1, 1, 1]))), "is not rigid"),
        (lambda d: d.RegistrationSequence.__setitem__(1, item(IMAGE, pose((1, 1, 1)).T)), "does not end in 0, 0, 0, 1"),
        (lambda d: delattr(d.RegistrationSequence[1], "FrameOfReferenceUID"), "FrameOfReferenceUID is missing"),
        (
            lambda d: d.RegistrationSequence.__setitem__(1, item(IMAGE, pose((0, 0, 0), (0, 0, 40)))),
            "file 2, in the order of paths, turns the patient by more than 30 degrees",
        ),
    ],
)
def test_wrong_registrations_are_refused_by_number(wrong, message, tmp_path):
    write_clinic(tmp_path, np.ones((2, 2, 3)))
    data = registration(pose((1, 1, 1)), FRAME, IMAGE)
    wrong(data)
    save(data, tmp_path / "Doe^Jane-0" / "reg_0.dcm", "ID-0", when="20240101T1000")
    words = refused(tmp_path)
    assert message in words
    assert "file 2" in words


def test_wrong_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").startswith(": no spatial registration (DICOM REG) among 0 files")
    one = write_clinic(tmp_path / "one", np.ones((1, 3, 3)))
    assert ": one patient; a spread between patients needs 2 or more" in refused(one)
    two = write_clinic(tmp_path / "two", np.ones((2, 2, 3)))
    save(plan(FRAME, ISOCENTRE + 5), two / "Doe^Jane-0" / "boost.dcm", "ID-0", PLAN)
    assert ": patient 1: 2 isocentres in RTPLANs; leave only the RTPLAN that was treated" in refused(two)
    stray = write_clinic(tmp_path / "stray", np.ones((2, 2, 3)), ids="ANON")
    save(registration(pose((1, 1, 1)), FRAME, IMAGE), stray / "reg_9.dcm", "ANON")
    assert ": whose is file 7, in the order of paths?" in refused(stray)


def test_deformable_registrations_are_refused(tmp_path):
    write_clinic(tmp_path, np.ones((2, 2, 3)))
    save(registration(pose((1, 1, 1)), FRAME, IMAGE), tmp_path / "Doe^Jane-1" / "dir.dcm", "ID-1", DEFORMABLE)
    words = refused(tmp_path)
    assert words.startswith(": file 4, in the order of paths, is a deformable registration, which has no one shift")
    assert "export the rigid registration" in words


def test_damaged_files_are_listed(tmp_path):
    write_clinic(tmp_path, np.ones((2, 2, 3)))
    (tmp_path / "Doe^Jane-0" / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    notes = "\n".join(read_registrations(tmp_path)[1])
    assert "file 1: " in notes
    assert "Doe" not in notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--convention", "iec61217"), "registrations are in DICOM coordinates and mm"),
        (("--unit", "mm"), "registrations are in DICOM coordinates and mm"),
        (("--corrections",), "registrations are in DICOM coordinates and mm"),
        (("--isocentre", "1,2"), "--isocentre: '1,2' is no point; say three numbers in mm"),
        (("--image-isocentre", "0;0;0"), "--image-isocentre: '0;0;0' is no point"),
    ],
)
def test_options_of_a_folder(options, message, tmp_path):
    done = CliRunner().invoke(app, ["errors", str(tmp_path), *options])
    assert message in str(done.exception)


def test_a_table_needs_no_isocentre(tmp_path):
    (tmp_path / "shifts.csv").write_text(text(rows_of(shifts())), encoding="utf-8")
    done = CliRunner().invoke(
        app, ["errors", str(tmp_path / "shifts.csv"), "--convention", "dicom", "--isocentre", "0,0,0"]
    )
    assert "a table needs no isocentre" in str(done.exception)


def test_the_command_reads_a_folder_and_names_no_patient(tmp_path, monkeypatch):
    monkeypatch.setattr(errors_page, "svg_uri", lambda figure: "data:,")
    folder = write_clinic(tmp_path / "clinic", shifts(1, 5, 3), shifts(2, 5, 3) / 3)
    done = CliRunner().invoke(app, ["errors", str(folder), "--out", str(tmp_path / "out"), "--isocentre", "-1,2,3"])
    assert done.exit_code == 0, done.output
    assert "Errors of 5 patients, 15 images (3 each)" in done.stdout
    assert "systematic_deg" in done.stdout
    assert "stands in your registrations as LR +3, AP -2, SI +1" in " ".join(done.stdout.split())
    written = [path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert not any(
        name in content for content in (*written, done.output.encode()) for name in (b"Doe", b"ID-", ROOT.encode())
    )
    assert findings(errors_found(folder, None).record, corrections=False)[0] == "patients are told apart by PatientID"
