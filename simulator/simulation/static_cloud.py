"""What the static dose cloud leaves out: the plan recomputed on moved anatomy, as a change of dose of every point.

The change of dose of a tissue point is fitted to what moved the anatomy: along each axis of each displacement (the patient
against the beam, each target inside of the patient) a polynomial without a constant, so that no displacement changes nothing,
through the changes at control displacements, sqrt(3) times the RMS displacement of courses to either side. Axes add up. How far
that holds, whole courses that are recomputed at the mean displacement of every fraction say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.case.moved_density import MovableDensity
from simulator.ground.parallel import Executor, in_order
from simulator.plan.dose import PlannedDose
from simulator.plan.quality import Plan
from simulator.problem.problem import Problem
from simulator.sampling.tissue_motion import TissueMotion
from simulator.simulation.apart import DeliveryApart, MotionApart
from simulator.strategy import Strategy

_LEAST_MM = 0.1


@dataclass(frozen=True)
class Recomputing:
    """A plan that is recomputed, and the points at which it is looked at.

    Parameters
    ----------
    points_mm : by structure (n, 3), where they lie on the images that were planned on, relative to the beam.
    planned : the plan on these images.
    """

    plan: Plan
    anatomy: MovableDensity
    offset_mm: dict[str, np.ndarray]
    points_mm: Mapping[str, np.ndarray]
    planned: PlannedDose

    @classmethod
    def of(
        cls, problem: Problem, strategy: Strategy, plan: Plan, points_mm: Mapping[str, np.ndarray]
    ) -> "Recomputing | None":
        """The plan of a strategy and points of structures; None where nobody can compute the plan again."""
        anatomy = MovableDensity(problem.case.density, [target.structure for target in problem.targets])
        offset = {name: strategy.motion.offset_mm(problem.setting.planned, name) for name in points_mm}
        of_targets = {
            target.name: strategy.motion.offset_mm(problem.setting.planned, target.name) for target in problem.targets
        }
        planned = plan.dose_on(anatomy.moved(np.zeros(3), of_targets))
        if planned is None:
            return None
        return cls(plan, anatomy, of_targets, {name: mm + offset[name] for name, mm in points_mm.items()}, planned)

    def change_gy(self, apart_mm: np.ndarray) -> dict[str, np.ndarray]:
        """Change of dose float32 (n,) of the points of each structure where the patient, and each target inside of him, is
        displaced by (1 + target, 3)."""
        patient_mm, *inside = apart_mm
        by_target = dict(zip(self.offset_mm, inside, strict=True))
        at = {name: self.offset_mm[name] + mm for name, mm in by_target.items()}
        dose = self.plan.dose_on(self.anatomy.moved(patient_mm, at))
        assert dose is not None
        found = {}
        for name, points in self.points_mm.items():
            there = points + patient_mm + by_target.get(name, 0.0)
            found[name] = (dose.at(there) - self.planned.at(there)).astype(np.float32)
        return found

    def of_fractions(self, apart_mm: np.ndarray) -> dict[str, np.ndarray]:
        """Change of dose (n,) of one course, recomputed at the displacements (fraction, 1 + target, 3) of its fractions."""
        each = [self.change_gy(mm) for mm in apart_mm]
        return {name: np.stack([one[name] for one in each]).mean(axis=0) for name in self.points_mm}


@dataclass(frozen=True)
class DoseChange:
    """The change of dose of points, fitted.

    Parameters
    ----------
    coefficients : by structure, float32 (feature, n), of powers along each axis in turn.
    axes_mm : (axis, 1 + target, 3), the largest control displacement along each axis, orthogonal to the others.
    n_controls : displacements at which the plan was recomputed.
    """

    coefficients: dict[str, np.ndarray]
    axes_mm: np.ndarray
    degree: int
    n_controls: int

    @classmethod
    def fitted(
        cls,
        recomputing: Recomputing,
        delivery: DeliveryApart,
        executor: Executor,
        controls: Sequence[float] = (-1.0, 1.0),
        degree: int = 2,
    ) -> "DoseChange":
        """From control displacements, in parts of the largest, for the displacements of some courses."""
        axes = _principal_axes_mm(delivery.motion(""))
        moved = np.array(controls)[:, None, None] * axes[:, None]
        changes = in_order(executor, recomputing.change_gy, moved.reshape(-1, *axes.shape[1:]))
        solve = np.linalg.pinv(np.power.outer(np.array(controls), np.arange(1, degree + 1)))
        coefficients = {}
        for name, points in recomputing.points_mm.items():
            gy = np.array([change[name] for change in changes], np.float32).reshape(
                len(axes), len(controls), len(points)
            )
            coefficients[name] = np.einsum("dc,acn->adn", solve, gy).reshape(-1, len(points)).astype(np.float32)
        return cls(coefficients, axes, degree, len(changes))

    def features(self, apart_mm: np.ndarray) -> np.ndarray:
        """Powers (..., feature) of displacements (..., 1 + target, 3) in control displacements."""
        lengths = np.square(self.axes_mm).sum(axis=(1, 2))
        steps = np.einsum("...ia,jia->...j", apart_mm, self.axes_mm) / lengths
        powers = np.stack([steps**n for n in range(1, self.degree + 1)], axis=-1)
        return powers.reshape(*steps.shape[:-1], -1)

    def describe(self, motion: TissueMotion) -> np.ndarray:
        """Weighted sums (course, feature) over visits."""
        assert isinstance(motion, MotionApart)
        return np.asarray(np.einsum("ck,ckf->cf", motion.weight, self.features(motion.apart_mm)))

    def of_fractions(self, apart_mm: np.ndarray) -> dict[str, np.ndarray]:
        """Change of dose (n,) of one course whose fractions lie at displacements (fraction, 1 + target, 3)."""
        mean = self.features(apart_mm).mean(axis=0).astype(np.float32)
        return {name: mean @ coefficients for name, coefficients in self.coefficients.items()}


def _principal_axes_mm(motion: MotionApart) -> np.ndarray:
    """Axes (axis, 1 + target, 3) along which courses are displaced independently, sqrt(3) times the RMS displacement long."""
    of_visits = motion.apart_mm.reshape(*motion.weight.shape, -1)
    square, directions = np.linalg.eigh(
        np.einsum("ck,cki,ckj->ij", motion.weight, of_visits, of_visits) / len(of_visits)
    )
    length = np.sqrt(3 * np.maximum(square, 0))
    axes = (length * directions).T[length >= _LEAST_MM]
    return axes[::-1].reshape(-1, *motion.apart_mm.shape[2:])
