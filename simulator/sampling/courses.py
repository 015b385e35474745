"""Courses: a batch of drawn treatment courses, and what a strategy makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from simulator.conventions import Stream
from simulator.sampling.streams import TargetDraws
from simulator.spec import require_named
from simulator.strategy import Strategy
from simulator.strategy.guidance import Guidance, GuidanceNoise
from simulator.strategy.margin import WATER_PENUMBRA_MM
from simulator.strategy.motion import Managed, MotionNoise
from simulator.strategy.observed import Treated
from simulator.strategy.session import Session, Timeline
from simulator.uncertainty import Uncertainty
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.breathing import Breathing, Waveform
from simulator.uncertainty.drift import DriftPath
from simulator.uncertainty.organs import OrganPath
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.source import RandomNumbers

_QUIET_PARTS, _COURSES_AT_ONCE = 4, 32


@dataclass(frozen=True)
class Setting:
    """What draws and deliveries need to know of the study and of the anatomy.

    Parameters
    ----------
    uncertainty : what all targets share: setup, drift, breathing, organs, isocentre.
    targets : by name, in the order of their numbers, the errors as that target meets them: its registration, delineation
        and baseline are its own.
    centre_mm : by structure, centroid (3,) in mm. volume_cc : by structure.
    isocentre_mm : centre of rotation (3,).
    waveform : breathing at the planning amplitude; None without breathing.
    penumbra_sd_mm : of the plan's dose edge, for margin recipes.
    treated : the fractions that lie behind; None where a course begins with its first one.
    baseline_correlation : of the shifts of targets with those of the first, by name; 0 where absent.
    """

    uncertainty: Uncertainty
    session: Session
    targets: dict[str, Uncertainty]
    n_fractions: int
    n_instants: int
    fraction_gy: float
    centre_mm: dict[str, np.ndarray]
    volume_cc: dict[str, float]
    isocentre_mm: np.ndarray
    waveform: Waveform | None = None
    penumbra_sd_mm: float = WATER_PENUMBRA_MM
    treated: Treated | None = None
    baseline_correlation: dict[str, float] = field(default_factory=dict)
    planned: Breathing = field(init=False)

    def __post_init__(self) -> None:
        respiration = self.uncertainty.respiration or Respiration()
        waveform = self.waveform or respiration.waveform(self.lead)
        object.__setattr__(self, "waveform", waveform)
        object.__setattr__(self, "planned", respiration.planned(waveform))

    @property
    def lead(self) -> str:
        """The target that images are matched on, motion management acts on and organs follow: number 0."""
        return next(iter(self.targets))

    def numbers_of(self, target: str, draws: RandomNumbers) -> TargetDraws:
        """Random numbers of a target's own."""
        return TargetDraws(draws, list(self.targets).index(target), self.baseline_correlation.get(target, 0.0))


@dataclass(frozen=True)
class Courses:
    """Where tissue is, before any strategy: every strategy meets these same courses.

    Parameters
    ----------
    patient_mm : (course, fraction, 3), the whole patient when imaged; drift : how it moves on, None if not at all.
    rotation_deg : (course, fraction, 3) about LR, AP, SI; None without rotations.
    within_mm : by structure, (course, fraction, 3), what it moves within the patient when imaged; targets always.
    after_imaging_mm : by target, (course, fraction, 3), what it moves within the patient before the beam.
    organs : own motion by structure.
    misdrawn_mm : by target, (course, 3), displacement of the true one from the drawn one.
    unseen_mm : (course, 3), displacement of everything that no image shows (isocentre).
    unseen_deg : (course, 3), rotation of everything that no image shows; None without.
    """

    patient_mm: np.ndarray
    drift: DriftPath | None
    rotation_deg: np.ndarray | None
    within_mm: dict[str, np.ndarray]
    after_imaging_mm: dict[str, np.ndarray]
    breathing: Breathing
    organs: dict[str, OrganPath]
    misdrawn_mm: dict[str, np.ndarray]
    unseen_mm: np.ndarray
    unseen_deg: np.ndarray | None
    draws: RandomNumbers


