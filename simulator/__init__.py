"""Monte Carlo simulation of treatment-plan robustness for stereotactic radiotherapy of lymph-node oligometastases."""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator import plots as plots
    from simulator.answers.rare import rare_event_probability as rare_event_probability
    from simulator.case.dicom_invented import invented_patient as invented_patient
    from simulator.case.loading import load_case as load_case
    from simulator.commands.errors import errors_found as errors_found
    from simulator.commands.export import export_rtdose as export_rtdose
    from simulator.commands.export_structures import export_rtstruct as export_rtstruct
    from simulator.execution.executors import executor_with as executor_with
    from simulator.execution.one_course import simulate_course as simulate_course
    from simulator.execution.study import run as run
    from simulator.ground.spec import SimulatorError as SimulatorError
    from simulator.problem.preparation import prepare as prepare
    from simulator.results.file import open_results as open_results
    from simulator.simulation.courses import course_draws as course_draws
    from simulator.simulation.courses import deliver_courses as deliver_courses
    from simulator.study_file.loading import load_study as load_study
    from simulator.study_file.shipped import example as example

    __version__: str

__all__ = [
    "SimulatorError",
    "__version__",
    "course_draws",
    "deliver_courses",
    "errors_found",
    "example",
    "executor_with",
    "export_rtdose",
    "export_rtstruct",
    "invented_patient",
    "load_case",
    "load_study",
    "open_results",
    "plots",
    "prepare",
    "rare_event_probability",
    "run",
    "simulate_course",
]

_HOME = {
    "SimulatorError": "simulator.ground.spec",
    "course_draws": "simulator.simulation.courses",
    "deliver_courses": "simulator.simulation.courses",
    "errors_found": "simulator.commands.errors",
    "example": "simulator.study_file.shipped",
    "executor_with": "simulator.execution.executors",
    "export_rtdose": "simulator.commands.export",
    "export_rtstruct": "simulator.commands.export_structures",
    "invented_patient": "simulator.case.dicom_invented",
    "load_case": "simulator.case.loading",
    "load_study": "simulator.study_file.loading",
    "open_results": "simulator.results.file",
    "prepare": "simulator.problem.preparation",
    "rare_event_probability": "simulator.answers.rare",
    "run": "simulator.execution.study",
    "simulate_course": "simulator.execution.one_course",
}

# HDF5 reads this when it is loaded: results are renamed into place and need no locks, which some network disks refuse.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")


def _version() -> str:
    """Of the installed distribution; of pyproject.toml for a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sbrt-simulator")
    except PackageNotFoundError:
        import tomllib

        text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import simulator` stays fast."""
    if name == "__version__":
        return _version()
    if name == "plots":
        return import_module("simulator.plots")
    if name not in _HOME:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """The public names alone."""
    return __all__
