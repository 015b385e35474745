"""simulator motion: from the structure sets of a 4DCT to paths and a block that a study takes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from dicom_factory import IDENTITY, PATIENT_ID, ROOT, write_phantom_dicom
from phases_factory import AMPLITUDE_MM, PERCENTS, ball, drawn, liver, node, write_4dct
from pydicom import Dataset, dcmread
from typer.testing import CliRunner

from simulator.case.motion import StructurePath
from simulator.commands.cli import app
from simulator.commands.phases import motion_found, write_motion
from simulator.ground.spec import CaseError, ConfigError, SimulatorError
from simulator.plots.motion import paths_of_phases
from simulator.problem.preparation import prepare
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.study_file.schema import StudyConfig
from simulator.study_file.starter import starter_study

FEW = (0, 25, 50, 75)


def run(*arguments):
    return CliRunner().invoke(app, ["motion", *map(str, arguments)])


@pytest.fixture(scope="module")
def breathing(tmp_path_factory):
    return write_4dct(tmp_path_factory.mktemp("4dct") / "phases")


@pytest.fixture(scope="module")
def found(breathing):
    return motion_found(breathing)


def test_paths_are_those_that_were_drawn(found):
    expected = np.array([node(p) for p in PERCENTS])
    gtv, liver_path, vertebra = found.paths
    assert [gtv.name, liver_path.name, vertebra.name] == ["GTV_node", "Liver", "Vertebra"]
    np.testing.assert_allclose(gtv.path_mm, expected - expected.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(liver_path.amplitude_mm, (0, 0, 12), atol=0.02)
    np.testing.assert_allclose(gtv.amplitude_mm[[0, 2]], np.array(AMPLITUDE_MM)[[0, 2]], atol=0.02)
    np.testing.assert_allclose(gtv.volume_cc, 4 / 3 * np.pi * 0.9**3, rtol=0.01)
    assert gtv.volume_change < 0.01
    assert vertebra.is_still
    assert not gtv.is_still


def test_centroids_lie_between_slices(tmp_path):
    """Slices 3 mm thick, a sphere of 24 mm that moves by parts of a slice."""

    def place(percent):
        return (0.0, 0.0, 0.4 * percent / 25)

    found = motion_found(
        write_4dct(tmp_path / "a", FEW, structures=lambda p: {"GTV": ("GTV", ball(place(p), 12.0, 3.0))})
    )
    np.testing.assert_allclose(found.paths[0].path_mm[:, 2], np.arange(4) * 0.4 - 0.6, atol=0.02)


def ellipse(n, across_mm, along_mm=(0.0, 0.0, 10.0), trailing=0.0):
    """Along a direction, and across it a quarter of a cycle later (and as much in step)."""
    angle = 2 * np.pi * np.arange(n) / n
    across = np.cross(along_mm, (1, 0, 0)) / np.linalg.norm(along_mm)
    path = np.cos(angle)[:, None] * np.array(along_mm) / 2 + np.sin(angle)[:, None] * across * across_mm / 2
    return StructurePath("x", path + trailing * np.cos(angle)[:, None] * across, np.full(n, 1.0))


@pytest.mark.parametrize("along_mm", [(0, 0, 10.0), (0, 6.0, 8.0), (0, 0, -10.0)])
def test_hysteresis_is_the_width_of_the_loop(along_mm):
    assert ellipse(100, 3.0, along_mm).hysteresis_mm == pytest.approx(3.0, rel=0.01)
    assert ellipse(10, 3.0, along_mm).hysteresis_mm == pytest.approx(3 * np.cos(np.pi / 10), rel=0.01)
    assert ellipse(100, 0.0, along_mm).hysteresis_mm == pytest.approx(0, abs=1e-9)
    assert ellipse(100, 0.0, along_mm, trailing=2.0).hysteresis_mm == pytest.approx(0, abs=1e-9)


def test_hysteresis_does_not_depend_on_where_the_path_begins():
    path = ellipse(10, 3.0)
    turned = StructurePath("x", np.roll(path.path_mm, 3, axis=0), path.volume_cc)
    assert turned.hysteresis_mm == pytest.approx(path.hysteresis_mm)


def test_likeness_to_the_target_is_per_axis(found):
    gtv, liver_path, _ = found.paths
    assert liver_path.correlation(gtv)[2] == pytest.approx(1, abs=1e-3)
    assert np.isnan(liver_path.correlation(gtv)[:2]).all()
    late = ellipse(40, 0.0), ellipse(40, 10.0)
    angle = 2 * np.pi * np.arange(40) / 40
    lagging = StructurePath("x", np.stack([0 * angle, 0 * angle, np.cos(angle - np.pi / 3)], axis=1), np.ones(40))
    assert lagging.correlation(late[0])[2] == pytest.approx(0.5)
    assert StructurePath("x", -late[1].path_mm, np.ones(40)).correlation(late[1])[2] == pytest.approx(-1)


def test_the_block_loads_and_simulates_with_the_drawn_path(found, tmp_path):
    """In the patient's own study: what is delivered has the drawn range about no mean, and the liver goes along."""
    own = {"BODY": ("EXTERNAL", ball((0, 0, 0), 58.0, 3.0)), **drawn(0)}
    write_phantom_dicom(tmp_path / "plan", ct_z=(), doses=(), n_plans=0, structures=own)
    (tmp_path / "a.yaml").write_text(starter_study("abdominal", tmp_path / "plan"), encoding="utf-8")
    study = yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8"))
    block = yaml.safe_load(found.block)
    config = StudyConfig.model_validate(
        study | block | {"courses": 20, "goals": ["GTV_node D98% >= 95%", "Liver Dmean <= 9 Gy"]}
    )
    assert config.subject == "patient"
    assert set(config.uncertainty.respiration.phases_mm) == {"GTV_node", "Liver"}
    wave = config.uncertainty.respiration.waveform("GTV_node")
    np.testing.assert_allclose(wave.position("GTV_node", np.arange(10) / 10), found.paths[0].path_mm, atol=0.006)
    np.testing.assert_allclose(wave.depth(np.array([0.0, 0.5])), (1, 0), atol=1e-6)
    problem = prepare(config)
    delivery = deliver_courses(problem, problem.strategies[0], course_draws(problem, 0, 20))
    for path in found.paths[:2]:
        shift, weight = (getattr(delivery.motion(path.name), key) for key in ("shift_mm", "weight"))
        np.testing.assert_allclose(np.average(shift.reshape(-1, 3), axis=0, weights=weight.ravel()), 0, atol=0.02)
        np.testing.assert_allclose(np.ptp(shift.reshape(-1, 3), axis=0), path.amplitude_mm, rtol=0.03, atol=0.01)


