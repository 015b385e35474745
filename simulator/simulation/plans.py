"""Plans of a study."""

import functools
from collections.abc import Sequence

from simulator.parallel import Executor, SerialExecutor, in_order
from simulator.plan.quality import Plan
from simulator.problem.margins import PlanRequest
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
    ptv_of = {request: request.ptvs[target.number] for request in requests}
    for path in dict.fromkeys(ptv.target_path_mm for ptv in ptv_of.values()):
        some = [request for request, ptv in ptv_of.items() if ptv.target_path_mm == path]
        made = problem.config.plan.plans(
            problem.case,
            problem.planning_targets[target.number, path],
            [ptv_of[request].expansion for request in some],
            target.prescription,
            functools.partial(in_order, executor),
        )
        plans |= zip(some, made, strict=True)
    return [plans[r] for r in requests]
