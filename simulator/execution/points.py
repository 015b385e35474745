"""Points of a sweep prepared and checked by the workers: what the command keeps of each holds no anatomy."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from simulator import __version__
from simulator.execution.checkpoint import identity_text, merged_inputs
from simulator.execution.folder import has_results, holds, names_files, point_folders
from simulator.execution.listening import Progress
from simulator.execution.problems import checked_problem, identity_of, models_of
from simulator.execution.splitting import Planned
from simulator.execution.stopping import first_run, notes_on_courses
from simulator.ground.parallel import Executor, local_executor
from simulator.ground.spec import SimulatorError
from simulator.plan.model import PlanModelKind
from simulator.problem.checks import check_plans_are_used
from simulator.problem.problem import Problem
from simulator.simulation.courses import twins
from simulator.study_file.loading import dump_study
from simulator.study_file.schema import StudyConfig
from simulator.study_file.sweep import point_names


@dataclass(frozen=True)
class Point:
    """A prepared point of a sweep, or a study without one.

    Parameters
    ----------
    identity : see `identity_of`. inputs : see `Problem`.
    is_finished : whether its folder holds its results.
    notes : what the user should know. twins : a note on strategies that are alike, of the first point.
    models : see `models_of`. plans : of each strategy.
    first_run : courses to simulate first. looks : whether how many follow depends on what they find.
    answer : what was asked of the problem beside.
    """

    config: StudyConfig
    identity: str
    inputs: dict[str, str]
    is_finished: bool
    notes: tuple[str, ...]
    twins: tuple[str, ...]
    models: tuple[PlanModelKind, Collection[PlanModelKind]]
    plans: tuple[Planned, ...]
    first_run: int
    looks: bool
    answer: Any = None


@dataclass(frozen=True)
class _Request:
    """A point to prepare, with others of the same sweep; `fresh` where earlier results do not count."""

    sweep: str
    number: int
    name: str
    folder: Path
    config: StudyConfig
    fresh: bool
    ask: Callable[[Problem], Any] | None


def prepare_points(
    config: StudyConfig,
    out: Path,
    executor: Executor,
    progress: Progress | None = None,
    *,
    fresh: bool = False,
    ask: Callable[[Problem], Any] | None = None,
) -> dict[Path, Point]:
    """Every point of a sweep, or the study without one, prepared and checked, by its run folder.

    The first is prepared here, so that what is wrong with all of them is said before any worker is waited for.

    Parameters
    ----------
    fresh : whether results in the run folders do not count. ask : a question about each problem.

    Raises
    ------
    ConfigError, CaseError : what is wrong with the first point that cannot be simulated; see `checked_problem`.
    """
    folders, names = point_folders(config, out), point_names(config.axes())
    sweep = uuid4().hex
    requests = [
        _Request(sweep, number, name, folder, point, fresh, ask)
        for number, (name, folder, point) in enumerate(zip(names, folders, config.points(), strict=True))
    ]
    first, others = requests[0], requests[1:]
    prepared = chain([_prepare(first)], executor.map(_prepare, others) if others else ())
    points: list[Point] = []
    for point in _in_order(prepared):
        if isinstance(point, SimulatorError):
            raise point
        points.append(point)
        if config.sweep and progress is not None:
            progress.points(len(points), len(requests))
    check_plans_are_used([point.models for point in points])
    return dict(zip(folders, points, strict=True))


def _in_order(numbered: Iterator[tuple[int, Point | SimulatorError]]) -> Iterator[Point | SimulatorError]:
    """Points as soon as all before them are there."""
    waiting: dict[int, Point | SimulatorError] = {}
    n = 0
    for number, point in numbered:
        waiting[number] = point
        while n in waiting:
            yield waiting.pop(n)
            n += 1


def _prepare(request: _Request) -> tuple[int, Point | SimulatorError]:
    """A point, or why it cannot be simulated."""
    try:
        problem = checked_problem(request.config, request.name, request.sweep)
        identity = identity_of(problem)
        point = Point(
            config=request.config,
            identity=identity,
            inputs=problem.inputs,
            is_finished=not request.fresh and holds(request.folder, identity),
            notes=(*problem.notes, *notes_on_courses(problem)),
            twins=tuple(notes_on_twins(problem)) if request.number == 0 else (),
            models=models_of(problem),
            plans=tuple(Planned.of(problem, strategy) for strategy in range(len(problem.strategies))),
            first_run=first_run(problem),
            looks=problem.looks is not None or request.config.precision is not None,
            answer=None if request.ask is None else request.ask(problem),
        )
    except SimulatorError as error:
        return request.number, error
    return request.number, point


def notes_of(points: Collection[Point]) -> list[str]:
    """What the user should know before the study, or the points of its sweep, run."""
    said = [note for point in points for note in point.notes] + [note for point in points for note in point.twins]
    return list(dict.fromkeys(said))


def notes_on_twins(problem: Problem) -> list[str]:
    """Whether strategies give the same results."""
    alike = twins(problem)
    if not alike:
        return []
    names = " and ".join(repr(problem.strategies[i].label()) for i in alike[0])
    return [
        f"{names} give the same results: nothing that the study simulates tells them apart ({len(alike)} such pairs)"
    ]


def is_finished(config: StudyConfig, folder: Path) -> bool:
    """Whether a folder holds the finished results of this very study, made of the files that it names now.

    Raises
    ------
    ConfigError : the folder holds the results of another study, or one of its files has changed.
    """
    if not has_results(folder):
        return False
    inputs: dict[str, str] = {}
    if names_files(config):
        with local_executor(None) as threads:
            inputs = merged_inputs(
                point.inputs for point in prepare_points(config, folder, threads, fresh=True).values()
            )
    return holds(folder, identity_text(__version__, dump_study(config), inputs))
