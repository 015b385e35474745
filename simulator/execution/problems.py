"""Prepared studies, made once in a process, and what identifies their numbers."""

from collections.abc import Hashable
from pathlib import Path

from simulator import __version__
from simulator.answers.beyond_grid import without_unknown
from simulator.execution.checkpoint import BLOCKS, CONFIG, BlockStore, identity_text
from simulator.ground.once import Once
from simulator.ground.spec import SimulatorError
from simulator.plan.model import PlanModelKind
from simulator.problem.checks import check_plans
from simulator.problem.inputs import case_key, input_states
from simulator.problem.preparation import prepare
from simulator.problem.problem import Problem
from simulator.simulation.displacements import check_reach
from simulator.study_file.loading import dump_study, load_study
from simulator.study_file.schema import StudyConfig

_problems: Once[Problem] = Once(8)
_checked: Once[None] = Once(8)


def problem_of(config: StudyConfig) -> Problem:
    """The prepared study, made once in a process.

    Raises
    ------
    ConfigError, CaseError : see `prepare`.
    """
    return _problems.get((dump_study(config), input_states(config)), lambda: without_unknown(prepare(config)))


def checked_problem(config: StudyConfig, name: str, request: str) -> Problem:
    """The prepared study at a point of a sweep, or without one (then it has no name), with plans that can be made.

    Parameters
    ----------
    request : points that are prepared for the same one have plans that are alike checked once.

    Raises
    ------
    ConfigError, CaseError : see `prepare`, `check_reach` and `check_plans`; with the point's name.
    """
    try:
        problem = problem_of(config)
        check_reach(problem)
        _checked.get((request, _plans_checked(problem)), lambda: check_plans(problem))
    except SimulatorError as error:
        raise type(error)(f"sweep point {name}: {error}" if name else str(error)) from None
    return problem


def _plans_checked(problem: Problem) -> Hashable:
    """What it depends on whether plans can be made."""
    config = problem.config
    prescriptions = tuple((target.name, target.prescription) for target in problem.targets)
    asked = config.plan.model_dump_json(), config.simulate.interplay, config.session.isocentres
    return case_key(config), prescriptions, problem.requests, asked


def models_of(problem: Problem) -> tuple[PlanModelKind, frozenset[PlanModelKind]]:
    """The plan's model, and what of it is each candidate's own."""
    return problem.config.plan, frozenset(request.model for request in problem.requests)


def identity_of(problem: Problem) -> str:
    """What identifies the numbers of a prepared study."""
    return identity_text(__version__, dump_study(problem.config), problem.inputs)


def problem_in(folder: Path) -> Problem:
    """The prepared study of a run folder, whose files have to be those with which the run began."""
    problem = problem_of(load_study(folder / CONFIG))
    BlockStore(folder / BLOCKS).claim(identity_of(problem))
    return problem
