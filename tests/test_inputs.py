"""A study is its settings and the content of its files: one that changes is named, wherever the files lie."""

import shutil
from functools import cache

import numpy as np
import pydicom
import pytest
import yaml
from dicom_factory import write_phantom_dicom

from simulator.execution.checkpoint import BlockStore, identity_text
from simulator.execution.points import is_finished
from simulator.execution.problems import identity_of
from simulator.execution.study import run_study
from simulator.ground.spec import ConfigError
from simulator.problem.preparation import prepare
from simulator.results.file import open_results
from simulator.study_file.loading import load_study

nrrd = pytest.importorskip("nrrd")


ARC = {
    "model": "conformal-arc",
    "dose_grid_mm": 4,
    "arcs": [{"start_deg": -180, "stop_deg": 180, "spacing_deg": 45}],
}


def study(**changes):
    raw = {
        "name": "made-of-files",
        "case": {"phantom": "sphere", "radius_mm": 8},
        "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
        "plan": {"model": "penumbra"},
        "uncertainty": {"setup": {"random_mm": 1}},
        "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]},
        "goals": ["GTV D98% >= 95%"],
        "courses": 40,
        "numerics": {"block_courses": 10, "max_points": 1000, "instants": 4},
    }
    return raw | changes


def with_record(folder):
    time_s = np.arange(0, 30, 0.25)
    rows = [f"{t:g},{5 * np.sin(t):.4f}" for t in time_s]
    (folder / "breath.csv").write_text("time_s,displacement_mm\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return study(uncertainty={"respiration": {"amplitude_mm": [1, 1, 5], "trace": "breath.csv"}})


def with_libraries(folder):
    for name, dose in (("a.yaml", 40), ("b.yaml", 45)):
        text = f"name: x\nfractions: 5\ngoals: [{{goal: 'GTV D50% >= {dose} Gy', source: own}}]\n"
        (folder / name).write_text(text, encoding="utf-8")
    return study(goals=["a.yaml", "b.yaml"])


def with_archive(folder):
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[8:12, 8:12, 8:12] = 1
    np.savez(
        folder / "case.npz", ct_hu=np.zeros(labels.shape, np.int16), labels=labels, label_ids=[1], label_names=["GTV"],
        ct_origin_xyz_mm=[0, 0, 0], ct_spacing_xyz_mm=[2, 2, 2],
    )  # fmt: skip
    return study(case={"file": "case.npz"}, plan=ARC)


def with_dicom(folder):
    write_phantom_dicom(folder / "dicom")
    (folder / "dicom" / "notes.txt").write_text("not read")
    return study(case={"dicom": "dicom"}, plan=ARC)


def _flip(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"45", b"46", 1) if path.suffix == ".yaml" else content.replace(b"5", b"6", 1))
    if path.suffix == ".npz":
        path.write_bytes(content)
        with np.load(path) as stored:
            np.savez(path, **dict(stored) | {"ct_hu": stored["ct_hu"] + 1})


def _new_export(path):
    data = pydicom.dcmread(path, force=True)
    data.SeriesDescription = "exported again"
    data.save_as(path)


KINDS = {
    "breathing record": (with_record, "breath.csv", _flip, "uncertainty.respiration.trace: breath.csv has changed"),
    "goal library": (with_libraries, "b.yaml", _flip, "goals.1: b.yaml has changed"),
    "archive": (with_archive, "case.npz", _flip, "case: case.npz has changed"),
    "dose": (with_dicom, "dicom/rd_1.dcm", _new_export, "case: rd_1.dcm has changed"),
    "plan": (with_dicom, "dicom/rp_1.dcm", _new_export, "case: rp_1.dcm has changed"),
    "structure set": (with_dicom, "dicom/rs_1.dcm", _new_export, "case: rs_1.dcm has changed"),
    "image": (with_dicom, "dicom/ct_003.dcm", _new_export, "case: ct_003.dcm has changed"),
}
BY_DAY = ("breathing record", "dose", "image")


