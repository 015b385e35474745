"""Sweeps: labelled dimensions, common random numbers, every way to name values, and the same bits for every executor."""

import csv
import re
import threading

import numpy as np
import pytest
import xarray as xr
from test_report import Page
from test_study import small_study
from typer.testing import CliRunner

import simulator
from simulator.commands.cli import app
from simulator.execution.executors import executor_with
from simulator.execution.points import is_finished
from simulator.execution.study import run_study
from simulator.ground.spec import ConfigError
from simulator.plots.quantities import quantity, quantity_at
from simulator.report import render_report
from simulator.report.sweep import _smallest_required, sweep_table
from simulator.results.file import open_results
from simulator.results.views import joint_probability
from simulator.study_file.loading import load_study

SWEEP = {
    "uncertainty.setup.systematic_mm": [[1, 1.5, 2], 3],
    "prescription.isodose_percent": {"start": 70, "stop": 80, "step": 10},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    run_study(small_study(sweep=SWEEP), folder)
    return folder


def test_axes_are_labelled_and_come_first(swept):
    with open_results(swept) as results:
        value = results["metrics/value"]
        assert value.dims == (
            "uncertainty.setup.systematic_mm",
            "prescription.isodose_percent",
            "strategy",
            "course",
            "metric",
        )
        assert list(value["uncertainty.setup.systematic_mm"].values) == ["1, 1.5, 2", "3"]
        assert list(value["prescription.isodose_percent"].values) == [70.0, 80.0]
        for name, array in (("goals", "probability"), ("dvh", "volume_percent"), ("decision", "recommended")):
            assert results[name][array].dims[:2] == value.dims[:2]


def test_each_point_is_the_study_with_its_values(swept):
    alone = simulator.run(small_study())
    setup = {"systematic_mm": 3, "random_mm": [1, 2, 1.5], "mean_mm": [0, 0.5, 1]}
    other = simulator.run(
        small_study(
            uncertainty=small_study().uncertainty.model_dump() | {"setup": setup},
            prescription={"dose_gy": 48, "fractions": 4, "isodose_percent": 70},
        )
    )
    with open_results(swept) as results:
        value = results["metrics/value"]
        np.testing.assert_array_equal(value[0, 1], alone["metrics/value"])
        np.testing.assert_array_equal(value[1, 0], other["metrics/value"])
        np.testing.assert_array_equal(results["goals/probability"][1, 0], other["goals/probability"])
        shared = results["dvh/volume_percent"][0, 0].interp(dose=alone["dvh/dose"])  # the axis of 70 % reaches farther
        assert float(results["dvh/dose"].max()) > float(alone["dvh/dose"].max())
        assert np.isfinite(shared).all()


def test_summary_has_a_row_for_each_point(swept):
    with (swept / "summary.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2 * 3
    assert rows[0]["uncertainty.setup.systematic_mm"] == "1, 1.5, 2"
    assert rows[-1]["prescription.isodose_percent"] == "80.0"


def test_the_page_names_quantities_with_units_and_no_infinity(swept, tmp_path):
    with open_results(swept) as results:
        margins = results["margins"].to_dataset().load()
        for key in ("required_mm", "high_mm"):
            margins[key][0] = np.inf
            margins[key][1] = -np.inf
        margins["low_mm"][1] = -np.inf
        results["margins"].dataset = margins
        render_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    tables = Page(page).tables
    for table in ("sweep-table", "goal-table"):
        assert tables[table][0][0].startswith("setup systematic SD, mm ")
        assert tables[table][0][1].startswith("prescription isodose, % ")
        assert not re.search(r"\b(inf|nan)\b", str(tables[table]))
    assert page.count("<caption>") == page.count("<table") == 2
    assert page.count("<th ") == page.count("<th scope=")
    assert all(f'id="{place}"' in page for place in re.findall(r'href="#(\w+)"', page))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("uncertainty.setup.systematic_mm", "setup systematic SD, mm"),
        ("uncertainty.setup.random_deg", "setup random SD, degrees"),
        ("uncertainty.drift.mean_mm_per_min", "drift mean, mm/min"),
        ("uncertainty.respiration.course_cv", "respiration course coefficient of variation"),
        ("prescription.dose_gy", "prescription dose, Gy"),
        ("seed", "seed"),
        ("my_patients", "my_patients"),
        ("case.target", "case target"),
    ],
)
def test_keys_are_read_as_quantities(key, expected):
    assert quantity(key) == expected


