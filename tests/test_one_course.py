"""One course of a finished study: simulated alone it is the very course of the study, and its errors are what was drawn."""

import csv
import re

import numpy as np
import pydicom
import pytest
from test_check import exit_code
from test_inputs import KINDS, written
from test_study import small_study

import simulator
from simulator import plots
from simulator.commands.course import course_folder, write_course
from simulator.execution import splitting
from simulator.execution.study import run_study
from simulator.ground.spec import CaseError, ConfigError, SimulatorError
from simulator.population.bands import at_percentile
from simulator.report import render_report
from simulator.report.viewer_volumes import volumes_within_budget
from simulator.results.file import open_results, write_results
from simulator.sampling.by_source import errors_by_source, over_beam
from simulator.sampling.courses import draw_courses
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.one_course import errors_of_course

TURNS = {
    "setup": {
        "systematic_mm": [1, 1.5, 2], "random_mm": [1, 2, 1.5], "systematic_deg": [1, 2, 1], "random_deg": [1, 1, 2],
        "isocentre_mm": [10, 0, -10],
    },
    "drift": {"sd_mm_per_min": [0.1, 0.1, 0.3]},
}  # fmt: skip
ALL_AT_ONCE = TURNS | {
    "baseline": {"systematic_mm": [1, 1, 2], "random_mm": [1, 1, 1], "after_imaging_mean_mm": [0, 1, 2]},
    "respiration": {"amplitude_mm": [1, 2, 6], "course_cv": 0.4, "fraction_cv": 0.2},
    "registration": {"systematic_mm": [1, 1, 1]},
    "isocentre": {"systematic_mm": [0.5, 0.5, 0.5]},
}
PELVIS = {
    "case": {"phantom": "pelvic"},
    "uncertainty": {
        "setup": {"systematic_mm": 2, "random_mm": 2},
        "delineation": {"sd_mm": 1.5, "correlation_deg": 45},
        "organs": {
            "Bladder": {
                "systematic_mm": 2, "filling_course_cv": 0.3, "filling_fraction_cv": 0.2, "filling_cc_per_min": 2,
            },
        },
    },
    "goals": ["GTV D98% >= 95%", "Bladder D0.035cc <= 40 Gy", "Bladder V20Gy <= 5 cc"],
}  # fmt: skip
ONE = {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]}
STUDIES = {
    "several blocks and parts": {"courses": 600, "numerics": {"instants": 4, "block_courses": 70, "max_points": 1000}},
    "Sobol' points": {"sampling": "sobol", "courses": 64},
    "a precision": {
        "precision": 0.05, "courses": 2000, "numerics": {"instants": 4, "block_courses": 50, "max_points": 1000},
    },
    "rotations": {"uncertainty": TURNS},
    "delineation and filling": PELVIS
    | {"courses": 30, "numerics": {"instants": 4, "block_courses": 25, "max_points": 3000}},
    "biology": {
        "goals": ["GTV D98% >= 95%", "GTV TCP >= 50%"],
        "biology": {"tcp": {"GTV": {"tissue": "NSCLC", "clonogens_per_cc": 1e7}}},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def results():
    return simulator.run(small_study(uncertainty=ALL_AT_ONCE))


def strategies_of(results):
    return [str(name) for name in results["metrics/strategy"].values]


@pytest.mark.parametrize("what", STUDIES)
def test_a_course_alone_is_that_of_the_study_bit_for_bit(what, monkeypatch):
    """`simulate_course` refuses a course whose metrics differ; here they are compared once more."""
    monkeypatch.setattr(splitting, "_LEAST_COURSES", 250)
    results = simulator.run(small_study(**STUDIES[what]), workers=2)
    n = int(results.attrs["n_courses"])
    parts = np.atleast_1d(results["courses"].attrs["parts"])
    assert (len(parts) > 1) == (what in ("several blocks and parts", "a precision"))
    courses = ((0, n // 2 + 3), (n // 2 + 3, n - 1))
    for strategy, some in zip(strategies_of(results), courses, strict=True):
        for course in some:
            found = simulator.simulate_course(results, strategy, course)
            stored = results["metrics/value"].sel(strategy=strategy, course=course)
            np.testing.assert_array_equal(found["value"].values, stored.values)
            np.testing.assert_array_equal(found["stored"].values, stored.values)
            assert stored.dtype == found["value"].dtype == np.float32


@pytest.mark.parametrize(
    "motion", ["none", "itv", "mid-ventilation", "gating", "breath-hold", "tracking", "compression"]
)
@pytest.mark.parametrize("guidance", ["none", "online-bone", "online-target", "nal"])
def test_errors_by_source_sum_to_what_is_delivered(motion, guidance):
    grid = {"margins_mm": [3], "motion": [motion], "guidance": [guidance]}
    problem = simulator.prepare(small_study(uncertainty=ALL_AT_ONCE, strategies=grid))
    (strategy,), draws = problem.strategies, course_draws(problem, 3, 5)
    delivery = deliver_courses(problem, strategy, draws)
    found = errors_by_source(draw_courses(problem.setting, draws), delivery, strategy, problem.setting, "GTV")
    motion_of_target = delivery.motion("GTV")
    shift, weight = (
        value.reshape(5, problem.setting.n_fractions, -1, *value.shape[2:])
        for value in (motion_of_target.shift_mm, motion_of_target.weight)
    )
    mean_mm = (shift * weight[..., None]).sum(axis=2) / weight.sum(axis=2)[..., None]
    planned_mm = strategy.motion.offset_mm(problem.setting.planned, "GTV")
    np.testing.assert_allclose(sum(found.values()), mean_mm - planned_mm, atol=1e-9)
    is_corrected = np.abs(found["correction"]).max() > 1e-9
    assert is_corrected == (guidance != "none" or motion == "tracking")


def test_each_source_is_what_it_drew_and_a_match_takes_off_what_it_sees():
    errors = ALL_AT_ONCE | {"setup": {"systematic_mm": 2, "random_mm": 1}}
    exact = {"kind": "online-target", "match_mm": [0, 0, 0], "couch_mm": [0, 0, 0]}
    grid = {"margins_mm": [3], "motion": ["none"], "guidance": [exact]}
    problem = simulator.prepare(small_study(uncertainty=errors, strategies=grid))
    (strategy,), draws = problem.strategies, course_draws(problem, 0, 4)
    courses, delivery = draw_courses(problem.setting, draws), deliver_courses(problem, strategy, draws)
    found = errors_by_source(courses, delivery, strategy, problem.setting, "GTV")
    u, n = problem.config.uncertainty, problem.setting.n_fractions
    np.testing.assert_allclose(found["setup"], u.setup.patient_mm(draws, n))
    within, after = u.baseline.within_mm(draws, n, "GTV")["GTV"], u.baseline.after_imaging_mm(draws, n)
    np.testing.assert_allclose(found["baseline"], within + after)
    np.testing.assert_allclose(found["registration"], np.repeat(u.registration.misdrawn_mm(draws)[:, None], n, axis=1))
    np.testing.assert_allclose(found["isocentre"], np.repeat(u.isocentre.unseen_mm(draws)[:, None], n, axis=1))
    seen = (
        courses.patient_mm
        + within
        + strategy.motion.manage(courses.breathing, problem.setting.planned, "GTV", None).imaged_mm
    )
    np.testing.assert_allclose(found["correction"], -seen, atol=1e-9)
    drift = over_beam(courses.drift.at(np.full(delivery.weight.shape, 3.0)), delivery.weight)
    assert np.corrcoef(found["drift"].ravel(), drift.ravel())[0, 1] > 0.9


def test_rotations_filling_and_the_true_target_are_told():
    problem = simulator.prepare(small_study(**PELVIS))
    draws = course_draws(problem, 0, 3)
    delivery = deliver_courses(problem, problem.strategies[0], draws)
    found = errors_of_course(problem, problem.strategies[0], draws, delivery, 1)
    assert found.rotation_deg is None
    ratio = draw_courses(problem.setting, draws).organs["Bladder"].volume_ratio[1]
    grown_percent = 100 * 2 * 3 / problem.case.structures["Bladder"].volume_cc  # 2 cc/min, beam from 3 min on
    assert np.all(found.volume_percent["Bladder"] > 100 * ratio + 0.9 * grown_percent)
    np.testing.assert_allclose(found.volume_percent["Bladder"], 100 * ratio, atol=3 * grown_percent)
    assert np.ptp(found.volume_percent["GTV"]) == 0
    assert found.volume_percent["GTV"][0] != pytest.approx(100, abs=0.1)
    turning = simulator.prepare(small_study(uncertainty=TURNS))
    draws = course_draws(turning, 0, 3)
    turned = errors_of_course(
        turning, turning.strategies[0], draws, deliver_courses(turning, turning.strategies[0], draws), 2
    )
    drawn = draw_courses(turning.setting, draws).rotation_deg[2]
    np.testing.assert_allclose(turned.rotation_deg, [drawn, drawn], atol=1e-9)
    assert np.abs(turned.by_source_mm["rotation"]).max() > 0.1


def test_a_shift_alone_shifts_the_dose_map():
    """Tissue planned at r receives the planned dose at r + u."""
    still = {"setup": {"mean_mm": [0, 0, 4]}}
    grid = {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]}
    shifted, planned = (
        simulator.run(small_study(uncertainty=errors, strategies=grid, courses=16)) for errors in (still, {})
    )
    one, none = (simulator.simulate_course(r, strategies_of(r)[0], 2)["dose"].values for r in (shifted, planned))
    np.testing.assert_allclose(none, planned["dose/nominal"].values[0], atol=1e-4)
    np.testing.assert_allclose(one[:-2], none[2:], atol=1e-3)


def test_the_mean_of_the_courses_is_the_mean_map():
    results = simulator.run(small_study(courses=6))
    for strategy in strategies_of(results):
        maps = [simulator.simulate_course(results, strategy, c)["dose"].values for c in range(6)]
        np.testing.assert_allclose(np.mean(maps, axis=0), results["dose/mean"].sel(strategy=strategy), atol=0.25)


@pytest.mark.nightly
def test_fractions_that_are_alike_are_each_the_course():
    errors = {"setup": {"systematic_mm": 3}, "respiration": {"amplitude_mm": [1, 2, 6]}}
    results = simulator.run(small_study(uncertainty=errors, courses=8))
    found = simulator.simulate_course(results, strategies_of(results)[0], 5)
    spread = np.abs(found["fraction_value"] - found["value"]).max("fraction")
    assert float(spread.sel(metric="GTV D98%")) < 0.5  # phases of breathing differ
    still = simulator.run(small_study(uncertainty={"setup": {"systematic_mm": 3}}, courses=8))
    found = simulator.simulate_course(still, strategies_of(still)[0], 5)
    np.testing.assert_allclose(found["fraction_value"], found["value"].expand_dims(fraction=4), rtol=1e-5)


def test_percentiles_pick_courses_by_rank(results):
    values = np.array([5.0, 1, 3, 3, 2, 9, 7, 3, 8, 6, 4])
    assert [at_percentile(values, p) for p in (0, 10, 50, 100)] == [1, 4, 10, 5]
    assert at_percentile(values, 30) == 2, "the first of three alike"
    strategy = strategies_of(results)[1]
    for metric, percentile in (("GTV D98%", 5), ("GTV Dmean", 50), ("GTV D2%", 100)):
        found = simulator.simulate_course(results, strategy, percentile=percentile, of=metric)
        own = results["metrics/value"].sel(strategy=strategy, metric=metric).values
        assert (own < own[found.attrs["course"]]).sum() == round(percentile / 100 * 59)
    usual = simulator.simulate_course(results, strategy, percentile=5)
    assert usual.attrs["course"] == int(results["courses/course"].sel(strategy=strategy, percentile=5))


def test_the_courses_in_the_results_are_those(results):
    group = results["courses"].to_dataset()
    assert group.attrs["metric"] == "GTV D98%"
    again = simulator.run(small_study(uncertainty=ALL_AT_ONCE), workers=2)
    assert again["courses"].to_dataset().identical(group)
    for strategy in strategies_of(results):
        for percentile in (5.0, 50.0):
            own = group.sel(strategy=strategy, percentile=percentile)
            found = simulator.simulate_course(results, strategy, int(own["course"]))
            np.testing.assert_allclose(own["error_mm"], found["error_mm"], atol=1e-12)
            whole = found["displacement_mm"].sel(structure="GTV")
            np.testing.assert_allclose(own["error_mm"].sum("source"), whole, atol=1e-9)
            of_metric = found["fraction_value"].sel(metric="GTV D98%")
            np.testing.assert_allclose(own["fraction_value"], of_metric, rtol=2e-3)
            assert float(own["value"]) == float(found["value"].sel(metric="GTV D98%"))


def test_dose_maps_of_the_courses_are_kept_and_shown(results):
    """Of the first strategies of the order: those of the courses simulated alone, and the viewer offers them by name."""
    own = results["courses"].to_dataset()
    shown = volumes_within_budget(results, results["dose"].to_dataset()).strategies
    for strategy in own["mapped_strategy"].values:
        for percentile, name in ((5.0, "5th-percentile"), (50.0, "median")):
            looked_at = own.sel(strategy=strategy, mapped_strategy=strategy, percentile=percentile)
            course = int(looked_at["course"])
            alone = simulator.simulate_course(results, str(strategy), course)
            np.testing.assert_array_equal(looked_at["dose_gy"].values, alone["dose"].values)
            assert f"{name} course (number {course})" in shown[str(strategy)]["maps"]


def test_only_the_first_few_strategies_cost_a_plan(monkeypatch):
    monkeypatch.setattr("simulator.answers.courses.MOST_STRATEGIES", 1)
    results = simulator.run(small_study())
    known = np.isfinite(results["courses/fraction_value"].values).all(axis=(1, 2))
    assert known.tolist() == (results["decision/rank"].values == 1).tolist()
    assert np.isfinite(results["courses/error_mm"].values).all()


WRONG = {
    "a strategy": ({"strategy": "none, 3 mm, nune", "course": 1}, "no strategy 'none, 3 mm, nune' .* 'none, 3 mm, none'"),
    "a course": ({"course": 60}, "no course 60 in these results, which hold courses 0 to 59"),
    "a negative course": ({"course": -1}, "no course -1 in these results"),
    "nothing": ({}, "name either a course by its number or a percentile"),
    "both": ({"course": 1, "percentile": 5}, "name either a course by its number or a percentile"),
    "a percentile": ({"percentile": 101}, "a percentile lies within 0 and 100, not at 101"),
    "no percentile": ({"percentile": float("nan")}, "a percentile lies within 0 and 100, not at nan"),
    "a metric": ({"percentile": 5, "of": "GTV D98"}, "no metric 'GTV D98' in these results; did you mean 'GTV D98%'"),
    "a metric of a number": ({"course": 5, "of": "GTV D98%"}, "a metric goes with a percentile"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_names_are_explained(what, results):
    wishes, message = WRONG[what]
    with pytest.raises(ConfigError, match=message):
        simulator.simulate_course(results, **{"strategy": strategies_of(results)[0]} | wishes)


@pytest.mark.nightly
def test_a_sweep_is_refused():
    results = simulator.run(small_study(courses=8, sweep={"seed": [1, 2]}, strategies=ONE))
    with pytest.raises(ConfigError, match="results of a sweep; name one of its points"):
        simulator.simulate_course(results, strategies_of(results)[0], 1)


def test_a_course_that_is_another_is_refused(results):
    changed = results.copy(deep=True)
    changed["metrics/value"].values[0, 7, 1] += 1e-5
    with pytest.raises(SimulatorError, match=r"course 7 of 'none, 3 mm, none' has GTV Dmin of .* another processor"):
        simulator.simulate_course(changed, strategies_of(results)[0], 7)
    assert simulator.simulate_course(changed, strategies_of(results)[0], 8).attrs["course"] == 8
    older = results.copy()
    older.attrs["simulator_version"] = "0.2.0"
    with pytest.raises(ConfigError, match=r"is not what it was .* \(version: 0\.2\.0 -> "):
        simulator.simulate_course(older, strategies_of(results)[0], 7)


@pytest.mark.parametrize("kind", ["breathing record", "archive", "dose"])
def test_a_changed_input_is_refused_by_name(kind, tmp_path):
    make, name, change, message = KINDS[kind]
    run_study(written(make(tmp_path), tmp_path), tmp_path / "out")
    with open_results(tmp_path / "out") as results:
        (strategy,) = strategies_of(results)
        assert simulator.simulate_course(results, strategy, 3).attrs["course"] == 3
        change(tmp_path / name)
        with pytest.raises(ConfigError, match=re.escape(f"({message})")):
            simulator.simulate_course(results, strategy, 3)
        (tmp_path / name).unlink()
        with pytest.raises((ConfigError, CaseError)):
            simulator.simulate_course(results, strategy, 3)


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_tables_and_dose(results, tmp_path, capsys):
    write_results(results, tmp_path / "results.nc")
    strategy = strategies_of(results)[1]
    wishes = (tmp_path, "--strategy", strategy, "--percentile", 5, "--of", "GTV D98%", "--rtdose")
    assert exit_code("course", *wishes) == 0
    found = simulator.simulate_course(results, strategy, percentile=5)
    folder = tmp_path / "courses" / f"none-3-mm-online-target-course-{found.attrs['course']}"
    said = capsys.readouterr()
    assert f"wrote {folder}" in said.err
    for word in ("setup", "correction", "GTV, relative to the beam", "rotation before correction", "GTV D98%"):
        assert word in said.out
    assert exit_code("course", *wishes) == 0, "its own folder is written again"
    errors = [row for row in table(folder / "errors.csv") if row["what"] == "setup"]
    written_mm = [[float(row[axis]) for axis in ("LR", "AP", "SI")] for row in errors]
    np.testing.assert_allclose(written_mm, found["error_mm"].sel(source="setup"), atol=6e-5)
    metrics = {row["metric"]: row for row in table(folder / "metrics.csv")}
    assert list(metrics) == [str(m) for m in found["metric"].values]
    assert all(row["course"] == row["in the results"] for row in metrics.values())
    curve = [float(row["GTV (%)"]) for row in table(folder / "dvhs.csv")]
    np.testing.assert_allclose(curve, found["dvh"].sel(structure="GTV"), rtol=1e-3)
    dose = pydicom.dcmread(folder / "dose.dcm")
    stored = dose.pixel_array * float(dose.DoseGridScaling)
    np.testing.assert_allclose(stored, found["dose"], atol=0.51 * float(dose.DoseGridScaling))
    assert f"course {found.attrs['course']} of 60: {strategy}" in dose.SeriesDescription


def test_the_command_explains_and_leaves_other_files_alone(results, tmp_path, capsys):
    write_results(results, tmp_path / "results.nc")
    strategy = strategies_of(results)[0]
    assert exit_code("course", tmp_path, "--strategy", "no such", "--course", 1) == 2
    assert "no strategy 'no such'" in capsys.readouterr().err
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert exit_code("course", tmp_path, "--strategy", strategy, "--course", 1, "--out", other) == 2
    assert "holds files that the simulator did not write" in capsys.readouterr().err
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
    plan = tmp_path / "plan.dcm"
    assert exit_code("course", tmp_path, "--strategy", strategy, "--course", 1, "--reference", plan) == 2
    assert "a phantom, which is no patient; leave --reference out" in capsys.readouterr().err


def test_strategies_whose_names_look_alike_have_folders_of_their_own(results):
    names = strategies_of(results)
    alike = results.copy()
    alike["metrics"] = results["metrics"].to_dataset().assign_coords(strategy=["a, b", "a b"])
    course = simulator.simulate_course(results, names[0], 1)
    folders = [course_folder("r", alike, course.assign_attrs(strategy=name)).name for name in ("a, b", "a b")]
    assert folders == ["a-b-1-course-1", "a-b-2-course-1"]


def test_what_is_written_is_whole(results, tmp_path):
    course = simulator.simulate_course(results, strategies_of(results)[0], 1)
    write_course(results, course, tmp_path / "one")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        ".simulator", "course.nc", "dvhs.csv", "errors.csv", "metrics.csv",
    }  # fmt: skip


def test_the_figure_shows_the_courses_of_the_results(results):
    strategy = strategies_of(results)[1]
    own, nominal = (
        results["courses"].to_dataset().sel(strategy=strategy),
        results["metrics/nominal"].sel(strategy=strategy),
    )
    worst, median, *below = plots.courses_looked_at(results, strategy).axes
    for i, (axes, cost) in enumerate(zip((worst, median), below, strict=True)):
        course, moved = own.isel(percentile=i), own["error_mm"].isel(percentile=i).sum("source")
        name = ("5th percentile", "median")[i]
        assert axes.get_title(loc="left") == f"{name}: course {int(course['course'])}"
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        for axis in ("LR", "AP", "SI"):
            np.testing.assert_array_equal(lines[axis], moved.sel(axis=axis))
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], np.linalg.norm(moved, axis=-1))
        points, *levels = (line.get_ydata() for line in cost.lines)
        np.testing.assert_array_equal(points, course["fraction_value"])
        expected = [float(course["value"]), float(nominal.sel(metric="GTV D98%")), 0.95 * 48]
        np.testing.assert_allclose([level[0] for level in levels], expected, rtol=1e-6)
        assert (axes.get_ylabel(), cost.get_ylabel(), cost.get_xlabel()) == (
            "displacement (mm)",
            "GTV D98% (Gy)",
            "fraction",
        )


def test_the_report_says_where_the_target_went(results, tmp_path):
    render_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page.partition('<section id="courses" class="own">')[2].partition("</section>")[0]
    named = re.findall("<h3>(.*?)</h3>", section)
    assert sorted(named) == sorted(strategies_of(results))
    assert section.count("<img") == len(named)
    own = results["courses"].to_dataset().sel(strategy=named[0], percentile=5)
    mean_mm = own["error_mm"].sum("source").mean("fraction").values
    row = next(line for line in section.splitlines() if '<th scope="row">all together</th>' in line)
    length, *_ = re.findall(r">(\d+\.\d)<", row)
    assert float(length) == pytest.approx(np.linalg.norm(mean_mm), abs=0.051)
    nominal = float(results["metrics/nominal"].sel(strategy=named[0], metric="GTV D98%"))
    start = (
        f"5th percentile (course {int(own['course'])}): GTV D98% {float(own['value']):.1f} Gy, planned {nominal:.1f}; "
    )
    assert start in section
    costliest = int(np.argmin(own["fraction_value"].values)) + 1
    assert re.search(rf"5th percentile .* mm in fraction {costliest}, which cost most", section)