def draw_courses(setting: Setting, draws: RandomNumbers) -> Courses:
    """Draw every source of error of a run of courses."""
    u, n_fractions, n_instants = setting.uncertainty, setting.n_fractions, setting.n_instants
    lead_course, lead_fraction = (setting.targets[setting.lead].baseline or Baseline()).followed(draws, n_fractions)
    own = {name: (errors, setting.numbers_of(name, draws)) for name, errors in setting.targets.items()}
    moved = {name: errors.within_mm(numbers, n_fractions, name) for name, (errors, numbers) in own.items()}
    assert setting.waveform is not None
    return Courses(
        patient_mm=u.patient_mm(draws, n_fractions),
        drift=u.drift.draw(draws, n_fractions, n_instants) if u.drift else None,
        rotation_deg=u.setup.draw_rotation(draws, n_fractions) if u.setup and u.setup.rotates else None,
        within_mm=moved[setting.lead] | {name: shift[name] for name, shift in moved.items()},
        after_imaging_mm={
            name: errors.after_imaging_mm(numbers, n_fractions) for name, (errors, numbers) in own.items()
        },
        breathing=(u.respiration or Respiration()).draw(draws, setting.waveform, n_fractions, n_instants),
        organs={
            name: organ.draw(draws, name, lead_course, lead_fraction, n_instants) for name, organ in u.organs.items()
        },
        misdrawn_mm={name: errors.misdrawn_mm(numbers) for name, (errors, numbers) in own.items()},
        unseen_mm=u.unseen_mm(draws),
        unseen_deg=u.isocentre.unseen_deg(draws) if u.isocentre and u.isocentre.rotates else None,
        draws=draws,
    )


@dataclass(frozen=True)
class TissueMotion:
    """Displacement of one structure relative to the beam: shift + linear (x - centre) for a tissue point x.

    Parameters
    ----------
    shift_mm : (course, k, 3). weight : (course, k), sums to 1.
    linear : (course, k, 3, 3), None when every point moves alike. centre_mm : (3,).
    n_fractions : visits run fraction after fraction, equally many in each.
    fraction : int (k,), of the course that each visit is of; by default as they run.
    """

    shift_mm: np.ndarray
    weight: np.ndarray
    linear: np.ndarray | None
    centre_mm: np.ndarray
    n_fractions: int = 1
    fraction: np.ndarray | None = None

    @classmethod
    def still(cls, shift_mm: np.ndarray) -> "TissueMotion":
        """One course in which everything lies at a constant displacement (3,)."""
        return cls(np.asarray(shift_mm, float)[None, None], np.ones((1, 1)), None, np.zeros(3))

    def in_parts(self) -> Iterator[tuple[slice, "TissueMotion"]]:
        """A few courses after the other, and which they are, so that their doses stay at hand and need little memory."""
        for first in range(0, len(self.weight), _COURSES_AT_ONCE):
            few = slice(first, first + _COURSES_AT_ONCE)
            yield few, self.courses(few)

    def courses(self, part: slice) -> "TissueMotion":
        """Some of the courses."""
        linear = None if self.linear is None else self.linear[part]
        return TissueMotion(
            self.shift_mm[part], self.weight[part], linear, self.centre_mm, self.n_fractions, self.fraction
        )

    def fractions(self) -> list["TissueMotion"]:
        """Each fraction on its own, with its share of the weight."""
        return [
            self._some(visits, self.weight) for visits in np.split(np.arange(self.weight.shape[1]), self.n_fractions)
        ]

    def during(self, begin: float, end: float) -> "TissueMotion":
        """What is met between two shares (0-1) of the beam-on time of each fraction, with the whole weight of the fraction.

        A visit that lasts across an end counts with what lies between.
        """
        if (begin, end) == (0.0, 1.0):
            return self
        weight = self.weight.reshape(len(self.weight), self.n_fractions, -1)
        whole = weight.sum(axis=2, keepdims=True)
        left = np.cumsum(weight, axis=2) / whole
        lasts = np.minimum(left, end) - np.maximum(left - weight / whole, begin)
        met = (np.maximum(lasts, 0.0) * whole / (end - begin)).reshape(self.weight.shape)
        return self._some(np.flatnonzero(np.any(met > 0, axis=0)), met)

    def fraction_of(self, visits: np.ndarray) -> np.ndarray | None:
        """Which fraction each of some visits is of; None for a single one that stands for all."""
        if self.fraction is not None:
            return self.fraction[visits]
        return visits // (self.weight.shape[1] // self.n_fractions) if self.n_fractions > 1 else None

    def in_fractions(self, first: int, end: int, n: int) -> "TissueMotion":
        """What is met in some of n fractions, with their share of the weight."""
        fraction = self.fraction_of(np.arange(self.weight.shape[1]))
        if fraction is None:
            return replace(self, weight=self.weight * ((end - first) / n))
        return self._some(np.flatnonzero((fraction >= first) & (fraction < end)), self.weight)

    def _some(self, visits: np.ndarray, weight: np.ndarray) -> "TissueMotion":
        """Some of the visits, with weights from (course, k)."""
        return TissueMotion(
            np.ascontiguousarray(self.shift_mm[:, visits]),
            np.ascontiguousarray(weight[:, visits]),
            None if self.linear is None else self.linear[:, visits],
            self.centre_mm,
            fraction=self.fraction_of(visits),
        )


