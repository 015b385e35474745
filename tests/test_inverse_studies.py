"""Studies with inverse-planned arcs: plans are part of who asks, made once, kept with the results."""

import numpy as np
import pytest
from prepared import problems_of

import simulator
from simulator.execution.checkpoint import BLOCKS, BlockStore
from simulator.execution.splitting import Planned, plan_tasks_of
from simulator.ground.spec import ConfigError
from simulator.metrics.goals import parse_goal
from simulator.plan.sparing import Limit
from simulator.population.required_margin import falls_along
from simulator.problem.limits import limit_of
from simulator.problem.preparation import prepare
from simulator.study_file.schema import StudyConfig

STUDY = {
    "name": "inverse",
    "case": {"phantom": "mediastinal", "esophagus_distance_mm": 6, "bronchi_distance_mm": 8},
    "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
    "plan": {
        "model": "inverse-arc",
        "passes": 1,
        "dose_grid_mm": 4,
        "arcs": [{"start_deg": 0, "stop_deg": 360, "spacing_deg": 40}],
        "limits": ["Esophagus D0.035cc <= 25 Gy"],
    },
    "uncertainty": {"setup": {"systematic_mm": 2, "random_mm": 2}},
    "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["online-bone"], "prv_mm": [0, 2]},
    "goals": ["GTV D98% >= 95%", "Esophagus D0.035cc <= 25 Gy"],
    "courses": 20,
    "numerics": {"max_points": 1000},
}


def study(**changes) -> StudyConfig:
    plan = STUDY["plan"] | changes.pop("plan", {})
    return StudyConfig.model_validate({**STUDY, "plan": plan, **changes})


@pytest.fixture(scope="module")
def case():
    return prepare(study()).case


@pytest.mark.parametrize(("text", "cc", "gy"), [
    ("Esophagus D0.035cc <= 35 Gy", 0.035, 35.0), ("Esophagus D0.035cc <= 60%", 0.035, 30.0),
    ("Esophagus D10% <= 30 Gy", "10 %", 30.0), ("Esophagus V20Gy <= 5 cc", 5.0, 20.0),
    ("Esophagus V20Gy <= 25 %", "25 %", 20.0), ("Esophagus V40% <= 5 cc", 5.0, 20.0),
    ("Esophagus CV15Gy >= 3 cc", "all but 3", 15.0), ("Esophagus Dmean <= 12 Gy", None, 12.0),
])  # fmt: skip
def test_every_goal_of_a_dvh_is_a_dose_to_the_hottest_part(case, text, cc, gy):
    """V20Gy <= 5 cc says D5cc <= 20 Gy, and CV15Gy >= 3 cc that all but 3 cc get 15 Gy at most."""
    volume_cc = case.structures["Esophagus"].volume_cc
    hottest = {"10 %": 0.1 * volume_cc, "25 %": 0.25 * volume_cc, "all but 3": volume_cc - 3}.get(cc, cc)
    found = limit_of(parse_goal(text), case, 50.0)
    assert found is not None
    assert found.gy == pytest.approx(gy, rel=2e-6)
    assert found.cc == (None if hottest is None else pytest.approx(hottest))


@pytest.mark.parametrize(
    "text",
    ["GTV D98% <= 60 Gy", "Esophagus D0.035cc >= 5 Gy", "Esophagus CV15Gy <= 3 cc", "Esophagus gEUD(a=8) <= 20 Gy"],
)
def test_other_goals_are_no_limits(case, text):
    assert limit_of(parse_goal(text), case, 50.0) is None


def test_goals_that_are_optimal_are_not_planned_on():
    own = study(plan={"limits": "goals"}, goals=["mediastinal-5fx", "Esophagus D1% <= 30 Gy"])
    problem = prepare(own)
    levels = {g.metric.name: g.level for g in problem.goals if g.metric.structure == "Esophagus"}
    planned = {limit.metric for limit in problem.requests[0].sparing.limits if limit.structure == "Esophagus"}
    assert planned == {name for name, level in levels.items() if level != "optimal"}


def test_limits_and_planning_risk_are_part_of_a_request():
    one, other = (prepare(study(plan={"limits": [f"Esophagus D0.035cc <= {gy} Gy"]})) for gy in (25, 30))
    assert [r.sparing.prv_mm for r in one.requests] == [0, 2]
    assert len({*one.requests, *other.requests}) == 4
    assert one.strategies[1].label() == "none, 3 mm, online-bone, PRV 2 mm"


