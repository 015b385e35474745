"""From the finished blocks of a run folder to its results."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from simulator.answers.assembly import Outcome, assemble
from simulator.answers.budget import budget_group, budget_strategies
from simulator.answers.courses import courses_group
from simulator.answers.interplay import interplay_group, screened_strategies
from simulator.answers.margin_causes import explain_margins
from simulator.answers.model_error import model_error_group
from simulator.answers.sweeps import Share, share_of
from simulator.execution.checkpoint import BLOCKS, RESULTS, BlockStore
from simulator.execution.problems import problem_in
from simulator.execution.splitting import Task, plan_name
from simulator.execution.tasks import load_block, plan_of, simulate
from simulator.ground.parallel import Executor, SerialExecutor
from simulator.plan.quality import PlanQuality
from simulator.population.bands import DOSE_BINS, VOLUME_LEVELS, band_quantiles
from simulator.population.coverage import dose_volume_coverage
from simulator.population.unequal import numbers_of_courses
from simulator.problem.problem import Problem
from simulator.results.file import open_results, stored_digest, write_results
from simulator.results.registry import group
from simulator.results.summary import write_summary


@dataclass(frozen=True)
class Assembly:
    """A run folder, be it a point of a sweep, all of whose tasks are finished, `seconds` after the study began."""

    folder: Path
    tasks: tuple[Task, ...]
    seconds: float
    is_point: bool


def assemble_results(assembly: Assembly, executor: Executor | None = None) -> None:
    """Write results.nc and summary.csv of a run folder from its finished blocks; damaged ones are computed anew."""
    for task in assembly.tasks:
        simulate(task)
    problem = problem_in(assembly.folder)
    store = BlockStore(assembly.folder / BLOCKS)
    values = _room_for_values(problem, store, assembly.tasks)
    outcomes = [
        _outcome(problem, store, [task for task in assembly.tasks if task.strategy == strategy], values[strategy])
        for strategy in range(len(problem.strategies))
    ]
    results = assemble(problem, problem.map_frame, outcomes, values, assembly.seconds)
    results["margins"] = explain_margins(problem, results, executor or SerialExecutor())
    results["courses"] = courses_group(
        problem,
        values,
        results["decision"].to_dataset()["rank"].values,
        lambda strategy: plan_of(problem, strategy, assembly.folder),
        executor or SerialExecutor(),
    ).assign_attrs(parts=sorted({task.first for task in assembly.tasks}))
    if problem.config.plan.is_optimised:
        results["leaves"] = _leaves(problem, store)
    if problem.config.plan.has_engine:
        results["engine"] = _engine(problem, store)
    if problem.config.budget is not None:
        labels = budget_strategies(problem.config, results)
        results["budget"] = budget_group(problem, store, executor or SerialExecutor(), labels)
    if problem.interplay == "screen":
        results["interplay"] = interplay_group(
            problem, values, screened_strategies(problem, results), lambda i: plan_of(problem, i, assembly.folder)
        )
    if problem.config.simulate.model_error:
        decision = results["decision"].attrs
        place = [s.label() for s in problem.strategies].index(decision["recommended"] or decision["nearest_miss"])
        plan = plan_of(problem, place, assembly.folder)
        own = values[place, : numbers_of_courses(values[[place]])[0]]
        results["model_error"] = model_error_group(problem, place, own, plan, executor or SerialExecutor())
    write_summary(results, assembly.folder / "summary.csv")
    write_results(results, assembly.folder / RESULTS)
    if assembly.is_point:
        store.save(_share_key(assembly.folder), share_of(results))


def keep_share(folder: Path) -> None:
    """Keep what the results of a sweep take of a point that was finished earlier."""
    store, key = BlockStore(folder / BLOCKS), _share_key(folder)
    if not store.has(key):
        with open_results(folder) as results:
            store.save(key, share_of(results))


def share_in(folder: Path) -> Share:
    """What is kept of a point; taken anew where another run that was faster has removed it."""
    found = BlockStore(folder / BLOCKS).load(_share_key(folder))
    if found is None:
        with open_results(folder) as results:
            return share_of(results)
    return found


def _share_key(folder: Path) -> str:
    """A name that belongs to these very results."""
    return f"share_{stored_digest(folder / RESULTS)}"


def _leaves(problem: Problem, store: BlockStore) -> xr.Dataset:
    """The apertures of all plans, filled up with NaN where some have fewer leaves."""
    plans = [load_block(store, plan_name(problem, strategy)) for strategy in range(len(problem.strategies))]
    arrays = {key: plans[0][key] for key in ("gantry_deg", "couch_deg")}
    for key in ("edge_mm", "low_mm", "high_mm", "weight"):
        shape = np.max([plan[key].shape for plan in plans], axis=0)
        arrays[key] = np.full((len(plans), *shape), np.nan)
        for filled, plan in zip(arrays[key], plans, strict=True):
            filled[tuple(slice(0, n) for n in plan[key].shape)] = plan[key]
    return group("leaves", arrays, {"strategy": [s.label() for s in problem.strategies]})


def _engine(problem: Problem, store: BlockStore) -> xr.Dataset:
    """How closely the engine agrees with the planning system for each plan."""
    plans = [load_block(store, plan_name(problem, strategy)) for strategy in range(len(problem.strategies))]
    arrays = {key: np.array([plan[key] for plan in plans]) for key in ("factor", "points_percent", "rms_percent")}
    return group("engine", arrays, {"strategy": [s.label() for s in problem.strategies]})


def values_of(problem: Problem, store: BlockStore, tasks: Iterable[Task]) -> np.ndarray:
    """Metrics (strategy, course, metric) of finished tasks, kept on disk."""
    values = _room_for_values(problem, store, tasks)
    for task in tasks:
        for at, block in _blocks_of(problem, store, task):
            values[task.strategy, at] = block["values"]
    return values


def _room_for_values(problem: Problem, store: BlockStore, tasks: Iterable[Task]) -> np.ndarray:
    """NaN after the last course of each strategy."""
    ends = np.zeros(len(problem.strategies), int)
    for task in tasks:
        ends[task.strategy] = max(ends[task.strategy], task.first + task.n_courses)
    values = store.scratch("values", (len(problem.strategies), ends.max(), len(problem.metric_labels)))
    for own, end in zip(values, ends, strict=True):
        own[end:] = np.nan
    return values


def _blocks_of(problem: Problem, store: BlockStore, task: Task) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """The finished blocks of a task, and which courses they are."""
    for name, (first, n) in task.blocks(problem.config.numerics.block_courses).items():
        yield slice(first, first + n), load_block(store, name)


def _outcome(problem: Problem, store: BlockStore, tasks: list[Task], values: np.ndarray) -> Outcome:
    """What all tasks of a strategy found; metrics are written to `values` (course, metric)."""
    counts = np.zeros((len(problem.structures), DOSE_BINS, VOLUME_LEVELS), np.int64)
    total_gy, n_courses, n_lost = np.zeros(0), 0, 0
    for task in sorted(tasks, key=lambda task: task.first):
        part = load_block(store, task.key)
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
        qualities=tuple(PlanQuality(**quality) for quality in json.loads(str(whole["quality"]))),
        bridge_cc=float(whole["bridge_cc"]),
        nominal=whole["metrics"],
        bands=band_quantiles(counts),
        coverage=dose_volume_coverage(counts),
        nominal_dvh=whole["dvh"],
        interpolation_error_gy=whole["error_gy"],
        n_without_target=n_lost,
        maps=maps | {"mean": np.asarray(total_gy / n_courses, np.float32)},
    )
