"""A plan model that the simulator does not have, with a dose of its own."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

from simulator.case.geometry import Grid
from simulator.plan.dose import PlannedDose, RadialProfile
from simulator.plan.model import Order, PlanModelKind
from simulator.plan.quality import Plan, plan_quality


@dataclass(frozen=True)
class LogisticDose(PlannedDose):
    """d(r) = max_gy / (1 + exp((r - radius_mm) / length_mm)), r the distance from centre_mm."""

    centre_mm: np.ndarray
    radius_mm: float
    length_mm: float
    max_gy: float

    def on_grid(self, grid: Grid) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy at the nodes of a grid."""
        return self.at(grid.nodes_mm()).astype(np.float32)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Dose float64 (n,) in Gy at points (n, 3)."""
        distance_mm = np.linalg.norm(points_mm - self.centre_mm, axis=-1)
        return self.max_gy * expit((self.radius_mm - distance_mm) / self.length_mm)

    def profile(self) -> RadialProfile:
        """Every 0.01 mm."""
        radii = np.arange(0, self.radius_mm + 40 * self.length_mm, 0.01)
        return RadialProfile(self.centre_mm, 0.01, self.at(self.centre_mm + np.outer(radii, (1, 0, 0))))


class Logistic(PlanModelKind):
    """A round dose with a logistic edge at the radius of the PTV."""

    model: Literal["logistic"] = "logistic"

    @property
    def edge_sd_mm(self) -> float:
        """A logistic edge of 2 mm is about as wide as a Gaussian one of 3.6."""
        return 3.6

    def plan(self, order: Order) -> Plan:
        """The plan that is ordered."""
        ptv, prescription = order.ptv, order.prescription
        radius_mm = float(np.cbrt(3000 * ptv.volume_cc / (4 * np.pi)))
        dose = LogisticDose(ptv.centroid_mm, radius_mm + 4, 2.0, prescription.highest_gy)
        grid = Grid.covering(ptv.centroid_mm - radius_mm - 40, ptv.centroid_mm + radius_mm + 40, 2.0)
        return Plan(dose, ptv, plan_quality(dose, ptv, prescription, grid), grid)
