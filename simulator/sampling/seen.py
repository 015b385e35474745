"""Seen: what an image shows of drawn courses under a strategy."""

import numpy as np
from scipy.spatial.transform import Rotation

from simulator.conventions import Stream
from simulator.sampling.courses import Courses, Setting
from simulator.spec import require_named
from simulator.strategy import Strategy
from simulator.strategy.guidance import Guidance
from simulator.strategy.motion import Managed, MotionNoise
from simulator.uncertainty.source import RandomNumbers


def seen_mm(
    courses: Courses,
    strategy: Strategy,
    setting: Setting,
    on_target: bool,
    managed: Managed | None = None,
    rotation: np.ndarray | None = None,
) -> np.ndarray:
    """What bone or the target is off its planned place in an image before the beam, (course, fraction, 3) in mm.

    Parameters
    ----------
    managed, rotation : as the strategy leaves breathing and rotations, where they are known already.
    """
    if not on_target:
        return courses.patient_mm
    managed = managed or managed_breathing(courses, strategy, setting)
    rotation = rotation_left(courses, strategy.guidance, setting) if rotation is None else rotation
    seen = _target_seen_mm(courses, strategy, setting, setting.lead, managed, rotation)
    weights = _match_weights(strategy.guidance, setting)
    if [*weights] == [setting.lead]:
        return seen
    each = _each_seen_mm(courses, strategy, setting, rotation)
    return np.asarray(sum(weight * each[name] for name, weight in weights.items()))


def _match_weights(guidance: Guidance, setting: Setting) -> dict[str, float]:
    """The targets that a match on targets is about, with weights that sum to 1."""
    weights = guidance.match_weights or {setting.lead: 1.0}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _target_seen_mm(
    courses: Courses, strategy: Strategy, setting: Setting, target: str, managed: Managed, rotation: np.ndarray | None
) -> np.ndarray:
    """What one target is off its planned place when imaged."""
    seen = courses.patient_mm + courses.within_mm[target]
    seen = seen + managed.imaged_mm - strategy.motion.offset_mm(setting.planned, target)
    if rotation is not None:
        seen = seen + rotation @ (setting.centre_mm[target] - setting.isocentre_mm)
    return seen


def _each_seen_mm(
    courses: Courses, strategy: Strategy, setting: Setting, rotation: np.ndarray | None
) -> dict[str, np.ndarray]:
    """By target that a match is a compromise of, what it is off its planned place when imaged."""
    return {
        name: _target_seen_mm(
            courses, strategy, setting, name, managed_breathing(courses, strategy, setting, name), rotation
        )
        for name in _match_weights(strategy.guidance, setting)
    }


def apart_mm(courses: Courses, strategy: Strategy, setting: Setting, rotation: np.ndarray | None) -> np.ndarray | None:
    """What each target of a compromise is off beside the whole, (target, course, fraction, 3); None without one."""
    weights = _match_weights(strategy.guidance, setting)
    if len(weights) == 1:
        return None
    each = _each_seen_mm(courses, strategy, setting, rotation)
    whole = sum(weight * each[name] for name, weight in weights.items())
    return np.stack([seen - whole for seen in each.values()])


def moved_since(courses: Courses, guidance: Guidance, setting: Setting) -> np.ndarray:
    """What the matched targets move within the patient before the beam, (course, fraction, 1, 3)."""
    moved = courses.after_imaging_mm
    weights = _match_weights(guidance, setting)
    if [*weights] == [setting.lead]:
        return moved[setting.lead][:, :, None]
    return np.asarray(sum(weight * moved[name] for name, weight in weights.items()))[:, :, None]


def managed_breathing(courses: Courses, strategy: Strategy, setting: Setting, target: str = "") -> Managed:
    """Breathing as the strategy leaves it, for the first target or another one."""
    motion, breathing, noise = strategy.motion, courses.breathing, _motion_noise(courses.draws, strategy, setting)
    managed = motion.manage(breathing, setting.planned, target or setting.lead, noise)
    if courses.imaged_breathing is not None:
        imaged = motion.manage(courses.imaged_breathing, setting.planned, target or setting.lead, noise)
        managed = managed.imaged_at(imaged.imaged_mm)
    named = (name for names in motion.moving().values() for name in names)
    require_named(motion, managed.position_mm, (setting.lead, *breathing.names(), *named))
    return managed


def rotation_left(courses: Courses, guidance: Guidance, setting: Setting) -> np.ndarray | None:
    """Rotation matrices minus identity (course, fraction, 3, 3) after correction; None without rotations."""
    if courses.rotation_deg is None:
        return None
    normals = courses.draws.normals(Stream.GUIDANCE_ROTATION, setting.n_fractions, 3, of=setting.numbers_named())
    return rotation_matrices(guidance.rotation_left_deg(courses.rotation_deg, normals))


def rotation_matrices(angle_deg: np.ndarray) -> np.ndarray:
    """Rotation matrices minus identity (..., 3, 3): about LR, then AP, then SI."""
    matrices = Rotation.from_euler("xyz", angle_deg.reshape(-1, 3), degrees=True).as_matrix()
    return matrices.reshape(*angle_deg.shape[:-1], 3, 3) - np.eye(3)


def _motion_noise(draws: RandomNumbers, strategy: Strategy, setting: Setting) -> MotionNoise:
    n, of = strategy.motion.n_noise(setting.session.beam_on_s(setting.fraction_gy)), setting.numbers_named()
    return MotionNoise(
        course=draws.normals(Stream.MOTION_COURSE, 2, 3),
        fraction=draws.normals(Stream.MOTION_FRACTION, n, setting.n_fractions, 3, of=of).swapaxes(1, 2),
        instant=draws.normals(Stream.MOTION_INSTANT, setting.n_fractions, setting.n_instants, 3, of=of),
    )
