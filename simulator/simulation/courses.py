"""Courses of a study drawn, and delivered by a strategy."""

import numpy as np

from simulator.accumulation.maps import BONE
from simulator.problem.problem import Problem
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import Delivery, deliver
from simulator.sampling.observed import ObservedDraws
from simulator.sampling.quasi import SobolDraws
from simulator.sampling.streams import Draws
from simulator.simulation.interplay import deliver_in_time
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers

COURSES_COMPARED, COURSES_SAMPLED, COURSES_FOLLOWED = 8, 512, 32


def course_draws(problem: Problem, first: int, n_courses: int) -> RandomNumbers:
    """The random numbers of some courses of the study."""
    config = problem.config
    draws: RandomNumbers
    if config.sampling == "sobol":
        fractions = config.prescription.fractions
        draws = SobolDraws(config.seed, first, n_courses, config.courses, fractions, config.uncertainty)
    else:
        draws = Draws(config.seed, first, n_courses)
    return draws if problem.law is None else ObservedDraws(draws, problem.law)


def sampled_draws(problem: Problem) -> RandomNumbers:
    """The random numbers of the courses that show, before any is simulated, how far a strategy displaces anatomy."""
    is_limited = problem.config.sampling == "sobol"
    return course_draws(problem, 0, min(COURSES_SAMPLED, problem.config.courses) if is_limited else COURSES_SAMPLED)


def deliver_courses(problem: Problem, strategy: Strategy, draws: RandomNumbers) -> Delivery:
    """What a strategy makes of drawn courses; its margin does not matter."""
    if problem.interplay is True:
        return deliver_in_time(problem, strategy, draws)
    return deliver(draw_courses(problem.setting, draws), strategy, problem.setting)


def same_delivery(problem: Problem, strategy: Strategy, draws: RandomNumbers, other: RandomNumbers) -> bool:
    """Whether a strategy delivers the same whichever of two sets of random numbers is drawn."""
    return are_alike(problem, *(deliver_courses(problem, strategy, d) for d in (draws, other)))


def twins(problem: Problem) -> list[tuple[int, int]]:
    """Pairs of strategies, the earlier one first, that seem to deliver the same plan in the same way: in a few courses."""
    draws = course_draws(problem, 0, COURSES_COMPARED)
    by_roles: dict[tuple[str, str], Delivery] = {}
    deliveries, found = [], []
    for strategy in problem.strategies:
        roles = strategy.roles
        if roles not in by_roles:
            by_roles[roles] = deliver_courses(problem, strategy, draws)
        deliveries.append(by_roles[roles])
    for i in range(len(problem.strategies)):
        same_plan = (j for j in range(i) if problem.requests[j] == problem.requests[i])
        twin = next((j for j in same_plan if are_alike(problem, deliveries[i], deliveries[j])), None)
        if twin is not None:
            found.append((twin, i))
    return found


def are_alike(problem: Problem, first: Delivery, second: Delivery) -> bool:
    """Whether two deliveries displace everything alike in all of their courses."""
    for name in (BONE, *(s.name for s in problem.structures)):
        one, two = first.motion(name), second.motion(name)
        pairs = ((one.shift_mm, two.shift_mm), (one.weight, two.weight), (one.linear, two.linear))
        if not all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None):
            return False
    return True
