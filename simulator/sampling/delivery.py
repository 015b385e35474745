"""Delivery: where margin, motion management and guidance meet, and what they make of drawn courses."""

from dataclasses import dataclass, replace

import numpy as np

from simulator.ground.once import cached_property
from simulator.sampling.correcting import corrected, corrections_during_beam, guidance_noise
from simulator.sampling.courses import Courses, Setting
from simulator.sampling.seen import managed_breathing, moved_since, rotation_left, rotation_matrices, targets_seen_mm
from simulator.sampling.tissue_motion import TissueMotion
from simulator.strategy import Strategy
from simulator.strategy.motion import Managed
from simulator.strategy.session import Timeline

_QUIET_PARTS = 4


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
    drift_mm : (course, fraction, instant, 3), the part of it that is drift since the first image; None without drift.
    slow : structures that move by slow drift and filling alone within a fraction, of which a few instants stand for all of
        them; "" stands for bone.
    others : what follows in every fraction about further isocentres, each with an equal share of the time.
    in_time : the same courses with instants that follow each other in time, for structures `met_in_parts`; None where all
        meet the whole dose.
    """

    setting: Setting
    bone_mm: np.ndarray
    weight: np.ndarray
    rotation: np.ndarray | None
    internal_mm: dict[str, np.ndarray]
    scaling: dict[str, np.ndarray]
    drift_mm: np.ndarray | None = None
    slow: frozenset[str] = frozenset()
    others: tuple["Delivery", ...] = ()
    in_time: "Delivery | None" = None
    met_in_parts: frozenset[str] = frozenset()

    def motion(self, structure: str) -> TissueMotion:
        """Displacement of a structure; any other name stands for tissue at the isocentre."""
        if self.in_time is not None and structure in self.met_in_parts:
            return self.in_time.motion(structure)
        if self.others:
            return TissueMotion.in_turn([one.motion(structure) for one in (replace(self, others=()), *self.others)])
        if structure not in self.internal_mm and structure not in self.scaling and self.rotation is None:
            return self._bone_motion
        return self._motion(structure)

    def about(self, target: str) -> "Delivery":
        """What is delivered while a target's own plan is on: all of it where one isocentre serves all."""
        if not self.others:
            return self
        return next(one for one in (replace(self, others=()), *self.others) if one.setting.lead == target)

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
            None if self.drift_mm is None or other.drift_mm is None else joined(self.drift_mm, other.drift_mm),
            self.slow & other.slow,
        )


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


def deliver(courses: Courses, strategy: Strategy, setting: Setting) -> Delivery:
    """What a strategy makes of drawn courses, after the fractions that lie behind where there are some."""
    if setting.isocentres:
        return _about_each_isocentre(courses, strategy, setting)
    treated = setting.treated
    if treated is None or treated.is_continued_by(strategy):
        return _deliver(courses, strategy, setting)
    before = _deliver(courses, treated.strategy, setting)
    return before.followed_by(_deliver(courses, strategy, setting), treated.n_fractions)


@dataclass(frozen=True)
class _Moments:
    """When anything has a place in a fraction.

    Parameters
    ----------
    all_min : (moment,), ascending, since the first image. first, end : which of them are the instants of this beam.
    image : which one is this beam's own image; None where it is the first of all.
    """

    all_min: np.ndarray
    first: int = 0
    end: int | None = None
    image: int | None = None

    @property
    def beam(self) -> slice:
        """The instants of this beam."""
        return slice(self.first, self.end)


def _about_each_isocentre(courses: Courses, strategy: Strategy, setting: Setting) -> Delivery:
    """One isocentre after the other in every fraction, each with an image, a match and a couch position of its own."""
    settings = setting.about_each_isocentre()
    begin_min, all_min, n = 0.0, [], setting.n_instants
    for one in settings:
        timeline = strategy_timeline(strategy, one)
        all_min += [begin_min, *(begin_min + timeline.time_min)]
        begin_min += one.session.whole_min(timeline)
    first, *others = (
        _deliver(courses, strategy, one, _Moments(np.array(all_min), at + 1, at + 1 + n, at if at else None))
        for at, one in zip(range(0, len(all_min), n + 1), settings, strict=True)
    )
    return replace(first, others=tuple(others))


