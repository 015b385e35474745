"""Studies of real DICOM-RT data run through, and leak nothing of the patient."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from test_report import without_library

import simulator
from simulator.case.inventory import inventory
from simulator.problem.preparation import prepare
from simulator.report import render_report
from simulator.study_file.loading import load_study
from simulator.study_file.starter import starter_study

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture(scope="module")
def lung_results(data_folder):
    study = load_study(
        CONFIGS / "dicom_lung_sbrt.yaml",
        {"case.dicom": str(data_folder / "dicompyler_breast"), "strategies.margins_mm": [5], "courses": 50}
        | {"plan.arcs": [{"start_deg": -60, "stop_deg": 180, "spacing_deg": 20}]},
    )
    return simulator.run(study)


def test_a_study_with_synthesised_plans_on_patient_contours(lung_results):
    goals = lung_results["goals"].to_dataset()
    matched = goals["probability"].sel(strategy="itv, 5 mm, online-target", goal="GTV D98% >= 95%").item()
    unmatched = goals["probability"].sel(strategy="itv, 5 mm, none", goal="GTV D98% >= 95%").item()
    assert matched > 0.95 > unmatched
    assert lung_results["dvh/volume_cc"].sel(structure="GTV").item() == pytest.approx(0.57, abs=0.03)


def test_nothing_of_the_patient_reaches_results_or_report(lung_results, data_folder, tmp_path):
    dataset = pydicom.dcmread(data_folder / "dicompyler_breast" / "rtss.dcm")
    secrets = [str(dataset.get(tag, "")) for tag in ("PatientName", "PatientID", "PatientBirthDate")]
    render_report(lung_results, tmp_path / "report.html")
    page = without_library((tmp_path / "report.html").read_text(encoding="utf-8"))
    for secret in filter(None, secrets):
        assert secret not in page
        assert secret not in str(lung_results.attrs)


def test_an_imported_plan_reproduces_the_clinical_dose(data_folder):
    study = load_study(
        CONFIGS / "dicom_pelvis_rtdose.yaml",
        {"case.dicom": str(data_folder / "alderson_pelvis"), "courses": 20},
    )
    nominal = simulator.run(study)["metrics/nominal"][0]
    for metric, gy in (("PTV Dmean", 60.1), ("PTV D98%", 58.3), ("PTV D95%", 58.6), ("PTV D2%", 61.2),
                       ("Rectum Dmean", 15.6), ("Bladder Dmean", 6.3)):  # fmt: skip
        assert nominal.sel(metric=metric).item() == pytest.approx(gy, rel=0.01), metric


@pytest.mark.parametrize(
    ("folder", "target", "prescription"),
    [("alderson_pelvis", "PTV", (60, 20)), ("dicompyler_breast", "Tumor_Bed", (14, 7))],
)
def test_init_writes_a_valid_study_with_the_patients_plan_and_structures(
    folder, target, prescription, data_folder, tmp_path
):
    text = starter_study("pelvic", data_folder / folder)
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    study = load_study(tmp_path / "study.yaml", {"numerics.max_points": 1000})
    assert study.case.target == target
    assert (study.prescription.dose_gy, study.prescription.fractions) == prescription
    assert target in prepare(study).case.structures


@pytest.mark.parametrize(
    ("folder", "found"),
    [("alderson_pelvis", "15.06"), ("dicompyler_breast", "Tumor Bed"), ("nelms_dvh", "Sphere"), ("slicerrt_eclipse", "125."),
     ("openkbp", "pt_187"), ("totalseg_abdomen", "duodenum"), ("traces_kim", "67.4"), ("traces_extmarker", "UAC")],
)  # fmt: skip
def test_every_folder_of_the_shared_data_has_an_inventory(folder, found, data_folder):
    cells = [cell for _, _, table in inventory(data_folder / folder).sections() for row in table for cell in row]
    assert any(found in cell for cell in cells)
    assert np.all([isinstance(cell, str) for cell in cells])
