"""Doses that are delivered in parts: each visit meets the part that is on."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.ground.parallel import SerialExecutor
from simulator.plan.dose import DosePart, PlannedDose
from simulator.problem.preparation import prepare
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.study_file.schema import StudyConfig
from tests.test_accumulate import GridDose, motion, ragged_patch


@dataclass(frozen=True)
class Parted(PlannedDose):
    """A sum of parts."""

    own: tuple[DosePart, ...]

    @property
    def parts(self):
        return self.own

    def on_grid(self, grid):
        return np.sum([part.dose.on_grid(grid) for part in self.own], axis=0, dtype=np.float32)

    def at(self, points_mm):
        return np.sum([part.dose.at(points_mm) for part in self.own], axis=0)


@dataclass(frozen=True)
class Half(PlannedDose):
    """Half of a dose."""

    dose: PlannedDose

    def on_grid(self, grid):
        return self.dose.on_grid(grid) / np.float32(2)

    def at(self, points_mm):
        return self.dose.at(points_mm) / 2


@dataclass(frozen=True)
class Ramp(PlannedDose):
    """A dose that rises by some Gy per mm along LR."""

    gy_per_mm: float

    def on_grid(self, grid):
        return self.at(grid.nodes_mm().reshape(-1, 3)).reshape(grid.shape).astype(np.float32)

    def at(self, points_mm):
        return 10 + self.gy_per_mm * points_mm[:, 0]


DOSE = Half(Half(GridDose(1)))


def halves(dose, at=0.5):
    """The same dose in two parts, each of half the weight, the first until `at`."""
    return Parted((DosePart(Half(dose), 0.0, at), DosePart(Half(dose), at, 1.0)))


def test_visits_of_a_part_are_those_of_its_time_with_the_weight_of_the_whole():
    weight = np.array([[0.1, 0.2, 0.1, 0.1, 0.4, 0.1], [0.2, 0.0, 0.2, 0.3, 0.3, 0.0]])
    moved = motion(np.arange(36.0).reshape(2, 6, 3), weight, n_fractions=2)
    first, second = moved.during(0.0, 0.25), moved.during(0.25, 1.0)
    np.testing.assert_allclose(first.weight, [[0.4, 0.4, 0.2], [0.4, 0.6, 0.0]])
    np.testing.assert_array_equal(first.shift_mm, moved.shift_mm[:, [0, 3, 4]])
    np.testing.assert_allclose(second.weight.sum(axis=1), 1)
    total = np.zeros((2, 6))
    total[:, [0, 3, 4]] += 0.25 * first.weight
    total += 0.75 * second.weight
    np.testing.assert_allclose(total, weight, atol=1e-15)
    assert moved.during(0.0, 1.0) is moved


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("at", [0.5, 0.3])
def test_identical_parts_of_half_the_weight_are_the_whole(turns, at):
    """Of equal times: visit by visit. Of unequal times where nothing moves within a fraction: course by course."""
    rng = np.random.default_rng(1)
    shift = rng.uniform(-4, 4, (3, 3, 4, 3))
    shift = shift if at == 0.5 else np.repeat(shift[:, :, :1], 4, axis=2)
    linear = rng.normal(0, 0.02, (3, 3, 1, 3, 3)).repeat(4, axis=2).reshape(3, 12, 3, 3) if turns else None
    course = motion(shift.reshape(3, 12, 3), linear=linear, n_fractions=3)
    reach = Reach.of(course, np.full(3, 10.0))
    surface_mm = rng.uniform(-3, 3, (20, 3))
    one, two = (StructureDoses(d, [ragged_patch(1.5, 5)], reach, 0.5, surface_mm) for d in (DOSE, halves(DOSE, at)))
    gy = one.accumulate(course)
    np.testing.assert_allclose(two.accumulate(course), gy, atol=1e-5, rtol=0)
    np.testing.assert_allclose(two.extremes(gy, course), one.extremes(gy, course), atol=1e-5, rtol=0)
    squares = (doses.fraction_sums(gy, course, 3).squares_gy2 for doses in (two, one))
    np.testing.assert_allclose(*squares, rtol=1e-5)


@pytest.mark.parametrize("n_fractions", [2, 3])
def test_visits_follow_each_other_fraction_by_fraction(n_fractions):
    moved = motion(np.zeros((1, 2 * n_fractions, 3)), n_fractions=n_fractions)
    expected = np.repeat(np.arange(n_fractions), 2)
    np.testing.assert_array_equal(moved.fraction_of(np.arange(2 * n_fractions)), expected)
    assert motion(np.zeros((1, 4, 3)), n_fractions=1).fraction_of(np.arange(4)) is None


def test_a_square_wave_in_step_with_two_parts():
    """The first part meets tissue at +a, the second at -a: D = d1(x + a) + d2(x - a), not the mean of the sum."""
    a = 3.0
    course = motion([[[a, 0, 0], [-a, 0, 0]] * 2], n_fractions=2)
    dose = Parted((DosePart(Ramp(0.5), 0.0, 0.5), DosePart(Ramp(-0.2), 0.5, 1.0)))
    doses = StructureDoses(dose, [ragged_patch(1.5, 5)], Reach.of(course), 0.5)
    x = doses.points_mm[:, 0]
    expected = 20 + 0.5 * (x + a) - 0.2 * (x - a)
    np.testing.assert_allclose(doses.accumulate(course)[0], expected, atol=1e-4)
    still = StructureDoses(Parted((DosePart(dose),)), [ragged_patch(1.5, 5)], Reach.of(course), 0.5)
    np.testing.assert_allclose(still.accumulate(course)[0], 20 + 0.3 * x, atol=1e-4)


def test_a_strategy_with_its_plan_in_two_parts():
    """Metrics, true target, organ and mean dose as for the same plan in one part."""
    study = StudyConfig.model_validate(
        {
            "name": "parts",
            "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 4},
            "prescription": {"dose_gy": 4, "fractions": 2, "isodose_percent": 80},
            "plan": {"model": "penumbra", "normalisation": "isodose", "gridded": True},
            "uncertainty": {
                "setup": {"systematic_mm": 1, "random_mm": 1},
                "respiration": {"amplitude_mm": [0, 0, 6]},
                "delineation": {"sd_mm": 0.5},
            },
            "strategies": {"margins_mm": [3], "motion": "none", "guidance": "none"},
            "goals": ["GTV D98% >= 95%", "External D0.035cc <= 6 Gy", "External BED(3):D1cc <= 30 Gy"],
            "courses": 20,
            "numerics": {"instants": 8, "max_points": 1000},
        }
    )
    problem = prepare(study)
    strategy, draws = problem.strategies[0], course_draws(problem, 0, 20)
    plan, delivery = make_plan(problem, problem.requests[0]), deliver_courses(problem, strategy, draws)
    found = []
    for dose in (plan.dose, halves(plan.dose)):
        work = prepare_work(problem, strategy, replace(plan, dose=dose), [delivery], SerialExecutor())
        block = work.block(draws, delivery)
        visits = {name: block[f"visits_{i}"] for i, name in enumerate(work.boxes)}
        mean_gy = problem.map_frame.mean_dose_gy(dose, visits, work.boxes, 20)
        target_gy, organ_gy = (work.doses[name].accumulate(delivery.motion(name)) for name in ("GTV", "External"))
        found.append((target_gy, organ_gy, mean_gy, work.nominal()[0], block["values"]))
    one, two = found
    for whole, summed in zip(one[:3], two[:3], strict=True):
        np.testing.assert_allclose(summed, whole, atol=1e-5, rtol=0)
    np.testing.assert_allclose(two[3], one[3], rtol=1e-6)
    np.testing.assert_allclose(two[4], one[4], rtol=2e-5, atol=1e-4)
    assert np.all(np.ptp(one[4][:, :2], axis=0) > 0.05)
