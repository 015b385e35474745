"""The shipped studies are found, listed and copied, from a checkout and from an installed package."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import simulator
from simulator.commands.cli import app
from simulator.spec import ConfigError
from simulator.study_file.json_schema import FILE
from simulator.study_file.loading import load_study
from simulator.study_file.shipped import examples

ROOT = Path(__file__).parents[1]
RUN = CliRunner().invoke


def test_every_shipped_study_is_listed_with_what_it_is_and_needs():
    files = [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "configs").glob("*.csv")]
    rows = {name: (what, needs) for name, what, needs in examples()}
    assert sorted(rows) == sorted(path.stem for path in files)
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
