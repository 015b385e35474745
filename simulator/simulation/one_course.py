"""One course of a strategy, looked at: its errors, what each fraction cost, its DVHs and its dose."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from simulator.problem.problem import Problem
from simulator.sampling.by_source import errors_by_source, over_beam
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import Delivery
from simulator.sampling.streams import TargetDraws
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.tissue import Tissue
from simulator.simulation.work import Work
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers


@dataclass(frozen=True)
class CourseErrors:
    """What went wrong in one course of a strategy, means over the beam-on time of each fraction.

    Parameters
    ----------
    by_source_mm : displacement (fraction, 3) of the target relative to the beam less the planned one; they sum to the whole.
    displacement_mm : by structure, the whole (fraction, 3) at its centre.
    volume_percent : of the planned, or drawn, volume (fraction,), by organ that fills and by target under delineation error.
    rotation_deg : of the patient before and after correction, (2, fraction, 3) about LR, AP and SI; None without rotations.
    """

    by_source_mm: dict[str, np.ndarray]
    displacement_mm: dict[str, np.ndarray]
    volume_percent: dict[str, np.ndarray]
    rotation_deg: np.ndarray | None


@dataclass(frozen=True)
class CourseDoses:
    """What one course of a strategy delivered.

    Parameters
    ----------
    values : float32 (metric,), those of the study bit for bit.
    fraction_values : float32 (fraction, metric), of the course if all of its fractions were like this one.
    dvh_percent : float32 (structure, dose). dose_gy : float32 (z, y, x), dose to the tissue of each voxel of the maps.
    """

    values: np.ndarray
    fraction_values: np.ndarray
    dvh_percent: np.ndarray
    dose_gy: np.ndarray


def errors_of_course(
    problem: Problem, strategy: Strategy, draws: RandomNumbers, delivery: Delivery, at: int
) -> CourseErrors:
    """The errors of one of the courses that were drawn and delivered."""
    courses, setting, weight = draw_courses(problem.setting, draws), delivery.setting, delivery.weight
    found = errors_by_source(courses, delivery, strategy, setting, problem.targets[0].name)
    moved, volume = {}, {}
    for name in (s.name for s in problem.structures):
        whole = over_beam(delivery.bone_mm, weight) - strategy.motion.offset_mm(setting.planned, name)
        if name in delivery.internal_mm:
            whole = whole + over_beam(delivery.internal_mm[name], weight)
        if delivery.rotation is not None:
            whole = whole + delivery.rotation @ (setting.centre_mm[name] - setting.isocentre_mm)
        moved[name] = whole[at]
        if name in delivery.scaling:
            size = (1 + delivery.scaling[name][..., None]) ** 3
            volume[name] = 100 * over_beam(size, weight)[at, :, 0]
    for target in problem.targets:
        if (true := target.true_target) is not None:
            surface = true.delineation.draw(TargetDraws(draws.part(at, 1), target.number), true.n_terms)
            whole_cc = np.full(weight.shape[1], true.volume_cc(surface).sum())
            volume[target.name] = 100 * whole_cc / target.structure.volume_cc
    turned = None
    if courses.rotation_deg is not None and delivery.rotation is not None:
        left = Rotation.from_matrix(delivery.rotation[at] + np.eye(3)).as_euler("xyz", degrees=True)
        turned = np.stack([courses.rotation_deg[at], left])
    return CourseErrors({name: mm[at] for name, mm in found.items()}, moved, volume, turned)


def doses_of_course(work: Work, draws: RandomNumbers, delivery: Delivery, at: int) -> CourseDoses:
    """What one of the courses that were drawn and delivered gave to every structure and voxel."""
    one = slice(at, at + 1)
    own = draws.part(at, 1)
    values, dvhs, by_fraction = [], [], []
    for name, tissue in work.tissues.items():
        motion = delivery.motion(name).courses(one)
        found = tissue.measure(motion, own)
        assert found.dvhs is not None
        values.append(found.values[0])
        dvhs.append(found.dvhs.percent[0])
        by_fraction.append(values_by_fraction(tissue, motion, own))
    dose_gy = work.problem.map_frame.course_gy(work.plan.dose, lambda name: delivery.motion(name).courses(one))
    return CourseDoses(
        np.concatenate(values).astype(np.float32),
        np.concatenate(by_fraction, axis=1),
        np.stack(dvhs).astype(np.float32),
        dose_gy,
    )


def values_by_fraction(tissue: Tissue, motion: TissueMotion, draws: RandomNumbers) -> np.ndarray:
    """Metrics float32 (fraction, metric) of one course of a structure if all of its fractions were like each of them."""
    return np.concatenate([tissue.measure(alike, draws).values for alike in _alike(motion)]).astype(np.float32)


def _alike(motion: TissueMotion) -> Iterator[TissueMotion]:
    """For each fraction the course that consists of it alone, as often as there are fractions."""
    n = motion.n_fractions
    for visits in np.split(np.arange(motion.weight.shape[1]), n):
        again = np.tile(visits, n)
        linear = None if motion.linear is None else np.ascontiguousarray(motion.linear[:, again])
        weight = motion.weight[:, again] / (n * motion.weight[:, visits].sum(axis=1, keepdims=True))
        shift_mm = np.ascontiguousarray(motion.shift_mm[:, again])
        yield replace(motion, shift_mm=shift_mm, weight=weight, linear=linear, fraction=motion.fraction_of(again))
