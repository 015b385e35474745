"""Sweeps: keys of a study that take several values, each a named axis of the results."""

import json
import re
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath
from typing import Annotated, Any

from simulator.ground.spec import Discriminator, Field, Spec, Tag, model_validator

MOST_POINTS = 2000


class SweepRange(Spec):
    """Evenly spaced numbers from `start` to at most `stop`."""

    start: Annotated[float, Field(ge=-1e6, le=1e6)] = Field(description="first value")
    stop: Annotated[float, Field(ge=-1e6, le=1e6)] = Field(
        description="last value, if a whole number of steps leads there"
    )
    step: Annotated[float, Field(gt=0, le=1e6)] = Field(description="distance between values")

    @model_validator(mode="after")
    def _is_ascending(self) -> "SweepRange":
        if not 0 <= self.stop - self.start < MOST_POINTS * self.step:
            raise ValueError(
                f"start {self.start:g}, stop {self.stop:g}, step {self.step:g} give no or more than {MOST_POINTS} values"
            )
        return self

    def values(self) -> list[float]:
        """The numbers, rounded to a billionth of a step."""
        n = int((self.stop - self.start) / self.step + 1e-9)
        return [float(f"{self.start + i * self.step:.12g}") for i in range(n + 1)]


class SweepGroup(Spec):
    """Keys that change together: the first value of each, then the second of each, and so on."""

    together: Annotated[dict[str, tuple[Any, ...]], Field(min_length=1)] = Field(
        description="values by key, equally many for each"
    )
    labels: tuple[str | float, ...] = Field(
        (), description="names of the combinations; by default the first key's values"
    )

    @model_validator(mode="after")
    def _lengths_agree(self) -> "SweepGroup":
        lengths = {key: len(values) for key, values in self.together.items()}
        if self.labels:
            lengths["labels"] = len(self.labels)
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            shown = ", ".join(f"{key} has {n}" for key, n in lengths.items())
            raise ValueError(f"keys that change together need equally many values: {shown}")
        return self


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "group" if "together" in value else "range"
    if isinstance(value, SweepGroup):
        return "group"
    return "range" if isinstance(value, SweepRange) else "list"


SweepValues = Annotated[
    Annotated[Annotated[tuple[Any, ...], Field(min_length=1)], Tag("list")]
    | Annotated[SweepRange, Tag("range")]
    | Annotated[SweepGroup, Tag("group")],
    Discriminator(_kind),
]


_NAME = re.compile(r"\w([^/\x00-\x1f]*\w)?")


@dataclass(frozen=True)
class Axis:
    """One dimension of a sweep.

    Parameters
    ----------
    labels : coordinates, all numbers or all text, each only once. changes : for each of them, the new values by dotted key.
    """

    name: str
    labels: tuple[float | str, ...]
    changes: tuple[dict[str, Any], ...]


def axis(name: str, values: Any) -> Axis:
    """The axis of an entry of `sweep`.

    Raises
    ------
    ValueError : a name that the results cannot carry, too many values, or values that look alike in the results.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"sweep.{name}: a name in the results starts and ends with a letter or digit and has no /")
    if isinstance(values, SweepGroup):
        columns = list(values.together.values())
        changes = tuple(dict(zip(values.together, row, strict=True)) for row in zip(*columns, strict=True))
        labels = values.labels or columns[0]
    else:
        labels = tuple(values.values() if isinstance(values, SweepRange) else values)
        changes = tuple({name: value} for value in labels)
    if len(labels) > MOST_POINTS:
        raise ValueError(
            f"sweep.{name}: {len(labels)} values, at most {MOST_POINTS} points are simulated; split the study"
        )
    shown = [_label(value) for value in labels]
    if not all(isinstance(label, float) for label in shown):
        shown = [label if isinstance(label, str) else f"{label:g}" for label in shown]
    twice = next((label for label in shown if shown.count(label) > 1), None)
    if twice is not None:
        same = twice if isinstance(twice, str) else f"{twice:g}"
        raise ValueError(f"sweep.{name}: {same} stands twice; write together: {{...}} with labels to tell them apart")
    return Axis(name, tuple(shown), changes)


def combinations(axes: list[Axis]) -> list[dict[str, Any]]:
    """Changes of every point of the sweep, the last axis fastest; one empty change without a sweep."""
    return [{k: v for change in some for k, v in change.items()} for some in product(*(a.changes for a in axes))]


def point_names(axes: list[Axis]) -> list[str]:
    """Every point of the sweep in words."""
    rows = product(*([(axis.name, label) for label in axis.labels] for axis in axes))
    return [
        ", ".join(f"{name} = {label if isinstance(label, str) else f'{label:g}'}" for name, label in row)
        for row in rows
    ]


def _label(value: Any) -> float | str:
    """A value as a coordinate: a number, or short text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list | tuple):
        return ", ".join(f"{v:g}" if isinstance(v, int | float) else str(v) for v in value)
    if isinstance(value, dict):
        for key in ("dicom", "file"):
            if isinstance(value.get(key), str):
                return PurePath(value[key]).name
        return json.dumps(value, ensure_ascii=False, default=str).strip("{}").replace('"', "")
    return str(value)