@pytest.mark.parametrize(
    ("label", "where"),
    [
        ("{:g}%", "label"),
        ("4D 3.0 B30f {:g} %", "label"),
        ("T{:02.0f}", "label"),
        ("Gated {:g}", "label"),
        ("Gated, {:.1f}%", "label"),
        ("CT_phase_{:g}", "label"),
        ("ph {:g}", "label"),
        ("{:g}%", "SeriesDescription"),
        ("{:g}%", "StructureSetDescription"),
        ("{:g}%", "file"),
        ("T{:02.0f}/RS.1.2.3", "file"),
        ("{:g}%", "CT"),
        ("{:g}", "NominalPercentageOfRespiratoryPhase"),
    ],
)
def test_phases_are_told_in_many_ways(label, where, tmp_path):
    def structures(percent):
        return {"GTV": ("GTV", ball(node(percent), 5.0, 3.0))}

    def say(data, percent):
        if where.endswith("Description"):
            setattr(data, where, label.format(percent))

    write_4dct(tmp_path / "a", FEW, label if where == "label" else "plan", structures, say)
    for i, percent in enumerate(FEW, 1):
        source = tmp_path / "a" / f"set-{i}.dcm"
        if where == "file":
            name = tmp_path / "a" / f"{label.format(percent)}.dcm"
            name.parent.mkdir(exist_ok=True)
            source.rename(name)
        if where in ("CT", "NominalPercentageOfRespiratoryPhase"):
            said = {"SeriesDescription" if where == "CT" else where: label.format(percent)}
            draw_on_series(source, f"{ROOT}.7.{i}", tmp_path / "a" / f"ct-{i}", said)
    np.testing.assert_array_equal(motion_found(tmp_path / "a").percent, FEW)


