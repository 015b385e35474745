"""Arcs that treat several targets at once, about their common centre.

At every control point all targets are open at once, each as far as apertures of its own would open on it. A leaf pair that
several targets meet opens only once: from the first of their edges to the last, over whatever lies between. Pairs that meet
none stay closed. Where prescriptions or depths differ, no weight of such apertures alone gives every target its own: then
further passes of the same arcs open on one target each. D95% of every PTV is its prescription, of which the shared
apertures give as much as they can.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq, root

from simulator.ground.spec import CaseError
from simulator.plan.beam_model import Apertures
from simulator.plan.quality import hottest_gy
from simulator.plan.targets import TargetVolume

_COVERED_PERCENT: Final = 95.0
_TOLERANCE: Final = 1e-4
_NOTHING: Final = 1e-6


@dataclass(frozen=True)
class AllTargets:
    """What beams aim at that treat several targets: their common centre (3,), and the surfaces (n, 3) of all."""

    centroid_mm: np.ndarray
    surface_mm: np.ndarray

    @classmethod
    def of(cls, targets: Sequence[TargetVolume]) -> "AllTargets":
        """Some planning targets."""
        centre_mm = np.mean([target.centroid_mm for target in targets], axis=0)
        return cls(centre_mm, np.concatenate([target.surface_mm for target in targets]))


def factors_for_all(
    gy: Sequence[np.ndarray], volume: Sequence[np.ndarray], wanted_gy: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """What the doses of the shared apertures, and of those of each target alone, are multiplied by, (1 + target,).

    Parameters
    ----------
    gy : by target, doses (1 + target, point) in its PTV of the shared apertures and of those of each target.
    volume : by target, that the points stand for. wanted_gy : (target,), of D95%.

    Raises
    ------
    CaseError : the others give a target more than is prescribed, or no weights give all what they want.
    """

    def covering(doses: np.ndarray, target: int) -> float:
        return hottest_gy(doses, volume[target], _COVERED_PERCENT)

    n = len(wanted_gy)
    shared = min(wanted_gy[k] / covering(gy[k][0], k) for k in range(n))
    alone = np.array([wanted_gy[k] / covering(gy[k][1 + k], k) for k in range(n)])
    unit = np.array([shared, *alone])

    def lacking(own: np.ndarray, together: float) -> np.ndarray:
        """By target, D95% short of the wanted one, over that, where the shared apertures have a share of what they may give."""
        factor = unit * np.array([together, *own])
        return 1 - np.array([covering(factor @ gy[k], k) for k in range(n)]) / wanted_gy

    def own_shares(together: float) -> np.ndarray:
        return np.asarray(root(lacking, np.full(n, 1 - together), (together,), tol=_TOLERANCE / 10).x)

    def least(together: float) -> float:
        return float(own_shares(together).min())

    if least(0.0) < 0:
        raise CaseError(
            f"targets.{names[int(np.argmin(own_shares(0.0)))]}: the plans of the other targets give it more than its own "
            "prescription; prescribe more to it, or treat it in a study of its own"
        )
    together = 1.0 if least(1.0) >= 0 else float(brentq(least, 0.0, 1.0, xtol=_NOTHING))
    own = np.maximum(own_shares(together), 0.0)
    if np.abs(lacking(own, together)).max() > _TOLERANCE:
        raise CaseError(
            f"targets: no weights of shared and own apertures give all of {', '.join(names)} their prescriptions; write "
            "`arcs_for: each` under plan"
        )
    return unit * np.array([together, *np.where(own > _NOTHING, own, 0.0)])


def in_passes(apertures: Sequence[Apertures], factors: np.ndarray) -> Apertures:
    """One pass of the arcs after the other, each times its factor; without those that give nothing."""
    some = [(one, float(factor)) for one, factor in zip(apertures, factors, strict=True) if factor > 0]
    return Apertures(
        tuple(rows for one, _ in some for rows in one.rows),
        tuple(f * weight for one, f in some for weight in one.weight),
    )
