"""The goal language: `STRUCTURE METRIC OP VALUE [unit]`, as physicists write it."""

import operator
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.ground.spec import ConfigError
from simulator.metrics.kinds import kind_of, parse_metric
from simulator.metrics.metric import Metric

_GOAL = re.compile(
    r"^\s*(?P<structure>\S+)\s+(?P<metric>\S+)\s*(?P<op><=|>=|<|>)\s*(?P<value>\S+?)\s*(?P<unit>Gy|%|cc)?\s*$"
)
_EXAMPLE = 'write it like "GTV D98% >= 95%" or "SpinalCord D0.035cc <= 25.3 Gy"'
_ROUNDING = 1e-6
_MOST = {"Gy": 500.0, "%": 100.0, "cc": 100_000.0}
_MOST_BIOLOGICAL_GY = 5000.0
_MOST_PERCENT_OF_PRESCRIPTION = 500.0
_LEAST_WITHOUT_UNIT = 2.0
_OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Goal:
    """A metric with its limit, and where the limit was published.

    Parameters
    ----------
    text : as the user wrote it.
    limit : in `unit`; a dose limit in percent is of the prescription.
    """

    text: str
    metric: Metric
    operator: Literal["<=", ">=", "<", ">"]
    limit: float
    unit: str
    level: str = ""
    source: str = ""
    checked: bool = True
    note: str = ""

    def in_goal_unit(self, value: np.ndarray, prescription_gy: float) -> np.ndarray:
        """Metric values in the unit of the goal: a dose limit in percent turns Gy into percent of prescription."""
        if self.unit == "%" and self.metric.unit == "Gy":
            return np.asarray(value) * (100.0 / prescription_gy)
        return np.asarray(value)

    def is_met(self, value: np.ndarray, prescription_gy: float) -> np.ndarray:
        """Which metric values meet the goal; boolean, shape of `value`.

        Values are float32; a value within their rounding error (1e-6 of the limit) of the limit counts as on it.
        """
        return np.asarray(_OPERATORS[self.operator](self.in_goal_unit(value, prescription_gy), self.limit_with_slack))

    @property
    def limit_with_slack(self) -> float:
        """The limit that float32 values are compared with."""
        slack = _ROUNDING * abs(self.limit)
        return self.limit - slack if self.operator in (">=", "<") else self.limit + slack

    @property
    def is_upper(self) -> bool:
        """Whether it limits from above."""
        return self.operator in ("<=", "<")

    def excess(self, value: np.ndarray, prescription_gy: float) -> np.ndarray:
        """How far metric values lie on the wrong side of the limit, in the unit of the goal; 0 on the right side."""
        beyond = self.in_goal_unit(value, prescription_gy) - self.limit
        return np.maximum(beyond if self.is_upper else -beyond, 0.0)


def is_goal(entry: str) -> bool:
    """Whether an entry of `goals` is a goal, rather than a library or a file."""
    return any(c.isspace() for c in entry.strip()) and not entry.endswith((".yaml", ".yml"))


def parse_goal(text: str, *, level: str = "", source: str = "", checked: bool = True, note: str = "") -> Goal:
    """Read a goal.

    Raises
    ------
    ConfigError : what cannot be read, and how goals are written.
    """
    if re.search(r"\d\s*cGy", text):
        raise ConfigError(f"goal {text!r}: doses are in Gy, not in cGy; divide by 100")
    match = _GOAL.match(text)
    if not match:
        late = any(kind_of(word) for word in text.split()[2:])
        hint = "; a structure whose name has blanks needs another name, by case.aliases" if late else ""
        raise ConfigError(f"goal {text!r} cannot be read; {_EXAMPLE}{hint}")
    try:
        limit = float(match["value"] if match["value"].isascii() and "_" not in match["value"] else "")
    except ValueError:
        raise ConfigError(f"goal {text!r}: {match['value']!r} is not a number; {_EXAMPLE}") from None
    try:
        metric = parse_metric(match["structure"], match["metric"], match["unit"] or "")
    except ConfigError as error:
        raise ConfigError(f"goal {text!r}: {error}") from None
    unit = match["unit"] or metric.unit
    if problem := _limit_problem(metric, limit, unit, is_unit_given=bool(match["unit"])):
        raise ConfigError(f"goal {text!r}: {problem}")
    op: Literal["<=", ">=", "<", ">"] = match["op"]  # type: ignore[assignment]
    return Goal(" ".join(text.split()), metric, op, limit, unit, level, source, checked, note)


def _limit_problem(metric: Metric, limit: float, unit: str, *, is_unit_given: bool) -> str:
    """Why a limit makes no sense, and what would; nothing where it does."""
    of_prescription = unit == "%" and metric.unit == "Gy"
    most = _MOST_PERCENT_OF_PRESCRIPTION if of_prescription else _MOST[unit]
    if unit == "Gy" and metric.dose is not None:
        most = _MOST_BIOLOGICAL_GY
    if not 0 <= limit <= most:
        hint = "; doses are in Gy, not in cGy" if unit == "Gy" and limit > most else ""
        return f"a limit lies between 0 and {most:g} {unit}, not at {limit:g}{hint}"
    if not is_unit_given and unit != "cc" and 0 < limit < _LEAST_WITHOUT_UNIT:
        return f"{limit:g} of what? Write {100 * limit:g}% or {limit:g} {unit}"
    return ""
