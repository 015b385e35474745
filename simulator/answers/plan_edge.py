"""What margins are searched and explained with: the dose edge of one plan, and the displacements of courses in few instants."""

from collections.abc import Sequence

import numpy as np

from simulator.metrics.goals import Goal
from simulator.plan.dose import PlannedDose
from simulator.plan.targets import TargetVolume
from simulator.population.edge_model import Edge
from simulator.problem.target import Target
from simulator.sampling.tissue_motion import TissueMotion

_INSTANTS = 5
_STEP_MM = 0.25
_OUTSIDE_MM = 25.0
_MOST_RAYS = 2000
_N_POLAR, _N_AZIMUTH = 10, 12


def part_percent(goal: Goal) -> float | None:
    """Share of the volume that has to get the goal's dose; None for other goals."""
    if goal.operator not in (">=", ">") or goal.metric.is_biological:
        return None
    return goal.metric.part_percent


def wanted_dose_gy(goal: Goal, target: Target) -> float:
    """The dose that a goal asks for."""
    return goal.limit if goal.unit == "Gy" else goal.limit / 100 * target.prescription.dose_gy


def few_instants(motion: TissueMotion, n_fractions: int, most: int = _INSTANTS) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (course, k, 3) and weights (course, k) of a few groups of neighbouring instants in each fraction."""
    n_courses, n_visits, _ = motion.shift_mm.shape
    shift = motion.shift_mm.reshape(n_courses, n_fractions, n_visits // n_fractions, 3)
    weight = motion.weight.reshape(shift.shape[:3])
    order = np.argsort(shift[..., np.argmax(shift.var(axis=2).mean(axis=(0, 1)))], axis=2)
    shift, weight = np.take_along_axis(shift, order[..., None], axis=2), np.take_along_axis(weight, order, axis=2)
    groups = np.array_split(np.arange(shift.shape[2]), min(most, shift.shape[2]))
    total = np.stack([weight[:, :, g].sum(axis=2) for g in groups], axis=2)
    mean = np.stack([(weight[:, :, g, None] * shift[:, :, g]).sum(axis=2) for g in groups], axis=2)
    mean /= np.maximum(total, 1e-12)[..., None]
    return mean.reshape(n_courses, -1, 3), total.reshape(n_courses, -1)


def edge_of_dose(
    planned: PlannedDose, planning_target: TargetVolume, margin_mm: Sequence[float], wanted_gy: float, highest_gy: float
) -> Edge:
    """Dose against depth inside the PTV, along rays from the planning target's centre and by direction."""
    centre_mm = planning_target.centroid_mm
    surface = planning_target.surface_mm - centre_mm
    ray = surface[:: max(1, len(surface) // _MOST_RAYS)]
    length = np.linalg.norm(ray, axis=1, keepdims=True)
    direction = ray / length
    sides = np.array(margin_mm).reshape(3, 2)[np.arange(3), (direction > 0).astype(int)]
    edge_mm = length + np.sqrt(np.square(sides * direction).sum(axis=1, keepdims=True))
    depth = np.arange(-_OUTSIDE_MM, edge_mm.max(), _STEP_MM)
    along = np.stack([planned.at(centre_mm + direction * np.maximum(edge_mm - d, 0)) for d in depth], axis=-1)
    polar = np.minimum((direction[:, 2] + 1) / 2 * _N_POLAR, _N_POLAR - 1).astype(int)
    turn = np.arctan2(direction[:, 1], direction[:, 0]) / (2 * np.pi) + 0.5
    azimuth = np.minimum(turn * _N_AZIMUTH, _N_AZIMUTH - 1).astype(int)
    profile = np.tile(along.mean(axis=0), (_N_POLAR, _N_AZIMUTH, 1))
    for i, j in set(zip(polar.tolist(), azimuth.tolist(), strict=True)):
        profile[i, j] = along[(polar == i) & (azimuth == j)].mean(axis=0)
    return Edge.of_profile(depth, profile, wanted_gy, highest_gy)