def _deliver(courses: Courses, strategy: Strategy, setting: Setting, moments: _Moments | None = None) -> Delivery:
    """The motion that a strategy manages, the couch it moves, the beam that may follow.

    Displacements are of tissue relative to the beam: where tissue goes counts positive, what couch and beam do about it
    counts negative.

    Parameters
    ----------
    moments : of a fraction with several beams and images; by default those of one image and one beam.
    """
    motion, guidance = strategy.motion, strategy.guidance
    timeline = strategy_timeline(strategy, setting)
    moments = moments or _Moments(timeline.time_min)
    time_min = np.broadcast_to(moments.all_min, (*courses.breathing.cycle.shape[:2], len(moments.all_min)))
    managed = managed_breathing(courses, strategy, setting)
    rotation = rotation_left(courses, guidance, setting)
    drifted = courses.drift.at(time_min) if courses.drift else np.zeros((*time_min.shape, 3))
    drift = drifted[:, :, moments.beam]
    if moments.image is not None:
        before = drifted[:, :, moments.image]
        courses, drift = replace(courses, patient_mm=courses.patient_mm + before), drift - before[:, :, None]
    lead_since = drift + courses.after_imaging_mm[setting.lead][:, :, None]

    seen, apart = courses.patient_mm, None
    if guidance.matches_target:
        seen, apart = targets_seen_mm(courses, strategy, setting, managed, rotation)
    seen_since = drift + moved_since(courses, guidance, setting) if guidance.matches_target else drift
    correction = corrected(seen, guidance, setting, replace(guidance_noise(courses.draws, setting, 0), apart_mm=apart))
    again = corrections_during_beam(strategy, setting, courses.draws, timeline, seen - correction, seen_since, apart)

    bone = courses.patient_mm[:, :, None] + drift
    bone = bone + courses.unseen_mm[:, None, None]
    bone = bone - correction[:, :, None]
    bone = bone - again
    if managed.followed_mm is not None:
        bone = bone - managed.followed_mm
        bone = bone - lead_since[:, :, timeline.first_since(motion.model_update_s)]
        bone = bone + again  # the beam knows how the couch moves under it

    internal, scaling = _within_patient(courses, managed, setting, time_min, moments.beam)
    slow: frozenset[str] = frozenset()
    if managed.followed_mm is None and timeline.n_images == 0:
        fast = {name for name, place in managed.position_mm.items() if np.any(place != place[:, :, :1])}
        fast |= {name for name, organ in courses.organs.items() if organ.steps is not None}
        slow = frozenset({"", *courses.within_mm, *courses.organs} - fast)
    rotation = _with_unseen(rotation, courses.unseen_deg, setting.n_fractions)
    weight = managed.weight / setting.n_fractions
    drift_mm = drifted[:, :, moments.beam] if courses.drift else None
    return Delivery(setting, bone, weight, rotation, internal, scaling, drift_mm, slow)


def _within_patient(
    courses: Courses, managed: Managed, setting: Setting, time_min: np.ndarray, beam: slice
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What structures move within the patient, and their linear size minus 1; see `Delivery`."""
    since = courses.after_imaging_mm
    internal, scaling = dict(managed.position_mm), {}
    for name, shift in courses.within_mm.items():
        _add(internal, name, (shift + since[name] if name in since else shift)[:, :, None])
    for name, shift in courses.misdrawn_mm.items():
        _add(internal, name, shift[:, None, None])
    for name, organ in courses.organs.items():
        own = organ.at(time_min)[:, :, beam]
        _add(internal, name, own + (organ.follows_after_imaging * since[setting.first])[:, :, None])
        size = organ.scaling(time_min, setting.volume_cc[name])
        if size is not None:
            scaling[name] = size[:, :, beam] - 1.0
    shape = (*time_min[:, :, beam].shape, 3)
    return {name: np.broadcast_to(shift, shape) for name, shift in internal.items() if np.any(shift)}, scaling


def _add(shifts: dict[str, np.ndarray], name: str, shift_mm: np.ndarray) -> None:
    shifts[name] = shifts[name] + shift_mm if name in shifts else shift_mm


def _with_unseen(rotation: np.ndarray | None, unseen_deg: np.ndarray | None, n_fractions: int) -> np.ndarray | None:
    """What is left of rotations and then what no image shows, as matrices minus identity; None without either."""
    if unseen_deg is None:
        return rotation
    unseen = rotation_matrices(np.repeat(unseen_deg[:, None], n_fractions, axis=1))
    return unseen if rotation is None else (np.eye(3) + unseen) @ (np.eye(3) + rotation) - np.eye(3)


def strategy_timeline(strategy: Strategy, setting: Setting) -> Timeline:
    """Times of a fraction under a strategy."""
    beam_on_s = setting.session.beam_on_s(setting.fraction_gy)
    beam_s = strategy.motion.beam_time_s(beam_on_s, setting.planned)
    return setting.session.timeline(beam_s, strategy.guidance.image_every_s, setting.n_instants)


def setting_in_time(setting: Setting, strategy: Strategy, apart_s: float) -> Setting:
    """The setting with instants of a strategy's beam that follow each other in time, at most so far apart."""
    n_instants = int(np.ceil(strategy_timeline(strategy, setting).beam_s / apart_s - 1e-9))
    finer = replace(setting, n_instants=max(1, n_instants))
    times_min = np.tile(strategy_timeline(strategy, finer).time_min, (finer.n_fractions, 1))
    return replace(finer, moment_s=60 * times_min)
