"""Plans of a study."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

from simulator.parallel import Executor, SerialExecutor, in_order
from simulator.plan.dose import DosesInTurn
from simulator.plan.model import Design
from simulator.plan.quality import Plan
from simulator.problem.margins import PlanRequest, planned_alike
from simulator.problem.problem import Problem


def make_plan(problem: Problem, request: PlanRequest) -> Plan:
    """Planned dose of one candidate margin."""
    return make_plans(problem, [request], SerialExecutor())[0]


def make_plans(
    problem: Problem, requests: Sequence[PlanRequest], executor: Executor, designs: Sequence[Design] = ()
) -> list[Plan]:
    """Planned doses of candidate margins, in their order; those of one planning target are made together.

    Parameters
    ----------
    designs : what `design_plans` found for them; found now by default.
    """
    plans: dict[PlanRequest, Plan] = {}
    designed = dict(zip(requests, designs, strict=True)) if designs else {}
    for some in planned_alike(requests):
        known = [designed[r] for r in some if r in designed]
        made = some[0].model.plans(problem.orders(some), functools.partial(in_order, executor), known)
        plans |= zip(some, (_scaled(plan, some[0].model.scale) for plan in made), strict=True)
    return [plans[r] for r in requests]


def in_turn(problem: Problem, strategy: int, plan_of: Callable[[int], Plan]) -> Plan:
    """The plan of a strategy as a course receives it: after that of the fractions that lie behind, where it is another one."""
    plan, before, treated = plan_of(strategy), problem.delivered, problem.setting.treated
    if before is None or treated is None or problem.requests[before] == problem.requests[strategy]:
        return plan
    first, n, n_fractions = plan_of(before).dose, treated.n_fractions, problem.setting.n_fractions
    return replace(plan, dose=first if n == n_fractions else DosesInTurn(first, plan.dose, n, n_fractions))


def design_plans(problem: Problem, requests: Sequence[PlanRequest], executor: Executor) -> list[Design]:
    """What decides the plans of candidate margins, in their order."""
    designs: dict[PlanRequest, Design] = {}
    for some in planned_alike(requests):
        designs |= zip(
            some, some[0].model.design(problem.orders(some), functools.partial(in_order, executor)), strict=True
        )
    return [designs[r] for r in requests]


def _scaled(plan: Plan, factor: float) -> Plan:
    return plan if factor == 1 else replace(plan, dose=plan.dose.scaled(factor))
