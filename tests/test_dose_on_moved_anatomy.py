"""A plan that knows its beams is delivered again to anatomy that is not where the plan expects it."""

from dataclasses import replace

import numpy as np
import pytest

import simulator
from simulator.plan.dose import SumOfDoses
from simulator.plan.quality import Plan
from simulator.plan.together import PlansInSequence
from simulator.problem.preparation import prepare
from simulator.simulation.plans import make_plan
from simulator.study_file.schema import StudyConfig

ARC = {"model": "conformal-arc", "arcs": [{"start_deg": 0, "stop_deg": 60}], "dose_grid_mm": 4}


@pytest.fixture(scope="module")
def study():
    return simulator.load_study("configs/sphere_truth.yaml").model_dump() | {
        "plan": ARC,
        "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
        "sweep": {},
    }


def problem_of(study, **changes):
    return prepare(StudyConfig.model_validate(study | changes))


def test_a_scaled_plan_is_delivered_again_at_its_scale(study):
    problem = problem_of(study, plan=ARC | {"scale": 1.25})
    plan = make_plan(problem, problem.requests[0])
    points = problem.targets[0].structure.centroid_mm + np.array([[0.0, 0, 0], [10, 0, 0], [0, 12, 5]])
    again = plan.dose_on(problem.case.density)
    np.testing.assert_allclose(again.at(points), plan.dose.at(points), rtol=1e-6)


def test_a_closed_form_dose_knows_no_beams(study):
    problem = problem_of(study, plan={"model": "penumbra", "penumbra_sd_mm": 3.2})
    assert make_plan(problem, problem.requests[0]).dose_on(problem.case.density) is None


def test_plans_together_are_delivered_again_together(study):
    problem = problem_of(study)
    plan, centre = make_plan(problem, problem.requests[0]), problem.targets[0].structure.centroid_mm[None]
    both = PlansInSequence(
        SumOfDoses((plan.dose,) * 2), plan.ptv, plan.quality, plan.grid, alone=(plan, plan), time_share=(0.5, 0.5)
    )
    density = problem.case.density
    np.testing.assert_allclose(both.dose_on(density).at(centre), both.dose.at(centre), rtol=1e-6)
    np.testing.assert_allclose(both.scaled(2.0).dose_on(density).at(centre), 2 * both.dose.at(centre), rtol=1e-6)
    unknown = replace(both, alone=(plan, Plan(plan.dose, plan.ptv, plan.quality, plan.grid)))
    assert unknown.dose_on(density) is None
