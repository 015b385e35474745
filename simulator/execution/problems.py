"""Prepared studies, made once in a process, and what identifies their numbers."""

from collections.abc import Hashable
from pathlib import Path

from simulator import __version__
from simulator.answers.beyond_grid import without_unknown
from simulator.execution.checkpoint import BLOCKS, CONFIG, BlockStore, identity_text
from simulator.once import Once
from simulator.problem.checks import check_plans, check_plans_are_used
from simulator.problem.inputs import case_key, input_states
from simulator.problem.preparation import prepare
from simulator.problem.problem import Problem
from simulator.simulation.displacements import check_reach
from simulator.spec import SimulatorError
from simulator.study_file.loading import dump_study, load_study
from simulator.study_file.schema import StudyConfig
from simulator.study_file.sweep import point_names

_problems: Once[Problem] = Once(8)


def problem_of(config: StudyConfig) -> Problem:
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
    ConfigError, CaseError : see `prepare`, `check_reach`, `check_plans` (with the point's name) and `check_plans_are_used`.
    """
    found, checked = [], set[Hashable]()
    for name, point in zip(point_names(config.axes()), config.points(), strict=True):
        try:
            problem = problem_of(point)
            check_reach(problem)
            key = case_key(point), point.plan.model_dump_json(), point.prescription, problem.requests
            if key not in checked:
                check_plans(problem)
            checked.add(key)
            found.append(problem)
        except SimulatorError as error:
            raise type(error)(f"sweep point {name}: {error}" if name else str(error)) from None
    check_plans_are_used(found)
    return found


def identity_of(problem: Problem) -> str:
    """What identifies the numbers of a prepared study."""
    return identity_text(__version__, dump_study(problem.config), problem.inputs)


def problem_in(folder: Path) -> Problem:
    """The prepared study of a run folder, whose files have to be those with which the run began."""
    problem = problem_of(load_study(folder / CONFIG))
    BlockStore(folder / BLOCKS).claim(identity_of(problem))
    return problem
