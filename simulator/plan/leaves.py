"""Leaf positions and weights of arcs, optimised: direct aperture optimisation (Shepard 2002, doi:10.1118/1.1477415).

Every beam opens one or two apertures of its multileaf collimator. The dose of some points follows from leaves and weights in
closed form (`simulator.kernels.apertures`), and so do the slopes of what it is penalised for; L-BFGS-B (Byrd 1995,
doi:10.1137/0916069) finds the next minimum. No random number enters: the same problem has the same solution, to the bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.optimize import minimize

from simulator.kernels.apertures import add_fields, blur_apertures, leaf_slopes, pull_fields
from simulator.plan.penalties import Penalty, sum_of

_TAIL_SD: Final = 4.0
_LEAF_SCALE_MM: Final = 10.0
_TRAVEL_WEIGHT: Final = 1e-4


@dataclass(frozen=True)
class Leaves:
    """Apertures of beams whose leaf pairs stand at the same places.

    Parameters
    ----------
    edge_mm : (row + 1,), borders of leaf pairs along the rotation axis. low_mm, high_mm : (beam, pass, row), their ends.
    weight : (beam, pass).
    """

    edge_mm: np.ndarray
    low_mm: np.ndarray
    high_mm: np.ndarray
    weight: np.ndarray

    def scaled(self, factor: float) -> "Leaves":
        """With all weights times a factor."""
        return replace(self, weight=factor * self.weight)


@dataclass(frozen=True)
class Machine:
    """What a linear accelerator can do.

    Parameters
    ----------
    travel_mm : (beam,), by how much leaves may move from each beam to the next; inf after the last of an arc.
    weights : least and largest weight of an aperture, relative to the mean.
    """

    travel_mm: np.ndarray
    weights: tuple[float, float]

    @classmethod
    def without_limits(cls, n_beams: int) -> "Machine":
        """One that can do anything."""
        return cls(np.full(n_beams, np.inf), (0.0, np.inf))


@dataclass(frozen=True)
class Blur:
    """A Gaussian of the beam model: its standard deviation, the step of pixels, and its share float32 (point,) in the dose."""

    sd_mm: float
    step_mm: float
    share: np.ndarray


@dataclass(frozen=True)
class SeenPoints:
    """Points as the beams see them.

    Parameters
    ----------
    seen_mm : (beam, point, 2) as (v, u). open_dose : float32 (beam, point), of a wide open field.
    reach_mm : lower and upper (v, u) of what apertures may open.
    besides_gy : (point,), what other plans give.
    """

    seen_mm: np.ndarray
    open_dose: np.ndarray
    blurs: tuple[Blur, ...]
    reach_mm: tuple[np.ndarray, np.ndarray]
    besides_gy: np.ndarray

    def some(self, kept: np.ndarray) -> "SeenPoints":
        """Some of the points, by index (n,)."""
        blurs = tuple(replace(blur, share=blur.share[kept]) for blur in self.blurs)
        return replace(
            self,
            seen_mm=self.seen_mm[:, kept].copy(),
            open_dose=self.open_dose[:, kept].copy(),
            blurs=blurs,
            besides_gy=self.besides_gy[kept],
        )

    def dose(self, leaves: Leaves) -> np.ndarray:
        """Doses float64 (point,), with those of other plans."""
        dose = self.besides_gy.copy()
        opened = leaves.low_mm, leaves.high_mm, leaves.weight
        for blur in self.blurs:
            v, u = self._pixels(blur)
            fields = np.empty((len(self.open_dose), len(v), len(u)), np.float32)
            blur_apertures(leaves.edge_mm, *opened, blur.sd_mm, v, u, fields)
            first = np.array([v[0], u[0]])
            add_fields(fields, first, blur.step_mm, self.seen_mm, self.open_dose, blur.share, dose)
        return dose

    def slopes(self, leaves: Leaves, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes by low, high and weight of a function with slopes (point,) by the doses."""
        opened = leaves.low_mm, leaves.high_mm, leaves.weight
        by_low, by_high, by_weight = (np.zeros_like(a) for a in opened)
        for blur in self.blurs:
            v, u = self._pixels(blur)
            pull = np.empty((len(self.open_dose), len(v), len(u)), np.float32)
            first = np.array([v[0], u[0]])
            pull_fields(slope, first, blur.step_mm, self.seen_mm, self.open_dose, blur.share, pull)
            leaf_slopes(leaves.edge_mm, *opened, blur.sd_mm, v, u, pull, by_low, by_high, by_weight)
        return by_low, by_high, by_weight

    def _pixels(self, blur: Blur) -> tuple[np.ndarray, np.ndarray]:
        """Pixels along v and u, out to where a blurred aperture ends."""
        border = _TAIL_SD * blur.sd_mm
        first = np.floor((self.reach_mm[0] - border) / blur.step_mm)
        last = np.ceil((self.reach_mm[1] + border) / blur.step_mm)
        v, u = (blur.step_mm * np.arange(a, b + 1) for a, b in zip(first, last, strict=True))
        return v, u


