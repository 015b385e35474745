"""A metric, whatever its kind: the questions that others have, and the doses that it is taken of."""

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from string import Formatter
from typing import Any, ClassVar, Self

import numpy as np

from simulator.ground.once import cached_property
from simulator.ground.spec import ConfigError
from simulator.kernels.dvh import dose_at_volumes, mean_dose, volume_at_doses
from simulator.metrics.biology import BiologicalDose, Response
from simulator.metrics.extent import Dvhs, Extent, LeftOut
from simulator.metrics.fraction_sums import FractionSums

# Factors on the dose at which metrics that do not scale with it are measured as well.
SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3)

NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"


@cache
def _pattern(spelling: str, number: str) -> str:
    """A regular expression with a group for each format field."""
    parts = Formatter().parse(spelling)
    return "".join(re.escape(text) + (f"(?P<{field}>{number})" if field else "") for text, field, _, _ in parts)


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """One number of one structure's dose distribution.

    A kind of metric is a frozen dataclass with its numbers as fields, a `spelling`, an `example`, and `of`, which evaluates it;
    and one line in `kinds.KINDS`. The other questions have answers here that hold for any metric that rises with the dose.

    Parameters
    ----------
    structure : name.
    unit : "Gy", "%" or "cc" of the value.
    dose : BED or EQD2 in place of the physical dose.

    Attributes
    ----------
    spelling : as it is written, with its numbers as format fields. example : with numbers.
    number : regular expression of its numbers.
    limit_units : of its limits, the usual one first. Values are in the limit's unit, those of doses always in Gy.
    response : section of a study's `biology` whose response it is the probability of.
    is_mean : whether it is the mean dose. needs_surface : whether single points on the surface decide it.
    is_of_prescription : whether its number is a share of the prescription. falls_with_dose : whether more dose lowers it.
    """

    spelling: ClassVar[str]
    example: ClassVar[str]
    number: ClassVar[str] = NUMBER
    limit_units: ClassVar[tuple[str, ...]] = ("Gy", "%")
    response: ClassVar[str] = ""
    is_mean: ClassVar[bool] = False
    needs_surface: ClassVar[bool] = False
    is_of_prescription: ClassVar[bool] = False
    falls_with_dose: ClassVar[bool] = False

    structure: str
    unit: str
    dose: BiologicalDose | None = None

    @classmethod
    def match(cls, text: str) -> re.Match[str] | None:
        """The numbers by field of a text such as "D98%"; None if it spells another kind."""
        return re.fullmatch(_pattern(cls.spelling, cls.number), text)

    @classmethod
    def read(cls, structure: str, text: str, unit: str = "") -> Self | None:
        """The metric of a structure that a text such as "D98%" means, with its limit in a unit; None if of another kind.

        Raises
        ------
        ConfigError : a number outside its range, or a limit in a unit that makes no sense.
        """
        match = cls.match(text)
        if match is None:
            return None
        usual = cls.limit_units[0]
        numbers: dict[str, Any] = {key: float(number) for key, number in match.groupdict().items()}
        metric = cls(structure=structure, unit=usual if usual == "Gy" else unit or usual, **numbers)
        if fault := metric.fault():
            raise ConfigError(f"{structure} {text}: {fault}")
        if unit and unit not in cls.limit_units:
            raise ConfigError(f"{structure} {text}: its limit is in {' or '.join(cls.limit_units)}, not in {unit}")
        return metric

    @property
    def name(self) -> str:
        """As it is written, without structure and biological dose."""
        return self.spelling.format_map(vars(self))

    @property
    def label(self) -> str:
        """Name in results, for example "GTV D98%"; says a unit that is not the usual one."""
        name = f"{self.dose.label}:{self.name}" if self.dose else self.name
        return f"{self.structure} {name}" + ("" if self.unit == self.limit_units[0] else f" [{self.unit}]")

    @property
    def is_biological(self) -> bool:
        """Whether it depends on the dose of each fraction."""
        return self.dose is not None or bool(self.response)

    def fault(self) -> str:
        """What is wrong with its numbers; empty where nothing is."""
        return ""

    def check_volume(self, volume_cc: float) -> None:
        """Refuse a metric that asks for more volume than its structure has.

        Raises
        ------
        ConfigError : the metric, both volumes and the remedy.
        """
        if not self.fits(volume_cc):
            raise ConfigError(
                f"goal on {self.label!r}: {self.structure} has only {volume_cc:.3g} cc; "
                f"ask for a smaller volume or for a percentage"
            )

    def fits(self, volume_cc: float) -> bool:
        """Whether a structure of this volume has it."""
        return True

    def at_scale(self, scale: float) -> tuple["Metric", float] | None:
        """A metric and a factor whose product is this metric when all doses are scaled; None where it scales with them."""
        if self.dose is None:
            return None
        dose, factor = self.dose.at_scale(scale)
        return replace(self, dose=dose), factor

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """Where it stands on axes along which metrics can only fall: D1% is at most Dmax and at least D2%."""
        return {self: 0.0}

    def hot_cc(self, total_cc: np.ndarray) -> np.ndarray | None:
        """Volume (course,) whose least dose it is, if it is one."""
        return None

    def level_gy(self, prescription_gy: float) -> float | None:
        """Dose that it counts the volume above, if it does."""
        return None

    @property
    def can_be_decided(self) -> bool:
        """Whether points that must be hotter, or colder, than its dose can be counted without being computed; or their mean."""
        is_on_dvh = self.hot_cc(np.ones(1)) is not None or self.level_gy(1.0) is not None
        return not self.is_biological and (self.is_mean or is_on_dvh)

    @property
    def part_percent(self) -> float | None:
        """Part of the volume that gets its dose at least, if that is the same in every structure."""
        return None

    @property
    def part_cc(self) -> float | None:
        """Volume in cc that gets its dose at least, if that is the same in every structure."""
        return None

    def without_target(self, drawn_cc: float) -> float:
        """Value where the true target has vanished, which covers nothing: no dose and no control, all of the drawn one cold."""
        return 0.0

    @abstractmethod
    def of(self, doses: "CourseDoses") -> np.ndarray:
        """Its value (course,) in its unit."""


