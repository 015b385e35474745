"""One strategy, read aloud: draw courses, deliver them, accumulate and measure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.population.bands import DOSE_BINS, VOLUME_LEVELS, count_levels
from simulator.problem.problem import Problem
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.courses import deliver_courses
from simulator.simulation.tissue import Measured, Tissue
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers


@dataclass(frozen=True)
class Tally:
    """What is counted over courses beside their metrics.

    Parameters
    ----------
    levels : uint32 (dose, level) by structure, how many courses reach each volume level at each dose.
    is_lost : boolean (course,), where delineation error leaves nothing of some target.
    """

    levels: dict[str, np.ndarray]
    is_lost: np.ndarray

    @classmethod
    def of(cls, names: Mapping[str, object], n_courses: int) -> "Tally":
        """An empty one."""
        return cls({name: np.zeros((DOSE_BINS, VOLUME_LEVELS), np.uint32) for name in names}, np.zeros(n_courses, bool))

    def add(self, name: str, courses: slice, found: Measured) -> None:
        """Count what was found of a structure in some courses."""
        if found.dvhs is not None:
            count_levels(found.dvhs.percent, self.levels[name])
        if found.is_lost is not None:
            self.is_lost[courses] |= found.is_lost


def simulate_courses(
    problem: Problem, strategy: Strategy, tissues: Mapping[str, Tissue], draws: RandomNumbers
) -> np.ndarray:
    """Metrics float32 (course, metric) of drawn courses under a strategy, structure by structure."""
    delivery = deliver_courses(problem, strategy, draws)
    return measure_delivery(delivery, tissues, draws)


class Delivered(Protocol):
    """Courses as they were delivered."""

    def motion(self, structure: str) -> TissueMotion:
        """Displacement of a structure relative to the beam."""
        ...


def measure_delivery(
    delivery: Delivered, tissues: Mapping[str, Tissue], draws: RandomNumbers, tally: Tally | None = None
) -> np.ndarray:
    """Metrics float32 (course, metric) of what was delivered, which is counted too if asked."""
    columns = []
    for name, tissue in tissues.items():
        motion, values = delivery.motion(name), []
        for courses, some in motion.in_parts(tissue.courses_at_once):
            found = tissue.measure(some, draws.part(courses.start, len(some.weight)))
            values.append(found.values.astype(np.float32))
            if tally is not None:
                tally.add(name, courses, found)
        columns.append(np.concatenate(values))
    return np.concatenate(columns, axis=1)
