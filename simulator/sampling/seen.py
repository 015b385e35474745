"""Seen: what an image shows of drawn courses under a strategy."""

import numpy as np
from scipy.spatial.transform import Rotation

from simulator.ground.conventions import Stream
from simulator.ground.spec import require_named
from simulator.sampling.courses import Courses, Setting
from simulator.strategy import Strategy
from simulator.strategy.guidance import Guidance
from simulator.strategy.motion import Managed, MotionNoise
from simulator.uncertainty.source import RandomNumbers


def seen_mm(courses: Courses, strategy: Strategy, setting: Setting, on_target: bool) -> np.ndarray:
    """What bone or the target is off its planned place in an image before the beam, (course, fraction, 3) in mm."""
    if not on_target:
        return courses.patient_mm
    managed = managed_breathing(courses, strategy, setting)
    return targets_seen_mm(courses, strategy, setting, managed, rotation_left(courses, strategy.guidance, setting))[0]


def targets_seen_mm(
    courses: Courses, strategy: Strategy, setting: Setting, managed: Managed, rotation: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """What the matched targets are off their planned place in an image before the beam.

    Parameters
    ----------
    managed, rotation : as the strategy leaves breathing, of the leading target, and rotations.

    Returns
    -------
    Their weighted mean (course, fraction, 3) in mm; and what each is off beside it, (target, course, fraction, 3), None where
    one target is matched.
    """
    weights, each = _match_weights(strategy.guidance, setting), {}
    for name in weights:
        own = managed if name == setting.lead else managed_breathing(courses, strategy, setting, name)
        each[name] = _target_seen_mm(courses, strategy, setting, name, own, rotation)
    if len(each) == 1:
        return next(iter(each.values())), None
    whole = np.asarray(sum(weight * each[name] for name, weight in weights.items()))
    return whole, np.stack([seen - whole for seen in each.values()])


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
