"""Courses: a batch of drawn treatment courses, before any strategy."""

from dataclasses import dataclass, field, replace

import numpy as np

from simulator.sampling.streams import TargetDraws
from simulator.strategy.margin import WATER_PENUMBRA_MM
from simulator.strategy.observed import Treated
from simulator.strategy.session import Session
from simulator.uncertainty import Uncertainty
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.breathing import Breathing, Waveform
from simulator.uncertainty.drift import DriftPath
from simulator.uncertainty.organs import OrganPath
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.source import RandomNumbers


@dataclass(frozen=True)
class Isocentre:
    """That of one target's own plan: its place (3,) in mm, and what the plan gives in a fraction in Gy."""

    place_mm: np.ndarray
    fraction_gy: float


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
    isocentres : by target, where each is treated about an isocentre of its own, one after the other; empty where one serves
        all.
    matched : the target that images are matched on; the first by default. number : of this isocentre among several, from 0.
    moment_s : times (fraction, instant) of the instants since the image in s, where breathing is a path in time; None where
        instants sample it evenly, in any order.
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
    isocentres: dict[str, Isocentre] = field(default_factory=dict)
    matched: str = ""
    number: int = 0
    moment_s: np.ndarray | None = None
    planned: Breathing = field(init=False)

    def __post_init__(self) -> None:
        respiration = self.uncertainty.respiration or Respiration()
        waveform = self.waveform or respiration.waveform(self.lead)
        object.__setattr__(self, "waveform", waveform)
        object.__setattr__(self, "planned", respiration.planned(waveform))

    @property
    def first(self) -> str:
        """Target number 0, which organs follow."""
        return next(iter(self.targets))

    @property
    def lead(self) -> str:
        """The target that images are matched on and motion management acts on."""
        return self.matched or self.first

    @property
    def n_moments(self) -> int:
        """Times of a fraction at which anything has a place: instants of the beam, and images before each of several beams."""
        return len(self.isocentres) * (self.n_instants + 1) or self.n_instants

    def about_each_isocentre(self) -> list["Setting"]:
        """This setting about each of its isocentres, in the order of the targets."""
        return [self.about(target) for target in self.isocentres] or [self]

    def about(self, target: str) -> "Setting":
        """The setting in which a target is treated by its own plan."""
        if not self.isocentres:
            return self
        own = self.isocentres[target]
        return replace(
            self,
            isocentres={},
            matched=target,
            number=list(self.isocentres).index(target),
            isocentre_mm=own.place_mm,
            fraction_gy=own.fraction_gy,
        )

    def numbers_named(self, name: str = "") -> str:
        """A name of random numbers that each isocentre has its own of."""
        return name if self.number == 0 else f"isocentre {self.number}/{name}"

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
    imaged_breathing : where images show the breathing; None where they show it as the beam meets it.
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
    imaged_breathing: Breathing | None = None


def draw_courses(setting: Setting, draws: RandomNumbers) -> Courses:
    """Draw every source of error of a run of courses."""
    u, n_fractions, n_instants = setting.uncertainty, setting.n_fractions, setting.n_instants
    n_moments = setting.n_moments
    lead_course, lead_fraction = (setting.targets[setting.first].baseline or Baseline()).followed(draws, n_fractions)
    own = {name: (errors, setting.numbers_of(name, draws)) for name, errors in setting.targets.items()}
    moved = {name: errors.within_mm(numbers, n_fractions, name) for name, (errors, numbers) in own.items()}
    assert setting.waveform is not None
    respiration = u.respiration or Respiration()
    breathing, imaged = respiration.draw(draws, setting.waveform, n_fractions, n_instants), None
    if setting.moment_s is not None:
        breathing, imaged = respiration.draw_in_time(draws, setting.waveform, setting.moment_s), breathing
    return Courses(
        patient_mm=u.patient_mm(draws, n_fractions),
        drift=u.drift.draw(draws, n_fractions, n_moments) if u.drift else None,
        rotation_deg=u.setup.draw_rotation(draws, n_fractions) if u.setup and u.setup.rotates else None,
        within_mm=moved[setting.lead] | {name: shift[name] for name, shift in moved.items()},
        after_imaging_mm={
            name: errors.after_imaging_mm(numbers, n_fractions) for name, (errors, numbers) in own.items()
        },
        breathing=breathing,
        organs={
            name: organ.draw(draws, name, lead_course, lead_fraction, n_moments) for name, organ in u.organs.items()
        },
        misdrawn_mm={name: errors.misdrawn_mm(numbers) for name, (errors, numbers) in own.items()},
        unseen_mm=u.unseen_mm(draws),
        unseen_deg=u.isocentre.unseen_deg(draws) if u.isocentre and u.isocentre.rotates else None,
        draws=draws,
        imaged_breathing=imaged,
    )
