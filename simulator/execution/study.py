"""A study from end to end: `run_study` is the data flow read aloud."""

import copy
import csv
import dataclasses
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from simulator import __version__
from simulator.answers.assembly import combine
from simulator.execution.checkpoint import BlockStore, changes_between, identity_text, merged_inputs
from simulator.execution.tasks import (
    BLOCKS,
    CONFIG,
    RESULTS,
    Assembly,
    Task,
    TaskRecord,
    assemble_results,
    identity_of,
    problems_of,
    simulate,
    tasks_of,
    values_of,
)
from simulator.files import MARK, inert, is_marked, mark_own, require_own, whole_file
from simulator.parallel import Executor, local_executor
from simulator.population.intervals import FixedWidthRule
from simulator.problem.problem import Problem
from simulator.results import open_results, stored_study, write_results, write_summary
from simulator.simulation.work import twins
from simulator.spec import ConfigError, SimulatorError
from simulator.study_file.schema import StudyConfig, dump_study, map_paths

_SECONDS_BETWEEN_LOOKS = 1.0


class Progress(Protocol):
    """Who is told how far the study is."""

    def stage(self, text: str) -> None:
        """A new stage has begun."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know; it stays in sight."""
        ...

    def courses(self, done: int, total: int) -> None:
        """So many courses of all strategies are done."""
        ...


class Silent:
    """Tells nobody."""

    def stage(self, text: str) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""

    def courses(self, done: int, total: int) -> None:
        """Ignored."""


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


def _write_config(config: StudyConfig, folder: Path) -> None:
    with whole_file(folder / CONFIG) as partial:
        partial.write_text(dump_study(config), encoding="utf-8")


def _has_results(folder: Path) -> bool:
    return (folder / RESULTS).is_file()


def _point_folders(config: StudyConfig, out: Path) -> list[Path]:
    """Run folder of each point of the sweep; `out` itself without one."""
    return [out / "points" / f"{i:05d}" for i in range(len(config.points()))] if config.sweep else [out]


def _simulate(
    problems: dict[Path, Problem], executor: Executor, progress: Progress, log: Path
) -> dict[Path, list[Task]]:
    """Simulate until every study has the courses that it asks for; the tasks of each."""
    rules = {folder: _stopping_rule(problem.config) for folder, problem in problems.items()}
    runs = {
        folder: (0, rule.first_look if (rule := rules[folder]) else problem.config.courses)
        for folder, problem in problems.items()
    }
    finished: dict[Path, list[Task]] = {folder: [] for folder in problems}
    while runs:
        tasks = tasks_of(problems, runs)
        for task in tasks:
            finished[task.folder].append(task)
        total = sum(task.n_courses for some in finished.values() for task in some)
        progress.stage(f"courses of {len(tasks)} tasks")
        with _watched(list(problems), total, progress) as count, _task_log(log) as write:
            for record in executor.map(simulate, tasks):
                write(record)
                count(record.n_new)
        runs = {
            folder: run for folder, (_, n) in runs.items() if (run := _next_run(problems, rules, finished, folder, n))
        }
    return finished


def _next_run(
    problems: dict[Path, Problem],
    rules: dict[Path, FixedWidthRule | None],
    finished: dict[Path, list[Task]],
    folder: Path,
    n_courses: int,
) -> tuple[int, int] | None:
    """Courses to simulate next; None when there are enough."""
    rule, problem = rules[folder], problems[folder]
    if rule is None:
        return None
    values = values_of(problem, BlockStore(folder / BLOCKS), finished[folder])
    following = rule.next_look(_count_met(problem, values), n_courses)
    return None if following is None else (n_courses, following)


def _stopping_rule(config: StudyConfig) -> FixedWidthRule | None:
    """When to stop, for a study that asks for a precision instead of a number of courses."""
    if config.precision is None:
        return None
    return FixedWidthRule(config.precision, config.courses, config.numerics.block_courses)


