"""A small patient for inverse plans: a ball with an organ beside it in a cylinder of water."""

from functools import cache

import numpy as np
from test_conformal_arc import cylinder
from test_targets import Block, Sphere, equal

from simulator.case.anatomy import Case
from simulator.case.cells import sub_voxel_moments
from simulator.case.geometry import Grid
from simulator.case.structures import Structure
from simulator.plan.inverse_arc import InverseArc, PlanningTask
from simulator.plan.model import Order
from simulator.plan.prescription import Prescription
from simulator.plan.sparing import Limit, Sparing
from simulator.plan.targets import planning_target

RX = Prescription(dose_gy=50, fractions=5, isodose_percent=80)
STILL = np.zeros((1, 3))
CORD = Limit("Cord", "D0.035cc", 0.035, 20.0)


class Solid(Block):
    """A block whose cells know their moments."""

    def moments(self, grid: Grid, index_zyx: np.ndarray) -> np.ndarray:
        """See `Region`."""
        return sub_voxel_moments(self.occupancy, grid, index_zyx)


def patient(distance_mm=8.0, radius_mm=9.0) -> Case:
    """A ball, and a block of 10 mm as far behind it."""
    y = radius_mm + distance_mm
    cord = Structure("Cord", "oar", Solid((-5.0, y, -40.0), (5.0, y + 10, 40.0)))
    ball = Structure("GTV", "target", Sphere((0.0, 0.0, 0.0), radius_mm))
    return Case("phantom", {"GTV": ball, "Cord": cord}, "GTV", cylinder())


def planned(model: InverseArc, case: Case, *limits: Limit, margin_mm=3.0, prv_mm=0.0):
    target = planning_target(case.gtv.region, STILL)
    return model.plan(Order(case, target, equal(margin_mm), RX, Sparing(tuple(limits), prv_mm)))


@cache
def usual_plan(
    gy: float | None = None, passes: int = 2, prv_mm: float = 0.0, priority: str = "organs", floor: float = 90
):
    """Plans that several tests look at: of the usual patient, with the organ's limit or without."""
    limits = () if gy is None else (Limit("Cord", "D0.035cc", 0.035, gy),)
    model = InverseArc.model_validate({"passes": passes, "priority": priority, "coverage_floor_percent": floor})
    return planned(model, patient(), *limits, prv_mm=prv_mm)


def task_of(model: InverseArc, case: Case, *limits: Limit, margin_mm=3.0) -> PlanningTask:
    """What the optimiser is asked."""
    target = planning_target(case.gtv.region, STILL)
    treatment = model._treatment(target)
    medium = model.medium(case.density, treatment, model._dose_grid(case.density, target), map)
    order = Order(case, target, equal(margin_mm), RX, Sparing(tuple(limits)))
    return model.task(medium, treatment, order)
