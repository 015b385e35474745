"""What the static dose cloud leaves out, against closed forms: moved density, slabs, a node in lung."""

from dataclasses import replace

import numpy as np
import pytest
from test_targets import STILL, equal

import simulator
from simulator.accumulation.changed import of_weight
from simulator.case.anatomy import Case
from simulator.case.geometry import Grid, Volume
from simulator.case.moved_density import MovableDensity
from simulator.case.shapes import Ellipsoid
from simulator.case.structures import Structure, sample_structure
from simulator.ground.parallel import SerialExecutor
from simulator.plan.conformal_arc import ConformalArc
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.quality import hottest_gy
from simulator.plan.targets import planning_target
from simulator.problem.preparation import prepare
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.apart import DeliveryApart
from simulator.simulation.courses import course_draws
from simulator.simulation.measuring import measure_delivery
from simulator.simulation.plans import make_plan
from simulator.simulation.static_cloud import DoseChange, Recomputing
from simulator.simulation.work import prepare_work
from simulator.study_file.schema import StudyConfig

ATTENUATION_PER_MM = 0.0047
LUNG = 0.26


def node_in_lung(radius_mm: float, step_mm: float = 3.0) -> MovableDensity:
    """A ball of unit density in a cylinder of lung within a cylinder of water, both along SI."""
    grid = Grid.covering((-150, -110, -99), (150, 110, 99), step_mm)
    x, y, _ = np.moveaxis(grid.nodes_mm(), -1, 0)
    lung = (x / 110) ** 2 + (y / 80) ** 2 <= 1
    body = (x / 145) ** 2 + (y / 105) ** 2 <= 1
    around = np.where(lung, LUNG, np.where(body, 1.0, 0.0))
    ball = Ellipsoid((0.0, 0.0, 0.0), (radius_mm,) * 3)
    values = around + ball.occupancy(grid) * (1 - around)
    return MovableDensity(Volume(grid, values.astype(np.float32)), [Structure("GTV", "target", ball)])


def test_anatomy_that_does_not_move_keeps_its_density():
    anatomy = node_in_lung(10.0)
    still = anatomy.moved(np.zeros(3), {"GTV": np.zeros(3)})
    assert still.grid == anatomy.density.grid
    np.testing.assert_array_equal(still.values, anatomy.density.values)


def test_a_target_takes_its_density_along_and_leaves_lung_behind():
    anatomy = node_in_lung(10.0)
    assert anatomy.own_density == {"GTV": 1.0}
    assert anatomy.left_behind["GTV"] == pytest.approx(LUNG)
    by_mm = np.array([9.0, -6.0, 3.0])
    moved = anatomy.moved(np.zeros(3), {"GTV": by_mm}).values
    expected = np.roll(anatomy.density.values - LUNG, (1, -2, 3), axis=(0, 1, 2)) + LUNG
    near = np.linalg.norm(anatomy.density.grid.nodes_mm(), axis=-1) < 40
    np.testing.assert_allclose(moved[near], expected[near], atol=1e-6)
    mass = [float(values[near].sum()) for values in (moved, anatomy.density.values)]
    assert mass[0] == pytest.approx(mass[1], rel=1e-6)


def test_the_patient_moves_as_a_whole():
    anatomy = node_in_lung(10.0)
    moved = anatomy.moved(np.array([1.0, 2.0, -3.0]), {})
    np.testing.assert_array_equal(moved.values, anatomy.density.values)
    np.testing.assert_allclose(np.subtract(moved.grid.origin_mm, anatomy.density.grid.origin_mm), (1, 2, -3))


def test_the_static_cloud_fails_for_a_node_in_lung():
    """Displaced by 9 mm along SI, a ball of 10 mm in lung keeps more dose than the cloud says, by 5 to 9 % of 50 Gy: electrons
    of its own tissue. Lung goes on along SI, so it does not matter whether the ball moves or the patient."""
    anatomy, rx = node_in_lung(10.0), Prescription(dose_gy=50, fractions=5, isodose_percent=80)
    gtv = anatomy.targets[0]
    target = planning_target(gtv.region, STILL)
    plan = ConformalArc.model_validate({"arcs": [{"start_deg": 0, "stop_deg": 180}]}).plan(
        Order(Case("lung", {"GTV": gtv}, "GTV", anatomy.density), target, equal(8.0), rx)
    )
    cells, by_mm = sample_structure(gtv, max_points=1000), np.array([0, 0, 9.0])
    doses = (
        plan.dose,
        plan.dose_on(anatomy.moved(np.zeros(3), {"GTV": by_mm})),
        plan.dose_on(anatomy.moved(by_mm, {})),
    )
    static, inside, patient = (hottest_gy(d.at(cells.points_mm + by_mm), cells.volume_cc, 98) for d in doses)
    assert static < 50
    assert 2.5 < inside - static < 4.5
    assert patient == pytest.approx(inside, abs=0.02)


