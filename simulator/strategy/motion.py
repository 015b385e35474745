"""Motion management: what is planned on, when the beam is on, and how the beam follows the target.

A new kind is a subclass of `MotionKind` in a file of its own, and a word in the union below.
"""

from typing import Annotated

from simulator.ground.spec import Field
from simulator.strategy.breath_hold import BreathHold
from simulator.strategy.free_breathing import Compression, InternalTargetVolume, MidVentilation, NoMotionManagement
from simulator.strategy.gating import Gating
from simulator.strategy.managing import Managed, MotionNoise
from simulator.strategy.tracking import Tracking

__all__ = [
    "BreathHold",
    "Compression",
    "Gating",
    "InternalTargetVolume",
    "Managed",
    "MidVentilation",
    "Motion",
    "MotionNoise",
    "NoMotionManagement",
    "Tracking",
]

Motion = Annotated[
    NoMotionManagement | InternalTargetVolume | MidVentilation | Gating | BreathHold | Tracking | Compression,
    Field(discriminator="kind"),
]
