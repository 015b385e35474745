"""Where a target went, source by source: its displacement relative to the beam as a sum."""

import numpy as np

from simulator.sampling.courses import Courses, Setting
from simulator.sampling.delivery import Delivery
from simulator.strategy import Strategy

BREATHING, ROTATION, CORRECTION = "breathing", "rotation", "correction"


def over_beam(mm: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean (course, fraction, 3) over the beam-on time of each fraction, from (course, fraction, instant, 3)."""
    share = weight / weight.sum(axis=2, keepdims=True)
    return np.asarray((share[..., None] * mm).sum(axis=2))


def errors_by_source(
    courses: Courses, delivery: Delivery, strategy: Strategy, setting: Setting, target: str
) -> dict[str, np.ndarray]:
    """Displacement of a target's centre relative to the beam less the planned one, by source.

    Sources have the names of their keys; `breathing` is what motion management leaves of it, `rotation` how far the centre is
    carried by turns about the isocentre, and `correction` what couch and beam do about all of it.

    Returns
    -------
    float64 (course, fraction, 3) in mm each, means over the beam-on time of each fraction; they sum to the whole.
    """
    shape = (*delivery.weight.shape[:2], 3)
    own = setting.numbers_of(target, courses.draws)
    n = setting.n_fractions
    bone = over_beam(delivery.bone_mm, delivery.weight)
    within = np.zeros(shape) - strategy.motion.offset_mm(setting.planned, target)
    if target in delivery.internal_mm:
        within = within + over_beam(delivery.internal_mm[target], delivery.weight)
    found: dict[str, np.ndarray] = {}
    errors = setting.targets[target].named_sources()
    for name, source in (errors | setting.uncertainty.named_sources()).items():
        shifts = [source.patient_mm(courses.draws, n), _of_course(source.unseen_mm(courses.draws), shape)]
        if name == "drift" and delivery.drift_mm is not None:
            shifts.append(over_beam(delivery.drift_mm, delivery.weight))
        patient = sum(shifts, np.zeros(shape))
        inner = [
            errors[name].within_mm(own, n, target).get(target, np.zeros(3)),
            errors[name].after_imaging_mm(own, n),
            _of_course(errors[name].misdrawn_mm(own), shape),
        ]
        internal = sum(inner, np.zeros(shape))
        found[name], bone, within = patient + internal, bone - patient, within - internal
    found.pop("respiration", None)
    found[BREATHING] = within
    if delivery.rotation is not None:
        found[ROTATION] = delivery.rotation @ (setting.centre_mm[target] - setting.isocentre_mm)
    return found | {CORRECTION: bone}


def _of_course(mm: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What is the same in all fractions, (course, 3) or (3,), as (course, 1, 3)."""
    return np.broadcast_to(mm, (shape[0], 3))[:, None]
