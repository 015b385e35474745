"""Metrics of many courses of one structure at once."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from simulator.case.cells import Cells
from simulator.kernels.cells import mean_doses, metrics_of_cells
from simulator.kernels.dvh import (
    dose_at_volumes,
    doses_of_dvh,
    extremes,
    generalised_mean,
    mean_dose,
    volume_at_doses,
)
from simulator.metrics.biology import Response
from simulator.metrics.fraction_sums import FractionSums
from simulator.metrics.goals import Metric
from simulator.spec import ConfigError

_STEPS_TO_GUESS = 12


@dataclass(frozen=True)
class LeftOut:
    """Points whose doses are not given, each of them hotter or colder than a metric's dose.

    Parameters
    ----------
    volume_cc : of all of them. hotter_cc : (metric,), of those that are hotter.
    """

    volume_cc: float
    hotter_cc: np.ndarray


@dataclass(frozen=True)
class Dvhs:
    """Cumulative DVHs: percent float64 (course, dose) of the volume that receives whole multiples of a step at least."""

    percent: np.ndarray
    step_gy: float


@dataclass(frozen=True)
class Extent:
    """How points stand for tissue around them: cells, each with doses that differ over it.

    Parameters
    ----------
    cells : what the points are nodes of. reach_gy : float32 (cell,), bound on the difference in
        dose between its node and any part of it.
    """

    cells: Cells
    reach_gy: np.ndarray

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        c = self.cells
        return c.volume_cc, c.node, c.around, c.part, c.shape, self.reach_gy

    def doses_and_volumes(
        self,
        dose_gy: np.ndarray,
        volume_cc: np.ndarray,
        wanted_cc: np.ndarray,
        wanted_gy: np.ndarray,
        dvhs: Dvhs | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Minimum dose in Gy to the hottest volumes (v,), and the volume in cc that receives at least the doses (d,).

        Parameters
        ----------
        volume_cc : (1, node), that of the nodes. dvhs : theirs, where the search for doses then begins.

        Returns
        -------
        float64 (course, v) and (course, d).
        """
        guess = np.full((len(dose_gy), len(wanted_cc)), -np.inf)
        is_known = np.zeros(guess.shape, bool)
        if dvhs is not None:
            guess = doses_of_dvh(dvhs.percent, dvhs.step_gy, 100 * wanted_cc / self.cells.volume_cc.sum())
            is_known = guess > _STEPS_TO_GUESS * dvhs.step_gy
        if (some := ~is_known.all(axis=0)).any():
            by_nodes = dose_at_volumes(dose_gy, volume_cc, wanted_cc[None, some])
            guess[:, some] = np.where(is_known[:, some], guess[:, some], by_nodes)
        return metrics_of_cells(dose_gy, *self._arrays, wanted_cc, guess, wanted_gy)

    def mean_doses(self, dose_gy: np.ndarray) -> np.ndarray:
        """Mean dose of each cell in Gy, float32 (course, cell)."""
        c = self.cells
        return mean_doses(dose_gy, c.node, c.around, c.part, c.shape)

    @cached_property
    def mean_weights(self) -> np.ndarray:
        """Volumes (1, node) in cc that give the mean dose of all cells, see `Cells.mean_weights`."""
        own = self.cells.mean_weights()
        return np.concatenate([own, np.zeros(len(self.cells.sources))])[None]


