"""From the metrics of every course to the answers that compare and decide."""

import numpy as np
import xarray as xr

from simulator.answers.comparison import comparison_group
from simulator.answers.decision import decision_group
from simulator.answers.joint import joint_group, joint_met
from simulator.answers.knowledge_decision import with_decision
from simulator.answers.margins import margins_group
from simulator.answers.prescription import prescription_group
from simulator.answers.weights import weights_group
from simulator.population.unequal import numbers_of_courses
from simulator.problem.problem import Problem


def answer_groups(
    problem: Problem, values: np.ndarray, ptv_cc: np.ndarray, doubt: xr.Dataset | None = None
) -> dict[str, xr.Dataset]:
    """The groups joint, comparison, margins, prescription and decision of the results, and weights and knowledge where a study
    has some.

    Parameters
    ----------
    values : (strategy, course, metric). ptv_cc : (strategy,). doubt : from `knowledge_of`.
    """
    labels = [s.label() for s in problem.strategies]
    joint, n_courses = joint_met(problem, values), numbers_of_courses(values)
    decision = decision_group(problem, values, joint, ptv_cc, labels, doubt)
    first = int(np.argmin(decision["rank"].values))
    has_weights = bool(problem.config.decision.weights)
    return {
        "joint": joint_group(problem, joint, n_courses, labels),
        "comparison": comparison_group(problem, values, joint, n_courses, labels),
        "margins": margins_group(problem, values),
        "prescription": prescription_group(problem, values, ptv_cc, labels),
        "decision": decision,
        **({} if doubt is None else {"knowledge": with_decision(problem, doubt, values, decision)}),
        **({"weights": weights_group(problem, values, first, labels)} if has_weights else {}),
    }
