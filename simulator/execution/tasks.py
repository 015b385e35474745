"""Tasks: what a worker does. A task names its run folder and little else, so it travels cheaply and may be done twice.

Case, plans and lattices are made by the worker, once for all of its tasks that share them.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from simulator import __version__
from simulator.accumulation.maps import MapFrame
from simulator.answers.assembly import Outcome, assemble
from simulator.answers.beyond_grid import without_unknown
from simulator.answers.budget import budget_group, budget_strategies
from simulator.answers.margin_causes import explain_margins
from simulator.execution.checkpoint import BlockStore, identity_text
from simulator.once import Once
from simulator.parallel import Executor, SerialExecutor
from simulator.plan.quality import Plan, PlanQuality
from simulator.population.bands import DOSE_BINS, VOLUME_LEVELS, band_quantiles
from simulator.population.coverage import dose_volume_coverage
from simulator.problem.checks import check_plans
from simulator.problem.inputs import case_key, input_states
from simulator.problem.margins import PlanRequest
from simulator.problem.preparation import prepare
from simulator.problem.problem import Problem
from simulator.results import write_results, write_summary
from simulator.sampling.courses import Delivery
from simulator.simulation.work import Work, check_reach, course_draws, deliver_courses, make_plans, prepare_work
from simulator.spec import SimulatorError
from simulator.study_file.schema import StudyConfig, dump_study, load_study
from simulator.study_file.sweep import point_names

CONFIG, BLOCKS, RESULTS = "config.yaml", "blocks", "results.nc"
_LEAST_TASKS, _LEAST_COURSES, _MOST_COURSES = 8, 250, 4000
_PLANS_AT_ONCE = 4


@dataclass(frozen=True)
class Task:
    """Some courses of one strategy of the study in a run folder."""

    folder: Path
    strategy: int
    first: int
    n_courses: int

    @property
    def key(self) -> str:
        """Name of what is kept of the task as a whole."""
        return f"s{self.strategy:03d}-part-{self.first:08d}-{self.n_courses}"

    def blocks(self, size: int) -> dict[str, tuple[int, int]]:
        """First course and number of courses by block, and each block's name."""
        end = self.first + self.n_courses
        runs = [(first, min(size, end - first)) for first in range(self.first, end, size)]
        return {f"s{self.strategy:03d}-c{first:08d}-{n}": (first, n) for first, n in runs}


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


_problems: Once[Problem] = Once(8)
_plans: Once[dict[PlanRequest, Plan]] = Once(_PLANS_AT_ONCE + 2)
_deliveries: Once[list[Delivery]] = Once(2)


def _problem_of(config: StudyConfig) -> Problem:
    """The prepared study, made once in a process.

    Raises
    ------
    ConfigError, CaseError : see `prepare`.
    """
    return _problems.get((dump_study(config), input_states(config)), lambda: without_unknown(prepare(config)))


def problems_of(config: StudyConfig) -> list[Problem]:
    """The prepared study at every point of its sweep, with plans that can be made: all that `check` checks and `run` refuses.

    Raises
    ------
    ConfigError, CaseError : see `prepare`, `check_reach` and `check_plans`; the message names the point.
    """
    found, checked = [], set[Hashable]()
    for name, point in zip(point_names(config.axes()), config.points(), strict=True):
        try:
            problem = _problem_of(point)
            check_reach(problem)
            key = case_key(point), point.plan.model_dump_json(), point.prescription, problem.requests
            if key not in checked:
                check_plans(problem)
            checked.add(key)
            found.append(problem)
        except SimulatorError as error:
            raise type(error)(f"sweep point {name}: {error}" if name else str(error)) from None
    return found


def identity_of(problem: Problem) -> str:
    """What identifies the numbers of a prepared study."""
    return identity_text(__version__, dump_study(problem.config), problem.inputs)


def _problem_in(folder: Path) -> Problem:
    """The prepared study of a run folder, whose files have to be those with which the run began."""
    problem = _problem_of(load_study(folder / CONFIG))
    BlockStore(folder / BLOCKS).claim(identity_of(problem))
    return problem


