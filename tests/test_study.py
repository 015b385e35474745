"""Studies from end to end: invariants that must hold bit for bit, files, resuming."""

import csv
import threading

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.accumulation import dose_lattice
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.execution import splitting, tasks
from simulator.execution.points import is_finished
from simulator.execution.study import run_study
from simulator.ground.once import Once
from simulator.ground.spec import ConfigError
from simulator.problem.preparation import prepare
from simulator.results.file import open_results
from simulator.results.registry import VARIABLES
from simulator.results.summary import SUMMARY_COLUMNS
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.courses import deliver_courses
from simulator.simulation.plans import make_plan
from simulator.simulation.work import Work, prepare_work
from simulator.study_file.schema import StudyConfig


def small_study(**changes):
    """A breathing sphere in a gridded dose with two strategies; seconds to run."""
    raw = {
        "name": "small",
        "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 2},
        "prescription": {"dose_gy": 48, "fractions": 4, "isodose_percent": 80},
        "plan": {"model": "penumbra", "normalisation": "isodose", "gridded": True},
        "uncertainty": {
            "setup": {"systematic_mm": [1, 1.5, 2], "random_mm": [1, 2, 1.5], "mean_mm": [0, 0.5, 1]},
            "respiration": {"amplitude_mm": [1, 2, 6], "course_cv": 0.4, "fraction_cv": 0.2},
        },
        "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none", "online-target"]},
        "goals": ["GTV D98% >= 95%", "GTV Dmin >= 90%", "GTV V48Gy >= 99 %"],
        "courses": 60,
        "seed": 5,
        "numerics": {"instants": 8, "block_courses": 25, "max_points": 3000},
    }
    return StudyConfig.model_validate({**raw, **changes})


def with_numerics(study, **numerics):
    return StudyConfig.model_validate({**study.model_dump(), "numerics": {**study.numerics.model_dump(), **numerics}})


@pytest.fixture(scope="module")
def results():
    return simulator.run(small_study())


def test_same_seed_same_hash_for_any_workers_and_blocks(results):
    study = small_study()
    for workers, block in ((1, 7), (2, 60)):
        again = simulator.run(with_numerics(study, block_courses=block), workers=workers)
        assert again.attrs["result_hash"] == results.attrs["result_hash"]
        np.testing.assert_array_equal(again["dose/mean"], results["dose/mean"])
    other = simulator.run(study, seed=6, courses=10)["metrics/value"].sel(metric="GTV D98%").values
    assert not np.any(other == results["metrics/value"].sel(metric="GTV D98%").values[:, :10])


