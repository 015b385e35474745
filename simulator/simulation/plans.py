"""Plans of a study."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from simulator.ground.parallel import Executor, SerialExecutor, in_order
from simulator.plan.dose import DosesInTurn, SumOfDoses
from simulator.plan.model import Design, Order, PlanModelKind
from simulator.plan.quality import Plan
from simulator.problem.margins import PlanRequest, planned_alike
from simulator.problem.problem import Problem

_ROUNDS = 3


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
        by_target = [[_of_target(design, k) for design in known] for k in range(len(orders))]
        made = model.plans_of_targets(orders, map_, by_target, in_turn=bool(problem.setting.isocentres))
        plans |= {request: plan.scaled(model.scale) for request, plan in zip(some, made, strict=True)}
    return [plans[r] for r in requests]


def in_turn(problem: Problem, strategy: int, plan_of: Callable[[int], Plan]) -> Plan:
    """The plan of a strategy as a course receives it: after that of the fractions that lie behind, where it is another one."""
    plan, before, treated = plan_of(strategy), problem.delivered, problem.setting.treated
    if before is None or treated is None or problem.requests[before] == problem.requests[strategy]:
        return plan
    first, n, n_fractions = plan_of(before).dose, treated.n_fractions, problem.setting.n_fractions
    return replace(plan, dose=first if n == n_fractions else DosesInTurn(first, plan.dose, n, n_fractions))


def design_plans(problem: Problem, requests: Sequence[PlanRequest], executor: Executor) -> list[Design]:
    """What decides the plans of candidate margins, in their order; those of several targets are optimised for their sum."""
    designs: dict[PlanRequest, Design] = {}
    map_ = functools.partial(in_order, executor)
    for some in planned_alike(requests):
        model, orders = some[0].model, [problem.orders(some, target) for target in problem.targets]
        found = [list(model.design(order, map_)) for order in orders]
        if model.is_optimised and len(orders) > 1:
            _keep_limits_together(model, orders, found, map_, in_turn=bool(problem.setting.isocentres))
        designs |= zip(some, (_joined(of_targets) for of_targets in zip(*found, strict=True)), strict=True)
    return [designs[r] for r in requests]


def _keep_limits_together(
    model: PlanModelKind,
    orders: Sequence[Sequence[Order]],
    designs: Sequence[list[Design]],
    map_: Callable[..., Iterable[Any]],
    *,
    in_turn: bool,
) -> None:
    """Design again, each beside what the others give, while the sum of the plans of all targets misses a limit, a few times.

    Parameters
    ----------
    orders, designs : by target, of each request; designs are replaced.
    """
    for _ in range(_ROUNDS):
        plans = [model.plans(order, map_, known) for order, known in zip(orders, designs, strict=True)]
        pairs = zip(zip(*plans, strict=True), zip(*orders, strict=True), strict=True)
        sums = [model.together(alone, ordered, in_turn=in_turn) for alone, ordered in pairs]
        missed = [i for i, plan in enumerate(sums) if plan.quality.given_up]
        for number, order in enumerate(orders if missed else ()):
            beside = [replace(order[i], besides=_others(number, [of[i] for of in plans])) for i in missed]
            for i, design in zip(missed, model.design(beside, map_), strict=True):
                designs[number][i] = design


def _others(number: int, plans: Sequence[Plan]) -> SumOfDoses:
    """What the plans of all targets but one give."""
    return SumOfDoses(tuple(plan.dose for k, plan in enumerate(plans) if k != number))


def _joined(designs: Sequence[Design]) -> Design:
    """The designs for all targets, names beginning with the target's number but for the first."""
    first, *others = designs
    return dict(first) | {f"{k}/{name}": array for k, one in enumerate(others, 1) for name, array in one.items()}


def _of_target(design: Design, number: int) -> Design:
    if number == 0:
        return {name: array for name, array in design.items() if "/" not in name}
    return {name.partition("/")[2]: array for name, array in design.items() if name.startswith(f"{number}/")}