def _planned_together(problem: Problem, strategy: int) -> tuple[PlanRequest, ...]:
    """The plans that are made at once: some margins of one planning target, in at least two portions for two workers."""
    wanted, requests = problem.requests[strategy], list(dict.fromkeys(problem.requests))
    same_target = [r for r in requests if r.target_path_mm == wanted.target_path_mm]
    n = max(1, min(_PLANS_AT_ONCE, len(requests) // 2))
    first = same_target.index(wanted) // n * n
    return tuple(same_target[first : first + n])


def _plans_key(problem: Problem, strategy: int) -> Hashable:
    """What the plans of a portion depend on."""
    config = problem.config
    return case_key(config), config.plan.model_dump_json(), config.prescription, _planned_together(problem, strategy)


def _plan_of(problem: Problem, strategy: int) -> Plan:
    def make() -> dict[PlanRequest, Plan]:
        requests = _planned_together(problem, strategy)
        return dict(zip(requests, make_plans(problem, requests, SerialExecutor()), strict=True))

    return _plans.get(_plans_key(problem, strategy), make)[problem.requests[strategy]]


def _delivery_key(problem: Problem, task: Task) -> Hashable:
    """What the deliveries of a task depend on: not on the margin."""
    strategy = problem.strategies[task.strategy]
    roles = strategy.motion.model_dump_json(), strategy.guidance.model_dump_json()
    return dump_study(problem.config), *roles, task.first, task.n_courses


def tasks_of(problems: dict[Path, Problem], runs: dict[Path, tuple[int, int]]) -> list[Task]:
    """Tasks that simulate courses `first` to `end` of every strategy in each folder.

    How courses are split depends on the study alone. Strategies with the same plan follow each other, interleaved with a few
    other plans, so that a worker finds its plan made and several workers make different ones.
    """
    n_groups = sum(len(problems[folder].strategies) for folder in runs)
    by_plan: dict[Hashable, list[Task]] = {}
    for folder, (first, end) in runs.items():
        size = _courses_per_task(end - first, n_groups)
        for strategy in range(len(problems[folder].strategies)):
            tasks = [Task(folder, strategy, at, min(size, end - at)) for at in range(first, end, size)]
            by_plan.setdefault(_plans_key(problems[folder], strategy), []).extend(tasks)
    return list(_interleaved(list(by_plan.values())))


def _courses_per_task(n_courses: int, n_groups: int) -> int:
    wanted = -(-n_courses // -(-_LEAST_TASKS // n_groups))
    return min(max(wanted, _LEAST_COURSES), _MOST_COURSES)


def _interleaved(groups: list[list[Task]]) -> Iterator[Task]:
    for first in range(0, len(groups), _PLANS_AT_ONCE):
        for row in zip_longest(*groups[first : first + _PLANS_AT_ONCE]):
            yield from (task for task in row if task is not None)


def simulate(task: Task) -> TaskRecord:
    """Simulate the courses of a task that are not in its run folder yet, block by block."""
    began = time.monotonic()
    problem = _problem_in(task.folder)
    store = BlockStore(task.folder / BLOCKS)
    blocks = task.blocks(problem.config.numerics.block_courses)
    missing = [name for name in blocks if not store.has(name)]
    if missing or not store.has(task.key):
        strategy = problem.strategies[task.strategy]
        plan = _plan_of(problem, task.strategy)
        draws = [course_draws(problem, *run) for run in blocks.values()]
        deliveries = _deliveries.get(
            _delivery_key(problem, task), lambda: [deliver_courses(problem, strategy, some) for some in draws]
        )
        work = prepare_work(problem, strategy, plan, deliveries, SerialExecutor())
        visits = {tissue: np.zeros(box.shape_zyx, np.int64) for tissue, box in work.boxes.items()}
        for name, some, delivery in zip(blocks, draws, deliveries, strict=True):
            if name in missing:
                block = work.block(some, delivery)
                store.save(name, block)
            else:
                block = _loaded(store, name)
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
        peak_mb=_peak_mb(),
    )


def _peak_mb() -> float:
    """Largest memory of this process so far, in MB; NaN where the system does not tell."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def _part(task: Task, work: Work, plan: Plan, frame: MapFrame, visits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What needs the plan: the mean dose of the task's courses, and with the first courses all about the plan itself."""
    part = {"mean": frame.mean_dose_gy(plan.dose, visits, work.boxes, task.n_courses)}
    if task.first > 0:
        return part
    problem, motion = work.problem, work.strategy.motion
    offset_mm = {name: motion.offset_mm(problem.setting.planned, name) for name in work.boxes}
    nominal, nominal_dvh = work.nominal()
    part |= {
        "quality": np.array(json.dumps(asdict(plan.quality))),
        "metrics": nominal,
        "dvh": nominal_dvh,
        "error_gy": np.array([work.error_gy[s.name] for s in problem.structures], np.float32),
        "nominal": frame.planned_dose_gy(plan.dose, offset_mm),
        "ptv_mask": frame.ptv_mask(plan.ptv, offset_mm[problem.setting.target]),
    }
    asked = problem.config.maps
    if asked is not None and work.strategy.label() in (asked.strategies or (work.strategy.label(),)):
        n_courses = min(asked.courses, problem.config.courses)
        delivery = deliver_courses(problem, work.strategy, course_draws(problem, 0, n_courses))
        part |= frame.spread_gy(plan.dose, delivery, asked.percentiles)
    return part


def _loaded(store: BlockStore, key: str) -> dict[str, np.ndarray]:
    block = store.load(key)
    if block is None:
        raise SimulatorError(f"block {key} was damaged after it was written; run again, it will be computed anew")
    return block


@dataclass(frozen=True)
class Assembly:
    """A run folder all of whose tasks are finished, `seconds` after the study began."""

    folder: Path
    tasks: tuple[Task, ...]
    seconds: float


def assemble_results(assembly: Assembly, executor: Executor | None = None) -> None:
    """Write results.nc and summary.csv of a run folder from its finished blocks; damaged ones are computed anew."""
    for task in assembly.tasks:
        simulate(task)
    problem = _problem_in(assembly.folder)
    store = BlockStore(assembly.folder / BLOCKS)
    values = _room_for_values(problem, store, assembly.tasks)
    outcomes = [
        _outcome(problem, store, [task for task in assembly.tasks if task.strategy == strategy], values[strategy])
        for strategy in range(len(problem.strategies))
    ]
    results = assemble(problem, problem.map_frame, outcomes, values, assembly.seconds)
    results["margins"] = explain_margins(problem, results, executor or SerialExecutor())
    if problem.config.budget is not None:
        labels = budget_strategies(problem.config, results)
        results["budget"] = budget_group(problem, store, executor or SerialExecutor(), labels)
    write_summary(results, assembly.folder / "summary.csv")
    write_results(results, assembly.folder / RESULTS)


def values_of(problem: Problem, store: BlockStore, tasks: Iterable[Task]) -> np.ndarray:
    """Metrics (strategy, course, metric) of finished tasks, kept on disk."""
    values = _room_for_values(problem, store, tasks)
    for task in tasks:
        for at, block in _blocks_of(problem, store, task):
            values[task.strategy, at] = block["values"]
    return values


def _room_for_values(problem: Problem, store: BlockStore, tasks: Iterable[Task]) -> np.ndarray:
    n_courses = sum(task.n_courses for task in tasks if task.strategy == 0)
    return store.scratch("values", (len(problem.strategies), n_courses, len(problem.metric_labels)))


def _blocks_of(problem: Problem, store: BlockStore, task: Task) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """The finished blocks of a task, and which courses they are."""
    for name, (first, n) in task.blocks(problem.config.numerics.block_courses).items():
        yield slice(first, first + n), _loaded(store, name)


def _outcome(problem: Problem, store: BlockStore, tasks: list[Task], values: np.ndarray) -> Outcome:
    """What all tasks of a strategy found; metrics are written to `values` (course, metric)."""
    counts = np.zeros((len(problem.structures), DOSE_BINS, VOLUME_LEVELS), np.int64)
    total_gy, n_courses, n_lost = np.zeros(0), 0, 0
    for task in sorted(tasks, key=lambda task: task.first):
        part = _loaded(store, task.key)
        if task.first == 0:
            whole, total_gy = part, np.zeros(part["mean"].shape)
        total_gy += task.n_courses * part["mean"].astype(np.float64)
        n_courses += task.n_courses
        for at, block in _blocks_of(problem, store, task):
            counts += block["counts"]
            n_lost += int(block["n_lost"])
            values[at] = block["values"]
    maps = {key: whole[key] for key in ("nominal", "ptv_mask", "sd", "percentile") if key in whole}
    return Outcome(
        quality=PlanQuality(**json.loads(str(whole["quality"]))),
        nominal=whole["metrics"],
        bands=band_quantiles(counts),
        coverage=dose_volume_coverage(counts),
        nominal_dvh=whole["dvh"],
        interpolation_error_gy=whole["error_gy"],
        n_without_target=n_lost,
        maps=maps | {"mean": np.asarray(total_gy / n_courses, np.float32)},
    )
