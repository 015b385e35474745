"""A study from end to end: `run_study` is the data flow read aloud."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from simulator.answers.sweeps import combine
from simulator.execution.checkpoint import BLOCKS, RESULTS, BlockStore, merged_inputs
from simulator.execution.folder import (
    _discard_earlier,
    _has_results,
    _holds,
    _point_folders,
    _write_config,
    inputs_of,
    is_run_folder,
)
from simulator.execution.gathering import Assembly, assemble_results
from simulator.execution.listening import Progress, Silent
from simulator.execution.problems import identity_of, problems_of
from simulator.execution.splitting import Run, Task, plan_tasks_of, tasks_of
from simulator.execution.stopping import first_run, next_run, notes_on_courses, stopping_rule
from simulator.execution.tasks import optimise_plan, simulate
from simulator.execution.watching import task_log, watched
from simulator.files import mark_own, require_own
from simulator.parallel import Executor, local_executor
from simulator.problem.problem import Problem
from simulator.results.file import open_results, write_results
from simulator.results.summary import write_summary
from simulator.simulation.courses import twins
from simulator.spec import SimulatorError
from simulator.study_file.schema import StudyConfig


def run(
    study: StudyConfig,
    *,
    courses: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    out: str | Path | None = None,
) -> xr.DataTree:
    """Run a study and return its results.

    Parameters
    ----------
    courses, seed : replace those of the study.
    workers : threads; one per processor by default. Results do not depend on it.
    executor : who simulates instead of threads; see `simulator.executor_with`.
    out : results folder, resumed if unfinished; nothing is left on disk when absent.

    Returns
    -------
    Results as `simulator.open_results` gives them.
    """
    changes = {key: value for key, value in (("courses", courses), ("seed", seed)) if value is not None}
    study = StudyConfig.model_validate({**study.model_dump(), **changes})
    if out is not None:
        run_study(study, Path(out), workers=workers, executor=executor)
        return open_results(out)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run_study(study, Path(folder), workers=workers, executor=executor)
        results = open_results(folder)
        loaded = results.load()
        results.close()
        return loaded


def run_study(
    config: StudyConfig,
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
) -> None:
    """Simulate a study into a folder: config.yaml, results.nc and summary.csv, and tasks.csv about who did what.

    An interrupted run resumes from the finished blocks in `out`; the numbers are the same. Every point of a sweep has a folder
    of its own in `out/points`, with its complete results.

    Parameters
    ----------
    workers : threads; one per processor by default.
    executor : who simulates instead; its workers have to see `out` and the case under the same paths.
    fresh : discard earlier results and unfinished courses, once the study is known to be possible.

    Raises
    ------
    ConfigError : `out` is not new, empty or a run's own, or belongs to another study; see also `prepare`.
    """
    require_own(out, is_run_folder)
    progress = progress or Silent()
    began = time.monotonic()
    progress.stage("reading the case")
    problems = dict(zip(_point_folders(config, out), problems_of(config), strict=True))
    for note in notes_of(list(problems.values())):
        progress.note(note)
    mark_own(out)
    if fresh:
        _discard_earlier(out)
    open_folders = {folder: p for folder, p in problems.items() if not _holds(folder, identity_of(p))}
    for folder, problem in open_folders.items():
        mark_own(folder)
        BlockStore(folder / BLOCKS).claim(identity_of(problem))
        _write_config(problem.config, folder)
    _write_config(config, out)
    with local_executor(workers) as threads:
        try:
            finished = _simulate(open_folders, executor or threads, progress, out / "tasks.csv")
            progress.stage("required margins and results")
            assemblies = [Assembly(f, tuple(tasks), time.monotonic() - began) for f, tasks in finished.items()]
            _assemble([a for a in assemblies if not _has_results(a.folder)], bool(config.sweep), executor, threads)
        except (SimulatorError, OSError):
            if not all(_has_results(folder) for folder in problems):
                raise  # otherwise another run in this folder was faster, and has removed the blocks
    if config.sweep:
        _combine_points(config, out, list(problems))
    for folder in problems:
        BlockStore(folder / BLOCKS).discard()


def _assemble(assemblies: list[Assembly], is_sweep: bool, executor: Executor | None, threads: Executor) -> None:
    """Results of each run folder: of the points of a sweep side by side, of a single study with threads for its parts."""
    if is_sweep:
        for _ in (executor or threads).map(assemble_results, assemblies):
            pass
    elif assemblies:
        assemble_results(assemblies[0], threads)


def _simulate(
    problems: dict[Path, Problem], executor: Executor, progress: Progress, log: Path
) -> dict[Path, list[Task]]:
    """Simulate until every study has the courses that it asks for; the tasks of each."""
    _optimise(problems, executor, progress)
    rules = {folder: stopping_rule(problem.config) for folder, problem in problems.items()}
    runs = {folder: Run.of_all(problem, 0, first_run(problem)) for folder, problem in problems.items()}
    finished: dict[Path, list[Task]] = {folder: [] for folder in problems}
    while runs:
        tasks = tasks_of(problems, runs)
        for task in tasks:
            finished[task.folder].append(task)
        total = sum(task.n_courses for some in finished.values() for task in some)
        progress.stage(f"courses of {len(tasks)} tasks")
        with watched(list(problems), total, progress) as count, task_log(log) as write:
            for record in executor.map(simulate, tasks):
                write(record)
                count(record.n_new)
        runs = {
            folder: following
            for folder, run in runs.items()
            if (following := next_run(problems[folder], rules[folder], finished[folder], run))
        }
    return finished


def _optimise(problems: dict[Path, Problem], executor: Executor, progress: Progress) -> None:
    """Make the plans that are optimised, side by side and once, so that all workers deliver the same ones."""
    tasks = plan_tasks_of(problems)
    if tasks:
        progress.stage(f"{len(tasks)} plans")
        for _ in executor.map(optimise_plan, tasks):
            pass


def _combine_points(config: StudyConfig, out: Path, folders: list[Path]) -> None:
    """Results of the whole sweep from those of its points, one file open at a time."""
    points = []
    for folder in folders:
        with open_results(folder) as results:
            points.append(results.drop_nodes(("dose", "leaves", "courses"), errors="ignore").load())
    results = combine(config, points)
    results.attrs["inputs"] = json.dumps(merged_inputs(inputs_of(point) for point in points))
    write_summary(results, out / "summary.csv")
    write_results(results, out / RESULTS)


def notes_of(problems: Sequence[Problem]) -> list[str]:
    """What the user should know before the study, or the points of its sweep, run."""
    notes = list(dict.fromkeys(note for problem in problems for note in [*problem.notes, *notes_on_courses(problem)]))
    alike = twins(problems[0])
    if alike:
        names = " and ".join(repr(problems[0].strategies[i].label()) for i in alike[0])
        notes.append(
            f"{names} give the same results: nothing that the study simulates tells them apart ({len(alike)} such pairs)"
        )
    return notes
