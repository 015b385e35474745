"""Draws and deliveries of one strategy, for tests without a case."""

import numpy as np

from simulator.sampling.courses import Setting, draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws
from simulator.strategy import Strategy
from simulator.strategy.guidance import NoGuidance
from simulator.strategy.margin import FixedMargin
from simulator.strategy.motion import NoMotionManagement
from simulator.strategy.session import Session


def setting(uncertainty, *, n_fractions=3, n_instants=20, session=None, centres=None, isocentre=(0, 0, 0), others=None):
    """A target GTV at the isocentre, a SpinalCord and a Bladder of 100 cc elsewhere; `others` are further targets."""
    centre_mm = {"GTV": np.zeros(3), "SpinalCord": np.array([0.0, 30, 0]), "Bladder": np.array([0.0, 0, -60])}
    respiration = uncertainty.respiration
    return Setting(
        uncertainty=uncertainty,
        session=session or Session(),
        targets={"GTV": uncertainty} | (others or {}),
        n_fractions=n_fractions,
        n_instants=n_instants,
        fraction_gy=10.0,
        centre_mm=centre_mm | (centres or {}),
        volume_cc=dict.fromkeys((*uncertainty.organs, "Bladder"), 100.0),
        isocentre_mm=np.asarray(isocentre, float),
        waveform=respiration.waveform("GTV") if respiration else None,
    )


def strategy(motion=None, guidance=None, margin_mm=5):
    """One strategy; no management of motion and no guidance by default."""
    return Strategy(
        margin=FixedMargin(margin_mm=margin_mm),
        motion=motion or NoMotionManagement(),
        guidance=guidance or NoGuidance(),
    )


def drawn(uncertainty, *, n_courses=4, seed=1, **parameters):
    """Courses and their setting."""
    place = setting(uncertainty, **parameters)
    return draw_courses(place, Draws(seed, 0, n_courses)), place


def delivered(uncertainty, motion=None, guidance=None, **parameters):
    """What a strategy makes of drawn courses."""
    courses, place = drawn(uncertainty, **parameters)
    return deliver(courses, strategy(motion, guidance), place)


def by_fraction(delivery, structure):
    """Displacement (course, fraction, instant, 3) in mm of a structure relative to the beam."""
    shift = delivery.bone_mm
    return shift + delivery.internal_mm[structure] if structure in delivery.internal_mm else shift