def test_points_are_named_by_quantities():
    assert quantity_at("uncertainty.setup.systematic_mm", 1.5) == "setup systematic SD 1.5 mm"
    assert quantity_at("schedule", "3 x 18 Gy") == "schedule 3 x 18 Gy"


@pytest.mark.nightly
def test_every_point_keeps_its_own_results(swept):
    with open_results(swept / "points" / "00001") as point, open_results(swept) as whole:
        np.testing.assert_array_equal(point["metrics/value"], whole["metrics/value"][0, 1])
        assert "dose" in point.children
    assert is_finished(small_study(sweep=SWEEP), swept)


@pytest.mark.nightly
def test_keys_that_change_together_and_points_with_other_strategies_and_structures(tmp_path):
    study = small_study(
        sweep={
            "site": {
                "together": {
                    "case.radius_mm": [8, 6],
                    "strategies.margins_mm": [[3], [3, 5]],
                    "goals": [["GTV D98% >= 95%"], ["External Dmean <= 10 Gy", "GTV D98% >= 95%"]],
                    "courses": [30, 40],
                },
                "labels": ["large", "small"],
            }
        }
    )
    results = simulator.run(study, out=tmp_path)
    value = results["metrics/value"]
    assert list(value["site"].values) == ["large", "small"]
    assert value.sizes["strategy"] == 4
    assert np.isnan(value.sel(site="large", strategy="none, 5 mm, none")).all()
    assert np.isnan(value.sel(site="large", metric="GTV D98%")[:, 30:]).all()
    assert np.isfinite(value.sel(site="small", metric="GTV D98%")).all()
    with (tmp_path / "summary.csv").open(encoding="utf-8") as file:
        counts = {(row["site"], row["n_courses"]) for row in csv.DictReader(file)}
    assert counts == {("large", "30"), ("small", "40")}


AT_80_PERCENT = small_study(sweep={"uncertainty.setup.systematic_mm": SWEEP["uncertainty.setup.systematic_mm"]})


def assert_same_bits_as_at_80_percent(folder, swept):
    """Its two points are the second and fourth of the whole sweep, bit for bit."""
    for own, of_four in (("00000", "00001"), ("00001", "00003")):
        with open_results(folder / "points" / own) as found, open_results(swept / "points" / of_four) as expected:
            assert found.attrs["result_hash"] == expected.attrs["result_hash"]
            np.testing.assert_array_equal(found["dose/mean"], expected["dose/mean"])


@pytest.mark.nightly
def test_same_bits_whoever_simulates(swept, tmp_path):
    with executor_with(2, "processes") as executor:  # of a Dask cluster: test_cohort.py
        run_study(AT_80_PERCENT, tmp_path, executor=executor)
    assert_same_bits_as_at_80_percent(tmp_path, swept)


def test_an_interrupted_sweep_goes_on_with_its_unfinished_points(swept, tmp_path):
    class StopAtFirstTask:
        def note(self, text):
            pass

        def stage(self, text):
            pass

        def courses(self, done, total):
            if done and threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt

        def points(self, done, total):
            pass

    with pytest.raises(KeyboardInterrupt):
        run_study(AT_80_PERCENT, tmp_path, workers=1, progress=StopAtFirstTask())
    run_study(AT_80_PERCENT, tmp_path)
    assert_same_bits_as_at_80_percent(tmp_path, swept)


