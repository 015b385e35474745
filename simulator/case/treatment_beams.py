"""Beams of an RTPLAN as they are delivered: where gantry, collimator, jaws and leaves stand at each control point."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TreatmentBeam:
    """A photon beam of one fraction; angles in degrees and positions at the isocentre in mm, IEC 61217.

    Parameters
    ----------
    number, name : as the plan has them.
    energy_mv : nominal.
    monitor_units : of a fraction.
    delivered : share (0-1) of them, (point,), given before each control point.
    gantry_deg : (point,), going on beyond 360 or below 0 where the gantry turns past 0.
    collimator_deg, couch_deg : (point,).
    leaves_mm : (point, pair, 2), the two ends of each pair along x. leaf_edges_mm : (pair + 1,) along y.
    jaws_x_mm, jaws_y_mm : (point, 2).
    isocentre_mm : (3,) in the patient. source_mm : from the source to the isocentre.
    monitor_units_per_s : dose rate that the plan asks for; None where it does not say.
    """

    number: int
    name: str
    energy_mv: float
    monitor_units: float
    delivered: np.ndarray
    gantry_deg: np.ndarray
    collimator_deg: np.ndarray
    couch_deg: np.ndarray
    leaves_mm: np.ndarray
    leaf_edges_mm: np.ndarray
    jaws_x_mm: np.ndarray
    jaws_y_mm: np.ndarray
    isocentre_mm: np.ndarray
    source_mm: float
    monitor_units_per_s: float | None = None
