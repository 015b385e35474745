"""What leaves a verdict undecided, courses or knowledge, and the record that would decide it."""

import numpy as np
import xarray as xr

from simulator.answers.decision import conditions_of
from simulator.answers.knowledge_group import contains, of_conditions
from simulator.population.verdicts import NOT_KNOWN, holds, widened
from simulator.problem.problem import Problem
from simulator.results.registry import group

_MOST_RECORD = 10_000


def with_decision(problem: Problem, doubt: xr.Dataset, values: np.ndarray, decision: xr.Dataset) -> xr.Dataset:
    """The group with what it means for the decision: whether courses or knowledge leave it undecided, and which record would
    decide.

    Parameters
    ----------
    doubt : the group as it is. values : (strategy, course, metric).
    """
    met, wanted = conditions_of(problem, values)
    ends = {end: of_conditions(problem, doubt, end) for end in ("plug_in", "low", "high")}
    parts = {end: of_conditions(problem, doubt, f"part_{end}") for end in ("low", "high")}
    by_knowledge = contains(ends["low"], ends["high"], wanted)
    not_known = holds(*widened(*problem.interval(met), (ends["low"], ends["high"])), wanted) == NOT_KNOWN
    is_open = decision["verdict"].values == "undecided"
    names, sizes = doubt["unknown"].values, doubt["record_size"].values
    texts = [
        "wanted coverage",
        *(g.text for g, p in zip(problem.goals, problem.asked, strict=True) if not np.isnan(p)),
    ]
    by, record, size, condition = [], [], [], []
    for i, undecided in enumerate(is_open):
        why = [("courses", not_known[i] & ~by_knowledge[i]), ("knowledge", by_knowledge[i])]
        by.append(" and ".join(word for word, conditions in why if undecided and conditions.any()))
        found = [
            (*_record(ends, parts, wanted[c], (i, int(c)), sizes, problem.config.decision.indifference), texts[c])
            for c in np.flatnonzero(by_knowledge[i] & undecided)
        ]
        longest, part, text = max(found, key=lambda one: one[0], default=(0.0, -1, ""))
        record.append(names[part] if part >= 0 else "")
        size.append(longest)
        condition.append(text)
    lists = {"undecided_by": by, "open_condition": condition, "record": record, "record_to_decide": size}
    added = {key: np.array(values) for key, values in lists.items()}
    return doubt.merge(group("knowledge", added, {"strategy": doubt["strategy"].values}))


def _record(
    ends: dict[str, np.ndarray],
    parts: dict[str, np.ndarray],
    wanted: float,
    at: tuple[int, int],
    sizes: np.ndarray,
    indifference: float,
) -> tuple[float, int]:
    """How long the record of the part that matters most had to be for the wanted probability to lie outside of the interval,
    if the errors are as stated, and which part it is; infinite above 10000.

    The distance from the plug-in probability to the end of the interval falls with the root of the degrees of freedom; those
    of independent parts add in squares.
    """
    plug_in = ends["plug_in"][at]
    end = "low" if plug_in >= wanted else "high"
    reach = (ends[end][at] - plug_in) ** 2
    of_part = (parts[end][(slice(None), *at)] - plug_in) ** 2
    most = int(np.nanargmax(of_part)) if np.isfinite(of_part).any() else 0
    allowed = max(abs(plug_in - wanted), indifference) ** 2
    rest = max(reach - of_part[most], 0.0)
    if not rest < allowed:
        return np.inf, most
    needed = sizes[most] * max(of_part[most] / (allowed - rest), 1.0)
    return (float(np.ceil(needed)) if needed <= _MOST_RECORD else np.inf), most
