"""How much of each probability rests on approximations: the group, its sums, and what the report says of it."""

import numpy as np
import pytest
import xarray as xr

import simulator
from simulator.answers.model_error import APPROXIMATIONS, Judges, model_error_group
from simulator.case.geometry import Grid, Volume
from simulator.ground.parallel import SerialExecutor
from simulator.plan.dose import SplineDose, SumOfDoses, TrilinearDose
from simulator.problem.preparation import prepare
from simulator.report.model_error import model_error
from simulator.results.registry import check_results
from simulator.simulation.courses import course_draws
from simulator.simulation.plans import make_plan
from simulator.simulation.remeasured import Remeasured
from simulator.simulation.static_cloud import DoseChange, Recomputing
from simulator.study_file.schema import StudyConfig

STATIC, DOSE_GRID, CELLS, INSTANTS = range(4)


def study(**changes) -> StudyConfig:
    """A ball of 8 mm in water under a coarse arc, matched on bone while it moves."""
    plain = simulator.load_study("configs/sphere_truth.yaml").model_dump() | {
        "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 3},
        "plan": {
            "model": "conformal-arc",
            "arcs": [{"start_deg": 0, "stop_deg": 120, "spacing_deg": 40}],
            "dose_grid_mm": 3,
        },
        "prescription": {"dose_gy": 50, "fractions": 3, "isodose_percent": 80},
        "uncertainty": {
            "setup": {"systematic_mm": 1.5, "random_mm": 1.5},
            "respiration": {"amplitude_mm": [1, 2, 8]},
        },
        "goals": ["GTV D98% >= 100%", "GTV Dmean >= 90%"],
        "courses": 60,
        "simulate": {"model_error": True, "recomputed_courses": 2},
    }
    return StudyConfig.model_validate(plain | changes)


@pytest.fixture(scope="module")
def results():
    return simulator.run(study(), workers=1)


def test_the_group_is_complete_and_about_the_first_strategy(results):
    check_results(results)
    found = results["model_error"].to_dataset()
    assert tuple(found["approximation"].values) == APPROXIMATIONS
    assert found["of_strategy"].item() == results["decision"]["strategy"].values[0]
    assert found.attrs["n_controls"] == 2 * (3 + 1)  # breathing moves the target along one line
    goals = results["goals"].to_dataset().isel(strategy=0)
    np.testing.assert_array_equal(found["probability"].sel(goal=goals["goal"].values), goals["probability"])


def test_sums_and_signs(results):
    """What is known is added as it is, what is not known widens both ends; a change lies in its interval or bound."""
    found = results["model_error"].to_dataset()
    change, low, high = (found[key].values for key in ("change", "change_low", "change_high"))
    lowest = change[STATIC] + np.minimum(change[DOSE_GRID], 0) + low[CELLS] + low[INSTANTS]
    highest = change[STATIC] + np.maximum(change[DOSE_GRID], 0) + high[CELLS] + high[INSTANTS]
    np.testing.assert_allclose(found["together_low"], lowest, atol=1e-12)
    np.testing.assert_allclose(found["together_high"], highest, atol=1e-12)
    assert (low <= change).all()
    assert (change <= high).all()


def test_a_grid_of_3_mm_is_coarse_for_a_small_ball(results):
    """Linear interpolation takes dose off a hump, in the plan and more in courses that reach its shoulders."""
    found = results["model_error"].to_dataset().sel(goal="GTV D98% >= 100%")
    assert found["grid_mm"] == 3
    assert found["nominal_grid_change"] < -0.5
    assert found["value_change"][DOSE_GRID] < -1
    assert found["change"][DOSE_GRID] < -0.02


def test_whole_courses_recomputed_at_every_fraction_agree_with_the_fit(results):
    found = results["model_error"].to_dataset()
    assert (found["fit_error"] < 0.3).all()
    assert (found["fit_error"] < 0.6 * found["recomputed_change"]).all()


def test_the_answer_itself_does_not_change(results):
    plain = simulator.run(study(simulate={}), workers=2)
    assert "model_error" not in plain.children
    for group in ("metrics", "goals", "joint", "decision"):
        assert plain[group].to_dataset().equals(results[group].to_dataset())
    assert model_error(plain) is None


