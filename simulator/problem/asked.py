"""What is asked of each goal."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simulator.problem.problem import Problem


def asked_of(problem: "Problem") -> np.ndarray:
    """Probability (goal,) with which each goal has to hold for a strategy to suit; NaN for goals that are not asked for.

    Asked for are goals on organs, unless a library marks them optimal, and those that the study gives a probability of
    their own.
    """
    rule = problem.config.decision
    mandatory = [g.level != "optimal" and problem.target_named(g.metric.structure) is None for g in problem.goals]
    usual = [rule.organ_probability if is_mandatory else np.nan for is_mandatory in mandatory]
    return np.array([rule.goal_probability.get(g.text, p) for g, p in zip(problem.goals, usual, strict=True)])