def evaluate_metrics(
    metrics: list[Metric],
    dose_gy: np.ndarray,
    volume_cc: np.ndarray,
    prescription_gy: float,
    extremes_gy: np.ndarray | None = None,
    left_out: LeftOut | None = None,
    extent: Extent | None = None,
    dvhs: Dvhs | None = None,
) -> np.ndarray:
    """Values of metrics of one structure.

    Parameters
    ----------
    dose_gy : float32 (course, point); volume_cc : (point,), or (course, point) where courses differ.
    extremes_gy : smallest and largest dose (course, 2), needed for Dmin and Dmax unless volumes differ between courses.
    left_out : further points, where only doses at volumes and volumes at doses are asked for.
    extent : of the points, when they stand for cells; else each is taken to have one dose.
    dvhs : of the points, where they are known; they make cells quicker.

    Returns
    -------
    float64 (course, metric), each in its metric's unit.
    """
    differs, volume_cc = volume_cc.ndim == 2, np.atleast_2d(volume_cc)
    left_out = left_out or LeftOut(0.0, np.zeros(len(metrics)))
    total_cc = volume_cc.sum(axis=1) + left_out.volume_cc
    values = np.empty((len(dose_gy), len(metrics)))
    ranked = [i for i, m in enumerate(metrics) if m.kind in ("dose_at_percent", "dose_at_cc")]
    above = [i for i, m in enumerate(metrics) if "volume_at" in m.kind]
    if ranked or above:
        wanted = [wanted_cc(metrics[i], total_cc) - left_out.hotter_cc[i] for i in ranked]
        hot_cc = np.stack(wanted, axis=1) if wanted else np.empty((1, 0))
        thresholds = np.array([threshold_gy(metrics[i], prescription_gy) for i in above])
        if extent is None:
            values[:, ranked] = dose_at_volumes(dose_gy, volume_cc, hot_cc)
            cc = volume_at_doses(dose_gy, volume_cc, thresholds)
        else:
            values[:, ranked], cc = extent.doses_and_volumes(dose_gy, volume_cc, hot_cc[0], thresholds, dvhs)
        cc = cc + left_out.hotter_cc[above]
        for column, i in enumerate(above):
            volume = total_cc - cc[:, column] if metrics[i].kind.startswith("cold") else cc[:, column]
            share = 100.0 * volume / np.where(total_cc > 0, total_cc, 1.0)
            values[:, i] = volume if metrics[i].unit == "cc" else share
    for i, metric in enumerate(metrics):
        if metric.kind in ("minimum", "maximum"):
            if extremes_gy is None and differs:
                extremes_gy = extremes(dose_gy, volume_cc)
            if extremes_gy is None:
                raise ValueError(f"{metric.label} needs the doses of the surface")
            values[:, i] = extremes_gy[:, int(metric.kind == "maximum")]
        elif metric.kind == "mean":
            values[:, i] = mean_dose(dose_gy, volume_cc if extent is None else extent.mean_weights)
        elif metric.kind == "geud":
            points = (
                (dose_gy, volume_cc) if extent is None else (extent.mean_doses(dose_gy), extent.cells.volume_cc[None])
            )
            values[:, i] = generalised_mean(*points, metric.argument)
    return values


def evaluate_biology(
    metrics: list[Metric],
    points: FractionSums,
    edge: FractionSums | None,
    volume_cc: np.ndarray,
    responses: dict[str, Response],
    extent: Extent | None = None,
) -> np.ndarray:
    """Values of biological metrics of one structure.

    Parameters
    ----------
    edge : where extremes lie, needed for Dmin and Dmax unless volumes differ between courses.
    volume_cc : (point,), or (course, point) where courses differ.
    responses : by the kind of their metric, "tcp" and "ntcp".

    Returns
    -------
    float64 (course, metric), each in its metric's unit.
    """
    values = np.empty((len(points.dose_gy), len(metrics)))
    if extent is not None:
        extent = replace(extent, reach_gy=np.full_like(extent.reach_gy, np.inf))
    for dose in dict.fromkeys(m.dose for m in metrics if m.dose is not None):
        some = [i for i, m in enumerate(metrics) if m.dose == dose]
        gy = dose.of(points)
        limits = None
        if edge is not None:
            limits = extremes(dose.of(edge), np.ones((1, edge.dose_gy.shape[1])))
        values[:, some] = evaluate_metrics([metrics[i] for i in some], gy, volume_cc, np.nan, limits, extent=extent)
    if extent is not None:
        points = FractionSums(extent.mean_doses(points.dose_gy), extent.mean_doses(points.squares_gy2))
        volume_cc = extent.cells.volume_cc
    for i, metric in enumerate(metrics):
        if metric.dose is None:
            values[:, i] = 100.0 * responses[metric.kind].probability(points, volume_cc)
    return values


def values_without_target(metrics: list[Metric], drawn_cc: float) -> np.ndarray:
    """Values (metric,) of a course whose true target has vanished, which covers nothing: no dose and no control, all cold."""
    of_kind = {"cold_volume_at_gy": drawn_cc, "ntcp": 100.0}
    return np.array(
        [100.0 if m.kind.startswith("cold") and m.unit == "%" else of_kind.get(m.kind, 0.0) for m in metrics]
    )


def check_volume(metric: Metric, volume_cc: float) -> None:
    """Refuse a metric that asks for more volume than the structure has.

    Raises
    ------
    ConfigError : the metric, both volumes and the remedy.
    """
    if metric.kind == "dose_at_cc" and metric.argument > volume_cc:
        raise ConfigError(
            f"goal on {metric.label!r}: {metric.structure} has only {volume_cc:.3g} cc; "
            f"ask for a smaller volume or for a percentage"
        )


def wanted_cc(metric: Metric, total_cc: np.ndarray) -> np.ndarray:
    """Volume (course,) that a metric of the kind D_x speaks of."""
    return (
        np.full_like(total_cc, metric.argument, float)
        if metric.kind == "dose_at_cc"
        else metric.argument / 100 * total_cc
    )


def threshold_gy(metric: Metric, prescription_gy: float) -> float:
    """Dose threshold, lowered by the rounding of float32 so that a dose equal to it counts as reaching it."""
    gy = metric.argument / 100 * prescription_gy if metric.kind == "volume_at_percent" else metric.argument
    return gy * (1 - 1e-6)