def test_a_closed_form_dose_has_no_grid_and_no_beams(results):
    problem = prepare(study(plan={"model": "penumbra", "penumbra_sd_mm": 3.2}))
    plan, values = make_plan(problem, problem.requests[0]), results["metrics/value"].values[0]
    group = model_error_group(problem, 0, values, plan, SerialExecutor())
    assert np.isnan(group["change"][STATIC]).all()
    assert not group["change"][DOSE_GRID].any()
    tree = results.copy()
    tree["model_error"] = xr.DataTree(group)
    said = model_error(tree)
    assert "is not known" in said["sentence"]
    assert "has no beams" in said["fit"]


def test_the_report_says_it_in_a_sentence_and_a_small_table(results):
    said = model_error(results)
    found = results["model_error"].to_dataset()
    assert len(said["rows"]) + said["n_plain"] == found.sizes["goal"]
    assert said["sentence"].startswith("Of “none, 4 mm, none”, GTV D98% ≥ 95% is met in ")
    assert "linear interpolation between the 3 mm nodes of the dose grid would make" in said["sentence"]
    assert "recomputed at 8 displacements" in said["fit"]
    assert "In 2 whole courses, recomputed at every fraction, GTV D98% ≥ 95% changed by at most " in said["fit"]
    assert " %, and the fit missed that by at most " in said["fit"]
    assert "its error of transport does not show" in said["fit"]


def test_linear_interpolation_between_nodes():
    """Exact for what is linear along each axis; off by h^2 / 8 of the second derivative in the middle of a cell."""
    grid = Grid((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), (5, 5, 5))
    x, y, z = np.moveaxis(grid.nodes_mm(), -1, 0)
    points = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 5.0], [-5.0, 2.0, 2.0]])
    bilinear = TrilinearDose(SplineDose(Volume(grid, 1 + 2 * x + y * z)), grid)
    np.testing.assert_allclose(bilinear.at(points), [11, 22, 5], rtol=1e-6)
    np.testing.assert_allclose(bilinear.on_grid(grid), 1 + 2 * x + y * z, rtol=1e-6)
    curved = TrilinearDose(SplineDose(Volume(grid, x**2)), grid).at(points[:1])
    np.testing.assert_allclose(curved, 1.0**2 + 2.0**2 / 8 * 2, rtol=1e-6)


def test_a_dose_in_parts_is_linear_part_by_part():
    grid = Grid((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), (5, 5, 5))
    one = SplineDose(Volume(grid, grid.nodes_mm()[..., 0] ** 2))
    both = TrilinearDose(SumOfDoses((one, one.scaled(2.0)), in_turn=True), grid)
    assert [(part.begin, part.end) for part in both.parts] == [(0, 0.5), (0.5, 1)]
    middle = np.array([[1.0, 2.0, 2.0]])
    np.testing.assert_allclose([part.dose.at(middle)[0] for part in both.parts], [2, 4], rtol=1e-6)


@pytest.mark.nightly
def test_twenty_whole_courses_recomputed_at_every_fraction():
    """The fit misses D98% of the subcarinal node by at most 0.1 Gy, no dose by 0.25 Gy, and no goal at all."""
    changes = {
        "plan.model": "conformal-arc",
        "strategies.prv_mm": [0],
        "strategies.margins_mm": [5],
        "strategies.motion": ["none"],
    }
    problem = prepare(simulator.load_study("configs/mediastinal_node.yaml", changes))
    strategy, plan = problem.strategies[0], make_plan(problem, problem.requests[0])
    courses = Remeasured(problem, strategy, plan, course_draws(problem, 0, 200), SerialExecutor())
    cloud, judges = Recomputing.of(problem, strategy, plan, courses.points_mm), Judges(problem)
    fit, mm = DoseChange.fitted(cloud, courses.delivery, SerialExecutor()), courses.delivery.fractions_mm[:20]
    truth, found = (
        np.stack([courses.changed_alone(i, of(own)) for i, own in enumerate(mm)])
        for of in (cloud.of_fractions, fit.of_fractions)
    )
    np.testing.assert_array_equal(judges.met(found), judges.met(truth))
    in_gy = [m.unit == "Gy" for s in problem.structures for m in problem.metrics[s.name]]
    off = np.abs(found - truth)[:, in_gy].max(axis=0)
    names = [label for label, gy in zip(problem.metric_labels, in_gy, strict=True) if gy]
    assert off[names.index("GTV D98%")] < 0.1
    assert off.max() < 0.25
