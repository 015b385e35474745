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
    map_ = functools.partial(in_order, executor)
    for some in planned_alike(requests):
        model, known = some[0].model, [designed[r] for r in some if r in designed]
        orders = [problem.orders(some, target) for target in problem.targets]
        made = [model.plans(order, map_, [_of_target(design, k) for design in known]) for k, order in enumerate(orders)]
        for request, of_targets, ordered in zip(some, zip(*made, strict=True), zip(*orders, strict=True), strict=True):
            plan = of_targets[0]
            if len(of_targets) > 1:
                plan = model.together(of_targets, ordered, in_turn=bool(problem.setting.isocentres))
            plans[request] = plan.scaled(model.scale)
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
    map_ = functools.partial(in_order, executor)
    for some in planned_alike(requests):
        found = [some[0].model.design(problem.orders(some, target), map_) for target in problem.targets]
        designs |= zip(some, (_joined(of_targets) for of_targets in zip(*found, strict=True)), strict=True)
    return [designs[r] for r in requests]


def _joined(designs: Sequence[Design]) -> Design:
    """The designs for all targets, names beginning with the target's number but for the first."""
    first, *others = designs
    return dict(first) | {f"{k}/{name}": array for k, one in enumerate(others, 1) for name, array in one.items()}


def _of_target(design: Design, number: int) -> Design:
    if number == 0:
        return {name: array for name, array in design.items() if "/" not in name}
    return {name.partition("/")[2]: array for name, array in design.items() if name.startswith(f"{number}/")}