def draw_on_series(structure_set, uid, folder, said):
    """A CT series of one slice that a structure set refers to."""
    write_phantom_dicom(folder, ct_z=(0.0,), doses=(), n_plans=0, n_structure_sets=0)
    ct = dcmread(folder / "ct_000.dcm")
    ct.SeriesInstanceUID = uid
    for keyword, value in said.items():
        setattr(ct, keyword, float(value) if keyword.startswith("Nominal") else value)
    ct.save_as(folder / "ct_000.dcm")
    data = dcmread(structure_set)
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID = uid
    study.RTReferencedSeriesSequence = [series]
    data.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence = [study]
    data.save_as(structure_set)


def test_inhale_may_be_another_phase(tmp_path):
    turned = write_4dct(tmp_path / "a", FEW, structures=lambda percent: drawn(percent + 50))
    assert any(
        "as at exhale: if inhale is another phase, say --inhale-percent" in note for note in motion_found(turned).notes
    )
    found = motion_found(turned, inhale_percent=50)
    assert not any("inhale" in note for note in found.notes)
    np.testing.assert_array_equal(found.percent, (50, 75, 0, 25))
    np.testing.assert_allclose(found.paths[0].path_mm[:, 2], (-4, 0, 4, 0), atol=0.02)
    with pytest.raises(ConfigError, match="--inhale-percent: no phase of 30 % here; there are 0, 25, 50, 75"):
        motion_found(turned, inhale_percent=30)


def test_names_that_carry_their_phase_are_one_structure(tmp_path):
    def structures(percent):
        return {
            f"GTV_{percent:02.0f}": ("GTV", ball(node(percent), 5.0, 3.0)),
            "Liver": ("", ball(liver(percent), 5.0, 3.0)),
        }

    found = motion_found(write_4dct(tmp_path / "a", FEW, structures=structures))
    assert [path.name for path in found.paths] == ["GTV", "Liver"]


def remove(name):
    """Take a structure out of the set of phase 50 %."""

    def change(data, percent):
        if percent == 50:
            number = next(r.ROINumber for r in data.StructureSetROISequence if r.ROIName == name)
            data.StructureSetROISequence = [r for r in data.StructureSetROISequence if r.ROINumber != number]

    return change


def empty(data, percent):
    if percent == 50:
        del data.ROIContourSequence[0].ContourSequence


def small(percent):
    return {name: (kind, contours[::3]) for name, (kind, contours) in drawn(percent).items()}


def in_frame(data, percent):
    if percent == 50:
        data.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
        for roi in data.StructureSetROISequence:
            roi.ReferencedFrameOfReferenceUID = "1.2.3"


def of_another(data, percent):
    data.PatientID = f"Doe-{percent}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percents": (0, 10, 20, 40, 50, 60, 70, 80, 90)}, "equally spaced over the cycle: phase 30 % is missing"),
        ({"percents": (0, 25, 25, 50, 75)}, "set-2.dcm and set-3.dcm are both of phase 25 %; leave one of them"),
        ({"percents": (0, 25, 50, 75, 100)}, "set-1.dcm and set-5.dcm are both of phase 0 %"),
        ({"percents": (0,)}, "1 structure sets say which phase of the breathing they are, two or more are wanted; 0 say none"),
        ({"label": "plan"}, "0 structure sets say which phase of the breathing they are, two or more are wanted; 4 say none"),
        ({"label": "plan"}, "name its file or folder after the phase, such as T30"),
        ({"percents": (1, 2, 3, 4), "label": "phase {:g}"}, "have to be equally spaced over the cycle: they are not"),
        ({"percents": (0, 20, 50, 75)}, "have to be equally spaced over the cycle: phase 40 %, 60 %, 80 % is missing"),
        ({"label": "{:g}% Ex"}, "its phase is a depth of inhale or exhale"),
        ({"label": "In {:g} %"}, "its phase is a depth of inhale or exhale"),
        ({"label": "{:g}% or 30%"}, "which phase? it says 0 % and 30 %"),
        ({"change": lambda data, percent: setattr(data, "SeriesDescription", "T15")}, "which phase? it says 0 % and 15 %"),
        ({"change": remove("GTV node")}, "set-3.dcm (phase 50 %): structure 'GTV node' is absent; draw it in every phase"),
        ({"change": empty}, "RTSTRUCT set-3.dcm (phase 50 %): structure 'GTV node' is empty; draw it in every phase"),
        ({"change": in_frame}, "RTSTRUCT set-3.dcm is in another frame of reference than set-1.dcm"),
        ({"change": of_another}, "the structure sets are of several patients (PatientID)"),
    ],
)  # fmt: skip
def test_what_is_missing_or_doubled_is_refused(options, message, tmp_path):
    folder = write_4dct(tmp_path / "a", **{"percents": FEW, "structures": small, **options})
    with pytest.raises(SimulatorError) as refused:
        motion_found(folder)
    assert message in str(refused.value)
    assert "Doe" not in str(refused.value)


