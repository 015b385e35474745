"""Some courses of one strategy, measured again under other doses: what an approximation changes, course by course."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from simulator.accumulation.changed import Describe, of_weight
from simulator.ground.once import cached_property
from simulator.ground.parallel import Executor
from simulator.plan.dose import TrilinearDose
from simulator.plan.quality import Plan
from simulator.problem.problem import Problem
from simulator.simulation.apart import DeliveryApart
from simulator.simulation.measuring import measure_delivery
from simulator.simulation.tissue import DrawnTissue, Tissue, TrueTissue
from simulator.simulation.work import Work, prepare_work
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers


@dataclass(frozen=True)
class Remeasured:
    """Some courses of one strategy, to be measured again under other doses; metrics are float32 (course, metric)."""

    problem: Problem
    strategy: Strategy
    plan: Plan
    draws: RandomNumbers
    executor: Executor

    @cached_property
    def delivery(self) -> DeliveryApart:
        """The courses as they are delivered."""
        return DeliveryApart.of(self.problem, self.strategy, self.draws)

    @cached_property
    def work(self) -> Work:
        """The planned dose around every structure."""
        return self._work(self.plan)

    @cached_property
    def points_mm(self) -> dict[str, np.ndarray]:
        """Points of every structure."""
        return {name: doses.every_point_mm for name, doses in self.work.doses.items()}

    @cached_property
    def simulated(self) -> np.ndarray:
        """Metrics as the study simulates them."""
        return measure_delivery(self.delivery, self.work.tissues, self.draws)

    def changed(self, coefficients: Mapping[str, np.ndarray], describe: Describe) -> np.ndarray:
        """Metrics where doses change by coefficients (feature, point) times what describes the visits."""
        return measure_delivery(self.delivery, self._tissues(coefficients, describe), self.draws)

    def changed_alone(self, course: int, change_gy: Mapping[str, np.ndarray]) -> np.ndarray:
        """Metrics (metric,) of one course whose doses change by so much at every point."""
        tissues = self._tissues({name: gy[None] for name, gy in change_gy.items()}, of_weight)
        return measure_delivery(self.delivery.course(course), tissues, self.draws.part(course, 1))[0]

    def shifted(self, error_gy: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Metrics where all doses of a structure are lower, and higher, by an error."""
        lower, higher = (
            self.changed(
                {name: np.full((1, len(mm)), sign * error_gy[name], np.float32) for name, mm in self.points_mm.items()},
                of_weight,
            )
            for sign in (-1, 1)
        )
        return lower, higher

    def linear_between_nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Metrics where the planned dose is linear between nodes of its grid; what that changes without errors (metric,)."""
        linear = TrilinearDose(self.plan.dose, self.plan.grid)
        work = self._work(replace(self.plan, dose=linear))
        return measure_delivery(self.delivery, work.tissues, self.draws), work.nominal()[0] - self.work.nominal()[0]

    def _work(self, plan: Plan) -> Work:
        return prepare_work(self.problem, self.strategy, plan, [self.delivery.delivery], self.executor)

    def _tissues(self, coefficients: Mapping[str, np.ndarray], describe: Describe) -> dict[str, Tissue]:
        found: dict[str, Tissue] = {}
        for name, tissue in self.work.tissues.items():
            assert isinstance(tissue, DrawnTissue | TrueTissue)
            found[name] = replace(tissue, doses=tissue.doses.changed(coefficients[name], describe))
        return found
