"""PTV, ITV and planning target of a strategy as RTSTRUCT: on the slices of the CT, under whose name, and what is refused."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from contour_reader import read_polygons, volume_cc
from dicom_changes import change
from dicom_factory import (
    FRAME,
    IDENTITY,
    PATIENT_ID,
    ROOT,
    STUDY,
    Z_MM,
    write_phantom_dicom,
)
from test_check import exit_code
from test_study import small_study

import simulator
from simulator.case.anatomy import digest_of_uid
from simulator.case.dicom_slices import reference_slices
from simulator.case.loading import load_case
from simulator.case.shapes import Ball
from simulator.commands.planning_volumes import NamedVolume, volumes_of_plan, with_own_names
from simulator.execution.study import run_study
from simulator.ground.spec import CaseError, ConfigError
from simulator.plan.targets import planning_target
from simulator.study_file.schema import StudyConfig

STRATEGY = "none, 3 mm, none"
NAMES = ["GTV", "PTV", "PTV_p90"]
GATED = {"kind": "gating", "plan_on": "mean"}
BREATHING = {"uncertainty": {"respiration": {"amplitude_mm": [0, 0, 10]}}}


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return write_phantom_dicom(tmp_path_factory.mktemp("patient"))


@pytest.fixture(scope="module")
def folder(patient, tmp_path_factory):
    """Results of a study of the patient with its own dose."""
    study = StudyConfig.model_validate(
        {
            "name": "own-patient",
            "case": {"dicom": str(patient), "target": "GTV", "structures": []},
            "prescription": {"dose_gy": 20, "fractions": 5, "isodose_percent": 80, "overrides_plan": True},
            "plan": {"model": "rtdose", "doses": [{"dose": "rd_1.dcm"}]},
            "uncertainty": {
                "setup": {"systematic_mm": [1, 1.5, 1], "random_mm": 1, "mean_mm": [0.5, 0, 0]},
                "respiration": {"amplitude_mm": [0, 0, 8]},
            },
            "strategies": {"margins_mm": [3], "motion": ["none", GATED], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%"],
            "courses": 60,
            "numerics": {"instants": 4, "max_points": 1000},
        }
    )
    out = tmp_path_factory.mktemp("results") / "own"
    run_study(study, out)
    return out


@pytest.fixture(scope="module")
def results(folder):
    with simulator.open_results(folder) as found:
        yield found


@pytest.fixture(scope="module")
def written(results, patient, tmp_path_factory):
    """What was exported with a reference, and the file."""
    path = tmp_path_factory.mktemp("written") / "ptv.dcm"
    return simulator.export_rtstruct(results, STRATEGY, path, patient / "rs_1.dcm"), path


@pytest.fixture(scope="module")
def anonymous(results, tmp_path_factory):
    """A file that was exported without one."""
    path = tmp_path_factory.mktemp("anonymous") / "ptv.dcm"
    simulator.export_rtstruct(results, STRATEGY, path)
    return path


def test_structures_lie_on_the_slices_of_the_ct_and_belong_to_the_patient(written, patient):
    found, path = written
    data = pydicom.dcmread(path)
    assert [roi.ROIName for roi in data.StructureSetROISequence] == NAMES == [v.name for v in found.volumes[:3]]
    assert [o.RTROIInterpretedType for o in data.RTROIObservationsSequence] == ["GTV", "PTV", "PTV"]
    assert (str(data.PatientName), data.PatientID, data.StudyInstanceUID) == (IDENTITY, PATIENT_ID, STUDY)
    assert data.PatientBirthDate == "19700102"
    assert data.FrameOfReferenceUID == FRAME == data.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    assert {roi.ReferencedFrameOfReferenceUID for roi in data.StructureSetROISequence} == {FRAME}
    series = data.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == f"{ROOT}.6"
    assert [i.ReferencedSOPInstanceUID for i in series.ContourImageSequence] == [
        f"{ROOT}.6.{i}" for i in range(len(Z_MM))
    ]
    for drawn in data.ROIContourSequence:
        for contour in drawn.ContourSequence:
            (image,) = contour.ContourImageSequence
            z = float(contour.ContourData[2])
            assert image.ReferencedSOPInstanceUID == f"{ROOT}.6.{Z_MM.index(z)}"
            assert image.ReferencedSOPClassUID == pydicom.uid.CTImageStorage
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
    old = {pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in patient.iterdir()}
    assert data.SOPInstanceUID not in old
    assert not str(data.SOPInstanceUID).startswith(ROOT)


def test_any_file_beside_the_ct_names_its_slices(patient):
    for name in ("ct_004.dcm", "rp_1.dcm", "rd_1.dcm", "rs_1.dcm"):
        slices = reference_slices(patient / name, digest_of_uid(FRAME))
        assert tuple(slices.z_mm) == Z_MM
        assert (slices.series_uid, slices.study_uid, slices.uids[3]) == (f"{ROOT}.6", STUDY, f"{ROOT}.6.3")


def test_volumes_are_told_and_read_back(written, patient, tmp_path):
    """By the own loader beside the CT, and by another reader; PTV = GTV grown by 3 mm."""
    found, path = written
    for file in (path, *patient.glob("ct_*")):
        shutil.copy(file, tmp_path)
    case, polygons = load_case(tmp_path, target="PTV_p90"), read_polygons(path)
    told = {v.name: v for v in found.volumes}
    assert [name for name in told if told[name].drawn_cc is not None] == NAMES
    assert {"van Herk", "Stroom"} <= set(told)
    for name in NAMES:
        allowed = max(0.01 * told[name].volume_cc, 0.05)
        assert case.structure(name).volume_cc == pytest.approx(told[name].volume_cc, abs=allowed)
        assert volume_cc(polygons[name], 3.0) == pytest.approx(told[name].volume_cc, abs=allowed)
        assert told[name].drawn_cc == pytest.approx(told[name].volume_cc, abs=allowed)
    assert told["GTV"].volume_cc == pytest.approx(7.24, rel=0.02)
    assert told["PTV"].volume_cc > 1.7 * told["GTV"].volume_cc
    assert "margin 3 mm" in told["PTV"].what
    assert "90 % of courses" in told["PTV_p90"].what
    assert case.structure("PTV_p90").role == "target"


def test_without_a_reference_nobody_is_named(anonymous):
    text = anonymous.read_bytes()
    for secret in (IDENTITY, PATIENT_ID, FRAME, STUDY, f"{ROOT}.6", "19700102"):
        assert secret.encode() not in text
    data = pydicom.dcmread(anonymous)
    assert (str(data.PatientName), data.PatientBirthDate) == ("own-patient", "")
    heights = sorted(read_polygons(anonymous)["PTV"])
    assert set(np.diff(heights)) == {1.0}


def test_without_a_ct_structures_lie_where_the_structure_set_is_drawn(tmp_path):
    alone = write_phantom_dicom(tmp_path / "alone", ct_z=(), n_plans=1, doses=())
    slices = reference_slices(alone / "rs_1.dcm", digest_of_uid(FRAME))
    assert (tuple(slices.z_mm), slices.uids) == (Z_MM, ())
    with pytest.raises(CaseError, match=r"rp_1.dcm: no CT of its frame of reference lies in its folder"):
        reference_slices(alone / "rp_1.dcm", digest_of_uid(FRAME))
    two = write_phantom_dicom(tmp_path / "two", doses=())
    change(two / "ct_003.dcm", lambda slice_: setattr(slice_, "ImagePositionPatient", [-63, -63, -24]))
    with pytest.raises(CaseError, match=r"two slices at one height; keep one series in the folder"):
        reference_slices(two / "rs_1.dcm", digest_of_uid(FRAME))


def test_the_study_s_own_folder_has_the_ct_where_the_reference_lies_alone(patient, tmp_path):
    shutil.copy(patient / "rp_1.dcm", tmp_path)
    slices = reference_slices(tmp_path / "rp_1.dcm", digest_of_uid(FRAME), patient)
    assert slices.uids[0] == f"{ROOT}.6.0"


def test_slices_that_do_not_reach_around_a_volume_are_refused(results, tmp_path):
    few = write_phantom_dicom(tmp_path / "few", ct_z=range(-3, 16, 3), doses=())
    with pytest.raises(
        CaseError, match=r"the slices of the reference from -4.5 to 16.5 mm; give a file that lies beside"
    ):
        simulator.export_rtstruct(results, STRATEGY, tmp_path / "no.dcm", few / "rs_1.dcm")
    flat = write_phantom_dicom(tmp_path / "flat", ct_orientation=(1, 0, 0, 0, 0, -1), doses=())
    with pytest.raises(CaseError, match=r"CT ct_000.dcm is not transverse"):
        simulator.export_rtstruct(results, STRATEGY, tmp_path / "no.dcm", flat / "rs_1.dcm")
    assert not (tmp_path / "no.dcm").exists()


def test_wrong_wishes_are_explained(results, patient, folder, tmp_path, capsys):
    out = tmp_path / "no.dcm"
    with pytest.raises(ConfigError, match=r"no strategy 'none, 4 mm, none' .* did you mean 'none, 3 mm, none'"):
        simulator.export_rtstruct(results, "none, 4 mm, none", out)
    with pytest.raises(ConfigError, match=r"60 courses cannot show a probability of 0.99; run 99 or more"):
        simulator.export_rtstruct(results, STRATEGY, out, probability=0.99)
    phantom = results.copy()
    phantom.attrs["config"] = "case: {phantom: pelvic}"
    with pytest.raises(ConfigError, match="a phantom, which is no patient"):
        simulator.export_rtstruct(phantom, STRATEGY, out, patient / "rs_1.dcm")
    theirs = results.copy()
    theirs.attrs["frame_digest"] = digest_of_uid("1.2.3")
    with pytest.raises(CaseError, match="another frame of reference than the structures that were simulated"):
        simulator.export_rtstruct(theirs, STRATEGY, out, patient / "rs_1.dcm")
    options = (folder, "--strategy", STRATEGY, "--out", out)
    assert exit_code("export", *options, "--ptv", "--map", "mean") == 2
    assert exit_code("export", *options, "--probability", "0.9") == 2
    assert capsys.readouterr().err.count("--map is for a dose map, --ptv and its --probability for structures") == 2
    assert not out.exists()


def test_the_command_prints_volumes_beside_the_recipes(folder, written, patient, tmp_path, capsys):
    """And writes the same contours as Python."""
    out = tmp_path / "ptv.dcm"
    options = ("--strategy", STRATEGY, "--ptv", "--out", out, "--reference", patient / "rs_1.dcm")
    assert exit_code("export", folder, *options) in (0, None)
    said = capsys.readouterr()
    for text in ("GTV", "PTV_p90", "van Herk", "margin 3 mm", "cc, as contoured"):
        assert text in said.out
    assert "displaced by (0." in said.out + said.err
    assert str(read_polygons(out)) == str(read_polygons(written[1]))


def test_planning_targets_have_the_names_of_tg_263():
    """A union of positions is an ITV; one place elsewhere is the target where it is planned on."""
    grid = {"margins_mm": [3], "motion": ["itv", "none", GATED], "guidance": ["none"]}
    case = {"phantom": "sphere", "radius_mm": 8}
    problem = simulator.prepare(small_study(**BREATHING, case=case, strategies=grid, plan={"model": "conformal-arc"}))
    expected = [
        {"GTV": "GTV", "ITV": "CTV", "PTV": "PTV"},
        {"GTV": "GTV", "PTV": "PTV"},
        {"GTV": "GTV", "GTV_Plan": "GTV", "PTV": "PTV"},
    ]
    for strategy, request, names in zip(problem.strategies, problem.requests, expected, strict=True):
        found = volumes_of_plan(problem, strategy, request, problem.targets[0])
        assert {v.name: v.kind for v in found} == names
        of_target, planned = found[0].volume, found[-2].volume
        assert (planned.volume_cc > 1.2 * of_target.volume_cc) == ("ITV" in names)
        assert (planned.centroid_mm[2] == of_target.centroid_mm[2]) == (len(names) == 2)


def test_a_target_that_is_expected_elsewhere_is_said_to_be(results, patient, tmp_path):
    path = tmp_path / "ptv.dcm"
    found = simulator.export_rtstruct(results, "gating, 3 mm, none", path, patient / "rs_1.dcm", probability=0.6)
    assert list(read_polygons(path)) == ["GTV", "GTV_Plan", "PTV", "PTV_p60"]
    assert any("of GTV as drawn lie outside PTV_p60" in note for note in found.notes)


def test_a_target_that_is_called_ptv_keeps_its_name():
    volume = planning_target(Ball((0, 0, 0), 5.0), np.zeros((1, 3)))
    volumes = [
        NamedVolume(name, "PTV", "", volume)
        for name in ("PTV", "PTV", "PTV_p90", "Mediastinal node", "Mediastinal node")
    ]
    names = ["PTV", "PTV_Sim", "PTV_p90", "Mediastinal node", "Mediastinal _Sim"]
    assert [v.name for v in with_own_names(volumes)] == names


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_the_validator_finds_no_error(written, anonymous):
    for path in (written[1], anonymous):
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
        assert "RTStructureSet" in said
        assert [line for line in said.splitlines() if line.startswith("Error")] == []