@dataclass(frozen=True)
class Delivery:
    """Courses as one strategy delivers them, relative to the beam.

    Parameters
    ----------
    bone_mm : (course, fraction, instant, 3), of tissue at the isocentre that does not move within the patient.
    weight : (course, fraction, instant).
    rotation : (course, fraction, 3, 3), rotation matrix minus identity; None without rotations.
    internal_mm : by structure, (course, fraction, instant, 3), what it moves in addition.
    scaling : by structure, (course, fraction, instant), linear size minus 1.
    slow : structures that move by slow drift and filling alone within a fraction, of which a few instants stand for all of
        them; "" stands for bone.
    """

    setting: Setting
    bone_mm: np.ndarray
    weight: np.ndarray
    rotation: np.ndarray | None
    internal_mm: dict[str, np.ndarray]
    scaling: dict[str, np.ndarray]
    slow: frozenset[str] = frozenset()

    def motion(self, structure: str) -> TissueMotion:
        """Displacement of a structure; any other name stands for tissue at the isocentre."""
        if structure not in self.internal_mm and structure not in self.scaling and self.rotation is None:
            return self._bone_motion
        return self._motion(structure)

    @cached_property
    def _bone_motion(self) -> TissueMotion:
        """Displacement of all that moves with bone, where nothing turns."""
        return self._motion("")

    def _motion(self, structure: str) -> TissueMotion:
        n_courses = len(self.bone_mm)
        centre = self.setting.centre_mm.get(structure, self.setting.isocentre_mm)
        shift, linear = self.bone_mm, None
        if structure in self.internal_mm:
            shift = shift + self.internal_mm[structure]
        if self.rotation is not None:
            shift = shift + (self.rotation @ (centre - self.setting.isocentre_mm))[:, :, None, :]
            linear = np.broadcast_to(self.rotation[:, :, None], (*self.bone_mm.shape, 3))
        if structure in self.scaling:
            growth = self.scaling[structure][..., None, None] * np.eye(3)
            linear = growth if linear is None else linear + growth
        weight = self.weight
        has_own = structure in self.internal_mm or structure in self.scaling
        if (structure if has_own else "") in self.slow:
            shift, linear, weight = _thinned(shift, linear, weight)
        return TissueMotion(
            np.ascontiguousarray(shift).reshape(n_courses, -1, 3),
            np.ascontiguousarray(weight).reshape(n_courses, -1),
            None if linear is None else np.ascontiguousarray(linear).reshape(n_courses, -1, 3, 3),
            centre,
            weight.shape[1],
        )

    def followed_by(self, other: "Delivery", n_fractions: int) -> "Delivery":
        """The first fractions of this one, then another one of the same courses."""

        def joined(one: np.ndarray, two: np.ndarray) -> np.ndarray:
            return np.concatenate([one[:, :n_fractions], two[:, n_fractions:]], axis=1)

        def all_joined(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            none = {name: np.zeros_like(shift) for name, shift in (one | two).items()}
            return {name: joined(one.get(name, none[name]), two.get(name, none[name])) for name in none}

        rotation = None
        if self.rotation is not None and other.rotation is not None:
            rotation = joined(self.rotation, other.rotation)
        return Delivery(
            self.setting,
            joined(self.bone_mm, other.bone_mm),
            joined(self.weight, other.weight),
            rotation,
            all_joined(self.internal_mm, other.internal_mm),
            all_joined(self.scaling, other.scaling),
            self.slow & other.slow,
        )


def deliver(courses: Courses, strategy: Strategy, setting: Setting) -> Delivery:
    """What a strategy makes of drawn courses, after the fractions that lie behind where there are some."""
    treated = setting.treated
    if treated is None or treated.is_continued_by(strategy):
        return _deliver(courses, strategy, setting)
    before = _deliver(courses, treated.strategy, setting)
    return before.followed_by(_deliver(courses, strategy, setting), treated.n_fractions)


def _deliver(courses: Courses, strategy: Strategy, setting: Setting) -> Delivery:
    """The motion that a strategy manages, the couch it moves, the beam that may follow.

    Displacements are of tissue relative to the beam: where tissue goes counts positive, what couch and beam do about it
    counts negative.
    """
    motion, guidance = strategy.motion, strategy.guidance
    timeline = strategy_timeline(strategy, setting)
    time_min = np.broadcast_to(timeline.time_min, courses.breathing.cycle.shape)
    managed = _managed(courses, strategy, setting)
    rotation = _rotation_left(courses, guidance, setting)
    drift = courses.drift.at(time_min) if courses.drift else np.zeros((*time_min.shape, 3))
    lead_since = drift + courses.after_imaging_mm[setting.lead][:, :, None]

    seen = seen_mm(courses, strategy, setting, guidance.matches_target, managed, rotation)
    apart = _apart_mm(courses, strategy, setting, rotation)
    seen_since = drift + _moved_since(courses, guidance, setting) if guidance.matches_target else drift
    correction = _corrected(
        seen, guidance, setting, replace(_guidance_noise(courses.draws, setting, 0), apart_mm=apart)
    )
    again = _corrections_during_beam(strategy, setting, courses.draws, timeline, seen - correction, seen_since, apart)

    bone = courses.patient_mm[:, :, None] + drift
    bone = bone + courses.unseen_mm[:, None, None]
    bone = bone - correction[:, :, None]
    bone = bone - again
    if managed.followed_mm is not None:
        bone = bone - managed.followed_mm
        bone = bone - lead_since[:, :, timeline.first_since(motion.model_update_s)]
        bone = bone + again  # the beam knows how the couch moves under it

    internal, scaling = _within_patient(courses, managed, setting, time_min)
    slow: frozenset[str] = frozenset()
    if managed.followed_mm is None and timeline.n_images == 0:
        fast = {name for name, place in managed.position_mm.items() if np.any(place != place[:, :, :1])}
        fast |= {name for name, organ in courses.organs.items() if organ.steps is not None}
        slow = frozenset({"", *courses.within_mm, *courses.organs} - fast)
    rotation = _with_unseen(rotation, courses.unseen_deg, setting.n_fractions)
    return Delivery(setting, bone, managed.weight / setting.n_fractions, rotation, internal, scaling, slow)


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
    managed = managed or _managed(courses, strategy, setting)
    rotation = _rotation_left(courses, strategy.guidance, setting) if rotation is None else rotation
    seen = _target_seen_mm(courses, strategy, setting, setting.lead, managed, rotation)
    weights = _weights(strategy.guidance, setting)
    if [*weights] == [setting.lead]:
        return seen
    each = _each_seen_mm(courses, strategy, setting, rotation)
    return np.asarray(sum(weight * each[name] for name, weight in weights.items()))


def _weights(guidance: Guidance, setting: Setting) -> dict[str, float]:
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
        name: _target_seen_mm(courses, strategy, setting, name, _managed(courses, strategy, setting, name), rotation)
        for name in _weights(strategy.guidance, setting)
    }


