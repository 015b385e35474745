"""The goal language: `STRUCTURE METRIC OP VALUE [unit]`, as physicists write it."""

import operator
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from simulator.metrics.biology import BiologicalDose
from simulator.spec import ConfigError

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_METRICS: tuple[tuple[str, str], ...] = (
    ("dose_at_percent", rf"D{_NUMBER}%"),
    ("dose_at_cc", rf"D{_NUMBER}cc"),
    ("mean", r"Dmean()"),
    ("minimum", r"Dmin()"),
    ("maximum", r"Dmax()"),
    ("volume_at_gy", rf"V{_NUMBER}Gy"),
    ("volume_at_percent", rf"V{_NUMBER}%"),
    ("cold_volume_at_gy", rf"CV{_NUMBER}Gy"),
    ("geud", r"gEUD\(a=(-?\d+(?:\.\d+)?)\)"),
    ("tcp", r"TCP()"),
    ("ntcp", r"NTCP()"),
)
_BIOLOGICAL = re.compile(rf"(?P<quantity>BED|EQD2)\({_NUMBER}\):(?P<metric>\S+)")
_GOAL = re.compile(
    r"^\s*(?P<structure>\S+)\s+(?P<metric>\S+)\s*(?P<op><=|>=|<|>)\s*(?P<value>\S+?)\s*(?P<unit>Gy|%|cc)?\s*$"
)
_LEAST_EXPONENT = 0.001
_EXAMPLE = 'write it like "GTV D98% >= 95%" or "SpinalCord D0.035cc <= 25.3 Gy"'
_MOST = {"Gy": 500.0, "%": 100.0, "cc": 100_000.0}
_MOST_BIOLOGICAL_GY = 5000.0
_MOST_PERCENT_OF_PRESCRIPTION = 500.0
_LEAST_WITHOUT_UNIT = 2.0
_OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Metric:
    """One number of one structure's dose distribution.

    Parameters
    ----------
    structure : name.
    kind : what is measured; `argument` is its percent, cc, Gy or exponent.
    unit : "Gy", "%" or "cc" of the value.
    dose : BED or EQD2 in place of the physical dose.
    """

    structure: str
    kind: str
    argument: float
    unit: str
    dose: BiologicalDose | None = None

    @property
    def is_biological(self) -> bool:
        """Whether it depends on the dose of each fraction."""
        return self.dose is not None or self.kind in ("tcp", "ntcp")

    def places(self, prescription_gy: float) -> tuple[tuple[Hashable, float], ...]:
        """Where it stands on axes along which it can only fall: D1% is at most Dmax and at least D2%."""
        a = self.argument * prescription_gy / 100 if self.kind == "volume_at_percent" else self.argument
        several: dict[str, dict[Hashable, float]] = {
            "maximum": {"dose_at_percent": 0.0, "dose_at_cc": 0.0, "mean": 0.0},
            "mean": {"mean": 1.0},
            "minimum": {"dose_at_percent": 100.0, "mean": 2.0},
            "volume_at_gy": {"volume": a},
            "volume_at_percent": {"volume": a},
            "cold_volume_at_gy": {"cold volume": -a},
            "geud": {("geud", a): a},
        }
        places = several.get(self.kind, {self.kind: a})
        return tuple(((self.structure, self.dose, self.unit, axis), place) for axis, place in places.items())

    @property
    def label(self) -> str:
        """Name in results, for example "GTV D98%"; volumes in cc say so."""
        a = f"{self.argument:g}"
        name = {
            "dose_at_percent": f"D{a}%",
            "dose_at_cc": f"D{a}cc",
            "mean": "Dmean",
            "minimum": "Dmin",
            "maximum": "Dmax",
            "volume_at_gy": f"V{a}Gy",
            "volume_at_percent": f"V{a}%",
            "cold_volume_at_gy": f"CV{a}Gy",
            "geud": f"gEUD(a={a})",
            "tcp": "TCP",
            "ntcp": "NTCP",
        }[self.kind]
        name = f"{self.dose.label}:{name}" if self.dose else name
        in_cc = self.unit == "cc" and not self.kind.startswith("cold")
        in_percent = self.unit == "%" and self.kind.startswith("cold")
        return f"{self.structure} {name}" + (" [cc]" if in_cc else " [%]" if in_percent else "")


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

    def _meaning(self, prescription_gy: float) -> tuple[str, tuple[tuple[Hashable, float], ...], float]:
        """Operator, metric as places on axes along which it falls, and limit in the metric's unit: equal for equal goals."""
        of_prescription = self.unit == "%" and self.metric.unit == "Gy"
        limit = self.limit * prescription_gy / 100 if of_prescription else self.limit
        return self.operator, self.metric.places(prescription_gy), round(limit, 6)

    def is_met(self, value: np.ndarray, prescription_gy: float) -> np.ndarray:
        """Which metric values meet the goal; boolean, shape of `value`.

        Values are float32; a value within their rounding error (1e-6 of the limit) of the limit counts as on it.
        """
        shown = self.in_goal_unit(value, prescription_gy)
        slack = 1e-6 * abs(self.limit)
        limit = self.limit - slack if self.operator in (">=", "<") else self.limit + slack
        return np.asarray(_OPERATORS[self.operator](shown, limit))