def test_how_courses_are_split_into_tasks_changes_no_metric(results, tmp_path, monkeypatch):
    monkeypatch.setattr(splitting, "_LEAST_COURSES", 20)
    run_study(small_study(), tmp_path / "split")
    with (tmp_path / "split" / "tasks.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 2 * results["metrics"].sizes["strategy"]
    with simulator.open_results(tmp_path / "split") as again:
        assert again.attrs["result_hash"] == results.attrs["result_hash"]
        np.testing.assert_allclose(again["dose/mean"], results["dose/mean"], rtol=1e-5, atol=1e-4)  # sums of float32


def test_more_courses_keep_the_first_ones(results):
    more = simulator.run(small_study(), courses=90)
    np.testing.assert_array_equal(more["metrics/value"][:, :60], results["metrics/value"])


def test_adding_a_strategy_changes_nobody_elses_numbers(results):
    listed = ((5, "none"), (3, "online-target"), (3, "none"))
    strategies = [{"margin_mm": mm, "motion": "none", "guidance": guidance} for mm, guidance in listed]
    wider = simulator.run(small_study(strategies=strategies))
    for label in results["metrics/strategy"].values:
        np.testing.assert_array_equal(
            wider["metrics/value"].sel(strategy=label), results["metrics/value"].sel(strategy=label)
        )


def test_without_errors_every_course_is_the_plan():
    still = simulator.run(
        small_study(uncertainty={}, strategies={"margins_mm": [0, 4], "motion": "none", "guidance": "none"})
    )
    value, nominal = still["metrics/value"], still["metrics/nominal"]
    np.testing.assert_allclose(value, nominal.values[:, None, :].repeat(60, axis=1), rtol=1e-6)
    np.testing.assert_allclose(still["dose/mean"], still["dose/nominal"], rtol=1e-5, atol=1e-4)
    band = still["dvh/volume_percent"].sel(quantile=0.5)
    np.testing.assert_allclose(band, still["dvh/nominal"], atol=0.11)
    assert set(np.unique(still["goals/probability"])) <= {0.0, 1.0}


@pytest.mark.parametrize(("point", "tissue"), [((0, 2, -4), "GTV"), ((6, -2, 0), "GTV"), ((0, 14, 0), "SpinalCord")])
def test_mean_dose_map_is_the_mean_over_courses_of_the_dose_to_that_tissue(point, tissue, results):
    problem = prepare(small_study())
    plan = make_plan(problem, problem.requests[1])
    drawn = draw_courses(problem.setting, Draws(5, 0, 60))
    motion = deliver(drawn, problem.strategies[1], problem.setting).motion(tissue)
    shift, weight = motion.shift_mm, motion.weight
    expected = (plan.dose.at((np.array(point) + shift).reshape(-1, 3)) * weight.ravel()).sum() / 60
    x, y, z = point
    blur_gy = 1.0**2 / 12 * 60 * 0.242 / 3.2**2  # trilinear sums on the map's 1 mm lattice, steepest second derivative
    assert results["dose/mean"][1].sel(x=x, y=y, z=z).item() == pytest.approx(expected, abs=blur_gy)


def test_probabilities_are_counts_of_the_stored_courses(results):
    value = results["metrics/value"].sel(metric="GTV D98%").values
    expected = (value >= 0.95 * 48 * (1 - 1e-6)).mean(axis=1)
    np.testing.assert_array_equal(results["goals/probability"].sel(goal="GTV D98% >= 95%"), expected)
    in_percent = np.median(value.astype(float), axis=1) / 0.48
    np.testing.assert_allclose(results["goals/median"].sel(goal="GTV D98% >= 95%"), in_percent, rtol=1e-12)


def test_results_folder_holds_the_contract(tmp_path):
    study = small_study(budget={"courses": 50}, maps={"courses": 20})
    run_study(study, tmp_path)
    tree = xr.open_datatree(tmp_path / "results.nc", engine="h5netcdf")
    # optimised plans, weights, doubts, several targets, delivery in time, approximations, engines
    absent = {"leaves", "weights", "knowledge", "targets", "interplay", "model_error", "engine"}
    assert not absent & set(tree.children)
    of_stopped = {"n_courses", "stopped"}
    assert not of_stopped & set(tree["decision"].data_vars)
    for name, table in VARIABLES.items():
        found = [key for key in table if not key.startswith("target_coverage") and key not in of_stopped]
        for key, variable in ((key, table[key]) for key in found if name not in absent):
            assert tree[name][key].dims == variable.dims
            assert tree[name][key].attrs["units"] == variable.unit
    for attribute in ("simulator_version", "config", "seed", "n_courses", "result_hash"):
        assert attribute in tree.attrs
    with (tmp_path / "summary.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == SUMMARY_COLUMNS
    assert len(table) == 2 * 3
    row = table[0]
    goals = tree["goals"].to_dataset().sel(strategy=row["strategy"], goal=row["goal"])
    assert float(row["probability"]) == pytest.approx(float(goals["probability"]), rel=1e-5)
    assert int(row["n_courses"]) == 60
    again = simulator.load_study(tmp_path / "config.yaml")
    assert again == study
    assert is_finished(study, tmp_path)
    assert not (tmp_path / "blocks").exists()
    with pytest.raises(ConfigError, match=r"results of a different study \(seed: 5 -> 9\)"):
        is_finished(study.model_copy(update={"seed": 9}), tmp_path)


class StopAfter:
    """Progress that interrupts a run, as Ctrl-C would."""

    def __init__(self, courses):
        self._courses = courses

    def note(self, text):
        pass

    def stage(self, text):
        pass

    def courses(self, done, total):
        if done >= self._courses and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, results):
    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(), tmp_path, workers=1, progress=StopAfter(60))
    blocks = sorted((tmp_path / "blocks").glob("*.block"))
    assert [b.name for b in blocks] == [
        "s000-c00000000-25.block", "s000-c00000025-25.block", "s000-c00000050-10.block", "s000-part-00000000-60.block",
    ]  # fmt: skip
    truncated, flipped = blocks[0], blocks[1]
    truncated.write_bytes(truncated.read_bytes()[:-200])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 4
    flipped.write_bytes(content)
    with pytest.raises(ConfigError, match=r"unfinished courses of a different study \(seed: 5 -> 6\)"):
        run_study(small_study(seed=6), tmp_path)
    run_study(small_study(), tmp_path, workers=2)
    with (tmp_path / "tasks.csv").open(encoding="utf-8") as file:
        new = [(row["strategy"], int(row["n_new"])) for row in csv.DictReader(file)]
    assert new[0] == ("none, 3 mm, none", 60)
    assert sorted(new[1:]) == [("none, 3 mm, none", 50), ("none, 3 mm, online-target", 60)]
    with open_results(tmp_path) as resumed:
        assert resumed.attrs["result_hash"] == results.attrs["result_hash"]


