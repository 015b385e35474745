"""What one does not know, in the results: plug-in probabilities, knowledge intervals, and the record that would decide."""

import numpy as np
import xarray as xr

from simulator.answers.joint import COVERAGE, JOINT, all_met, joint_met
from simulator.answers.knowledge import Knowledge
from simulator.answers.margins import margins_of_courses
from simulator.answers.unknown import Unknown
from simulator.population.required_margin import along_chain
from simulator.population.verdicts import NOT_KNOWN, holds
from simulator.problem.problem import Problem
from simulator.results.registry import DIRECTIONS, group

_ENDS = ("plug_in", "low", "high")
_PLACES = 61


def knowledge_of(problem: Problem, values: np.ndarray, labels: list[str]) -> xr.Dataset | None:
    """The group knowledge of the results, without what follows for the decision; None where errors are exact.

    Parameters
    ----------
    values : (strategy, course, metric).
    """
    knowledge = Knowledge.of(problem)
    if knowledge is None:
        return None
    goals, joint = goals_met(problem, values), joint_met(problem, values)
    n_goals, n_courses = goals.shape[1], values.shape[1]
    met = np.concatenate([goals, joint], axis=1)
    found = knowledge.interval(met)
    several = len(knowledge.parts) > 1
    of_parts = [knowledge.interval(met, part) if several else found for part in knowledge.parts]
    arrays: dict[str, np.ndarray] = {}
    for prefix, some in (("", np.s_[:, :n_goals]), ("joint_", np.s_[:, n_goals:])):
        arrays |= {f"{prefix}{end}": getattr(found, end)[some] for end in _ENDS}
        for end in ("low", "high"):
            arrays[f"{prefix}part_{end}"] = np.stack([getattr(one, end)[some] for one in of_parts])
    return group(
        "knowledge",
        {
            **arrays,
            **_required(problem, knowledge, values),
            "known_from": np.array([_known_from(part) for part in knowledge.parts]),
            "record_size": np.array([_size_of_record(part) for part in knowledge.parts]),
            "effective_courses": np.array(found.effective),
            "courses_wanted": np.array(float(knowledge.courses_wanted(n_courses))),
        },
        {
            "strategy": labels,
            "goal": [g.text for g in problem.goals],
            "joint": list(JOINT),
            "unknown": [part.name for part in knowledge.parts],
            "direction": list(DIRECTIONS),
        },
    )


def contains(low: np.ndarray, high: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether what is known leaves open on which side of the wanted probabilities the truth lies; not where it is NaN."""
    return np.isfinite(low) & (holds(low, high, wanted) == NOT_KNOWN)


def of_conditions(problem: Problem, known: xr.Dataset, key: str) -> np.ndarray:
    """A variable of the group for the conditions of the decision, (..., strategy, condition)."""
    asked = np.flatnonzero(~np.isnan(problem.asked))
    return np.concatenate([known[f"joint_{key}"].values[..., [COVERAGE]], known[key].values[..., asked]], axis=-1)


def goals_met(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Whether each goal is met, boolean (strategy, goal, course)."""
    return np.stack([all_met(problem, values, [goal]) for goal in problem.goals], axis=1)


def _known_from(part: Unknown) -> str:
    assert part.shifts.known is not None
    return part.shifts.known.describe()


def _size_of_record(part: Unknown) -> float:
    """Patients where systematic errors are what is unknown, images where random ones are."""
    patients, images = part.shifts.record()
    return patients if part.of_course else images


def _required(problem: Problem, knowledge: Knowledge, values: np.ndarray) -> dict[str, np.ndarray]:
    """Required margins (series, direction) with knowledge intervals.

    At least 97.5 % of the possible errors need no more than a margin with which the lower end of the coverage's interval
    reaches the wanted one.
    """
    wanted, rows = problem.config.decision.probability, []
    for chain, needed in margins_of_courses(problem, values):
        if needed is None:
            rows.append(np.full((3, len(DIRECTIONS)), np.nan))
            continue
        at = np.linspace(chain.size_mm[0], chain.size_mm[-1], _PLACES)
        found = knowledge.interval(needed <= at[:, None])
        places = [_first_place(at, curve, wanted) for curve in (found.plug_in, found.high, found.low)]
        rows.append(np.array([along_chain(chain.sides_mm, chain.size_mm, place) for place in places]))
    table = np.array(rows).reshape(-1, 3, len(DIRECTIONS))
    return {f"required_{end}_mm": table[:, i] for i, end in enumerate(_ENDS)}


def _first_place(at: np.ndarray, curve: np.ndarray, wanted: float) -> float:
    """Where a rising probability reaches the wanted one; -inf at the first place already, inf nowhere, NaN where not known."""
    if np.isnan(curve).any():
        return float("nan")
    rising = np.maximum.accumulate(curve)
    if rising[0] >= wanted:
        return -np.inf
    return float(np.interp(wanted, rising, at)) if rising[-1] >= wanted else np.inf
