"""Tasks: what a worker does. A task names its run folder and little else, so it travels cheaply and may be done twice.

Case, plans and lattices are made by the worker, once for all of its tasks that share them.
"""

import json
import os
import socket
import time
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from simulator.accumulation.maps import MapFrame
from simulator.execution.checkpoint import BLOCKS, BlockStore
from simulator.execution.memory import give_back, peak_mb
from simulator.execution.problems import problem_in
from simulator.execution.splitting import PORTIONS_AT_ONCE, PlanTask, Task, plan_name, planned_together, plans_key
from simulator.ground.once import Once
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import SimulatorError
from simulator.plan.model import Design
from simulator.plan.quality import Plan
from simulator.problem.margins import PlanRequest
from simulator.problem.problem import Problem
from simulator.sampling.delivery import Delivery
from simulator.simulation.courses import are_alike, course_draws, deliver_courses, sampled_draws, twins
from simulator.simulation.plans import design_plans, in_turn, make_plans
from simulator.simulation.work import AtRest, Work, prepare_work
from simulator.study_file.loading import dump_study


@dataclass(frozen=True)
class TaskRecord:
    """Who did a task, and what it took; `n_new` courses had not been finished earlier."""

    folder: str
    strategy: str
    first: int
    n_courses: int
    n_new: int
    seed: int
    host: str
    process: int
    seconds: float
    peak_mb: float


_plans: Once[dict[PlanRequest, Plan]] = Once(PORTIONS_AT_ONCE)
_deliveries: Once[list[Delivery]] = Once(2)
_at_rest: Once[AtRest] = Once(128)
_twins: Once[dict[int, int]] = Once(8)


def optimise_plan(task: PlanTask) -> None:
    """Decide a plan and keep it in the run folders that have none yet: the first one found is everyone's."""
    (folder, name), *_ = task.places
    problem = problem_in(folder)
    stores = [(BlockStore(place / BLOCKS), name) for place, name in task.places]
    found = next((store.load(name) for store, name in stores if store.has(name)), None)
    if found is None:
        (design,) = design_plans(problem, [problem.requests[task.strategy]], SerialExecutor())
        found = dict(design)
    for store, name in stores:
        if not store.has(name):
            store.save(name, found)


def plan_of(problem: Problem, strategy: int, folder: Path) -> Plan:
    """The plan of a strategy, from what the run folder keeps of it, after that of fractions that lie behind."""
    return in_turn(problem, strategy, lambda i: _own_plan(problem, i, folder))


def _own_plan(problem: Problem, strategy: int, folder: Path) -> Plan:
    def make() -> dict[PlanRequest, Plan]:
        requests = planned_together(problem, strategy)
        designs = _designs_of(problem, requests, folder) if problem.config.plan.keeps_designs else []
        plans = make_plans(problem, requests, SerialExecutor(), designs)
        give_back()
        return dict(zip(requests, plans, strict=True))

    return _plans.get(plans_key(problem, strategy), make)[problem.requests[strategy]]


def _designs_of(problem: Problem, requests: Sequence[PlanRequest], folder: Path) -> list[Design]:
    """What was decided of plans, from the run folder; plans that are missing there are optimised again."""
    store, designs = BlockStore(folder / BLOCKS), list[Design]()
    for request in requests:
        strategy = problem.requests.index(request)
        name = plan_name(problem, strategy)
        if not store.has(name):
            optimise_plan(PlanTask(((folder, name),), strategy))
        designs.append(load_block(store, name))
    return designs


def _delivery_key(problem: Problem, task: Task) -> Hashable:
    """What the deliveries of a task depend on: not on the margin."""
    return dump_study(problem.config), *problem.strategies[task.strategy].roles, task.first, task.n_courses


def _deliveries_of(problem: Problem, task: Task) -> list[Delivery]:
    """What the strategy of a task makes of each of its blocks."""
    strategy, blocks = problem.strategies[task.strategy], task.blocks(problem.config.numerics.block_courses)
    return _deliveries.get(
        _delivery_key(problem, task),
        lambda: [deliver_courses(problem, strategy, course_draws(problem, *run)) for run in blocks.values()],
    )


def _is_that_of_a_twin(problem: Problem, task: Task, store: BlockStore) -> bool:
    """Whether an earlier strategy delivers the very same plan and courses; then what it found is kept for this one too."""
    of_earlier = _twins.get(dump_study(problem.config), lambda: {two: one for one, two in twins(problem)})
    if task.strategy not in of_earlier or problem.config.maps is not None:
        return False
    earlier = replace(task, strategy=of_earlier[task.strategy])
    if not _deliver_the_same(problem, earlier, task):
        return False
    simulate(earlier)
    size = problem.config.numerics.block_courses
    for ours, theirs in zip((*task.blocks(size), task.key), (*earlier.blocks(size), earlier.key), strict=True):
        if not store.has(ours):
            store.save(ours, load_block(store, theirs))
    return True