@pytest.fixture(scope="module")
def slab():
    """One wide static anterior beam on a ball in water, one fraction, setup errors along AP."""
    study = simulator.load_study("configs/sphere_truth.yaml").model_dump() | {
        "plan": {"model": "conformal-arc", "arcs": [{"start_deg": 0, "stop_deg": 0}], "block_margin_mm": 30.0},
        "prescription": {"dose_gy": 50, "fractions": 1, "isodose_percent": 80},
        "uncertainty": {"setup": {"systematic_mm": [0, 5, 0], "random_mm": [0, 0, 0]}},
        "goals": ["GTV Dmean >= 100%"],
        "courses": 20,
    }
    problem = prepare(StudyConfig.model_validate(study))
    strategy, draws = problem.strategies[0], course_draws(problem, 0, 20)
    plan, delivery = make_plan(problem, problem.requests[0]), DeliveryApart.of(problem, strategy, draws)
    work = prepare_work(problem, strategy, plan, [delivery.delivery], SerialExecutor())
    points = {name: doses.every_point_mm for name, doses in work.doses.items()}
    return problem, work, delivery, draws, Recomputing.of(problem, strategy, plan, points)


def test_no_displacement_changes_no_dose(slab):
    _, _, delivery, _, recomputing = slab
    assert all(not change.any() for change in recomputing.change_gy(np.zeros((2, 3))).values())
    fit = DoseChange.fitted(recomputing, delivery, SerialExecutor())
    assert not any(change.any() for change in fit.of_fractions(np.zeros((1, 2, 3))).values())


def test_depth_in_water_changes_the_dose_of_every_course_by_exp_mu_delta(slab):
    """A patient who lies farther from the beam brings his tissue along at its depth; the cloud lets it sink deeper."""
    problem, work, delivery, draws, recomputing = slab
    fit = DoseChange.fitted(recomputing, delivery, SerialExecutor())
    assert len(fit.axes_mm) == 1
    tissues = {
        name: replace(tissue, doses=tissue.doses.changed(fit.coefficients[name], fit.describe))
        for name, tissue in work.tissues.items()
    }
    mean = problem.column["GTV Dmean"]
    static, changed = (measure_delivery(delivery, some, draws)[:, mean] for some in (work.tissues, tissues))
    away_mm = delivery.fractions_mm[:, 0, 0, 1]
    assert np.ptp(away_mm) > 10
    np.testing.assert_allclose(changed / static, np.exp(ATTENUATION_PER_MM * away_mm), rtol=1e-3)


def test_a_change_is_summed_visit_by_visit_before_anything_is_measured(slab):
    """A course of two fractions of opposite displacements: the mean of both changes, not the change of the mean."""
    _, _, delivery, _, recomputing = slab
    fit = DoseChange.fitted(recomputing, delivery, SerialExecutor())
    visits = np.zeros((2, 2, 3))
    visits[:, 0, 1] = (6.0, -6.0)
    each = [fit.of_fractions(one[None])["GTV"] for one in visits]
    np.testing.assert_allclose(fit.of_fractions(visits)["GTV"], np.mean(each, axis=0), atol=1e-5)
    assert np.abs(np.mean(each, axis=0)).max() > 1e-3


def test_a_constant_change_raises_every_dose(slab):
    _, work, _, _, _ = slab
    doses, still = work.doses["GTV"], TissueMotion.still(np.zeros(3))
    raised = doses.changed(np.full((1, len(doses.every_point_mm)), 0.5, np.float32), of_weight)
    np.testing.assert_allclose(raised.accumulate(still) - doses.accumulate(still), 0.5, atol=1e-4)
