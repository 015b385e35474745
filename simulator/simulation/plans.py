"""Plans of a study."""

import functools
from collections.abc import Sequence

from simulator.parallel import Executor, SerialExecutor, in_order
from simulator.plan.quality import Plan
from simulator.problem.margins import PlanRequest, planned_alike
from simulator.problem.problem import Problem


def make_plan(problem: Problem, request: PlanRequest) -> Plan:
    """Planned dose of one candidate margin."""
    return make_plans(problem, [request], SerialExecutor())[0]


def make_plans(problem: Problem, requests: Sequence[PlanRequest], executor: Executor) -> list[Plan]:
    """Planned doses of candidate margins, in their order; those of one planning target are made together.

    Plan models plan for one target.
    """
    (target,) = problem.targets
    plans: dict[PlanRequest, Plan] = {}
    for some in planned_alike(requests):
        made = problem.config.plan.plans(
            problem.case,
            problem.planning_targets[some[0]][target.number],
            [request.ptvs[target.number].expansion for request in some],
            target.prescription,
            functools.partial(in_order, executor),
        )
        plans |= zip(some, made, strict=True)
    return [plans[r] for r in requests]