def test_a_block_damaged_after_it_was_finished_is_computed_anew(tmp_path, results):
    class Damage(StopAfter):
        def note(self, text):
            pass

        def stage(self, text):
            if text == "required margins and results":
                block = tmp_path / "blocks" / "s001-c00000025-25.block"
                block.write_bytes(block.read_bytes()[::-1])
                damaged.append(block)

    damaged: list = []
    run_study(small_study(), tmp_path, progress=Damage(1000))
    assert len(damaged) == 1
    with open_results(tmp_path) as mended:
        assert mended.attrs["result_hash"] == results.attrs["result_hash"]


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_number_of_courses(tmp_path, monkeypatch):
    """Beside the lattices that a process keeps, which have a bound of their own."""
    import tracemalloc

    monkeypatch.setattr(dose_lattice, "_lattices", Once(0, lambda lattice: lattice.values.nbytes))

    def peak_bytes(courses):
        study = small_study(courses=courses, strategies={"margins_mm": [3], "motion": "none", "guidance": "none"})
        tracemalloc.start()
        run_study(study, tmp_path / str(courses), workers=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(100), peak_bytes(1000)
    stored_metrics = 900 * 7 * 4
    assert many - few < 20 * stored_metrics + 1e6


def test_strategies_that_deliver_the_same_are_simulated_once(monkeypatch):
    """With setup errors alone a match on the target is one on bone; alone each has the same numbers."""
    setup = {"setup": {"systematic_mm": [1, 1.5, 2], "random_mm": [1, 2, 1.5]}}
    guidance = ["online-bone", "none", "online-target"]
    prepared = []

    def counted(problem, strategy, *others):
        prepared.append(strategy.guidance.kind)
        return prepare_work(problem, strategy, *others)

    monkeypatch.setattr(tasks, "prepare_work", counted)
    study = small_study(uncertainty=setup, strategies={"margins_mm": [3], "motion": ["none"], "guidance": guidance})
    together = simulator.run(study, workers=1)
    assert set(prepared) == {"online-bone", "none"}
    last = small_study(uncertainty=setup, strategies={"margins_mm": [3], "motion": ["none"], "guidance": guidance[2:]})
    alone = simulator.run(last, workers=1)
    assert "online-target" in prepared
    for name in ("metrics/value", "metrics/nominal", "dvh/volume_percent", "dose/mean"):
        np.testing.assert_array_equal(together[name].values[2], together[name].values[0])
        np.testing.assert_array_equal(together[name].values[2], alone[name].values[0])
    assert np.any(together["metrics/value"].values[1] != together["metrics/value"].values[0])


def test_courses_are_delivered_once_for_all_margins(monkeypatch):
    """Three blocks under each of two guidances, whatever the number of margins."""
    delivered = []

    def counted(problem, strategy, draws):
        delivered.append(strategy.guidance.kind)
        return deliver_courses(problem, strategy, draws)

    monkeypatch.setattr(tasks, "deliver_courses", counted)
    monkeypatch.setattr(tasks, "_deliveries", Once(1))
    strategies = {"margins_mm": [0, 2, 4, 6], "motion": ["none"], "guidance": ["none", "online-target"]}
    simulator.run(small_study(strategies=strategies), workers=1)
    assert delivered == ["none"] * 3 + ["online-target"] * 3


def test_organs_at_rest_are_measured_once_for_all_strategies_with_a_plan(monkeypatch):
    """They lie the same whatever the guidance, elsewhere in a breath-hold; each alone has the same numbers."""
    hold = {"kind": "breath-hold", "depth": 2, "geometry_mm": {"Esophagus": [0, -4, -9]}}
    strategies = {"margins_mm": [3], "motion": ["none", hold], "guidance": ["none", "online-bone"]}
    limit, case = "Esophagus D0.035cc <= 20 Gy", {"phantom": "mediastinal", "esophagus_distance_mm": 8}
    problem = prepare(small_study(case=case, strategies=strategies, goals=["GTV D98% >= 95%", limit]))
    plan, still = make_plan(problem, problem.requests[0]), Reach.of(TissueMotion.still(np.zeros(3)))
    doses = {"GTV": StructureDoses(plan.dose, problem.patches["GTV"], still, 1.0)}
    monkeypatch.setattr(tasks, "_at_rest", Once(99))
    measured, organ = [], Work._nominal_organ
    monkeypatch.setattr(Work, "_nominal_organ", lambda *args: measured.append(args[1].name) or organ(*args))
    found = []
    for i, strategy in enumerate(problem.strategies):
        work = Work(problem, strategy, plan, doses, {}, {}, {}, {})
        found.append(tasks._nominal(tasks.Task(None, i, 0, 2), work))
    alone = work.nominal()
    assert measured.count("Esophagus") == 2 + 1
    for one, other in ((0, 1), (2, 3)):
        np.testing.assert_array_equal(found[one][0], found[other][0])
    np.testing.assert_array_equal(found[3][0], alone[0])
    np.testing.assert_array_equal(found[3][1], alone[1])
    assert found[0][0][problem.column["Esophagus D0.035cc"]] != alone[0][problem.column["Esophagus D0.035cc"]]
