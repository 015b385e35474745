"""Several targets in a study file: what is refused, what stays as it was, and one plan for all."""

import copy

import numpy as np
import pytest
import yaml
from contour_reader import read_polygons

import simulator
from simulator.ground.spec import ConfigError, SimulatorError
from simulator.plan.quality import hottest_gy, ptv_doses
from simulator.problem.preparation import prepare
from simulator.report.page import render_report
from simulator.simulation.plans import make_plan
from simulator.study_file.loading import parse_study
from simulator.study_file.schema import StudyConfig

STUDY = {
    "name": "two",
    "case": {
        "phantom": "sphere",
        "radius_mm": 8,
        "grid_mm": 4,
        "nodes": {"Node": {"centre_mm": [40, 0, 10], "diameter_mm": 12}},
    },
    "targets": {"GTV": {}, "Node": {"dose_gy": 30, "margin_mm": 4}},
    "prescription": {"dose_gy": 40, "fractions": 2, "isodose_percent": 80},
    "plan": {
        "model": "conformal-arc",
        "dose_grid_mm": 3,
        "arcs": [{"start_deg": -180, "stop_deg": 180, "spacing_deg": 30}],
    },
    "uncertainty": {"setup": {"systematic_mm": 2, "systematic_deg": 1}, "registration": {"systematic_mm": 1}},
    "strategies": {"margins_mm": [3], "motion": "none", "guidance": "none"},
    "goals": ["GTV D98% >= 95%", "Node D98% >= 95%", "Node Dmean >= 25 Gy"],
    "courses": 60,
    "numerics": {"instants": 1, "max_points": 1000},
}


def changed(**by_key):
    """The study with values replaced by dotted key; None takes a key out."""
    raw = copy.deepcopy(STUDY)
    for dotted, value in by_key.items():
        *path, last = dotted.split("__")
        place = raw
        for key in path:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return raw


@pytest.fixture(scope="module")
def two():
    problem = prepare(StudyConfig.model_validate(STUDY))
    return problem, make_plan(problem, problem.requests[0])


def test_each_target_gets_its_own_prescription(two):
    problem, plan = two
    for target, planned, margin_mm in zip(problem.targets, plan.planned, (3, 4), strict=True):
        d95_gy = hottest_gy(*ptv_doses(plan.dose, planned.ptv), 95.0)
        assert d95_gy == pytest.approx(target.prescription.dose_gy, rel=2e-4)
        assert planned.quality.ptv_d95_gy == pytest.approx(d95_gy)
        radius = (3 * planned.ptv.volume_cc * 1e3 / (4 * np.pi)) ** (1 / 3)
        drawn = (3 * target.structure.volume_cc * 1e3 / (4 * np.pi)) ** (1 / 3)
        assert radius - drawn == pytest.approx(margin_mm, abs=0.1)


def test_doses_of_the_plans_add_up(two):
    """Between the nodes each gives its share, and the bridge is what only both together lift above half of 30 Gy."""
    _, plan = two
    parts = plan.dose.doses
    points = np.random.default_rng(1).uniform((-10, -10, -5), (50, 10, 15), (500, 3))
    np.testing.assert_allclose(plan.dose.at(points), parts[0].at(points) + parts[1].at(points))
    total, alone = plan.dose.on_grid(plan.grid), np.maximum(*(part.on_grid(plan.grid) for part in parts))
    assert plan.bridge_cc == pytest.approx(((total >= 15) & (alone < 15)).sum() * plan.grid.voxel_cc)
    assert plan.bridge_cc > 0.5


