"""Courses with two displacements kept apart: the patient against the beam, and each target inside of the patient."""

from dataclasses import dataclass, field, fields, replace

import numpy as np

from simulator.accumulation.maps import BONE
from simulator.problem.problem import Problem
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import Delivery, deliver
from simulator.sampling.tissue_motion import TissueMotion
from simulator.strategy import Strategy
from simulator.uncertainty.source import RandomNumbers


@dataclass(frozen=True)
class MotionApart(TissueMotion):
    """Displacement of a structure, and what it consists of.

    Parameters
    ----------
    apart_mm : (course, k, 1 + target, 3), of the patient against the beam and of each target inside of the patient, relative to
        the images that were planned on.
    """

    apart_mm: np.ndarray = field(kw_only=True)

    def courses(self, part: slice) -> "MotionApart":
        """Some of the courses."""
        return _apart(super().courses(part), self.apart_mm[part])

    def _some(self, visits: np.ndarray, weight: np.ndarray) -> "MotionApart":
        return _apart(super()._some(visits, weight), self.apart_mm[:, visits])


def _apart(motion: TissueMotion, apart_mm: np.ndarray) -> MotionApart:
    return MotionApart(**{f.name: getattr(motion, f.name) for f in fields(TissueMotion)}, apart_mm=apart_mm)


@dataclass(frozen=True)
class DeliveryApart:
    """Courses as one strategy delivers them, instant by instant.

    Parameters
    ----------
    inside_mm : (course, fraction, instant, target, 3), of each target inside of the patient, relative to the images that were
        planned on. What was drawn wrongly is no displacement of tissue and does not count.
    first, n_courses : which of the courses of the delivery.
    """

    delivery: Delivery
    inside_mm: np.ndarray
    first: int
    n_courses: int

    @classmethod
    def of(cls, problem: Problem, strategy: Strategy, draws: RandomNumbers) -> "DeliveryApart":
        """Drawn courses as a strategy delivers them."""
        courses, setting = draw_courses(problem.setting, draws), problem.setting
        delivery = replace(deliver(courses, strategy, setting), slow=frozenset())
        inside = []
        for target in problem.targets:
            mm = delivery.internal_mm.get(target.name, np.zeros_like(delivery.bone_mm))
            planned = strategy.motion.offset_mm(setting.planned, target.name)
            inside.append(mm - planned - courses.misdrawn_mm[target.name][:, None, None])
        return cls(delivery, np.stack(inside, axis=3), 0, len(delivery.weight))

    def course(self, i: int) -> "DeliveryApart":
        """One of the courses."""
        return replace(self, first=self.first + i, n_courses=1)

    def motion(self, structure: str) -> MotionApart:
        """Displacement of a structure; any other name stands for tissue at the isocentre. About several isocentres, nothing is
        kept apart."""
        motion, some = self.delivery.motion(structure), slice(self.first, self.first + self.n_courses)
        if self.delivery.others:
            return _apart(motion.courses(some), np.zeros((self.n_courses, motion.weight.shape[1], 0, 3)))
        patient = self.delivery.bone_mm
        if self.delivery.rotation is not None:
            arm_mm = motion.centre_mm - self.delivery.setting.isocentre_mm
            patient = patient + (self.delivery.rotation @ arm_mm)[:, :, None]
        apart = np.concatenate([patient[..., None, :], self.inside_mm], axis=3)
        return _apart(motion.courses(some), apart.reshape(*motion.weight.shape, -1, 3)[some])

    @property
    def fractions_mm(self) -> np.ndarray:
        """Means (course, fraction, 1 + target, 3) over the beam-on time of each fraction, at the isocentre."""
        motion = replace(self, delivery=replace(self.delivery, rotation=None)).motion(BONE)
        shape = (self.n_courses, motion.n_fractions, -1)
        weight, mm = motion.weight.reshape(shape), motion.apart_mm.reshape(*shape, *motion.apart_mm.shape[2:])
        return np.asarray(np.einsum("cfk,cfkia->cfia", weight, mm) / weight.sum(axis=2)[..., None, None])
