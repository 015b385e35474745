"""What is asked of an engine, and the one that a study names."""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from simulator.case.geometry import Volume
from simulator.case.treatment_beams import TreatmentBeam
from simulator.plan.engine.segments import MachineSpeeds, Segments

EngineName = Literal["pydosert"]


class Engine(Protocol):
    """A library with the data of one machine."""

    @property
    def speeds(self) -> MachineSpeeds:
        """How fast the machine delivers."""
        ...

    def check(self, beams: Sequence[TreatmentBeam]) -> None:
        """Refuse beams that the machine or the engine does not know.

        Raises
        ------
        ConfigError : why, and what to do.
        """
        ...

    def dose_gy(self, density: Volume, group: Segments) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy of one fraction at the nodes of a density (relative to water)."""
        ...


def engine_of(name: EngineName, machine: str) -> Engine:
    """The engine that a study names, with the data of its machine.

    Raises
    ------
    ConfigError : it is not installed, or there are no such data.
    """
    from simulator.plan.engine.pydosert_engine import PyDoseRT

    return PyDoseRT(machine)
