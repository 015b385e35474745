"""A study from end to end: `run_study` is the data flow read aloud."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from simulator.answers.sweeps import combine
from simulator.execution.checkpoint import BLOCKS, RESULTS, BlockStore, merged_inputs
from simulator.execution.folder import discard_earlier, has_results, is_run_folder, write_config
from simulator.execution.gathering import Assembly, assemble_results, keep_share, share_in
from simulator.execution.listening import Progress, Silent
from simulator.execution.points import Point, notes_of, prepare_points
from simulator.execution.splitting import Planned, Run, Task, plan_tasks_of, tasks_of
from simulator.execution.stopping import Look, look_at
from simulator.execution.tasks import optimise_plan, simulate
from simulator.execution.watching import task_log, watched
from simulator.ground.files import mark_own, require_own, whole_file
from simulator.ground.parallel import Executor, local_executor
from simulator.ground.spec import SimulatorError
from simulator.results.file import open_results
from simulator.results.summary import write_summary
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
    with local_executor(workers) as threads:
        points = prepare_points(config, out, executor or threads, progress, fresh=fresh)
        for note in notes_of(points.values()):
            progress.note(note)
        mark_own(out)
        if fresh:
            discard_earlier(out)
        unfinished = {folder: point for folder, point in points.items() if not point.is_finished}
        for folder, point in unfinished.items():
            mark_own(folder)
            BlockStore(folder / BLOCKS).claim(point.identity)
            write_config(point.config, folder)
        write_config(config, out)
        try:
            finished = _simulate(unfinished, executor or threads, progress, out / "tasks.csv")
            progress.stage("required margins and results")
            seconds = time.monotonic() - began
            some = [
                Assembly(folder, tuple(tasks), seconds, bool(config.sweep))
                for folder, tasks in finished.items()
                if not has_results(folder)
            ]
            if config.sweep:
                for n, _ in enumerate((executor or threads).map(assemble_results, some), 1):
                    progress.points(n, len(some))
            elif some:
                assemble_results(some[0], threads)
        except (SimulatorError, OSError):
            if not all(has_results(folder) for folder in points):
                raise  # otherwise another run in this folder was faster, and has removed the blocks
        if config.sweep:
            _combine_points(config, out, points, executor or threads, progress)
    for folder in points:
        BlockStore(folder / BLOCKS).discard()


def _simulate(points: dict[Path, Point], executor: Executor, progress: Progress, log: Path) -> dict[Path, list[Task]]:
    """Simulate until every study has the courses that it asks for; the tasks of each."""
    plans = {folder: point.plans for folder, point in points.items()}
    _optimise(
        {folder: point.plans for folder, point in points.items() if point.config.plan.keeps_designs}, executor, progress
    )
    runs = {folder: Run.of_all(len(point.plans), 0, point.first_run) for folder, point in points.items()}
    finished: dict[Path, list[Task]] = {folder: [] for folder in points}
    while runs:
        tasks = tasks_of(plans, runs)
        for task in tasks:
            finished[task.folder].append(task)
        total = sum(task.n_courses for some in finished.values() for task in some)
        progress.stage(f"courses of {len(tasks)} tasks")
        with watched(list(points), total, progress) as count, task_log(log) as write:
            for record in executor.map(simulate, tasks):
                write(record)
                count(record.n_new)
        looks = [Look(folder, tuple(finished[folder]), run) for folder, run in runs.items() if points[folder].looks]
        following = sorted(executor.map(look_at, looks)) if looks else []
        runs = {folder: run for folder, run in following if run}
    return finished


def _optimise(plans: Mapping[Path, Sequence[Planned]], executor: Executor, progress: Progress) -> None:
    """Make the plans that are optimised, side by side and once, so that all workers deliver the same ones."""
    tasks = plan_tasks_of(plans)
    if tasks:
        progress.stage(f"{len(tasks)} plans")
        for _ in executor.map(optimise_plan, tasks):
            pass


def _combine_points(
    config: StudyConfig, out: Path, points: dict[Path, Point], executor: Executor, progress: Progress
) -> None:
    """Results of the whole sweep from what workers take of its points, of which one is in memory at a time."""
    for n, _ in enumerate(executor.map(keep_share, points), 1):
        progress.points(n, len(points))
    progress.stage("results of all points together")
    inputs = merged_inputs(point.inputs for point in points.values())
    with whole_file(out / RESULTS) as partial:
        combine(config, lambda: map(share_in, points), inputs, partial, progress.points)
        with open_results(partial) as results:
            write_summary(results, out / "summary.csv")
