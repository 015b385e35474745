"""A kind of motion management that the simulator does not have."""

from typing import ClassVar, Literal

import numpy as np

from simulator.ground.spec import Field, Mm3
from simulator.strategy.managing import Breath, Managed, MotionKind, MotionNoise


class Frozen(MotionKind):
    """All that breathes lies still at exhale, and some structures lie elsewhere than they do in free breathing."""

    needs_breathing_to: ClassVar[str | None] = "freeze"
    kind: Literal["frozen"] = "frozen"
    elsewhere_mm: dict[str, Mm3] = Field(default_factory=dict, description="shift (LR, AP, SI) in mm by structure")

    def moving(self) -> dict[str, tuple[str, ...]]:
        """Those that lie elsewhere."""
        return {"elsewhere_mm": tuple(self.elsewhere_mm)}

    def path_mm(self, planned: Breath, target: str) -> np.ndarray:
        """The position at exhale."""
        return self.offset_mm(planned, target)[None]

    def offset_mm(self, planned: Breath, structure: str) -> np.ndarray:
        """The position at exhale, or elsewhere."""
        shift = np.asarray(self.elsewhere_mm.get(structure, (0, 0, 0)), float)
        if structure not in planned.names():
            return shift
        return planned.displacement_mm(structure)[0, 0][np.argmin(planned.depth()[0, 0])] + shift

    def manage(self, breathing: Breath, planned: Breath, target: str, noise: MotionNoise) -> Managed:
        """Everything where it was planned."""
        shape = breathing.breath.shape
        names = dict.fromkeys((target, *breathing.names(), *self.elsewhere_mm))
        return Managed(
            {name: np.broadcast_to(self.offset_mm(planned, name), (*shape, 3)) for name in names},
            np.full(shape, 1 / shape[2]),
            np.broadcast_to(self.offset_mm(planned, target), (*shape[:2], 3)),
        )

    def describe(self) -> str:
        """One sentence for the report."""
        return "frozen: everything lies still at exhale"