def _deliver_the_same(problem: Problem, first: Task, second: Task) -> bool:
    """Whether two tasks displace everything alike: in their courses, in those that tell how far it goes, and as planned."""
    one, two = (problem.strategies[task.strategy] for task in (first, second))
    planned, names = problem.setting.planned, [s.name for s in problem.structures]
    if any(np.any(one.motion.offset_mm(planned, name) != two.motion.offset_mm(planned, name)) for name in names):
        return False
    sampled = [deliver_courses(problem, strategy, sampled_draws(problem)) for strategy in (one, two)]
    pairs = zip(_deliveries_of(problem, first), _deliveries_of(problem, second), strict=True)
    return all(are_alike(problem, *pair) for pair in [tuple(sampled), *pairs])


def simulate(task: Task) -> TaskRecord:
    """Simulate the courses of a task that are not in its run folder yet, block by block."""
    began = time.monotonic()
    problem = problem_in(task.folder)
    store = BlockStore(task.folder / BLOCKS)
    blocks = task.blocks(problem.config.numerics.block_courses)
    missing = [name for name in blocks if not store.has(name)]
    if (missing or not store.has(task.key)) and not _is_that_of_a_twin(problem, task, store):
        strategy = problem.strategies[task.strategy]
        plan = plan_of(problem, task.strategy, task.folder)
        draws = [course_draws(problem, *run) for run in blocks.values()]
        deliveries = _deliveries_of(problem, task)
        work = prepare_work(problem, strategy, plan, deliveries, SerialExecutor())
        give_back()
        n_parts = len(plan.dose.parts)
        visits = {tissue: np.zeros((n_parts, *box.shape_zyx), np.int64) for tissue, box in work.boxes.items()}
        for name, some, delivery in zip(blocks, draws, deliveries, strict=True):
            if name in missing:
                block = work.block(some, delivery)
                store.save(name, block)
            else:
                block = load_block(store, name)
            work.add_visits(block, visits)
        store.save(task.key, _part(task, work, plan, problem.map_frame, visits))
    return TaskRecord(
        folder=task.folder.name,
        strategy=problem.strategies[task.strategy].label(),
        first=task.first,
        n_courses=task.n_courses,
        n_new=sum(blocks[name][1] for name in missing),
        seed=problem.config.seed,
        host=socket.gethostname(),
        process=os.getpid(),
        seconds=round(time.monotonic() - began, 3),
        peak_mb=peak_mb(),
    )


def _part(task: Task, work: Work, plan: Plan, frame: MapFrame, visits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What needs the plan: the mean dose of the task's courses, and with the first courses all about the plan itself."""
    part = {"mean": frame.mean_dose_gy(plan.dose, visits, work.boxes, task.n_courses)}
    if task.first > 0:
        return part
    problem, motion = work.problem, work.strategy.motion
    offset_mm = {name: motion.offset_mm(problem.setting.planned, name) for name in work.boxes}
    nominal, nominal_dvh = _nominal(task, work)
    part |= {
        "quality": np.array(json.dumps([asdict(planned.quality) for planned in plan.planned])),
        "bridge_cc": np.array(plan.bridge_cc),
        "metrics": nominal,
        "dvh": nominal_dvh,
        "error_gy": np.array([work.error_gy[s.name] for s in problem.structures], np.float32),
        "nominal": frame.planned_dose_gy(plan.dose, offset_mm),
        "ptv_mask": np.any(
            [
                frame.ptv_mask(planned.ptv, offset_mm[target.name])
                for target, planned in zip(problem.targets, plan.planned, strict=True)
            ],
            axis=0,
        ),
    }
    asked = problem.config.maps
    if asked is not None and work.strategy.label() in (asked.strategies or (work.strategy.label(),)):
        n_courses = min(asked.courses, problem.config.courses)
        delivery = deliver_courses(problem, work.strategy, course_draws(problem, 0, n_courses))
        part |= frame.spread_gy(plan.dose, delivery, asked.percentiles)
    return part


def _nominal(task: Task, work: Work) -> AtRest:
    """Metrics and DVHs of the planned dose; those of organs once for all strategies with the plan that hold them alike."""
    problem = work.problem
    key = plans_key(problem, task.strategy), dump_study(problem.config), problem.requests[task.strategy]
    return work.nominal(lambda organ, offset_mm, make: _at_rest.get((*key, organ, offset_mm.tobytes()), make))


def load_block(store: BlockStore, key: str) -> dict[str, np.ndarray]:
    block = store.load(key)
    if block is None:
        raise SimulatorError(f"block {key} was damaged after it was written; run again, it will be computed anew")
    return block
