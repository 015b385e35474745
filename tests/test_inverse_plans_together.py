"""Inverse plans of several targets keep the limits of organs for the sum of their doses."""

from dataclasses import replace

import numpy as np
import pytest
from inverse_plans import RX, STILL, Solid
from test_conformal_arc import cylinder
from test_targets import Sphere, equal

from simulator.case.anatomy import Case
from simulator.case.structures import Structure
from simulator.plan.dose import SumOfDoses
from simulator.plan.inverse_arc import InverseArc
from simulator.plan.model import Order
from simulator.plan.quality import hottest_gy, ptv_doses
from simulator.plan.sparing import Limit, Sparing
from simulator.plan.targets import planning_target
from simulator.simulation.plans import _keep_limits_together, _others

ARCS = [{"start_deg": -180, "stop_deg": 180, "spacing_deg": 30}]
MODEL = InverseArc.model_validate({"passes": 1, "arcs": ARCS, "dose_grid_mm": 3})
LIMIT = Limit("Cord", "D0.035cc", 0.035, 20.0)


@pytest.fixture(scope="module")
def orders():
    """Two balls of 8 mm, 40 mm apart, and a block of 8 mm between them."""
    balls = {
        name: Structure(name, "target", Sphere((x, 0.0, 0.0), 8.0)) for name, x in (("GTV", -20.0), ("Node", 20.0))
    }
    cord = Structure("Cord", "oar", Solid((-4.0, -4.0, -30.0), (4.0, 4.0, 30.0)))
    case = Case("phantom", {**balls, "Cord": cord}, "GTV", cylinder()).with_targets(["GTV", "Node"])
    sparing = Sparing((LIMIT,))
    return [
        [Order(case.for_target(name), planning_target(ball.region, STILL), equal(3.0), RX, sparing)]
        for name, ball in balls.items()
    ]


def together(orders, designs):
    plans = [MODEL.plans(order, map, known)[0] for order, known in zip(orders, designs, strict=True)]
    return plans, MODEL.together(plans, [order[0] for order in orders], in_turn=False)


@pytest.mark.nightly
def test_a_limit_that_each_plan_keeps_and_their_sum_misses_is_kept_by_planning_again(orders):
    designs = [list(MODEL.design(order, map)) for order in orders]
    plans, alone = together(orders, designs)
    assert [plan.quality.given_up for plan in plans] == ["", ""]
    assert [one.quality.given_up for one in alone.planned] == ["Cord D0.035cc"] * 2
    _keep_limits_together(MODEL, orders, designs, map, in_turn=False)
    _, again = together(orders, designs)
    assert [one.quality.given_up for one in again.planned] == ["", ""]
    for one in again.planned:
        assert hottest_gy(*ptv_doses(again.dose, one.ptv), 95) == pytest.approx(RX.dose_gy, rel=2e-4)


def test_besides_are_the_others():
    """Of three plans the doses of two; none of a plan's own."""

    class Given:
        def __init__(self, gy):
            self.dose = gy

    found = _others(1, [Given(1.0), Given(2.0), Given(4.0)])
    assert found == SumOfDoses((1.0, 4.0))


def test_what_others_give_counts_for_limits_and_not_for_the_plans_own_size(orders):
    """Beside a constant dose every point has so much more from the start, and the leaves begin as they would alone."""

    class Constant:
        def at(self, mm):
            return np.full(len(mm), 5.0)

    (order,) = orders[0]
    treatment = MODEL._treatment(order.target)
    medium = MODEL.medium(order.case.density, treatment, MODEL._dose_grid(order.case.density, order.target), map)
    alone, beside = (MODEL.task(medium, treatment, replace(order, besides=gy)) for gy in (None, Constant()))
    np.testing.assert_allclose(beside.points.dose(alone.start), alone.points.dose(alone.start) + 5.0)
    np.testing.assert_allclose(beside.start.weight, alone.start.weight)
