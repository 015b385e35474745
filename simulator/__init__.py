"""Monte Carlo simulation of treatment-plan robustness for stereotactic radiotherapy of lymph-node oligometastases."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.case.loading import load_case as load_case
    from simulator.config import load_study as load_study
    from simulator.export import export_rtdose as export_rtdose
    from simulator.rare import rare_event_probability as rare_event_probability
    from simulator.results import open_results as open_results
    from simulator.study import run as run

__all__ = ["export_rtdose", "load_case", "load_study", "open_results", "rare_event_probability", "run"]

_HOME = {
    "export_rtdose": "simulator.export",
    "load_case": "simulator.case.loading",
    "load_study": "simulator.config",
    "open_results": "simulator.results",
    "rare_event_probability": "simulator.rare",
    "run": "simulator.study",
}


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used, so that `import simulator` stays fast."""
    if name == "__version__":
        from importlib.metadata import version

        return version("simulator")
    if name not in _HOME:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
