"""Studies of a patient some of whose fractions lie behind, from the file to the report."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_accumulate import GridDose, motion, ragged_patch
from test_check import exit_code
from test_parts import Half, Ramp
from test_study import small_study, with_numerics

import simulator
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.commands.overview import recommendation
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import ConfigError
from simulator.plan.dose import DosePart, DosesInTurn
from simulator.report import render_report
from simulator.sampling.by_source import errors_by_source, over_beam
from simulator.sampling.courses import draw_courses
from simulator.sampling.streams import Draws
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.plans import in_turn, make_plan
from simulator.simulation.work import prepare_work
from simulator.study_file.checked_yaml import to_yaml

ROOT = Path(__file__).parents[1]
SEEN = [{"bone_mm": [1.0, 2.0, -3.0]}, {"bone_mm": [0.0, 1.0, -4.0], "corrected_mm": [0.0, 0.0, -1.0]}]
NAL = {"kind": "nal", "measured_fractions": 2}
GRID = {"margins_mm": [3, 6], "motion": ["none"], "guidance": ["none", NAL]}
PAIR = [{"margin_mm": m, "motion": "none", "guidance": g} for m, g in ((3, "none"), (6, NAL))]
SMALL = {"courses": 24, "numerics": {"instants": 4, "block_courses": 10, "max_points": 1000}}


def observed_study(fractions=SEEN, delivered="none, 3 mm, none", strategies=PAIR, **changes):
    observed = {"delivered": delivered, "fractions": fractions, "bone_match_mm": 0.87}
    return small_study(**SMALL | {"subject": "patient", "strategies": strategies, "observed": observed} | changes)


@pytest.fixture(scope="module")
def results():
    return simulator.run(observed_study())


def test_no_fraction_gives_the_usual_answer_bit_for_bit():
    usual, none = small_study(**SMALL), small_study(**SMALL, observed={"fractions": []})
    one, other = (simulator.run(study) for study in (usual, none))
    assert one.attrs["result_hash"] == other.attrs["result_hash"]
    assert isinstance(course_draws(simulator.prepare(none), 0, 3), Draws)
    assert one.attrs["words"] == other.attrs["words"]


def test_workers_and_blocks_change_nothing(results):
    again = simulator.run(with_numerics(observed_study(), block_courses=7), workers=1)
    assert again.attrs["result_hash"] == results.attrs["result_hash"]
    np.testing.assert_array_equal(again["dose/mean"], results["dose/mean"])


@pytest.mark.parametrize("sampling", ["pseudo-random", pytest.param("sobol", marks=pytest.mark.nightly)])
def test_a_course_alone_is_that_of_the_study(results, sampling):
    if sampling == "sobol":
        results = simulator.run(observed_study(sampling="sobol", courses=16))
    found = simulator.simulate_course(results, "none, 6 mm, nal", 13)
    stored = results["metrics/value"].sel(strategy="none, 6 mm, nal", course=13)
    np.testing.assert_array_equal(found["value"].values, stored.values)


def test_errors_by_source_sum_to_what_is_delivered():
    """Guidance that images during the beam takes longer: what lies behind keeps its own times."""
    grid = {"margins_mm": [3], "motion": ["none"]}
    grid["guidance"] = ["online-bone", {"kind": "online-bone", "name": "again", "reimage_every_min": 1}]
    uncertainty = {"setup": {"systematic_mm": 2, "random_mm": 2}, "drift": {"mean_mm_per_min": 1}}
    seen = [{"bone_mm": [1, 2, -3]}]
    problem = simulator.prepare(observed_study(seen, "none, 3 mm, online-bone", grid, uncertainty=uncertainty))
    for strategy in problem.strategies:
        draws = course_draws(problem, 0, 4)
        delivery = deliver_courses(problem, strategy, draws)
        found = errors_by_source(draw_courses(problem.setting, draws), delivery, strategy, problem.setting, "GTV")
        np.testing.assert_allclose(sum(found.values()), over_beam(delivery.bone_mm, delivery.weight), atol=1e-12)
        np.testing.assert_allclose(found["correction"][:, 0], np.tile([-1.0, -2, 3], (4, 1)), atol=1e-9)


def test_two_plans_in_turn_are_summed_fraction_by_fraction():
    shift_mm = np.array([[[2.0, 0, 0], [-1, 0, 0], [3, 0, 0], [-4, 0, 0], [1, 0, 0]]])
    course = motion(shift_mm, np.full((1, 5), 0.2), n_fractions=5)
    dose = DosesInTurn(Ramp(0.5), Ramp(-0.2), 2, 5)
    doses = StructureDoses(dose, [ragged_patch(1.5, 5)], Reach.of(course), 0.5)
    x, at = doses.points_mm[:, 0], shift_mm[0, :, 0]
    by_fraction = [(10 + 0.5 * (x + s)) / 5 for s in at[:2]] + [(10 - 0.2 * (x + s)) / 5 for s in at[2:]]
    gy = doses.accumulate(course)
    np.testing.assert_allclose(gy[0], np.sum(by_fraction, axis=0), atol=1e-4)
    squares = doses.fraction_sums(gy, course, 5).squares_gy2[0]
    np.testing.assert_allclose(squares, np.square(by_fraction).sum(axis=0), rtol=1e-4)
    still = doses.accumulate(motion([[[0, 0, 0]]]))
    np.testing.assert_allclose(still[0], dose.at(doses.points_mm), atol=1e-4)


def test_the_same_plan_in_turn_is_the_plan():
    """Parts of it too, each in its own time of each fraction."""
    rng = np.random.default_rng(2)
    course = motion(rng.uniform(-4, 4, (3, 12, 3)), n_fractions=3)
    dose = Half(GridDose(1))
    reach, patches = Reach.of(course), [ragged_patch(1.5, 5)]
    one, two = (StructureDoses(d, patches, reach, 0.5) for d in (dose, DosesInTurn(dose, dose, 1, 3)))
    np.testing.assert_allclose(two.accumulate(course), one.accumulate(course), atol=1e-5, rtol=0)
    late = DosePart(dose, 0.5, 1.0, (1, 3, 3)).meets(course)
    np.testing.assert_array_equal(late.shift_mm, course.shift_mm[:, [6, 7, 10, 11]])
    np.testing.assert_allclose(late.weight.sum(axis=1), course.weight[:, 4:].sum(axis=1))


def test_each_strategy_follows_the_delivered_plan():
    problem = simulator.prepare(observed_study(strategies=GRID))
    draws = course_draws(problem, 0, 20)
    for i, strategy in enumerate(problem.strategies):
        delivery = deliver_courses(problem, strategy, draws)
        course = delivery.motion("GTV")
        plans = [make_plan(problem, problem.requests[j]) for j in (problem.delivered, i)]
        turned = in_turn(problem, i, lambda j: make_plan(problem, problem.requests[j]))
        assert turned.quality == plans[1].quality
        of, first, then = (
            prepare_work(problem, strategy, replace(turned, dose=dose), [delivery], SerialExecutor()).doses["GTV"]
            for dose in (turned.dose, plans[0].dose, plans[1].dose)
        )
        expected = first.accumulate(course.in_fractions(0, 2, 4)) + then.accumulate(course.in_fractions(2, 4, 4))
        np.testing.assert_allclose(of.accumulate(course), expected, atol=2e-4)


def test_margins_and_guidance_of_what_follows_matter():
    """The first two fractions were 3 mm off SI and went uncorrected; both a larger margin and a correction help."""
    found = simulator.run(observed_study(strategies=GRID))
    mean = found["metrics/mean"].sel(metric="GTV D98%")
    by_name = {str(name): float(mean.sel(strategy=name)) for name in mean["strategy"].values}
    assert by_name["none, 3 mm, none"] < by_name["none, 3 mm, nal"] < by_name["none, 6 mm, nal"]
    assert by_name["none, 3 mm, none"] < by_name["none, 6 mm, none"] < by_name["none, 6 mm, nal"]
    assert np.isnan(found["margins/cause_mm"]).all()


def test_all_fractions_behind_leave_the_delivered_plan_alone():
    seen = [{"bone_mm": [0, 0, s]} for s in (-3, -4, -2, -5)]
    problem = simulator.prepare(observed_study(seen))
    plans = [make_plan(problem, request) for request in problem.requests]
    assert in_turn(problem, 1, plans.__getitem__).dose is plans[0].dose
    assert "no fraction is left" in problem.setting.treated.remark(4)


@pytest.mark.parametrize(
    "changes",
    [
        {"fractions": [SEEN[0] | {"bone_mm": [1, 2, -2.9]}, SEEN[1]]},
        {"fractions": [SEEN[0] | {"target_mm": [1, 2, -3]}, SEEN[1]]},
        {"fractions": [SEEN[0] | {"corrected_mm": [0, 0, 0.1]}, SEEN[1]]},
        {"bone_match_mm": [0.87, 0.87, 0.9]},
        {"target_match_mm": 1.1, "fractions": [SEEN[0] | {"target_mm": [1, 2, -3]}, SEEN[1]]},
    ],
)
def test_every_key_changes_what_is_simulated(changes):
    uncertainty = {"setup": {"systematic_mm": 2, "random_mm": 2}, "baseline": {"systematic_mm": 2}}
    observed = {"delivered": "none, 3 mm, none", "bone_match_mm": 0.87, "target_match_mm": 1, "fractions": SEEN}
    other = observed | {key: value for key, value in changes.items() if key != "target_match_mm"}
    drawn = []
    for seen in (other, observed | changes) if "target_match_mm" in changes else (observed, other):
        problem = simulator.prepare(observed_study(uncertainty=uncertainty, observed=seen))
        drawn.append(deliver_courses(problem, problem.strategies[0], course_draws(problem, 0, 5)).bone_mm)
    assert np.any(drawn[0] != drawn[1])


def test_report_and_terminal_say_what_was_observed(results, tmp_path):
    render_report(results, tmp_path / "report.html")
    page = re.sub(r"\s+", " ", (tmp_path / "report.html").read_text(encoding="utf-8"))
    remark = (
        "Courses are conditioned on the images of fractions 1 to 2 of 4, delivered as “none, 3 mm, none”: probabilities are "
        "those of this patient's whole course, and each strategy is what may follow from fraction 3 on."
    )
    assert results.attrs["observed"] == remark
    assert f"note: {remark}" in recommendation(results)
    html = remark.replace("'", "&#39;")
    assert page.count(html) == 2
    assert "fraction 1: bone (1, 2, -3); fraction 2: bone (0, 1, -4), corrected by (0, 0, -1)." in page
    assert "known to (0.7, 1.1, 1) mm (one SD)" in page


EXAMPLE = ROOT / "configs" / "after_two_fractions.yaml"


def test_the_how_to_is_about_the_shipped_study():
    page = (ROOT / "docs" / "how-to" / "after_fractions.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL).group(1))
    assert shown["observed"] == yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["observed"]
    problem = simulator.prepare(simulator.load_study(EXAMPLE))
    mean = "the error of the target that stays with this patient, before any correction, is (0.7, 0.3, 5.3) mm"
    assert mean in problem.law.describe()
    assert mean in page
    assert problem.notes == []


@pytest.mark.nightly
def test_the_shipped_study_runs():
    few = {"strategies.margins_mm": [5], "courses": 100, "numerics": {"max_points": 1000, "instants": 4}}
    found = simulator.run(simulator.load_study(EXAMPLE, few))
    covered = found["goals/probability"].sel(goal="GTV D98% >= 95%")
    assert float(covered.sel(strategy="itv, 5 mm, online-bone")) == pytest.approx(0.57, abs=0.2)
    assert float(covered.sel(strategy="itv, 5 mm, online-target")) == pytest.approx(0.88, abs=0.13)


ONLINE = {"margins_mm": [3], "motion": ["none"], "guidance": ["online-bone"]}
WRONG = {
    "more fractions than there are": (
        {"fractions": [SEEN[0]] * 5},
        "observed.fractions: 5 fractions lie behind, but prescription.fractions is 4; correct one of them",
    ),
    "a match that there is not": (
        {"fractions": [{"bones_mm": [1, 2, 3]}]},
        "observed.fractions.0.bones_mm: unknown key; did you mean 'bone_mm'?",
    ),
    "a missing axis": (
        {"fractions": [{"bone_mm": [1, 2]}]},
        "observed.fractions.0.bone_mm: 3 values wanted (LR, AP, SI), got [1, 2]",
    ),
    "one number for all axes": (
        {"fractions": [{"bone_mm": 2}]},
        "observed.fractions.0.bone_mm: 3 values wanted (LR, AP, SI), got 2",
    ),
    "no finding": (
        {"fractions": [{"corrected_mm": [1, 2, 3]}]},
        "observed.fractions.0: say what the image showed: bone_mm, target_mm or both",
    ),
    "an unknown match error": (
        {"fractions": [{"target_mm": [1, 2, 3]}]},
        "observed.target_match_mm: the delivered guidance none has no match on target whose error could be taken; write it "
        "here, one SD per axis in mm",
    ),
    "an unknown match error of one image among others": (
        {"fractions": [{"bone_mm": [1, 0, 0], "corrected_mm": [0, 0, 0]}, {"target_mm": [1, 2, 3]}], "bone_match_mm": 1},
        "observed.target_match_mm: the delivered guidance none has no match on target whose error could be taken; write it "
        "here, one SD per axis in mm",
    ),
    "a guidance without that match": (
        {"fractions": [{"target_mm": [1, 2, 3]}], "target_match_mm": 1}
        | {"delivered": "none, 3 mm, online-bone", "strategies": ONLINE},
        "observed.fractions.0.corrected_mm: the delivered guidance online-bone matches bone, which was not looked at in this "
        "image; give bone_mm, or what was corrected, [0, 0, 0] if nothing",
    ),
    "a protocol without its images": (
        {"fractions": [{"target_mm": [1, 2, 3]}], "target_match_mm": 1},
        "observed: the guidance nal of 'none, 3 mm, nal' goes by images matched on bone, and not all fractions have bone_mm; "
        "give it `match: target`, or leave it out",
    ),
    "another motion management": (
        {"strategies": {"margins_mm": [3], "motion": ["none", "itv"], "guidance": ["none"]}},
        "observed: 'itv, 3 mm, none' manages motion otherwise than the delivered 'none, 3 mm, none'; only margin and guidance "
        "may change after a fraction, so study other motion management without observed",
    ),
    "no delivered strategy": (
        {"delivered": None},
        "observed.delivered: 4 strategies may follow; name the one that was delivered so far, such as 'none, 3 mm, none'",
    ),
    "an unknown delivered strategy": (
        {"delivered": "none, 4 mm, none"},
        "observed.delivered: 'none, 4 mm, none' is not a strategy of this study; did you mean 'none, 6 mm, none'?",
    ),
    "a population": (
        {"subject": "population"},
        "observed: images are those of one patient; write `subject: patient`, or take observed out",
    ),
    "errors of which only so much is known": (
        {"uncertainty": {"setup": {"systematic_mm": 2, "random_mm": 2, "known": {"patients": 15, "fractions": 75}}}},
        "uncertainty.setup: beside observed images, errors of which only so much is known are not simulated; take what is "
        "known of them, or observed, out",
    ),
    "an uncertainty budget": (
        {"budget": {"courses": 50}},
        "budget: once fractions were observed, errors depend on each other and have no shares of their own; take budget out, "
        "or study the population without observed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_go_together_is_refused(what, tmp_path, capsys):
    changes, message = WRONG[what]
    raw = small_study(strategies=GRID, subject="patient").model_dump(mode="json")
    observed = {"delivered": "none, 3 mm, none", "fractions": SEEN, "bone_match_mm": 0.87, "target_match_mm": None}
    observed |= {key: value for key, value in changes.items() if key in observed}
    raw |= {key: value for key, value in changes.items() if key not in observed} | {"observed": observed}
    (tmp_path / "study.yaml").write_text(to_yaml(raw), encoding="utf-8")
    assert exit_code("check", tmp_path / "study.yaml") == 2
    said = re.sub(r"^.*study\.yaml:\d+: ", "", capsys.readouterr().err.strip())
    assert said.removeprefix("error: ") == message


def test_rare_events_are_refused():
    with pytest.raises(ConfigError, match=r"^rare events: courses given observed fractions are not drawn wider; take"):
        simulator.rare_event_probability(observed_study(), "none, 3 mm, none", "GTV D98% >= 95%")