def test_check_says_how_much_work_a_sweep_is(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: s\ncase: {phantom: sphere, radius_mm: 8}\n"
        "prescription: {dose_gy: 48, fractions: 4, isodose_percent: 80}\n"
        "plan: {model: penumbra, normalisation: isodose}\n"
        "strategies: {margins_mm: [3], motion: none, guidance: none}\ngoals: ['GTV D98% >= 95%']\ncourses: 1000\n"
        "sweep: {uncertainty.setup.random_mm: {start: 1, stop: 3, step: 1}, seed: [1, 2]}\n",
        encoding="utf-8",
    )
    shown = CliRunner().invoke(app, ["check", str(file)]).output
    assert "sweep over uncertainty.setup.random_mm" in shown
    assert "1; 2; 3" in shown
    assert "6, of at most 1000 courses" in shown
    assert "estimate" in shown


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("{uncertainty.setup.systematic: [1]}", "unknown key; did you mean 'systematic_mm'?"),
        ("{uncertainty.setup.systematic_mm: [1, -1]}", "has to be greater than or equal to 0, got -1"),
        ("{seed: 3}", "sweep.seed: a list is wanted, got 3"),
        ("{seed: [1, 1]}", "sweep.seed: 1 stands twice"),
        ("{name: [a]}", "name cannot be swept"),
        ("{x: {together: {seed: [1, 2], courses: [1]}}}", "seed has 2, courses has 1"),
        ("{seed: {start: 1, stop: 1000000, step: 1}}", "give no or more than 2000 values"),
        ("{seed: {start: 1, stop: 60, step: 1}, courses: {start: 1, stop: 60, step: 1}}",
         "sweep: 3600 points, at most 2000 are simulated; split the study"),
        ("{a/b: {together: {seed: [1, 2]}}}", "sweep.a/b: a name in the results starts and ends with a letter or digit"),
        ("{' a': {together: {seed: [1, 2]}}}", "a name in the results starts and ends with a letter or digit"),
        ("{'..': {together: {seed: [1, 2]}}}", "a name in the results starts and ends with a letter or digit"),
        ("{strategy: {together: {seed: [1, 2]}}}", "sweep.strategy: the results have a strategy of their own; choose another"),
        ("{z: {together: {seed: [1, 2]}}}", "sweep.z: the results have a z of their own; choose another name"),
        ("{nominal: {together: {seed: [1, 2]}}}", "sweep.nominal: the results have a nominal of their own"),
        ("{seed: {start: 2, stop: 1, step: 1}}", "give no or more than 2000 values"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_sweep_is_said_at_once(tmp_path, sweep, message):
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: s\ncase: {phantom: sphere, radius_mm: 8}\n"
        "prescription: {dose_gy: 48, fractions: 4, isodose_percent: 80}\nplan: {model: penumbra}\n"
        f"strategies: {{margins_mm: [3], motion: none, guidance: none}}\ngoals: ['GTV D98% >= 95%']\nsweep: {sweep}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as error:
        load_study(file)
    assert message in str(error.value)


def test_a_point_that_the_case_refuses_is_named(tmp_path):
    study = small_study(
        sweep={"goals": {"together": {"goals": [["GTV D98% >= 95%"], ["Liver Dmean <= 1 Gy"]]}, "labels": [1, 2]}}
    )
    with pytest.raises(
        ConfigError, match="sweep point goals = 2: goal 'Liver Dmean <= 1 Gy': structure 'Liver' is not in"
    ):
        run_study(study, tmp_path)


def test_paths_in_a_sweep_start_from_the_study_file(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: s\ncase: {dicom: a}\nprescription: {dose_gy: 48, fractions: 4, isodose_percent: 80}\n"
        "plan: {model: conformal-arc}\nstrategies: {margins_mm: [3], motion: none, guidance: none}\n"
        "goals: ['GTV D98% >= 95%']\nsweep: {patient: {together: {case: [{dicom: a}, {dicom: b}]}}, case.target: [GTV, CTV]}\n",
        encoding="utf-8",
    )
    study = load_study(file)
    assert [point.case.dicom for point in study.points()] == [str((tmp_path / p).resolve()) for p in "aabb"]
    assert study.axes()[0].labels == ("a", "b")


def series(*rows):
    """Required margins of some guidances: required, low, high, smallest and largest candidate on all sides, in mm."""
    columns = dict(
        zip(("required_mm", "low_mm", "high_mm", "smallest_mm", "largest_mm"), zip(*rows, strict=True), strict=True)
    )
    data = {
        key: (("series", "direction"), np.repeat(np.array(v, float)[:, None], 6, axis=1)) for key, v in columns.items()
    }
    names = {"motion": ("series", ["none"] * len(rows)), "guidance": ("series", list("ABCDE")[: len(rows)])}
    names["falls"] = ("series", np.zeros(len(rows), bool))
    return xr.Dataset(data | names)


INF = np.inf


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(5.4, 5.1, 5.8, 3, 8), (4.2, 4.0, 4.5, 3, 8)], "4.2 mm (4.0 to 4.5), none, B"),
        ([(5.4, 5.1, 5.8, 3, 8), (-INF, -INF, -INF, 3, 8)], "at most 3.0 mm (below the smallest candidate), none, B"),
        ([(-INF, -INF, 3.3, 3, 8), (INF, INF, INF, 3, 8)], "at most 3.0 mm (below 3.0 to 3.3), none, A"),
        ([(INF, INF, INF, 3, 8), (INF, INF, INF, 3, 8)], "more than 8.0 mm (above the largest candidate), none, A or none, B"),
        ([(-INF, -INF, -INF, 3, 8)] * 4,
         "at most 3.0 mm (below the smallest candidate), none, A or none, B or 2 more"),
        ([(2.5, 2.3, 2.7, 0, 8), (-INF, -INF, -INF, 3, 8)],
         "2.5 mm (2.3 to 2.7), none, A; or at most 3.0 mm (below the smallest candidate), none, B"),
        ([(5.4, 5.1, 5.8, 3, 8), (INF, INF, INF, 0, 4)],
         "5.4 mm (5.1 to 5.8), none, A; or more than 4.0 mm (above the largest candidate), none, B"),
        ([(5.4, 5.1, 5.8, 3, 8), (np.nan,) * 5], "5.4 mm (5.1 to 5.8), none, A"),
        ([(np.nan,) * 5], "–"),
    ],
)  # fmt: skip
def test_the_smallest_required_margin_counts_those_below_the_candidates(rows, expected):
    assert _smallest_required(series(*rows)) == expected