@pytest.mark.parametrize(("changes", "message"), [
    ({"plan": {"limits": ["GTV D2% <= 60 Gy"]}}, r"plan\.limits: .* is about the target GTV"),
    ({"plan": {"limits": ["Esophagus D0.035cc >= 25 Gy"]}}, r"plan\.limits: .* is no upper limit"),
    ({"plan": {"limits": ["Esophagus D1cc <= 25 Gy", "Esophagus D1cc <= 20 Gy"]}}, r"plan\.limits: .* limit the same"),
    ({"plan": {"limits": ["Esophagus D1cc <= 20 Gy", "Esophagus D0.5cc >= 30 Gy"]}}, r"plan\.limits: .* is no upper limit"),
    ({"plan": {"limits": ["Oesophagus D1cc <= 20 Gy"]}}, "did you mean 'Esophagus'"),
    ({"plan": {"limits": ["Esophagus Dmean <= 20 Gy"]}}, r"strategies\.prv_mm: 2 mm around organs without a limit"),
])  # fmt: skip
def test_what_cannot_be_planned_is_refused_in_check(changes, message):
    with pytest.raises(ConfigError, match=message):
        problems_of(study(**changes))


def test_conformal_arcs_know_no_planning_risk():
    raw = {**STUDY, "plan": {"model": "conformal-arc"}}
    with pytest.raises(ConfigError, match=r"strategies\.prv_mm: plans of the model conformal-arc know no organs"):
        problems_of(StudyConfig.model_validate(raw))


@pytest.mark.parametrize(("key", "value"), [("coverage_floor_percent", 101), ("passes", 3), ("leaf_mm", 0)])
def test_keys_out_of_bounds_are_refused(key, value):
    with pytest.raises(ValueError, match=key):
        study(plan={key: value})


@pytest.mark.nightly
def test_plans_are_made_once_and_kept(tmp_path):
    """Blocks hold each plan; results keep the leaves; two workers and one give the same numbers."""
    config = study()
    one, two = (simulator.run(config, workers=n) for n in (1, 2))
    assert one.attrs["result_hash"] == two.attrs["result_hash"]
    leaves, plans = one["leaves"].to_dataset(), one["plans"].to_dataset()
    assert dict(leaves.sizes)["beam"] == 9
    assert float(leaves["weight"].min()) > 0
    assert np.nanmin((leaves["high_mm"] - leaves["low_mm"]).values) >= 0
    np.testing.assert_array_equal(plans["prv_mm"].values, [0, 2])
    for i, strategy in enumerate(one["metrics/strategy"].values):  # a course alone takes the leaves from the results
        found = simulator.simulate_course(one, str(strategy), 7)
        np.testing.assert_array_equal(found["value"], one["metrics/value"].values[i, 7])
    goals = one["goals"].to_dataset()
    nominal = goals["nominal"].sel(goal="Esophagus D0.035cc <= 25 Gy").values
    assert np.all((nominal <= 25.1) | (plans["given_up"].values != ""))
    assert nominal[1] < nominal[0]
    problems = {tmp_path / "a": prepare(config), tmp_path / "b": prepare(study(courses=10))}
    tasks = plan_tasks_of({folder: [Planned.of(problem, i) for i in range(2)] for folder, problem in problems.items()})
    assert [len(task.places) for task in tasks] == [2, 2]
    assert not BlockStore(tmp_path / "a" / BLOCKS).names()


def test_margins_that_cover_less_though_larger_are_not_interpolated():
    rng = np.random.default_rng(1)
    base = rng.normal(0, 1, 400)
    rising = [np.stack([base - 0.5, base + 0.5, base + 1.5])]
    falling = [np.stack([base - 0.5, base + 1.5, base + 0.2])]
    noise = [np.stack([base + 0.5, base + 1.0, base + 1.0 + 0.05 * rng.normal(size=400)])]
    assert not falls_along(rising)
    assert falls_along(falling)
    assert not falls_along(noise)
    assert Limit("Heart", "Dmean", None, 5.0).value_gy(np.array([1.0, 3.0]), np.array([3.0, 1.0])) == 1.5