def test_goals_in_percent_are_of_the_targets_own_dose(two):
    problem, _ = two
    assert problem.prescription_of("Node").dose_gy == 30
    assert problem.prescription_of("GTV").dose_gy == 40
    assert [goal.text for goal in problem.wanted] == ["GTV D98% >= 95%", "Node D98% >= 95%"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder, and its results."""
    path = tmp_path_factory.mktemp("targets") / "two"
    return path, simulator.run(parse_study(yaml.safe_dump(STUDY), "two"), out=path, workers=1)


def test_results_tell_each_target_and_all(folder):
    path, results = folder
    of_targets = results["targets"].to_dataset()
    goals = results["goals/probability"].sel(goal=["GTV D98% >= 95%", "Node D98% >= 95%"]).values
    np.testing.assert_array_equal(of_targets["probability"].values, goals)
    joint = results["joint/probability"].sel(joint="wanted coverage").values
    assert of_targets["product"].values[0] == pytest.approx(goals.prod())
    assert joint[0] <= goals.min()
    assert of_targets["isocentre_distance_mm"].values == pytest.approx([np.hypot(20, 5)] * 2, abs=0.2)
    assert of_targets["margin_mm"].values[0, :, 0].tolist() == [3, 4]
    assert simulator.open_results(path).attrs["result_hash"] == results.attrs["result_hash"]


def test_structures_of_each_target_go_back(folder, tmp_path):
    """Each with its own margin, and where it lies."""
    simulator.export_rtstruct(folder[1], "none, 3 mm, none", tmp_path / "ptv.dcm")
    polygons = read_polygons(tmp_path / "ptv.dcm")
    assert list(polygons) == ["GTV", "PTV_GTV", "PTV_p90_GTV", "Node", "PTV_Node", "PTV_p90_Node"]
    for name, x_mm, radius_mm in (("GTV", 0, 8), ("PTV_GTV", 0, 11), ("Node", 40, 6), ("PTV_Node", 40, 10)):
        x = np.concatenate([outline[:, 0] for own in polygons[name].values() for outline in own])
        assert [x.min(), x.max()] == pytest.approx([x_mm - radius_mm, x_mm + radius_mm], abs=0.6)


def test_one_target_through_the_list_is_the_usual_study():
    alone = changed(targets={"GTV": {}}, goals=["GTV D98% >= 95%"])
    usual = changed(targets=None, goals=["GTV D98% >= 95%"])
    hashes = [simulator.run(StudyConfig.model_validate(raw), workers=1).attrs["result_hash"] for raw in (alone, usual)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategies__guidance": {"kind": "online-target", "targets": {"External": 1}}}, "External is no target"),
        ({"targets": {"GTV": {}, "Nod": {}}}, r"targets\.Nod: .* did you mean 'Node'"),
        ({"case__nodes": {"Node": {"centre_mm": [9, 0, 0], "diameter_mm": 12}}}, "% of Node lie in GTV"),
        ({"targets": {"GTV": {"amplitude_mm": 3}, "Node": {}}}, "GTV is the first target"),
        ({"targets": {"GTV": {"baseline_correlation": 0.5}, "Node": {}}}, "the shifts of others follow it"),
        ({"targets": {"GTV": {}, "Node": {"dose_gray": 30}}}, "unknown key"),
        ({"targets": {"GTV": {}, "Node": {"margin_mm": -1}}}, "margin_mm"),
        ({"targets": {"GTV": {}, "Node": {"baseline_correlation": 1.5}}}, "baseline_correlation"),
        ({"uncertainty__organs": {"Node": {"systematic_mm": 2}}}, "Node is the target"),
        ({"decision": {"target_goals": ["External D98% >= 95%"]}}, "not about the target GTV, Node"),
        (
            {"decision": {"coverage": "each"}, "uncertainty__setup": {"systematic_mm": 2, "known": {"patients": 9}}},
            "decision.coverage: each target by itself",
        ),
        ({"plan": {"model": "inverse-arc", "limits": ["Node D98% <= 20 Gy"]}}, "is about the target Node"),
        (
            {"uncertainty__setup": {"systematic_deg": 1, "isocentre_mm": [0, -250, 0]}},
            r"isocentre_mm: \(0, -250, 0\) mm lies outside of the body, 250 mm from the centre of GTV, which lies at",
        ),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    raw = changed(**change)
    with pytest.raises((ConfigError, SimulatorError, ValueError), match=message):
        prepare(parse_study(yaml.safe_dump(raw), "two.yaml"))


@pytest.mark.parametrize(("isocentre_mm", "noted"), [([20, 0, 0], False), ([0, 0, 120], True)])
def test_an_isocentre_in_the_air_beside_a_superficial_target_is_noted(isocentre_mm, noted):
    """The phantom's water ends 106 mm from its centre."""
    raw = changed(
        case__nodes={"Node": {"centre_mm": [0, 0, 40], "diameter_mm": 12}},
        uncertainty__setup={"systematic_deg": 1, "isocentre_mm": isocentre_mm},
    )
    notes = prepare(StudyConfig.model_validate(raw)).notes
    assert (
        any("(0, 0, 120) mm lies outside of the body, 80 mm from the centre of Node" in note for note in notes) == noted
    )


def test_a_target_named_twice_is_refused():
    text = "name: two\ntargets:\n  GTV: {}\n  GTV: {}\n"
    with pytest.raises(ConfigError, match="GTV"):
        parse_study(text, "two.yaml")


def test_a_nested_boost_is_planned_on_top():
    raw = changed(
        case__nodes={"Boost": {"centre_mm": [0, 0, 0], "diameter_mm": 8}},
        targets={"GTV": {"dose_gy": 30}, "Boost": {"dose_gy": 40}},
        goals=["Boost D98% >= 95%"],
    )
    problem = prepare(StudyConfig.model_validate(raw))
    plan = make_plan(problem, problem.requests[0])
    assert [p.quality.ptv_d95_gy for p in plan.planned] == pytest.approx([30, 40], rel=2e-4)


def test_shares_that_are_not_found_are_refused(two, monkeypatch):
    problem, _ = two
    monkeypatch.setattr("simulator.plan.together._TOLERANCE", -1.0)
    with pytest.raises(SimulatorError, match="no share of each plan gives all of GTV, Node"):
        make_plan(problem, problem.requests[0])


def test_a_boost_that_the_rest_gives_already_is_refused():
    raw = changed(
        case__nodes={"Boost": {"centre_mm": [0, 0, 0], "diameter_mm": 8}},
        targets={"GTV": {"dose_gy": 40}, "Boost": {"dose_gy": 20}},
        goals=["Boost D98% >= 95%"],
    )
    problem = prepare(StudyConfig.model_validate(raw))
    with pytest.raises(SimulatorError, match=r"targets\.Boost: the plans of the other targets give it more"):
        make_plan(problem, problem.requests[0])


def test_the_report_tells_each_target_and_all(tmp_path):
    simulator.run(StudyConfig.model_validate(STUDY | {"courses": 20}), out=tmp_path / "two", workers=1)
    render_report(simulator.open_results(tmp_path / "two"), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "targets GTV, Node; 40 Gy" in page
    table = page.split('<table id="targets-covered">')[1].split("</table>")[0]
    assert [heading in table for heading in ("GTV", "Node", "all together", "product of each", "bridge")] == [True] * 5
    assert "Node: 30 Gy on the 80 % isodose; margin (4, 4, 4) mm under every strategy" in page
    assert "none, 3 mm, none: Node" in page.split('id="plans"')[1]


@pytest.mark.nightly
@pytest.mark.parametrize("wanted", [0.6])
def test_each_target_may_be_asked_by_itself(wanted):
    """Its condition is that of the target which is covered least, all together in the same course asks for more."""
    raw = changed(decision={"coverage": "each", "probability": wanted}, strategies__margins_mm=[2, 5])
    each = simulator.run(StudyConfig.model_validate(raw), workers=1)
    together = simulator.run(
        StudyConfig.model_validate(raw | {"decision": raw["decision"] | {"coverage": "together"}}), workers=1
    )
    low, high = (each[f"targets/{end}"].min("target").values for end in ("ci_low", "ci_high"))
    expected = np.where(low >= wanted, "yes", np.where(high < wanted, "no", "not known"))
    assert each["decision/target_holds"].values.tolist() == expected.tolist()
    order = ("yes", "not known", "no")
    stricter = together["decision/target_holds"].values
    assert all(order.index(one) <= order.index(all_) for one, all_ in zip(expected, stricter, strict=True))
    own = each["prescription"].to_dataset().sel(scale=1.0)
    assert own["verdict"].values.tolist() == each["decision/verdict"].values.tolist()
    needed = [r["margins/required_mm"].values[:, 0] for r in (each, together)]
    assert np.all(needed[0] <= needed[1])


@pytest.mark.nightly
def test_each_target_has_a_budget_of_its_own(tmp_path):
    """Registration is each target's own: without it both gain, and the page says what each does."""
    raw = changed(budget={"courses": 50}, decision={"coverage": "each"}, courses=20, strategies__margins_mm=[3, 5])
    results = simulator.run(StudyConfig.model_validate(raw), out=tmp_path / "two", workers=1)
    budget = results["budget"].to_dataset()
    assert budget["target"].values.tolist() == ["GTV", "Node"]
    goals = ["GTV D98% >= 95%", "Node D98% >= 95%"]
    np.testing.assert_array_equal(budget["target_coverage"].values, budget["probability"].sel(goal=goals).values)
    np.testing.assert_array_equal(budget["target_coverage_without"].values, budget["without"].sel(goal=goals).values)
    assert np.all(budget["coverage"] <= budget["target_coverage"].min("target"))
    render_report(results, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "are wanted of each target" in page.split('id="decision"')[1].split("</section>")[0]
    assert "GTV (%, points)" in page.split('id="budget"')[1]
    assert page.split('id="targets"')[1].split("</section>")[0].count("<figure>") == 2


@pytest.mark.nightly
def test_points_of_a_sweep_over_a_targets_dose_have_plans_of_their_own():
    raw = changed(courses=20) | {"sweep": {"targets.Node.dose_gy": [20, 30]}}
    results = simulator.run(StudyConfig.model_validate(raw), workers=1)
    nominal = results["metrics/nominal"].sel(metric="Node D95%").values.ravel()
    assert nominal[1] / nominal[0] == pytest.approx(1.5, rel=0.05)