def test_what_was_left_out_is_said(tmp_path):
    folder = write_4dct(tmp_path / "a", FEW, structures=small, change=remove("Liver"))
    average = dcmread(folder / "set-1.dcm")
    average.StructureSetLabel = "AVG 0%-90%"
    average.save_as(folder / "plan.dcm")
    notes = motion_found(folder).notes
    assert "plan.dcm says no phase, and is left out" in notes
    assert "Liver is left out: not drawn in phase 50 %" in notes
    with pytest.raises(CaseError, match=r"set-3\.dcm \(phase 50 %\): structure 'Liver' is absent"):
        motion_found(folder, organs=["Liver"])
    with pytest.raises(CaseError, match="structure 'Lung' is in no phase; there are GTV node, Liver, Vertebra"):
        motion_found(folder, target="Lung")


def test_volumes_that_change_and_few_phases_are_told(tmp_path):
    def structures(percent):
        return {"GTV": ("GTV", ball(node(percent), 5.0 if percent else 7.0))}

    notes = motion_found(write_4dct(tmp_path / "a", (0, 50), structures=structures)).notes
    assert any("GTV: its volume changes by" in note for note in notes)
    assert any("2 phases only" in note for note in notes)


def test_folders_that_hold_no_4dct(tmp_path):
    with pytest.raises(CaseError, match=r"DICOM folder .*none does not exist"):
        motion_found(tmp_path / "none")
    with pytest.raises(CaseError, match=r"no RTSTRUCT .* the folder has: no DICOM-RT file at all"):
        motion_found(tmp_path)
    organs = {"Liver": ("ORGAN", ball((0, 0, 0), 5.0, 3.0)), "Heart": ("ORGAN", ball((0, 0, 0), 5.0, 3.0))}
    folder = write_4dct(tmp_path / "a", FEW, structures=lambda _: organs)
    with pytest.raises(ConfigError, match=r"which structure is the target\? add --target; there are Liver, Heart"):
        motion_found(folder)


def test_the_command_writes_what_it_says_and_names_no_patient(breathing, tmp_path):
    done = run(breathing, "--organ", "Liver", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "Breathing of GTV_node and 1 other structures in 10 phases" in done.stdout
    assert "note: the target is GTV node: typed GTV (--target chooses)" in done.stdout
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(written) >= {"motion.yaml", "motion.csv", "motion.svg"}
    assert written["motion.yaml"].decode() in done.stdout
    assert not any(name.encode() in content for content in written.values() for name in (IDENTITY, PATIENT_ID))
    rows = list(csv.DictReader((tmp_path / "out" / "motion.csv").open(encoding="utf-8")))
    assert len(rows) == 20
    assert [float(rows[0][key]) for key in ("phase_percent", "SI_mm")] == pytest.approx([0, -4], abs=0.02)


def test_the_figure_shows_closed_paths(found, tmp_path):
    figure = paths_of_phases(found.paths, found.percent)
    si, loop = figure.axes[2], figure.axes[3]
    np.testing.assert_allclose(si.lines[0].get_xdata(), [*PERCENTS, 100])
    np.testing.assert_allclose(si.lines[0].get_ydata()[:10], found.paths[0].path_mm[:, 2])
    assert si.lines[0].get_ydata()[10] == si.lines[0].get_ydata()[0]
    np.testing.assert_allclose(loop.lines[0].get_xdata()[:10], found.paths[0].path_mm[:, 1])
    assert si.get_ylabel() == "inferior (-) to superior (+), mm"
    write_motion(found, tmp_path / "one")
    write_motion(found, tmp_path / "two")
    assert (tmp_path / "one" / "motion.svg").read_bytes() == (tmp_path / "two" / "motion.svg").read_bytes()


def test_the_page_shows_what_the_command_says(found):
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "motion.md").read_text(encoding="utf-8")
    table = page.split("<!-- table: begin -->")[1].split("<!-- table: end -->")[0].strip().splitlines()
    ((_, columns, rows),) = found.tables
    shown = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table]
    assert shown[0] == columns
    assert shown[2:] == rows