def _apart_mm(courses: Courses, strategy: Strategy, setting: Setting, rotation: np.ndarray | None) -> np.ndarray | None:
    """What each target of a compromise is off beside the whole, (target, course, fraction, 3); None without one."""
    weights = _weights(strategy.guidance, setting)
    if len(weights) == 1:
        return None
    each = _each_seen_mm(courses, strategy, setting, rotation)
    whole = sum(weight * each[name] for name, weight in weights.items())
    return np.stack([seen - whole for seen in each.values()])


def _moved_since(courses: Courses, guidance: Guidance, setting: Setting) -> np.ndarray:
    """What the matched targets move within the patient before the beam, (course, fraction, 1, 3)."""
    moved = courses.after_imaging_mm
    weights = _weights(guidance, setting)
    if [*weights] == [setting.lead]:
        return moved[setting.lead][:, :, None]
    return np.asarray(sum(weight * moved[name] for name, weight in weights.items()))[:, :, None]


def _corrected(seen: np.ndarray, guidance: Guidance, setting: Setting, noise: GuidanceNoise) -> np.ndarray:
    """Couch correction at the begin of each fraction; of those that lie behind by what images showed, or as it was."""
    if setting.treated is None:
        return guidance.correct(seen, noise)
    found = setting.treated.found_mm(guidance.matches_target)
    seen, match, behind = seen.copy(), noise.match.copy(), np.flatnonzero(~np.isnan(found[:, 0]))
    seen[:, behind], match[:, behind] = found[behind], 0.0
    correction = guidance.correct(seen, replace(noise, match=match))
    for f, image in enumerate(setting.treated.images):
        if image.corrected_mm is not None:
            correction[:, f] = image.corrected_mm
    return correction


