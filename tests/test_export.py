"""Dose maps as RTDOSE: read back, geometry, identity, a validator, and messages."""

import shutil
import subprocess
import warnings

import numpy as np
import pydicom
import pytest
from dicom_factory import FRAME, IDENTITY, STUDY, write_phantom_dicom
from synthetic_results import synthetic_results

import simulator
from simulator.case.anatomy import digest_of_uid
from simulator.case.dicom_files import read_file
from simulator.case.dicom_grids import dose_header, read_dose
from simulator.case.loading import load_case
from simulator.ground.spec import CaseError, ConfigError

STRATEGY = "itv, 3 mm, none"


@pytest.fixture(scope="module")
def results():
    return synthetic_results()


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return write_phantom_dicom(tmp_path_factory.mktemp("patient"))


@pytest.mark.parametrize("name", ["nominal", "mean", "sd", "p5", "p05", "p95"])
def test_every_map_reads_back_on_its_grid(results, tmp_path, name):
    path = tmp_path / "map.dcm"
    simulator.export_rtdose(results, STRATEGY, name, path)
    maps = results["dose"].to_dataset().sel(strategy=STRATEGY)
    is_percentile = name.startswith("p")
    expected = maps["percentile"].sel(map_percentile=float(name[1:])) if is_percentile else maps[name]
    data = pydicom.dcmread(path)
    stored = data.pixel_array.astype(np.float64) * float(data.DoseGridScaling)
    np.testing.assert_allclose(stored, expected.values, atol=0.51 * float(data.DoseGridScaling))
    assert (data.DoseUnits, data.DoseType) == ("GY", "ERROR" if name == "sd" else "PHYSICAL")
    assert name in data.SeriesDescription
    assert "research use only" in data.DoseComment
    own = read_file(path, path.name)
    volume = read_dose(own)
    assert dose_header(own).summation == "MULTI_PLAN"
    for read, written in zip(volume.grid.axes_mm, "xyz", strict=True):
        np.testing.assert_allclose(read, expected[written].values)
    np.testing.assert_allclose(volume.values, stored, rtol=1e-6)


def test_a_reference_lends_its_identity_and_frame_but_no_instance(results, patient, tmp_path):
    seen = set()
    for i, name in enumerate(("rd_1.dcm", "rp_1.dcm", "rs_1.dcm", "ct_000.dcm")):
        path = tmp_path / f"{i}.dcm"
        simulator.export_rtdose(results, STRATEGY, "mean", path, patient / name)
        data = pydicom.dcmread(path)
        assert (str(data.PatientName), data.StudyInstanceUID, data.FrameOfReferenceUID) == (IDENTITY, STUDY, FRAME)
        seen |= {data.SOPInstanceUID, data.SeriesInstanceUID}
    assert len(seen) == 8
    plan = pydicom.dcmread(patient / "rp_1.dcm").SOPInstanceUID
    for i in range(4):
        referred = [p.ReferencedSOPInstanceUID for p in pydicom.dcmread(tmp_path / f"{i}.dcm").ReferencedRTPlanSequence]
        assert plan not in referred, "the clinical plan has another dose"
        assert len(set(referred)) == 2


def test_texts_keep_to_the_64_characters_of_dicom(results, tmp_path):
    long = "itv, van Herk 95 %, online-target with action level 3 mm and couch in six directions"
    renamed = results.copy()
    maps = renamed["dose"].to_dataset().isel(strategy=[0])
    renamed["dose"] = maps.assign_coords(strategy=[long])
    for name in ("nominal", "p95"):
        path = tmp_path / f"{name}.dcm"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            simulator.export_rtdose(renamed, long, name, path)
        data = pydicom.dcmread(path)
        assert data.SeriesDescription.startswith(name)
        assert "..." in data.SeriesDescription
        assert data.SeriesDescription.endswith("six directions")
        assert len(data.SeriesDescription) == 64
        assert data.DoseComment.endswith("not a plan's dose; research use only")
        assert len(data.DoseComment) <= 64


def test_a_reference_of_another_patient_or_for_a_phantom_is_refused(results, patient, tmp_path):
    theirs = results.copy()
    theirs.attrs["frame_digest"] = f"{digest_of_uid('1.2.3')};{digest_of_uid(FRAME)}"
    simulator.export_rtdose(theirs, STRATEGY, "mean", tmp_path / "own.dcm", patient / "rp_1.dcm")
    theirs.attrs["frame_digest"] = digest_of_uid("1.2.3")
    with pytest.raises(CaseError, match="another frame of reference than the structures that were simulated"):
        simulator.export_rtdose(theirs, STRATEGY, "mean", tmp_path / "other.dcm", patient / "rp_1.dcm")
    theirs.attrs["config"] = "case: {phantom: pelvic}"
    with pytest.raises(ConfigError, match="a phantom, which is no patient"):
        simulator.export_rtdose(theirs, STRATEGY, "mean", tmp_path / "other.dcm", patient / "rp_1.dcm")
    assert not (tmp_path / "other.dcm").exists()


def test_a_loaded_patient_is_known_by_its_frame(patient):
    assert load_case(patient, target="GTV").frame_digest == digest_of_uid(FRAME)


def test_without_a_reference_nobody_is_named(results, patient, tmp_path):
    simulator.export_rtdose(results, STRATEGY, "mean", tmp_path / "map.dcm")
    data = pydicom.dcmread(tmp_path / "map.dcm")
    assert (str(data.PatientName), data.PatientID, data.PatientBirthDate) == ("synthetic", "synthetic", "")
    assert data.FrameOfReferenceUID != FRAME


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("name", ["mean", "sd"])
@pytest.mark.parametrize("reference", [None, "rp_1.dcm"])
def test_the_validator_finds_no_error(results, patient, tmp_path, name, reference):
    path = tmp_path / "map.dcm"
    simulator.export_rtdose(results, STRATEGY, name, path, patient / reference if reference else None)
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
    assert "RTDose" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_wrong_wishes_are_explained(results, tmp_path):
    out = tmp_path / "map.dcm"
    with pytest.raises(ConfigError, match=r"no strategy 'itv, 4 mm, none' .* did you mean 'itv, .* mm, none'"):
        simulator.export_rtdose(results, "itv, 4 mm, none", "mean", out)
    with pytest.raises(ConfigError, match=r"no map 'p50' .* they hold nominal, mean, sd, p5, p95"):
        simulator.export_rtdose(results, STRATEGY, "p50", out)
    with pytest.raises(ConfigError, match="hold no dose maps"):
        simulator.export_rtdose(synthetic_results(with_dose=False), STRATEGY, "mean", out)
    text = tmp_path / "text.txt"
    text.write_text("no DICOM")
    with pytest.raises(CaseError, match=r"text.txt: no DICOM file .* give an RTDOSE"):
        simulator.export_rtdose(results, STRATEGY, "mean", out, text)
    unasked = results.copy()
    unasked["dose"] = unasked["dose"].to_dataset().assign(sd=unasked["dose/sd"] * np.nan)
    with pytest.raises(ConfigError, match=r"sd was not made for .* name it under maps.strategies"):
        simulator.export_rtdose(unasked, STRATEGY, "sd", out)
    assert not out.exists()
