"""Goals of one study that say the same, or that no dose can meet together."""

from collections.abc import Hashable, Sequence

from simulator.ground.spec import ConfigError
from simulator.metrics.goals import Goal


def check_goals(goals: Sequence[Goal], prescription_gy: float) -> None:
    """Refuse goals of a study that say the same, and pairs that no dose can meet together.

    Raises
    ------
    ConfigError : both goals.
    """
    for i, second in enumerate(goals):
        for first in goals[:i]:
            both = f"goals {first.text!r} and {second.text!r}"
            if _meaning(first, prescription_gy) == _meaning(second, prescription_gy):
                raise ConfigError(f"{both} say the same; remove one")
            if _exclude(first, second, prescription_gy) or _exclude(second, first, prescription_gy):
                raise ConfigError(f"{both} exclude each other: no dose meets both; correct or remove one")


def _exclude(lower: Goal, upper: Goal, prescription_gy: float) -> bool:
    """Whether what a lower limit wants at least is more than an upper limit allows of the same or of a hotter part."""
    (own, at_least), (other, at_most) = _meaning(lower, prescription_gy)[1:], _meaning(upper, prescription_gy)[1:]
    if not (lower.operator in (">", ">=") and upper.operator in ("<", "<=") and at_least > at_most):
        return False
    return any(axis == same and place <= start for axis, start in own for same, place in other)


def _meaning(goal: Goal, prescription_gy: float) -> tuple[str, list[tuple[Hashable, float]], float]:
    """Operator, places of the metric on axes along which it falls, and limit in its unit: equal for equal goals."""
    metric = goal.metric
    whose = metric.structure, metric.dose, metric.unit
    places: list[tuple[Hashable, float]] = [((*whose, axis), at) for axis, at in metric.axes(prescription_gy).items()]
    of_prescription = goal.unit == "%" and metric.unit == "Gy"
    limit = goal.limit * prescription_gy / 100 if of_prescription else goal.limit
    return goal.operator, places, round(limit, 6)