def written(raw, folder):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return load_study(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Of each way to make a study: its folder, its results and what was run, once for all who ask."""

    @cache
    def of(make):
        here, out = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("results") / "out"
        config = written(make(here), here)
        run_study(config, out)
        return here, out, config

    return of


@pytest.mark.parametrize("kind", [k if k in BY_DAY else pytest.param(k, marks=pytest.mark.nightly) for k in KINDS])
def test_a_changed_file_is_another_study_and_a_moved_folder_is_not(kind, finished, tmp_path):
    make, name, change, message = KINDS[kind]
    here, out, config = finished(make)
    there = tmp_path / "there"
    problem = prepare(config)
    assert any(key.endswith(name.split("/")[-1]) for key in problem.inputs)
    assert not any("notes" in key for key in problem.inputs)
    assert is_finished(config, out)
    shutil.copytree(here, there)
    moved = load_study(there / "study.yaml")
    assert identity_of(prepare(moved)) == identity_of(problem)
    assert is_finished(moved, out)
    change(there / name)
    assert is_finished(config, out)
    with pytest.raises(ConfigError, match="results of a different study") as error:
        is_finished(load_study(there / "study.yaml"), out)
    assert message in str(error.value)


def test_names_inside_the_folder_do_not_matter_but_which_library_comes_first_does(finished, tmp_path):
    here, out, _ = finished(with_dicom)
    shutil.copytree(here, tmp_path, dirs_exist_ok=True)
    config = load_study(tmp_path / "study.yaml")
    before = prepare(config)
    (tmp_path / "dicom" / "rd_1.dcm").rename(tmp_path / "dicom" / "dose-of-the-plan.dcm")
    assert prepare(config).inputs != before.inputs
    assert is_finished(config, out)
    turned = tmp_path / "turned"
    turned.mkdir()
    libraries = written(with_libraries(turned), turned)
    run_study(libraries, turned / "out")
    (turned / "a.yaml").rename(turned / "c.yaml")
    (turned / "b.yaml").rename(turned / "a.yaml")
    (turned / "c.yaml").rename(turned / "b.yaml")
    with pytest.raises(ConfigError, match=r"goals\.0: a\.yaml has changed; goals\.1: b\.yaml has changed"):
        is_finished(libraries, turned / "out")


class _ChangeDuring:
    """Progress that changes a file once courses are finished, and stops the run."""

    def __init__(self, change):
        self._change = change

    def note(self, text):
        pass

    def stage(self, text):
        pass

    def courses(self, done, total):
        if done:
            self._change()
            raise KeyboardInterrupt


def test_an_interrupted_run_does_not_go_on_with_another_file(tmp_path):
    config, out = written(with_record(tmp_path), tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_study(config, out, workers=1, progress=_ChangeDuring(lambda: _flip(tmp_path / "breath.csv")))
    with pytest.raises(
        ConfigError, match=r"unfinished courses of a different study \(uncertainty.respiration.trace: breath"
    ):
        run_study(config, out)
    run_study(config, out, fresh=True)
    with open_results(out) as results:
        assert "breath.csv" in results.attrs["inputs"]


def test_a_worker_refuses_a_file_that_is_not_the_one_of_the_run(tmp_path):
    class Late:
        """An executor whose workers start after the file has changed."""

        def map(self, function, items):
            _flip(tmp_path / "breath.csv")
            yield from map(function, items)

    config = written(with_record(tmp_path), tmp_path)
    with pytest.raises(ConfigError, match=r"breath\.csv has changed"):
        run_study(config, tmp_path / "out", executor=Late())
    assert not (tmp_path / "out" / "results.nc").exists()


@pytest.mark.nightly
def test_every_patient_of_a_sweep_is_known(tmp_path):
    for patient in ("A", "B"):
        (tmp_path / patient).mkdir()
        with_archive(tmp_path / patient)
    _flip(tmp_path / "B" / "case.npz")
    cases = [{"file": "A/case.npz"}, {"file": "B/case.npz"}]
    raw = study(plan=ARC, case=cases[0])
    config = written(raw | {"sweep": {"patient": {"together": {"case": cases}, "labels": ["A", "B"]}}}, tmp_path)
    run_study(config, tmp_path / "out")
    assert is_finished(config, tmp_path / "out")
    _flip(tmp_path / "B" / "case.npz")
    with pytest.raises(ConfigError, match=r"case\.npz has changed"):
        is_finished(config, tmp_path / "out")


@pytest.mark.parametrize(
    "record", ["", "{[", "inputs: 3", "inputs: [a]", "a: {b: [}", "\x00", "name: other\ninputs: {a: {b: 1}}"]
)
def test_blocks_whose_record_is_damaged_are_not_believed(record, tmp_path):
    store = BlockStore(tmp_path / "blocks")
    store.claim(identity_text("1", "name: a\n", {"case: x": "CT 12"}))
    (tmp_path / "blocks" / "study.yaml").write_text(record, encoding="utf-8")
    with pytest.raises(ConfigError, match="unfinished courses of a different study"):
        store.claim(identity_text("1", "name: a\n", {"case: x": "CT 12"}))