def travel_penalty(mm: np.ndarray, travel_mm: np.ndarray) -> tuple[float, np.ndarray]:
    """Sum of squares of leaf travel beyond what is possible, and its slope by the leaf ends mm (beam, pass, row)."""
    moved = np.diff(mm, axis=0)
    beyond = np.sign(moved) * np.maximum(np.abs(moved) - travel_mm[:-1, None, None], 0)
    slope = np.zeros_like(mm)
    slope[1:] += 2 * beyond
    slope[:-1] -= 2 * beyond
    return float(np.sum(beyond**2)), slope


def optimised(
    points: SeenPoints,
    penalties: Sequence[Penalty],
    rx_gy: float,
    start: Leaves,
    machine: Machine,
    iterations: int,
) -> tuple[Leaves, float]:
    """Leaves and weights of a next minimum of the penalties, from a start; and their value there."""
    objective, pack, unpack = objective_of(points, penalties, rx_gy, start, machine)
    n_leaves, (least, most) = start.low_mm.size, machine.weights
    bounds = [(None, None)] * n_leaves + [(0.0, None)] * n_leaves + [(least, most)] * start.weight.size
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 20}
    found = minimize(objective, pack(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return unpack(found.x), float(found.fun)


def objective_of(
    points: SeenPoints, penalties: Sequence[Penalty], rx_gy: float, start: Leaves, machine: Machine
) -> tuple[
    Callable[[np.ndarray], tuple[float, np.ndarray]], Callable[[Leaves], np.ndarray], Callable[[np.ndarray], Leaves]
]:
    """The penalties and their slope by variables, and the way from leaves to variables and back.

    Variables are of similar size: centres and half widths of leaf pairs in cm, and weights relative to the mean.
    """
    shape, mean_weight = start.low_mm.shape, float(start.weight.mean())
    n_leaves = start.low_mm.size

    def pack(leaves: Leaves) -> np.ndarray:
        centre, half = 0.5 * (leaves.high_mm + leaves.low_mm), 0.5 * (leaves.high_mm - leaves.low_mm)
        parts = centre / _LEAF_SCALE_MM, half / _LEAF_SCALE_MM, leaves.weight / mean_weight
        return np.concatenate([part.ravel() for part in parts])

    def unpack(z: np.ndarray) -> Leaves:
        centre, half = (_LEAF_SCALE_MM * z[i * n_leaves : (i + 1) * n_leaves].reshape(shape) for i in range(2))
        weight = mean_weight * z[2 * n_leaves :].reshape(shape[:2])
        return Leaves(start.edge_mm, centre - half, centre + half, weight)

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        leaves = unpack(z)
        value, slope = sum_of(penalties, points.dose(leaves), rx_gy)
        by_low, by_high, by_weight = points.slopes(leaves, slope)
        for mm, by in ((leaves.low_mm, by_low), (leaves.high_mm, by_high)):
            beyond, push = travel_penalty(mm, machine.travel_mm)
            value += _TRAVEL_WEIGHT * beyond
            by += _TRAVEL_WEIGHT * push
        gradient = _LEAF_SCALE_MM * (by_high + by_low), _LEAF_SCALE_MM * (by_high - by_low), mean_weight * by_weight
        return value, np.concatenate([part.ravel() for part in gradient])

    return objective, pack, unpack
