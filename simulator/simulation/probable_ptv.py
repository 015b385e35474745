"""The PTV for a stated probability: a region, in the frame of the plan, that holds the whole target in that share of courses.

What a course does to a target is split as van Herk 2000 (doi:10.1016/S0360-3016(00)00518-6) does. The displacement of the
target relative to the beam, averaged over the beam-on time of the course, is its systematic error: the PTV is the target
swept by an ellipsoid that holds these displacements in the stated share of courses. What is left within the course blurs the
dose: along each principal axis of its mean covariance, of variance s², the PTV grows by β (sqrt(s² + σp²) - σp).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from simulator.case.structures import surface
from simulator.plan.swept import swept
from simulator.plan.targets import TargetVolume, planning_target
from simulator.population.displacements import Ellipsoid, HeldShare, SystematicErrors, ellipsoid_that_holds
from simulator.problem.problem import Problem
from simulator.problem.target import Target
from simulator.sampling.streams import TargetDraws
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.strategy import Strategy
from simulator.uncertainty.delineation import SurfaceField

_SURFACE_STEP_MM, _MOST_NORMALS = 1.0, 1000


@dataclass(frozen=True)
class ProbablePtv:
    """A PTV for a stated probability.

    Parameters
    ----------
    held : displacements of the whole course that it allows for. blur : what it grows by for errors within a course.
    """

    volume: TargetVolume
    held: HeldShare
    blur: Ellipsoid


@dataclass(frozen=True)
class TargetErrors:
    """What the courses of a strategy do to a target.

    Parameters
    ----------
    systematic : of each course as a whole. within_mm2 : mean covariance (3, 3) of what is left within a course.
    """

    systematic: SystematicErrors
    within_mm2: np.ndarray


def probable_ptv(
    problem: Problem, strategy: Strategy, target: Target, n_courses: int, probability: float
) -> ProbablePtv:
    """The PTV of a target that, under a strategy, holds it in the stated share of courses.

    Raises
    ------
    ConfigError : a probability that so few courses cannot show.
    """
    errors = target_errors(problem, strategy, target, n_courses)
    held = ellipsoid_that_holds(errors.systematic, probability)
    beta = float(ndtri(isodose_percent(target) / 100))
    blur = blurring(errors.within_mm2, problem.setting.penumbra_sd_mm, beta)
    drawn = planning_target(target.structure.region, np.zeros((1, 3)))
    return ProbablePtv(swept(swept(drawn, held.ellipsoid), blur), held, blur)


def isodose_percent(target: Target) -> float:
    """The isodose, in percent of the plateau, that has to enclose the target: that of the prescription within 50 and 95 %."""
    return float(np.clip(target.prescription.isodose_percent, 50, 95))


def blurring(within_mm2: np.ndarray, penumbra_sd_mm: float, beta: float) -> Ellipsoid:
    """What blurring of the dose takes off an isodose: along each principal axis as far as an edge of the penumbra moves."""
    variance, directions = np.linalg.eigh(within_mm2)
    lost_mm = beta * (np.sqrt(np.maximum(variance, 0) + penumbra_sd_mm**2) - penumbra_sd_mm)
    return Ellipsoid(np.zeros(3), lost_mm, directions)


def target_errors(problem: Problem, strategy: Strategy, target: Target, n_courses: int) -> TargetErrors:
    """What the first courses of the study do to a target under a strategy; its margin does not matter."""
    points, normals = surface(target.structure, _SURFACE_STEP_MM)
    some = slice(None, None, -(-len(points) // _MOST_NORMALS))
    points, normals = points[some], normals[some]
    true = target.true_target
    from_centre = points - target.structure.centroid_mm
    field = SurfaceField.on(from_centre, true.delineation.correlation_deg) if true is not None else None
    shifts, outwards, within = [], [], np.zeros((3, 3))
    for first, n in _blocks(n_courses, problem.config.numerics.block_courses):
        draws = course_draws(problem, first, n)
        motion = deliver_courses(problem, strategy, draws).motion(target.name)
        shift, covariance = _over_course(motion)
        outward = np.zeros((n, len(points)))
        if motion.linear is not None:
            linear = np.einsum("ck,ckab->cab", motion.weight, motion.linear)
            outward += np.einsum("na,cab,nb->cn", normals, linear, points - motion.centre_mm)
        if true is not None and field is not None:
            coefficients = true.delineation.draw(TargetDraws(draws, target.number), len(field.basis))
            error, farthest = true.delineation, true.delineation.farthest_mm
            outward += np.clip(error.mean_mm + error.sd_mm * coefficients @ field.basis, -farthest, farthest)
        shifts.append(shift)
        outwards.append(outward.astype(np.float32))
        within += covariance.sum(axis=0)
    return TargetErrors(SystematicErrors(np.concatenate(shifts), normals, np.concatenate(outwards)), within / n_courses)


def _over_course(motion: TissueMotion) -> tuple[np.ndarray, np.ndarray]:
    """Mean (course, 3) and covariance (course, 3, 3) of a displacement over the beam-on time of each course."""
    mean = np.einsum("ck,cka->ca", motion.weight, motion.shift_mm)
    off = motion.shift_mm - mean[:, None]
    return mean, np.einsum("ck,cka,ckb->cab", motion.weight, off, off)


def _blocks(n_courses: int, at_once: int) -> Iterator[tuple[int, int]]:
    return ((first, min(at_once, n_courses - first)) for first in range(0, n_courses, at_once))
