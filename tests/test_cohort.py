"""Sweeps of many points: prepared by the workers, and put together one point at a time in bounded memory."""

import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
import xarray as xr
from sweeps_by_xarray import combined
from synthetic_results import synthetic_results

import simulator
from simulator.answers.sweeps import combine, share_of
from simulator.execution.study import run_study
from simulator.ground.spec import ConfigError
from simulator.results import file
from simulator.results.file import content_digest, open_results
from simulator.study_file.loading import dump_study
from simulator.study_file.schema import StudyConfig

COHORT = {
    "name": "cohort",
    "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 4},
    "prescription": {"dose_gy": 20, "fractions": 1},
    "plan": {"model": "penumbra"},
    "uncertainty": {"setup": {"systematic_mm": 2}},
    "strategies": [{"margin_mm": 4, "motion": "none", "guidance": "none"}],
    "goals": ["GTV D98% >= 95%"],
    "courses": 20,
    "numerics": {"max_points": 1000, "instants": 1},
}


def cohort(n_points: int) -> StudyConfig:
    """Spheres of as many sizes, each a case of its own."""
    radii_mm = {"start": 6, "stop": 6 + 0.01 * (n_points - 1), "step": 0.01}
    return StudyConfig.model_validate(COHORT | {"sweep": {"case.radius_mm": radii_mm}})


COMMAND = """
from pathlib import Path
from simulator.execution.executors import executor_with
from simulator.execution.memory import peak_mb
from simulator.execution.study import run_study
from simulator.study_file.loading import load_study
if __name__ == "__main__":
    with executor_with(2, "dask") as dask:
        run_study(load_study("study.yaml"), Path("out"), executor=dask)
    print(peak_mb())
"""


@pytest.mark.parametrize("n_points", [4, pytest.param(300, marks=pytest.mark.nightly)])
def test_a_cohort_on_a_dask_cluster(n_points, tmp_path):
    """The command stays below 1 GiB; the numbers of a point are those of its study alone."""
    study = cohort(n_points)
    (tmp_path / "study.yaml").write_text(dump_study(study), encoding="utf-8")
    (tmp_path / "command.py").write_text(COMMAND, encoding="utf-8")
    done = subprocess.run([sys.executable, "command.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1024
    alone = simulator.run(study.points()[-1])
    with open_results(tmp_path / "out") as results:
        values = results["metrics/value"]
        assert values.sizes["case.radius_mm"] == n_points
        assert bool(values.notnull().all())
        np.testing.assert_array_equal(values[-1], alone["metrics/value"])
        np.testing.assert_array_equal(results["plans/ptv_cc"][-1], alone["plans/ptv_cc"])
    assert not list((tmp_path / "out").rglob("*.block"))


class Backwards:
    """An executor whose last item is done first; remembers what it was asked to do."""

    def __init__(self):
        self.asked = []

    def map(self, function, items):
        items = list(items)
        self.asked += [(function.__name__, len(items))]
        yield from map(function, reversed(items))


def test_workers_prepare_all_points_but_the_first_and_the_first_bad_one_is_named(tmp_path):
    executor = Backwards()
    study = cohort(4).model_dump() | {
        "sweep": {"wish": {"together": {"goals": [["GTV D98% >= 95%"], ["A Dmean <= 1 Gy"], ["B Dmean <= 1 Gy"]]},
                        "labels": ["good", "bad", "worse"]}}
    }  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"^sweep point wish = bad: goal 'A Dmean <= 1 Gy': structure 'A' is not in case"
    ):
        run_study(StudyConfig.model_validate(study), tmp_path / "out", executor=executor)
    assert executor.asked == [("_prepare", 2)]
    assert not (tmp_path / "out").exists()


class Counting:
    """Progress that keeps what it is told of points, by stage."""

    def __init__(self):
        self.told = {}

    def stage(self, text):
        self._stage = text

    def note(self, text):
        pass

    def courses(self, done, total):
        pass

    def points(self, done, total):
        self.told.setdefault(self._stage, []).append((done, total))


def loaded(folder):
    with open_results(folder) as results:
        return results.load()


@pytest.mark.nightly
def test_points_may_be_done_in_any_order_and_are_counted(tmp_path):
    counting, executor, study = Counting(), Backwards(), cohort(3)
    run_study(study, tmp_path, executor=executor, progress=counting)
    points = [loaded(tmp_path / "points" / f"{number:05d}") for number in range(3)]
    with open_results(tmp_path) as results:
        for name, dataset in combined(study, points).items():
            xr.testing.assert_identical(results[name].to_dataset().load(), dataset)
    assert [name for name, _ in executor.asked] == ["_prepare", "simulate", "assemble_results", "keep_share"]
    assert counting.told["reading the case"][-1] == counting.told["results of all points together"][-1] == (3, 3)


def written(study, points, path):
    """Results of a sweep from those of its points."""
    combine(study, lambda: map(share_of, points), {}, path, lambda done, total: None)
    return path


def axes_of(n: int, m: int) -> StudyConfig:
    sweep = {
        "seed": list(range(n)),
        "place": {"together": {"courses": list(range(1, m + 1))}, "labels": list("abcdef"[:m])},
    }
    return StudyConfig.model_validate(COHORT | {"sweep": sweep})


@pytest.mark.nightly
def test_points_put_together_one_by_one_are_those_of_xarray(tmp_path):
    """Points that lack strategies, organs and courses: labels, fills, types and attributes are those of a concatenation."""
    kinds = [
        {},
        {"n_courses": 40},
        {"margins_mm": (3.0, 7.0)},
        {"n_oars": 1},
        {"n_oars": 3, "motions": ("itv",)},
        {"guidances": ("none",)},
    ]
    points = [synthetic_results(with_dose=False, **kind) for kind in kinds]
    points[4]["decision"].attrs["wanted"] = "another goal"
    study = axes_of(3, 2)
    expected = combined(study, points)
    with open_results(written(study, points, tmp_path / "results.nc")) as results:
        assert set(results.children) == set(expected)
        for name, dataset in expected.items():
            xr.testing.assert_identical(results[name].to_dataset().load(), dataset)
            for key, variable in dataset.variables.items():
                assert results[name][key].dtype == variable.dtype or variable.dtype.kind in "OUT", key


@pytest.mark.nightly
def test_memory_does_not_grow_with_points(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "_PART_BYTES", 2**18)
    one = synthetic_results(with_dose=False, n_courses=10_000)

    def peak_bytes(n: int) -> int:
        tracemalloc.start()
        written(axes_of(n, 1), [one] * n, tmp_path / f"{n}.nc")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(2), peak_bytes(5)
    assert many < few + one["metrics/value"].nbytes  # three more points in memory would be three times that


def test_digests_of_parts_are_those_of_the_whole(tmp_path, monkeypatch):
    """However few bytes are read at a time."""
    path = written(axes_of(2, 2), [synthetic_results(with_dose=False)] * 4, tmp_path / "results.nc")
    with h5py.File(path) as stored:
        for part in (1, 100, 10_000):
            monkeypatch.setattr(file, "_PART_BYTES", part)
            assert content_digest(stored) == stored.attrs["content_digest"]
            assert file.result_hash(stored) == stored.attrs["result_hash"]
