"""Interplay: courses whose breathing meets the part of the plan that is being delivered."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import StructureDoses
from simulator.plan.dose import DosePart
from simulator.plan.quality import Plan
from simulator.problem.problem import Problem
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import Delivery, deliver, setting_in_time
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers


def deliver_in_time(problem: Problem, strategy: Strategy, draws: RandomNumbers) -> Delivery:
    """What a strategy makes of drawn courses, instants following each other in time for the structures that meet parts."""
    whole = deliver(draw_courses(problem.setting, draws), strategy, problem.setting)
    setting = setting_in_time(problem.setting, strategy, problem.config.simulate.instant_s)
    in_time = deliver(draw_courses(setting, draws), strategy, setting)
    return replace(whole, in_time=in_time, met_in_parts=problem.met_in_parts)


def parts_of(problem: Problem, plan: Plan, reach: Mapping[str, Reach]) -> tuple[DosePart, ...]:
    """The parts of a plan wherever the structures that meet them are displaced to."""
    setting, corners = problem.setting, []
    for structure in problem.structures:
        if structure.name in problem.met_in_parts:
            lower, upper = structure.region.bounds_mm
            corners += [lower + reach[structure.name].lower_mm, upper + reach[structure.name].upper_mm]
    box = np.min(corners, axis=0), np.max(corners, axis=0)
    return plan.parts_in(problem.case.density, setting.session.beam_on_s(setting.fraction_gy), box)


def in_parts(
    problem: Problem, doses: Mapping[str, StructureDoses], parts: tuple[DosePart, ...]
) -> dict[str, StructureDoses]:
    """The doses of structures, those of targets and the nearest organs part by part."""
    met = problem.met_in_parts
    return {name: own.in_parts(parts) if name in met else own for name, own in doses.items()}