def test_the_margin_of_one_axis_is_not_taken_for_that_of_the_others():
    """Candidates along SI that all suffice: no more than 4/4/3 mm, though 4 mm are kept on LR and AP."""
    margins = series((4, 4, 4, 4, 4), (4, 4, 4, 4, 4))
    for key, si in (("required_mm", -INF), ("low_mm", -INF), ("high_mm", -INF), ("smallest_mm", 3), ("largest_mm", 6)):
        margins[key][0, 4:] = si
    margins["required_mm"][1, 4:] = 3.5
    assert _smallest_required(margins) == "at most 4.0 / 4.0 / 3.0 mm (below the smallest candidate), none, A"


@pytest.mark.nightly
def test_the_wanted_coverage_may_be_swept_and_too_few_courses_are_said(tmp_path):
    study = small_study(sweep={"decision.probability": [0.05, 0.9999]})
    results = simulator.run(study, courses=40, out=tmp_path)
    assert list(results["decision/wanted_probability"].values) == [0.05, 0.9999]
    has_no_organs = joint_probability(results, "all organ goals")["probability"].isnull().all().item()
    table = sweep_table(results)
    undecided = (results["joint/ci_high"].sel(joint="wanted coverage").values >= [[0.05], [0.9999]]).any(axis=1)
    for row, unsure in zip(table["rows"], undecided, strict=True):
        verdict = row["verdict"]
        assert "nearest" not in verdict or verdict.startswith("undecided" if unsure else "none suits")
        assert (row["organs"]["text"] == "–") == has_no_organs
    render_report(results, tmp_path / "report.html")
    assert "5 or 99.99 %" in (tmp_path / "report.html").read_text(encoding="utf-8")
