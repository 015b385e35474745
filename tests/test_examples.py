"""The shipped studies are found, listed and copied, from a checkout and from an installed package."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

import simulator
from simulator.case.dicom_invented import MARGINS_MM, RADIUS_MM, dose_gy
from simulator.commands.cli import app
from simulator.ground.spec import ConfigError
from simulator.study_file.json_schema import FILE
from simulator.study_file.loading import load_study
from simulator.study_file.shipped import examples
from simulator.study_file.starter import starter_study

ROOT = Path(__file__).parents[1]
RUN = CliRunner().invoke


def test_every_shipped_study_is_listed_with_what_it_is_and_needs():
    files = [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "configs").glob("*.csv")]
    rows = {name: (what, needs) for name, what, needs in examples()}
    assert sorted(rows) == sorted(["invented_patient", *(path.stem for path in files)])
    assert all(what.endswith((".", "?", ")")) and len(what) > 30 for what, _ in rows.values()), rows
    assert {name for name, (_, needs) in rows.items() if needs} == {"dicom_lung_sbrt", "dicom_pelvis_rtdose"}
    listed = RUN(app, ["examples"]).stdout
    assert all(name in listed for name in rows)


def test_an_example_is_the_file_of_the_checkout():
    assert simulator.example("mediastinal_node") == ROOT / "configs" / "mediastinal_node.yaml"
    with pytest.raises(
        ConfigError, match=r"no example is called 'pelvic_nod'; they are .*; did you mean 'pelvic_node'\?"
    ):
        simulator.example("pelvic_nod")


def test_a_copy_is_the_study_with_the_schema_that_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RUN(app, ["examples", "pelvic_node", "--out", "mine.yaml"]).exit_code == 0
    assert load_study("mine.yaml") == load_study(simulator.example("pelvic_node"))
    assert (tmp_path / "mine.yaml").read_text(encoding="utf-8").splitlines()[0].endswith(FILE)
    assert (tmp_path / FILE).read_bytes() == (ROOT / "configs" / FILE).read_bytes()
    assert RUN(app, ["examples", "shift_log"]).exit_code == 0
    assert (tmp_path / "shift_log.csv").read_bytes() == (ROOT / "configs" / "shift_log.csv").read_bytes()
    again = RUN(app, ["examples", "pelvic_node", "--out", "mine.yaml"])
    assert str(again.exception) == "mine.yaml: exists already; choose another file with --out"


def test_an_invented_patient_is_a_folder_that_a_study_starts_from(tmp_path):
    place = tmp_path / "patient"
    for _ in "twice":
        assert RUN(app, ["examples", "invented_patient", "--out", str(place)]).exit_code == 0
    assert len(list(place.glob("*.dcm"))) == 7
    starter = starter_study("mediastinal", place)
    assert "margins_mm: [3, 5, 8]   # those of the doses" in starter
    case = simulator.load_case(place, rtdoses=["RD.PTV_5mm.dcm"])
    assert case.gtv.volume_cc == pytest.approx(3.05, rel=0.03)
    with pytest.raises(ConfigError, match="holds files that the simulator did not write"):
        simulator.invented_patient(ROOT / "docs")


def test_the_dose_of_an_invented_plan_is_the_prescription_at_the_edge_of_its_ptv(tmp_path):
    for margin_mm in MARGINS_MM:
        assert dose_gy(RADIUS_MM + margin_mm, margin_mm) == pytest.approx(50)
    data = pydicom.dcmread(simulator.invented_patient(tmp_path / "p") / "RD.PTV_5mm.dcm")
    gray = data.pixel_array * float(data.DoseGridScaling)
    assert gray[20, 20, 20] == pytest.approx(dose_gy(0, 5), abs=1e-3)
    assert gray[20, 20, 26] == pytest.approx(dose_gy(15, 5), abs=1e-3)


def test_a_starter_study_names_the_schema_beside_it(tmp_path):
    assert RUN(app, ["init", "--out", str(tmp_path / "my.yaml")]).exit_code == 0
    assert (
        (tmp_path / "my.yaml")
        .read_text(encoding="utf-8")
        .startswith(f"# yaml-language-server: $schema={FILE}\n# A study")
    )
    assert (tmp_path / FILE).is_file()


def test_a_built_package_brings_the_studies(tmp_path, monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", given.update)
    runpy.run_path("setup.py")
    package = setuptools.Distribution(
        {"script_name": "setup.py", "packages": setuptools.find_packages(include=["simulator*"])}
    )
    build = given["cmdclass"]["build_py"](package)
    build.build_lib = str(tmp_path)
    build.ensure_finalized()
    build.run()
    code = "import simulator as s; print(s.load_study(s.example('sphere_truth')).name, s.example('shift_log'))"
    away = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=away, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["sphere-truth", str(tmp_path / "simulator" / "configs" / "shift_log.csv")]