def parse_metric(structure: str, text: str, unit: str = "") -> Metric:
    """Read a metric such as "D98%" of a structure; `unit` chooses percent or cc for volumes.

    Raises
    ------
    ConfigError : unknown metric, or one outside its range.
    """
    if text.startswith(("BED", "EQD2")):
        return _parse_biological(structure, text, unit)
    for kind, pattern in _METRICS:
        match = re.fullmatch(pattern, text)
        if match:
            argument = float(match.group(1) or 0)
            if kind in ("dose_at_percent",) and not 0 < argument <= 100:
                raise ConfigError(f"{structure} {text}: the percentage of a volume lies in 0-100")
            if kind == "dose_at_cc" and argument <= 0:
                raise ConfigError(f"{structure} {text}: the volume has to be larger than 0 cc")
            if kind == "geud" and abs(argument) < _LEAST_EXPONENT:
                raise ConfigError(
                    f"{structure} {text}: the exponent a has to be {_LEAST_EXPONENT} or more, or {-_LEAST_EXPONENT} or less; "
                    f"at a = 0 the gEUD is the geometric mean, which gEUD(a={_LEAST_EXPONENT}) comes close to"
                )
            return Metric(structure, kind, argument, _value_unit(structure, text, kind, unit))
    number = re.fullmatch(rf"[DV]{_NUMBER}", text)
    if number:
        units = ("cc", "%") if text.startswith("D") else ("Gy", "%")
        raise ConfigError(f"{structure} {text}: say of what, {' or '.join(text + unit for unit in units)}")
    raise ConfigError(
        f"{structure} {text}: unknown metric {text!r}; known are D98%, D0.035cc, Dmean, Dmin, Dmax, V20Gy, V95%, "
        "CV19.1Gy, gEUD(a=8), TCP, NTCP, and those of a dose with EQD2(3): or BED(10): before them"
    )


def _parse_biological(structure: str, text: str, unit: str) -> Metric:
    """A metric of BED or EQD2, such as "EQD2(2):D0.035cc"."""
    match = _BIOLOGICAL.fullmatch(text)
    if not match or float(match[2]) <= 0:
        raise ConfigError(
            f"{structure} {text}: a metric of BED or EQD2 has its α/β in Gy, larger than 0, in brackets and a colon, "
            "as in EQD2(2):D0.035cc or BED(10):D98%"
        )
    metric = parse_metric(structure, match["metric"], unit)
    if metric.is_biological:
        raise ConfigError(f"{structure} {text}: {match['metric']} is no metric of a dose; leave the prefix out")
    if metric.kind == "volume_at_percent" or (metric.unit == "Gy" and unit == "%"):
        raise ConfigError(
            f"{structure} {text}: percent of what? The prescription is a physical dose; give the {match['quantity']} in Gy"
        )
    quantity: Literal["BED", "EQD2"] = match["quantity"]  # type: ignore[assignment]
    return replace(metric, dose=BiologicalDose(quantity, float(match[2])))


def _value_unit(structure: str, text: str, kind: str, unit: str) -> str:
    allowed: tuple[str, ...]
    if kind in ("volume_at_gy", "volume_at_percent"):
        allowed, default = ("%", "cc"), "%"
    elif kind == "cold_volume_at_gy":
        allowed, default = ("cc", "%"), "cc"
    elif kind in ("tcp", "ntcp"):
        allowed, default = ("%",), "%"
    else:
        allowed, default = ("Gy", "%"), "Gy"
    if unit and unit not in allowed:
        raise ConfigError(f"{structure} {text}: its limit is in {' or '.join(allowed)}, not in {unit}")
    if default == "Gy":
        return "Gy"
    return unit or default


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
        late = any(re.fullmatch(pattern, word) for word in text.split()[2:] for _, pattern in _METRICS)
        hint = "; a structure whose name has blanks needs another name, by case.aliases" if late else ""
        raise ConfigError(f"goal {text!r} cannot be read; {_EXAMPLE}{hint}")
    try:
        limit = float(match["value"])
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


def check_goals(goals: Sequence[Goal], prescription_gy: float) -> None:
    """Refuse goals of a study that say the same, and pairs that no dose can meet together.

    Raises
    ------
    ConfigError : both goals.
    """
    for i, second in enumerate(goals):
        for first in goals[:i]:
            both = f"goals {first.text!r} and {second.text!r}"
            if first._meaning(prescription_gy) == second._meaning(prescription_gy):
                raise ConfigError(f"{both} say the same; remove one")
            if _exclude(first, second, prescription_gy) or _exclude(second, first, prescription_gy):
                raise ConfigError(f"{both} exclude each other: no dose meets both; correct or remove one")


def _exclude(lower: Goal, upper: Goal, prescription_gy: float) -> bool:
    """Whether what a lower limit wants at least is more than an upper limit allows of the same or of a hotter part."""
    (own, at_least), (other, at_most) = lower._meaning(prescription_gy)[1:], upper._meaning(prescription_gy)[1:]
    if not (lower.operator in (">", ">=") and upper.operator in ("<", "<=") and at_least > at_most):
        return False
    return any(axis == same and place <= start for axis, start in own for same, place in other)