@dataclass(frozen=True)
class CourseDoses:
    """Doses of one structure in some courses, and what the points stand for.

    Parameters
    ----------
    metrics : that are asked for; points of the DVH are found for all of them at once.
    dose_gy : float32 (course, point); volume_cc : (1, point), or (course, point) where courses differ.
    extremes_gy, left_out, extent, dvhs : see `evaluate_metrics`.
    fractions, responses : see `evaluate_biology`, of points that have one dose each.
    """

    metrics: Sequence[Metric]
    dose_gy: np.ndarray
    volume_cc: np.ndarray
    prescription_gy: float
    extremes_gy: np.ndarray | None = None
    left_out: LeftOut | None = None
    extent: Extent | None = None
    dvhs: Dvhs | None = None
    fractions: FractionSums | None = None
    responses: Mapping[str, Response] = field(default_factory=dict)

    def values(self) -> np.ndarray:
        """Values float64 (course, metric), each in its metric's unit."""
        values = np.empty((len(self.dose_gy), len(self.metrics)))
        for i, metric in enumerate(self.metrics):
            values[:, i] = metric.of(self)
        return values

    @cached_property
    def total_cc(self) -> np.ndarray:
        """Volume (course,) of the structure."""
        return self.volume_cc.sum(axis=1) + (self.left_out.volume_cc if self.left_out else 0.0)

    def on_dvh(self, hot_cc: np.ndarray, levels_gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least doses (course, v) of the hottest volumes (course or 1, v), and volumes (course, d) above doses (d,)."""
        if self.extent is not None:
            return self.extent.doses_and_volumes(self.dose_gy, self.volume_cc, hot_cc[0], levels_gy, self.dvhs)
        doses_gy = dose_at_volumes(self.dose_gy, self.volume_cc, hot_cc)
        return doses_gy, volume_at_doses(self.dose_gy, self.volume_cc, levels_gy)

    @cached_property
    def _points_of_dvh(self) -> dict[int, np.ndarray]:
        """The dose or the volume (course,) that each metric of a point of the DVH reads there, by the metric's identity."""
        hotter_cc = np.zeros(len(self.metrics)) if self.left_out is None else self.left_out.hotter_cc
        hot_cc, levels_gy, hotter = {}, {}, {}
        for metric, cc in zip(self.metrics, hotter_cc, strict=True):
            if (wanted_cc := metric.hot_cc(self.total_cc)) is not None:
                hot_cc[id(metric)] = wanted_cc - cc
            elif (level_gy := metric.level_gy(self.prescription_gy)) is not None:
                levels_gy[id(metric)], hotter[id(metric)] = level_gy, cc
        stacked = np.stack(list(hot_cc.values()), axis=1) if hot_cc else np.empty((1, 0))
        gy, found_cc = self.on_dvh(stacked, np.array(list(levels_gy.values())))
        above = zip(levels_gy, found_cc.T, strict=True)
        return dict(zip(hot_cc, gy.T, strict=True)) | {key: cc + hotter[key] for key, cc in above}

    def read_off_dvh(self, metric: Metric) -> np.ndarray:
        """The dose (course,) at the hottest volume of one of the metrics, or the volume at its level."""
        return self._points_of_dvh[id(metric)]

    def mean_gy(self) -> np.ndarray:
        """Mean dose (course,)."""
        return mean_dose(self.dose_gy, self.volume_cc if self.extent is None else self.extent.mean_weights)

    def cell_doses(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean doses float32 (course, cell) and volumes (course or 1, cell); of points where they have no extent."""
        if self.extent is None:
            return self.dose_gy, self.volume_cc
        return self.extent.mean_doses(self.dose_gy), self.extent.cells.volume_cc[None]