def _count_met(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Number of courses that meet each goal, (strategy, goal)."""
    column = problem.column
    counts = [
        [
            goal.is_met(drawn[:, column[goal.metric.label]].astype(float), problem.prescription_gy).sum()
            for drawn in values
        ]
        for goal in problem.goals
    ]
    return np.array(counts).T


@contextmanager
def _task_log(path: Path) -> Iterator[Callable[[TaskRecord], None]]:
    """A function that appends a record to a CSV file."""
    columns = [field.name for field in dataclasses.fields(TaskRecord)]
    with path.open("a", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        if file.tell() == 0:
            table.writeheader()
            file.flush()

        def write(record: TaskRecord) -> None:
            table.writerow({key: inert(value) for key, value in dataclasses.asdict(record).items()})
            file.flush()

        yield write


@contextmanager
def _watched(folders: list[Path], total: int, progress: Progress) -> Iterator[Callable[[int], None]]:
    """Meanwhile tell the progress how many courses are in finished blocks, whoever simulates them.

    Yields a function that is told how many courses a finished task has added.
    """
    over = threading.Event()
    shown = added = 0

    def tell(done: int) -> None:
        nonlocal shown
        shown = max(shown, min(done, total))
        progress.courses(shown, total)

    def look() -> int:
        return sum(_courses_in(BlockStore(folder / BLOCKS)) for folder in folders)

    def count(n_new: int) -> None:
        nonlocal added
        added += n_new
        tell(at_begin + added)

    def watch() -> None:
        pause = _SECONDS_BETWEEN_LOOKS
        while not over.wait(pause):
            began = time.monotonic()
            done = look()
            pause = max(_SECONDS_BETWEEN_LOOKS, 20 * (time.monotonic() - began))
            if not over.is_set():
                tell(done)

    at_begin = look()
    tell(at_begin)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()


def _courses_in(store: BlockStore) -> int:
    return sum(int(key.rsplit("-", 1)[1]) for key in store.names() if "-c" in key)


def _combine_points(config: StudyConfig, out: Path, folders: list[Path]) -> None:
    """Results of the whole sweep from those of its points, one file open at a time."""
    points = []
    for folder in folders:
        with open_results(folder) as results:
            points.append(results.drop_nodes("dose", errors="ignore").load())
    results = combine(config, points)
    results.attrs["inputs"] = json.dumps(merged_inputs(_inputs_of(point) for point in points))
    write_summary(results, out / "summary.csv")
    write_results(results, out / RESULTS)


def is_finished(config: StudyConfig, folder: Path) -> bool:
    """Whether a folder holds the finished results of this very study, made of the files that it names now.

    Raises
    ------
    ConfigError : the folder holds the results of another study, or one of its files has changed.
    """
    if not _has_results(folder):
        return False
    inputs = merged_inputs(p.inputs for p in problems_of(config)) if _names_files(config) else {}
    return _holds(folder, identity_text(__version__, dump_study(config), inputs))


def _holds(folder: Path, identity: str) -> bool:
    """Whether a folder holds finished results of the study with this identity; `ConfigError` if they are of another."""
    if not _has_results(folder):
        return False
    with open_results(folder) as results:
        about = results.attrs
        earlier = identity_text(about["simulator_version"], about["config"], _inputs_of(results))
    changed = changes_between(earlier, identity)
    if changed:
        raise ConfigError(
            f"{folder}: holds the results of a different study ({changed}); "
            "add --fresh to replace them, choose another folder with --out, or give the study another name"
        )
    return True


def _inputs_of(results: xr.DataTree) -> dict[str, str]:
    """The files that a study was made of; none are known where an earlier version did not keep them."""
    return dict(json.loads(results.attrs.get("inputs", "{}")))


def _names_files(config: StudyConfig) -> bool:
    """Whether a study, or a point of its sweep, is made of files."""
    plain = [point.model_dump(mode="json") for point in config.points()]
    without = copy.deepcopy(plain)
    for raw in without:
        map_paths(raw, lambda path: "")
    return plain != without


def is_run_folder(folder: Path) -> bool:
    """Whether a run made this folder: it is marked, or holds results, blocks or points of the study in its config.yaml."""
    if is_marked(folder):
        return True
    try:
        config = (folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    owner = BlockStore(folder / BLOCKS).owner() or ""
    is_of_it = config in (stored_study(folder / RESULTS), owner.partition("\n")[2])
    return is_of_it or is_run_folder(folder / "points" / "00000")


def notes_of(problems: Sequence[Problem]) -> list[str]:
    """What the user should know before the study, or the points of its sweep, run."""
    notes = list(dict.fromkeys(note for problem in problems for note in problem.notes))
    alike = twins(problems[0])
    if alike:
        names = " and ".join(repr(name) for name in alike[0])
        notes.append(
            f"{names} give the same results: nothing that the study simulates tells them apart ({len(alike)} such pairs)"
        )
    return notes


def _discard_earlier(out: Path) -> None:
    """Remove the results and the unfinished courses of an earlier run, and nothing else."""
    for folder in (out, *(out / "points").glob("[0-9]" * 5)):
        for name in (RESULTS, "summary.csv", "report.html", CONFIG, "tasks.csv"):
            (folder / name).unlink(missing_ok=True)
        BlockStore(folder / BLOCKS).discard()
        if folder != out:
            (folder / MARK).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
    with suppress(OSError):
        (out / "points").rmdir()