def _within_patient(
    courses: Courses, managed: Managed, setting: Setting, time_min: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What structures move within the patient, and their linear size minus 1; see `Delivery`."""
    since = courses.after_imaging_mm
    internal, scaling = dict(managed.position_mm), {}
    for name, shift in courses.within_mm.items():
        _add(internal, name, (shift + since[name] if name in since else shift)[:, :, None])
    for name, shift in courses.misdrawn_mm.items():
        _add(internal, name, shift[:, None, None])
    for name, organ in courses.organs.items():
        _add(internal, name, organ.at(time_min) + (organ.follows_after_imaging * since[setting.lead])[:, :, None])
        size = organ.scaling(time_min, setting.volume_cc[name])
        if size is not None:
            scaling[name] = size - 1.0
    shape = (*time_min.shape, 3)
    return {name: np.broadcast_to(shift, shape) for name, shift in internal.items() if np.any(shift)}, scaling


def _managed(courses: Courses, strategy: Strategy, setting: Setting, target: str = "") -> Managed:
    """Breathing as the strategy leaves it, for the first target or another one."""
    motion, breathing, noise = strategy.motion, courses.breathing, _motion_noise(courses.draws, strategy, setting)
    managed = motion.manage(breathing, setting.planned, target or setting.lead, noise)
    named = (name for names in motion.moving().values() for name in names)
    require_named(motion, managed.position_mm, (setting.lead, *breathing.names(), *named))
    return managed


def _rotation_left(courses: Courses, guidance: Guidance, setting: Setting) -> np.ndarray | None:
    """Rotation matrices minus identity (course, fraction, 3, 3) after correction; None without rotations."""
    if courses.rotation_deg is None:
        return None
    normals = courses.draws.normals(Stream.GUIDANCE_ROTATION, setting.n_fractions, 3)
    return _rotation(guidance.rotation_left_deg(courses.rotation_deg, normals))


def _with_unseen(rotation: np.ndarray | None, unseen_deg: np.ndarray | None, n_fractions: int) -> np.ndarray | None:
    """What is left of rotations and then what no image shows, as matrices minus identity; None without either."""
    if unseen_deg is None:
        return rotation
    unseen = _rotation(np.repeat(unseen_deg[:, None], n_fractions, axis=1))
    return unseen if rotation is None else (np.eye(3) + unseen) @ (np.eye(3) + rotation) - np.eye(3)


def _thinned(
    shift_mm: np.ndarray, linear: np.ndarray | None, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Displacements, linear parts and weights of a few parts of each fraction, each the mean over its instants.

    Where nothing moves within a fraction one part is all of it.
    """
    moves = any(np.any(value != value[:, :, :1]) for value in (shift_mm, linear) if value is not None)
    parts = np.array_split(np.arange(weight.shape[2]), min(_QUIET_PARTS if moves else 1, weight.shape[2]))
    sums = np.stack([weight[:, :, p].sum(axis=2) for p in parts], axis=2)

    def mean(value: np.ndarray) -> np.ndarray:
        flat = value.reshape(*weight.shape, -1)
        total = np.stack([(flat[:, :, p] * weight[:, :, p, None]).sum(axis=2) for p in parts], axis=2)
        return (total / np.maximum(sums, 1e-12)[..., None]).reshape(*sums.shape, *value.shape[3:])

    return mean(shift_mm), None if linear is None else mean(linear), sums


def strategy_timeline(strategy: Strategy, setting: Setting) -> Timeline:
    """Times of a fraction under a strategy."""
    beam_on_s = setting.session.beam_on_s(setting.fraction_gy)
    beam_s = strategy.motion.beam_time_s(beam_on_s, setting.planned)
    return setting.session.timeline(beam_s, strategy.guidance.image_every_s, setting.n_instants)


def beam_times_min(strategy: Strategy, setting: Setting) -> np.ndarray:
    """Times (fraction, instant) of the beam in minutes since the image, those that lie behind as they were delivered."""
    times = np.tile(strategy_timeline(strategy, setting).time_min, (setting.n_fractions, 1))
    if setting.treated is not None:
        times[: setting.treated.n_fractions] = strategy_timeline(setting.treated.strategy, setting).time_min
    return times


def _corrections_during_beam(
    strategy: Strategy,
    setting: Setting,
    draws: RandomNumbers,
    timeline: Timeline,
    left_mm: np.ndarray,
    moved_mm: np.ndarray,
    apart_mm: np.ndarray | None,
) -> np.ndarray:
    """Sum of the corrections after images during the beam, (course, fraction, instant, 3) in mm.

    Parameters
    ----------
    left_mm : (course, fraction, 3), what the match saw less the correction at the begin of the fraction.
    moved_mm : (course, fraction, instant, 3), how the matched anatomy has moved since; an image shows the instant
        before it.
    """
    total = np.zeros_like(moved_mm)
    for image in np.unique(timeline.image[timeline.image > 0]):
        first = int(np.argmax(timeline.image == image))
        before = moved_mm[:, :, first - 1] if first else np.zeros_like(left_mm)
        seen = left_mm + before - (total[:, :, first - 1] if first else 0.0)
        noise = replace(_guidance_noise(draws, setting, int(image)), apart_mm=apart_mm)
        total[:, :, first:] += strategy.guidance.correct_again(seen, noise)[:, :, None, :]
    return total


def _guidance_noise(draws: RandomNumbers, setting: Setting, image: int) -> GuidanceNoise:
    """Random numbers of an image: number 0 is that before the beam."""
    if image == 0:
        return GuidanceNoise(
            draws.normals(Stream.GUIDANCE, setting.n_fractions, 3), draws.normals(Stream.COUCH, setting.n_fractions, 3)
        )
    streams = (Stream.GUIDANCE_AGAIN, Stream.COUCH_AGAIN)
    match, couch = (draws.normals(s, setting.n_fractions, 3, of=f"image {image}") for s in streams)
    return GuidanceNoise(match, couch)


def _motion_noise(draws: RandomNumbers, strategy: Strategy, setting: Setting) -> MotionNoise:
    n = strategy.motion.n_noise(setting.session.beam_on_s(setting.fraction_gy))
    return MotionNoise(
        course=draws.normals(Stream.MOTION_COURSE, 2, 3),
        fraction=draws.normals(Stream.MOTION_FRACTION, n, setting.n_fractions, 3).swapaxes(1, 2),
        instant=draws.normals(Stream.MOTION_INSTANT, setting.n_fractions, setting.n_instants, 3),
    )


def _rotation(angle_deg: np.ndarray) -> np.ndarray:
    """Rotation matrices minus identity (..., 3, 3): about LR, then AP, then SI."""
    matrices = Rotation.from_euler("xyz", angle_deg.reshape(-1, 3), degrees=True).as_matrix()
    return matrices.reshape(*angle_deg.shape[:-1], 3, 3) - np.eye(3)


def _add(shifts: dict[str, np.ndarray], name: str, shift_mm: np.ndarray) -> None:
    shifts[name] = shifts[name] + shift_mm if name in shifts else shift_mm
