"""Plans of a study."""

import functools
from collections.abc import Sequence
from typing import Any

from simulator.parallel import Executor, SerialExecutor, in_order
from simulator.plan.model import Design
from simulator.plan.quality import Plan
from simulator.problem.margins import PlanRequest
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
    for some in _by_target(requests):
        known = [designed[r] for r in some if r in designed]
        plans |= zip(some, problem.config.plan.plans(**_asked(problem, some, executor), designs=known), strict=True)
    return [plans[r] for r in requests]


def design_plans(problem: Problem, requests: Sequence[PlanRequest], executor: Executor) -> list[Design]:
    """What decides the plans of candidate margins, in their order."""
    designs: dict[PlanRequest, Design] = {}
    for some in _by_target(requests):
        designs |= zip(some, problem.config.plan.design(**_asked(problem, some, executor)), strict=True)
    return [designs[r] for r in requests]


def _by_target(requests: Sequence[PlanRequest]) -> list[list[PlanRequest]]:
    """Requests, each once, by planning target."""
    different = list(dict.fromkeys(requests))
    return [[r for r in different if r.target_path_mm == path] for path in {r.target_path_mm: 0 for r in different}]


def _asked(problem: Problem, some: Sequence[PlanRequest], executor: Executor) -> dict[str, Any]:
    """What a plan model needs to know of requests around one planning target."""
    return {
        "case": problem.case,
        "target": problem.planning_targets[some[0].target_path_mm],
        "expansions": [r.expansion for r in some],
        "prescription": problem.config.prescription,
        "map_": functools.partial(in_order, executor),
        "sparings": [r.sparing for r in some],
    }
