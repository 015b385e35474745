"""Metrics of many courses of one structure at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from simulator.kernels.dvh import extremes
from simulator.metrics.biology import Response
from simulator.metrics.extent import Dvhs, Extent, LeftOut
from simulator.metrics.fraction_sums import FractionSums
from simulator.metrics.metric import CourseDoses, Metric


def evaluate_metrics(
    metrics: Sequence[Metric],
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
    if extremes_gy is None and volume_cc.ndim == 2 and any(m.needs_surface for m in metrics):
        extremes_gy = extremes(dose_gy, volume_cc)
    volume_cc = np.atleast_2d(volume_cc)
    return CourseDoses(metrics, dose_gy, volume_cc, prescription_gy, extremes_gy, left_out, extent, dvhs).values()


def evaluate_biology(
    metrics: Sequence[Metric],
    points: FractionSums,
    edge: FractionSums | None,
    volume_cc: np.ndarray,
    responses: Mapping[str, Response],
    extent: Extent | None = None,
) -> np.ndarray:
    """Values of biological metrics of one structure.

    Parameters
    ----------
    edge : where extremes lie, needed for Dmin and Dmax unless volumes differ between courses.
    volume_cc : (point,), or (course, point) where courses differ.
    responses : by section of `biology`, "tcp" and "ntcp".

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
    some = [i for i, m in enumerate(metrics) if m.dose is None]
    if some and extent is not None:
        points = FractionSums(extent.mean_doses(points.dose_gy), extent.mean_doses(points.squares_gy2))
        volume_cc = extent.cells.volume_cc
    responding, volume_cc = [metrics[i] for i in some], np.atleast_2d(volume_cc)
    doses = CourseDoses(responding, points.dose_gy, volume_cc, np.nan, fractions=points, responses=responses)
    values[:, some] = doses.values()
    return values
