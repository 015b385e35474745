"""Metrics that are points of a dose-volume histogram: doses at volumes, D_x, and volumes at doses, V_x (ICRU 83)."""

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from simulator.metrics.metric import CourseDoses, Metric

_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class DoseAtVolume(Metric):
    """Least dose to a hottest part of the volume."""

    @abstractmethod
    def hot_cc(self, total_cc: np.ndarray) -> np.ndarray:
        """The part (course,) in cc."""

    def of(self, doses: CourseDoses) -> np.ndarray:
        """Read off the DVH."""
        return doses.read_off_dvh(self)


@dataclass(frozen=True, kw_only=True)
class DoseAtPercent(DoseAtVolume):
    """Least dose to the hottest percent of the volume."""

    spelling = "D{percent:g}%"
    example = "D98%"
    percent: float

    def fault(self) -> str:
        """Beyond the whole volume, or none of it."""
        return "" if 0 < self.percent <= 100 else "the percentage of a volume lies in 0-100"

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """The larger the part, the lower its least dose."""
        return {"dose at percent": self.percent}

    def hot_cc(self, total_cc: np.ndarray) -> np.ndarray:
        """The part in cc."""
        return self.percent / 100 * total_cc

    @property
    def part_percent(self) -> float:
        """The part itself."""
        return self.percent


@dataclass(frozen=True, kw_only=True)
class DoseAtCc(DoseAtVolume):
    """Least dose to the hottest cc of the volume; D0.035cc is the near-maximum."""

    spelling = "D{cc:g}cc"
    example = "D0.035cc"
    cc: float

    def fault(self) -> str:
        """None of the volume."""
        return "" if self.cc > 0 else "the volume has to be larger than 0 cc"

    def fits(self, volume_cc: float) -> bool:
        """The volume has to have it."""
        return self.cc <= volume_cc

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """The larger the part, the lower its least dose."""
        return {"dose at cc": self.cc}

    def hot_cc(self, total_cc: np.ndarray) -> np.ndarray:
        """The same in every course."""
        return np.full_like(total_cc, self.cc, float)

    @property
    def part_cc(self) -> float | None:
        """The part itself."""
        return self.cc


@dataclass(frozen=True, kw_only=True)
class DoseOutsideColdCc(DoseAtVolume):
    """Least dose to all but the coldest cc of the volume; DC0.035cc is the near-minimum of a target below 2 cc (ICRU 91).

    Written D(V - 35 mm³) too; DC is the dose complement of planning systems.
    """

    spelling = "DC{cc:g}cc"
    example = "DC0.035cc"
    cc: float

    def fault(self) -> str:
        """None of the volume."""
        return "" if self.cc > 0 else "the volume has to be larger than 0 cc"

    def fits(self, volume_cc: float) -> bool:
        """Some of the volume has to be left."""
        return self.cc < volume_cc

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """The larger the cold part, the higher the least dose to the rest."""
        return {"dose outside cold cc": -self.cc}

    def hot_cc(self, total_cc: np.ndarray) -> np.ndarray:
        """What the cold part leaves; a true target that is no larger has only its hottest point."""
        return np.maximum(total_cc - self.cc, 0.0)


@dataclass(frozen=True, kw_only=True)
class VolumeAtDose(Metric):
    """A volume above or below a dose, in percent or in cc."""

    limit_units: ClassVar[tuple[str, ...]] = ("%", "cc")

    @abstractmethod
    def threshold_gy(self, prescription_gy: float) -> float:
        """The dose as it is written."""

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """The higher the dose, the smaller the volume that receives it."""
        return {"volume": self.threshold_gy(prescription_gy)}

    def level_gy(self, prescription_gy: float) -> float:
        """Lowered by the rounding of float32, so that a dose equal to the threshold counts as reaching it."""
        return self.threshold_gy(prescription_gy) * (1 - _ROUNDING)

    @abstractmethod
    def with_threshold(self, factor: float) -> Self:
        """The same kind of volume at its dose times a factor."""

    def at_scale(self, scale: float) -> tuple[Metric, float]:
        """The volume at a dose is that at the dose over the scale."""
        if self.dose is None:
            return self.with_threshold(1 / scale), 1.0
        dose, factor = self.dose.at_scale(scale)
        return replace(self, dose=dose).with_threshold(1 / factor), 1.0

    def of(self, doses: CourseDoses) -> np.ndarray:
        """Read off the DVH."""
        return self._in_unit(doses.read_off_dvh(self), doses.total_cc)

    def _in_unit(self, volume_cc: np.ndarray, total_cc: np.ndarray) -> np.ndarray:
        return volume_cc if self.unit == "cc" else 100.0 * volume_cc / np.where(total_cc > 0, total_cc, 1.0)


@dataclass(frozen=True, kw_only=True)
class VolumeAtGy(VolumeAtDose):
    """Volume that receives a dose at least."""

    spelling = "V{gy:g}Gy"
    example = "V20Gy"
    gy: float

    def with_threshold(self, factor: float) -> Self:
        """At another dose."""
        return replace(self, gy=self.gy * factor)

    def threshold_gy(self, prescription_gy: float) -> float:
        """As it is written."""
        return self.gy


@dataclass(frozen=True, kw_only=True)
class VolumeAtPercent(VolumeAtDose):
    """Volume that receives a percentage of the prescription at least."""

    spelling = "V{percent:g}%"
    example = "V95%"
    is_of_prescription = True
    percent: float

    def with_threshold(self, factor: float) -> Self:
        """At another percentage."""
        return replace(self, percent=self.percent * factor)

    def threshold_gy(self, prescription_gy: float) -> float:
        """The percentage in Gy."""
        return self.percent / 100 * prescription_gy


@dataclass(frozen=True, kw_only=True)
class ColdVolumeAtGy(VolumeAtGy):
    """Volume that receives less than a dose, and is spared."""

    spelling = "CV{gy:g}Gy"
    example = "CV19.1Gy"
    limit_units = ("cc", "%")
    falls_with_dose = True

    def axes(self, prescription_gy: float) -> dict[Hashable, float]:
        """The lower the dose, the smaller the volume that is spared it."""
        return {"cold volume": -self.gy}

    def without_target(self, drawn_cc: float) -> float:
        """All of the drawn target is cold."""
        return 100.0 if self.unit == "%" else drawn_cc

    def of(self, doses: CourseDoses) -> np.ndarray:
        """What the DVH leaves."""
        return self._in_unit(doses.total_cc - doses.read_off_dvh(self), doses.total_cc)
