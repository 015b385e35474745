"""One structure, measured: from its displacements to the metrics of each course, by the points that count."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.accumulation.structure import StructureDoses
from simulator.accumulation.true_target import TrueTarget
from simulator.ground.once import cached_property
from simulator.kernels.dvh import cumulative_dvh, without_empty_points
from simulator.metrics.biology import Biology
from simulator.metrics.evaluate import evaluate_biology, evaluate_metrics
from simulator.metrics.extent import Dvhs, Extent
from simulator.metrics.metric import Metric
from simulator.plan.prescription import Prescription
from simulator.population.bands import DOSE_BINS
from simulator.sampling.streams import TargetDraws
from simulator.sampling.tissue_motion import TissueMotion
from simulator.uncertainty.source import RandomNumbers


@dataclass(frozen=True)
class Measured:
    """What is known of one structure in some courses.

    Parameters
    ----------
    values : float (course, metric). dvhs : None where only metrics are measured.
    is_lost : boolean (course,), where delineation error leaves nothing of a target; None where it cannot.
    """

    values: np.ndarray
    dvhs: Dvhs | None = None
    is_lost: np.ndarray | None = None


class Tissue(Protocol):
    """The points of one structure in a planned dose."""

    @property
    def courses_at_once(self) -> int:
        """How many courses are best measured together."""
        ...

    def measure(self, motion: TissueMotion, draws: RandomNumbers) -> Measured:
        """Accumulate the dose of some courses along their displacements, and measure it."""
        ...


@dataclass(frozen=True)
class Ruler:
    """How the doses of one structure become metrics.

    Parameters
    ----------
    name : of the structure. dose_step_gy : width of a DVH bin.
    """

    name: str
    metrics: list[Metric]
    prescription: Prescription
    biology: Biology
    dose_step_gy: float

    def dvhs(self, dose_gy: np.ndarray, volume_cc: np.ndarray) -> Dvhs:
        """Cumulative DVHs of doses (course, point) and volumes (point,) or (course, point)."""
        percent = cumulative_dvh(dose_gy, np.atleast_2d(volume_cc), self.dose_step_gy, DOSE_BINS)
        return Dvhs(percent, self.dose_step_gy)

    def values(
        self,
        doses: StructureDoses,
        motion: TissueMotion,
        dose_gy: np.ndarray,
        volume_cc: np.ndarray,
        counted: tuple[np.ndarray, np.ndarray],
        extremes_gy: np.ndarray | None,
        draws: RandomNumbers | None,
        extent: Extent | None,
        dvhs: Dvhs | None,
    ) -> np.ndarray:
        """Metrics float64 (course, metric); without draws, a structure's response is that of mean parameters.

        `counted` holds doses and volumes, of the points with a volume alone where that is quicker.
        """
        metrics, rx = self.metrics, self.prescription
        is_biological = np.array([m.is_biological for m in metrics])
        if not is_biological.any():
            return evaluate_metrics(metrics, *counted, rx.dose_gy, extremes_gy, extent=extent, dvhs=dvhs)
        physical, biological = ([m for m in metrics if m.is_biological is kind] for kind in (False, True))
        points = doses.fraction_sums(dose_gy, motion, rx.fractions)
        edge = None
        if volume_cc.ndim == 1 and any(m.needs_surface for m in biological):
            edge = doses.edge_sums(points, motion, rx.fractions)
        responses = self.biology.responses(self.name, draws)
        values = np.empty((len(dose_gy), len(metrics)))
        values[:, ~is_biological] = evaluate_metrics(
            physical, *counted, rx.dose_gy, extremes_gy, extent=extent, dvhs=dvhs
        )
        values[:, is_biological] = evaluate_biology(biological, points, edge, volume_cc, responses, extent)
        return values


@dataclass(frozen=True)
class DrawnTissue:
    """A structure as it was drawn, in cells."""

    doses: StructureDoses
    ruler: Ruler

    @property
    def courses_at_once(self) -> int:
        """See `Tissue`."""
        return self.doses.courses_at_once

    @cached_property
    def extent(self) -> Extent:
        """How its points stand for tissue."""
        return Extent(self.doses.cells, self.doses.cell_reach_gy)

    def measure(self, motion: TissueMotion, draws: RandomNumbers) -> Measured:
        """See `Tissue`."""
        gy = self.doses.accumulate(motion)
        return self._measured(gy, motion, self.doses.extremes(gy, motion), draws)

    def planned(self, offset_mm: np.ndarray) -> Measured:
        """The planned dose itself, where the structure is displaced by an offset (3,) and nothing else moves."""
        gy, extremes_gy = self.doses.planned(offset_mm)
        return self._measured(gy, TissueMotion.still(offset_mm), extremes_gy, None)

    def _measured(
        self, gy: np.ndarray, motion: TissueMotion, extremes_gy: np.ndarray | None, draws: RandomNumbers | None
    ) -> Measured:
        volume_cc = self.doses.volume_cc
        points, dvhs = (gy, volume_cc), self.ruler.dvhs(gy, volume_cc)
        values = self.ruler.values(self.doses, motion, *points, points, extremes_gy, draws, self.extent, dvhs)
        return Measured(values, dvhs)


@dataclass(frozen=True)
class TrueTissue:
    """A target under delineation error: which of its points count differs from course to course.

    Parameters
    ----------
    number : of the target. drawn_cc : volume of the drawn one.
    """

    doses: StructureDoses
    ruler: Ruler
    number: int
    true_target: TrueTarget
    drawn_cc: float

    @property
    def courses_at_once(self) -> int:
        """See `Tissue`."""
        return self.doses.courses_at_once

    def measure(self, motion: TissueMotion, draws: RandomNumbers) -> Measured:
        """See `Tissue`."""
        own = TargetDraws(draws, self.number)
        surfaces = self.true_target.delineation.draw(own, self.true_target.n_terms)
        volume_cc = self.true_target.volume_cc(surfaces)
        gy = self.doses.accumulate(motion, volume_cc > 0)
        counted = without_empty_points(gy, volume_cc)
        dvhs = self.ruler.dvhs(*counted)
        values = self.ruler.values(self.doses, motion, gy, volume_cc, counted, None, draws, None, dvhs)
        is_lost = ~np.any(volume_cc > 0, axis=1)
        values[is_lost] = [m.without_target(self.drawn_cc) for m in self.ruler.metrics]
        return Measured(values, dvhs, is_lost)
