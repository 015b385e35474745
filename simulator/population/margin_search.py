"""The six margins that cost least among those that cover: the dose edge of one plan, moved with the PTV's surface.

Points of a structure in drawn courses meet a dose that depends on the depth inside the PTV and on the direction alone, as in
`simulator.population.edge_model`; margins are varied on the same courses, so that coverage is a smooth function of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq

from simulator.kernels.edges import doses_in_margins, offsets_of_points
from simulator.population.edge_model import Edge, at_largest, facing, points_of_ball

_STEP_MM, _EXACT, _MOST_STEPS = 0.25, 2e-4, 12
_SMOOTHED, _N_QUANTILES = 0.03, 9
_AT_ONCE, _N_POINTS = 50, 160

Map = Callable[[Callable[[int], None], range], Iterable[Any]]


@dataclass(frozen=True)
class Cloud:
    """Points of a structure in drawn courses, relative to the path that the planning target covers.

    Parameters
    ----------
    offset_mm : (course, point, k, 3). part : (course, point, k, 2), places in the edge's table.
    weight : (course, k). volume : (point,). radius_mm : of the planning target about its path.
    """

    offset_mm: np.ndarray
    part: np.ndarray
    weight: np.ndarray
    volume: np.ndarray
    radius_mm: float

    @classmethod
    def of_ball(
        cls, edge: Edge, shift_mm: np.ndarray, weight: np.ndarray, path_mm: np.ndarray, radius_mm: float, percent: float
    ) -> "Cloud":
        """Of a ball of which a part has to be covered; arguments as for `margins_of_shifts`."""
        points, share = points_of_ball(radius_mm, percent, _N_POINTS)
        return cls._placed(edge, shift_mm, weight, facing(shift_mm, weight, path_mm), points, share, path_mm, radius_mm)

    @classmethod
    def of_points(
        cls,
        edge: Edge,
        shift_mm: np.ndarray,
        weight: np.ndarray,
        points_mm: np.ndarray,
        volume: np.ndarray,
        path_mm: np.ndarray,
        radius_mm: float,
    ) -> "Cloud":
        """Of points (point, 3) about the target's centre, which hold some volume (point,)."""
        frame = np.repeat(np.eye(3)[None], len(shift_mm), axis=0)
        return cls._placed(edge, shift_mm, weight, frame, points_mm, volume, path_mm, radius_mm)

    @classmethod
    def _placed(
        cls,
        edge: Edge,
        shift_mm: np.ndarray,
        weight: np.ndarray,
        frame: np.ndarray,
        points_mm: np.ndarray,
        volume: np.ndarray,
        path_mm: np.ndarray,
        radius_mm: float,
    ) -> "Cloud":
        shape = len(shift_mm), len(points_mm), shift_mm.shape[1]
        offset, part = np.empty((*shape, 3)), np.zeros((*shape, 2), np.int64)
        offsets_of_points(
            np.ascontiguousarray(shift_mm, float), frame, np.ascontiguousarray(points_mm, float),
            np.ascontiguousarray(path_mm, float), *edge.table.shape[:2], offset, part,
        )  # fmt: skip
        return cls(offset, part, np.ascontiguousarray(weight), volume, radius_mm)

    def of_courses(self, courses: np.ndarray) -> "Cloud":
        """The same points in some of the courses."""
        return replace(self, offset_mm=self.offset_mm[courses], part=self.part[courses], weight=self.weight[courses])

    def doses(self, edge: Edge, sides_mm: np.ndarray, map_: Map = map) -> np.ndarray:
        """Dose (course, point) in units of the edge's wanted dose, for six margins.

        Parameters
        ----------
        map_ : applies a function to items, like `map`, in parallel where wanted.
        """
        dose, sides = np.empty(self.offset_mm.shape[:2]), np.maximum(np.asarray(sides_mm, float), 0.0)

        def some(first: int) -> None:
            at = slice(first, first + _AT_ONCE)
            doses_in_margins(
                edge.table, self.offset_mm[at], self.part[at], self.weight[at], self.radius_mm, sides, dose[at]
            )

        for _ in map_(some, range(0, len(dose), _AT_ONCE)):
            pass
        return dose

    def coldest(self, edge: Edge, sides_mm: np.ndarray, percent: float, map_: Map = map) -> np.ndarray:
        """Least dose (course,) to the hottest percent of the volume."""
        return -at_largest(-self.doses(edge, sides_mm, map_), self.volume, 1 - percent / 100)

    def hottest(self, edge: Edge, sides_mm: np.ndarray, part: float, map_: Map = map) -> np.ndarray:
        """Least dose (course,) to a hottest part, in the unit of `volume`."""
        return at_largest(self.doses(edge, sides_mm, map_), self.volume, part)


def slack(lowest: np.ndarray, coverage: float, kept: float = 1.0) -> float:
    """How far the dose that the wanted share of courses reaches lies above the wanted one, which is 1.

    The mean of quantiles around the wanted share: a single one could be flattered by margins that fit these courses alone.

    Parameters
    ----------
    lowest : least dose (course,) to the part of the target that has to be covered.
    kept : share of all courses that these are, the others being covered.
    """
    about = min(_SMOOTHED, (1 - coverage) / 2)
    missed = (1 - coverage + about * np.linspace(-1, 1, _N_QUANTILES)) / kept
    return float(np.quantile(lowest, np.minimum(missed, 1.0)).mean()) - 1.0


def size_that_covers(spare: Callable[[np.ndarray], float], shape: np.ndarray, largest_mm: float) -> np.ndarray | None:
    """Six margins in the proportions of a shape (6,) that just cover; None where the largest margin does not.

    Parameters
    ----------
    spare : `slack` of six margins.
    """
    most = largest_mm / float(shape.max())
    if spare(most * shape) < 0:
        return None
    if spare(0 * shape) >= 0:
        return 0 * shape
    return np.asarray(brentq(lambda size: spare(size * shape), 0.0, most, xtol=1e-3) * shape)


def least_of(
    cost: Callable[[np.ndarray], float],
    spares: list[Callable[[np.ndarray], float]],
    start_mm: np.ndarray,
    largest_mm: float,
) -> np.ndarray:
    """Six margins from 0 to the largest that cost least where nothing of `spares` is below 0.

    Sequential quadratic programming (Kraft 1988, in scipy) with differences over a quarter of a mm, wide enough for volumes
    counted on a lattice.

    Parameters
    ----------
    cost, spares : of six margins, of the order of 1. start_mm : margins that keep `spares`.
    """
    from scipy.optimize import minimize  # half a second to import, which few commands need

    found = minimize(
        cost,
        start_mm,
        method="SLSQP",
        bounds=[(0.0, largest_mm)] * 6,
        constraints={"type": "ineq", "fun": lambda m: np.array([spare(m) for spare in spares])},
        options={"eps": _STEP_MM, "ftol": _EXACT, "maxiter": _MOST_STEPS},
    )
    return np.clip(np.asarray(found.x, float), 0.0, largest_mm)
