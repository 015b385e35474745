"""Metrics from the points that decide them are those from all points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.reach import Reach
from simulator.case.cells import Patch
from simulator.case.geometry import Grid
from simulator.ground.parallel import SerialExecutor
from simulator.kernels.tiles import weighted_sums
from simulator.metrics.evaluate import evaluate_metrics
from simulator.metrics.kinds import parse_metric
from simulator.plan.dose import PlannedDose
from simulator.problem.preparation import prepare
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.deciding import DecidingPoints
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.study_file.schema import StudyConfig

METRICS = ["D0.01%", "D0.1cc", "D2%", "D50%", "D95%", "D99.5%", "Dmean", "V30Gy", "V50%", "CV20Gy", "V1Gy", "V70Gy"]


class Spot(PlannedDose):
    """A dose that falls off around the origin, the faster the steeper, on a plateau that is uneven."""

    def __init__(self, fall_mm):
        self.fall_mm = fall_mm

    def on_grid(self, grid):
        points = grid.nodes_mm()
        return self.at(points.reshape(-1, 3)).reshape(grid.shape).astype(np.float32)

    def at(self, points_mm):
        return 60 * np.exp(-np.linalg.norm(points_mm, axis=1) / self.fall_mm) + np.cos(points_mm @ [0.3, 0.2, 0.1])


def box_patch(size_mm, seed):
    rng = np.random.default_rng(seed)
    lattice = Grid.covering((5, -size_mm, -size_mm), (5 + size_mm, size_mm, size_mm), 2.0)
    index = np.argwhere(rng.random(lattice.shape) < 0.9).astype(np.int32)
    return Patch(lattice, index, rng.uniform(0.2, 1, len(index)) * lattice.voxel_cc)


def random_motion(seed, spread_mm):
    rng = np.random.default_rng(seed)
    return TissueMotion(rng.normal(0, spread_mm, (20, 5, 3)), rng.dirichlet(np.ones(5), 20), None, np.zeros(3))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(METRICS), st.sampled_from([8.0, 25.0, 80.0]), st.sampled_from([0.5, 2.0]), st.integers(1, 3),
    st.integers(0, 999),
)  # fmt: skip
def test_every_metric_is_that_of_all_points(name, fall_mm, spread_mm, stride, seed):
    patch, motion = box_patch(24, seed), random_motion(seed, spread_mm)
    points = LatticePoints(Spot(fall_mm), patch, Reach.of(motion), stride)
    metrics = [parse_metric("Organ", name), parse_metric("Organ", "D1cc")]
    some = DecidingPoints.of([points], patch.volume_cc, metrics, 60.0)
    whole = evaluate_metrics(metrics, points.accumulate(motion), patch.volume_cc, 60.0)
    if some is not None:
        assert len(some.volume_cc) < 0.7 * points.n_points
        np.testing.assert_allclose(some.evaluate(motion), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_few_points_decide_where_displacements_are_small(name):
    patch, motion = box_patch(30, 3), random_motion(3, 0.5)
    points = LatticePoints(Spot(25.0), patch, Reach.of(motion), 1)
    some = DecidingPoints.of([points], patch.volume_cc, [parse_metric("Organ", name)], 60.0)
    assert some is not None
    assert len(some.volume_cc) < 0.55 * points.n_points


def test_limits_and_mean_equal_a_plain_search():
    patch, motion = box_patch(10, 1), random_motion(1, 2.0)
    reach = Reach.of(motion)
    points = LatticePoints(Spot(20.0), patch, reach, 2, unblur=False)
    low, high = points.limits_gy()
    doses = points.accumulate(motion)
    assert np.all(low <= doses.min(axis=0) + 1e-5)
    assert np.all(high >= doses.max(axis=0) - 1e-5)
    steps = [np.arange(np.floor(a), np.floor(b) + 2) for a, b in zip(reach.lower_mm, reach.upper_mm, strict=True)]
    nodes = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 3)
    reached = Spot(20.0).at((patch.points_mm[:, None] + nodes).reshape(-1, 3)).reshape(points.n_points, -1)
    np.testing.assert_allclose(low, reached.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(high, reached.max(axis=1), rtol=1e-6)
    share = patch.volume_cc / patch.volume_cc.sum()
    np.testing.assert_allclose(points.mean(share).accumulate(motion)[:, 0], doses @ share, rtol=1e-6)


def test_weighted_sums_are_their_numpy_twin():
    rng = np.random.default_rng(0)
    values, start = rng.random(4000).astype(np.float32), rng.integers(0, 2000, 13)
    base, factor = rng.integers(0, 1900, 1300), rng.random(1300).astype(np.float32)
    total = np.full((13, 8), np.nan)
    weighted_sums(values, start, base, factor, total)
    at = start[:, None, None] + base[None, :, None] + np.arange(8)
    np.testing.assert_allclose(total, np.einsum("tni,n->ti", values[at].astype(float), factor), rtol=1e-6)


def test_all_points_are_needed_where_bounds_do_not_decide():
    patch, motion = box_patch(24, 1), random_motion(1, 0.5)
    turned = np.broadcast_to(Rotation.from_euler("z", 2, degrees=True).as_matrix() - np.eye(3), (20, 5, 3, 3))
    turning = TissueMotion(motion.shift_mm, motion.weight, np.ascontiguousarray(turned), np.zeros(3))
    still, turns = (LatticePoints(Spot(25.0), patch, Reach.of(m, np.full(3, 30.0)), 1) for m in (motion, turning))
    near_max = [parse_metric("Organ", "D1cc")]
    assert DecidingPoints.of([still], patch.volume_cc, near_max, 60.0) is not None
    assert DecidingPoints.of([turns], patch.volume_cc, near_max, 60.0) is None
    for name in ("gEUD(a=8)", "EQD2(3):D1cc", "Dmax"):
        assert DecidingPoints.of([still], patch.volume_cc, [parse_metric("Organ", name)], 60.0) is None


def test_a_study_has_the_same_metrics_with_and_without_dvhs():
    study = StudyConfig.model_validate(
        {
            "name": "deciding",
            "case": {"phantom": "mediastinal"},
            "prescription": {"dose_gy": 50, "fractions": 5},
            "plan": {"model": "conformal-arc"},
            "strategies": {"margins_mm": [5], "motion": ["none"], "guidance": ["none"]},
            "uncertainty": {"setup": {"systematic_mm": [1.5, 1.5, 1.5], "random_mm": [1.5, 1.5, 1.5]}},
            "goals": ["mediastinal-5fx"],
            "courses": 60,
        }
    )
    problem = prepare(study)
    draws = course_draws(problem, 0, 60)
    delivery = deliver_courses(problem, problem.strategies[0], draws)
    plan = make_plan(problem, problem.requests[0])
    work = prepare_work(problem, problem.strategies[0], plan, [delivery], SerialExecutor())
    some = work.for_metrics()
    assert {"Lungs", "Esophagus"} <= {name for name, t in some.tissues.items() if isinstance(t, DecidingPoints)}
    np.testing.assert_allclose(some.metrics_of(draws), work.metrics_of(draws), rtol=2e-6, atol=1e-6)
