"""The study of finished results, made of the very files that it was made of."""

import xarray as xr

from simulator.execution.checkpoint import changes_between, identity_text
from simulator.execution.folder import inputs_of
from simulator.execution.problems import identity_of, problem_of
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.problem.problem import Problem
from simulator.results.views import sweep_axes
from simulator.study_file.loading import parse_study


def unchanged_problem(results: xr.DataTree, command: str) -> Problem:
    """The study of some results with its anatomy; `command` is who asks, for messages.

    Raises
    ------
    ConfigError : a file that the study was made of has changed.
    """
    about = results.attrs
    problem = problem_of(parse_study(about["config"], "results.nc"))
    earlier = identity_text(about["simulator_version"], about["config"], inputs_of(results))
    changed = changes_between(earlier, identity_of(problem))
    if changed:
        raise ConfigError(
            f"{command}: the study is not what it was when these results were made ({changed}); put back what it was, or run "
            "the study again"
        )
    return problem


def refuse_sweep(results: xr.DataTree, command: str) -> None:
    """Refuse results that are those of several studies with a `ConfigError`."""
    if sweep_axes(results):
        raise ConfigError(f"{command}: these are the results of a sweep; name one of its points, such as points/00000")


def place_of(what: str, name: str, names: list[str], command: str) -> int:
    """Place of a name among those of the results; `ConfigError` suggests the nearest."""
    if name not in names:
        raise ConfigError(f"{command}: no {what} {name!r} in these results{did_you_mean(name, names, 0.1)}")
    return names.index(name)
