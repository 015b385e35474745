"""How far a strategy displaces each structure over all courses."""

from collections.abc import Iterable

import numpy as np

from simulator.accumulation.maps import BONE
from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import lattice_bytes
from simulator.ground.reading import check_room
from simulator.ground.spec import ConfigError
from simulator.problem.problem import Problem
from simulator.sampling.delivery import Delivery
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.courses import deliver_courses, sampled_draws
from simulator.strategy import Strategy

_FARTHEST_MM = 120.0


def reach_of(problem: Problem, strategy: Strategy, deliveries: Iterable[Delivery]) -> dict[str, Reach]:
    """Displacements that occur over all courses: of each structure, and of bone at the isocentre."""
    names = (BONE, *(s.name for s in problem.structures))
    planned = strategy.motion.offset_mm
    reach = {name: Reach.of(TissueMotion.still(planned(problem.setting.planned, name))) for name in names}
    for delivery in deliveries:
        for name in names:
            motion = delivery.motion(name)
            turns = motion.linear is not None and name != BONE
            arm_mm = problem.arm_mm(name, motion.centre_mm) if turns else None
            reach[name] = reach[name].union(Reach.of(motion, arm_mm))
    for name, box in reach.items():
        farthest_mm = float(np.maximum(-box.lower_mm, box.upper_mm).max())
        if not farthest_mm <= _FARTHEST_MM:
            raise ConfigError(
                f"strategy {strategy.label()!r} displaces {name or 'the patient'} by {farthest_mm:.0f} mm in a course, at most "
                f"{_FARTHEST_MM:g} mm are simulated; lower the errors, motion or times of the study"
            )
    return reach


def check_reach(problem: Problem) -> None:
    """Refuse a study whose sampled courses displace anatomy farther than any treatment would go on, or than memory allows.

    Raises
    ------
    ConfigError : the strategy, the structure and the distance.
    """
    draws, numerics = sampled_draws(problem), problem.config.numerics
    roles = {s.roles: s for s in problem.strategies}
    for strategy in roles.values():
        reach = reach_of(problem, strategy, [deliver_courses(problem, strategy, draws)])
        for structure in problem.structures:
            key = "target_lattice_mm" if structure.role == "target" else "oar_lattice_mm"
            for patch in problem.patches[structure.name]:
                check_room(
                    lattice_bytes(patch, reach[structure.name], getattr(numerics, key)),
                    f"strategy {strategy.label()!r}: a dose lattice that reaches wherever {structure.name} is displaced to",
                    f"lower numerics.max_points, raise numerics.{key}, or lower the errors and motion of the study",
                    ConfigError,
                )
