"""Doses that were found before: cells are divided round after round, and most of their nodes stay.

What is known of a node is what it would receive again, bit for bit: on the same lattice, summed in the same order.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.accumulation.lattice import LatticePoints
from simulator.accumulation.points import PointDoses, ScatteredPoints
from simulator.accumulation.structure import StructureDoses, doses_of_cells
from simulator.sampling.tissue_motion import TissueMotion


@dataclass(frozen=True)
class _Known:
    """Doses of some points: float32 (course, point) in Gy of a few courses after the other.

    Parameters
    ----------
    number, place : of the points, see `LatticePoints.places`.
    """

    number: np.ndarray
    place: np.ndarray
    gy: list[np.ndarray]

    def columns(self, number: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which column is that of each point, and whether there is none yet."""
        order = np.argsort(self.number, kind="stable")
        at = np.searchsorted(self.number, number, sorter=order)
        column = order[np.minimum(at, len(order) - 1)]
        return column, np.any(self.place[column] != place, axis=1)


class _Recalled:
    """Points whose doses float32 (course, known point) in Gy are known, and which column is that of each."""

    def __init__(self, gy: np.ndarray, column: np.ndarray) -> None:
        self.n_points, self._gy, self._column = len(column), gy, column

    def accumulate(self, motion: TissueMotion, counted: np.ndarray | None = None) -> np.ndarray:
        """See `PointDoses`."""
        return self._gy[:, self._column]


class KnownDoses:
    """Doses of cells that change little from one time to the next, in the same courses."""

    def __init__(self, motions: Sequence[TissueMotion]) -> None:
        self._motions = [some for motion in motions for _, some in motion.in_parts()]
        self._known: dict[Hashable, _Known] = {}

    def of(self, doses: StructureDoses) -> Iterator[np.ndarray]:
        """What `StructureDoses.accumulate` gives for a few courses after the other."""
        earlier, self._known = self._known, {}
        found = [self._found(points, earlier) for points in doses.parts]
        for k, motion in enumerate(self._motions):
            parts = [points if known is None else _Recalled(known[0].gy[k], known[1]) for points, known in found]
            yield doses_of_cells(parts, doses.cells, motion)

    def _found(
        self, points: PointDoses, earlier: dict[Hashable, _Known]
    ) -> tuple[PointDoses, tuple[_Known, np.ndarray] | None]:
        """Some points, and where their doses are known; those that are new are found now, those of other kinds are not kept."""
        if not isinstance(points, LatticePoints | ScatteredPoints):
            return points, None
        key, (number, place) = points.summed_like, points.places
        known = earlier.get(key)
        if known is None:
            known, column = _Known(number, place, [points.accumulate(m) for m in self._motions]), np.arange(len(number))
        else:
            column, is_new = known.columns(number, place)
            if is_new.any():
                column[is_new] = len(known.number) + np.arange(is_new.sum())
                known = self._with(known, points.some(is_new), number[is_new], place[is_new])
        self._known[key] = known
        return points, (known, column)

    def _with(
        self, known: _Known, points: LatticePoints | ScatteredPoints, number: np.ndarray, place: np.ndarray
    ) -> _Known:
        return _Known(
            np.concatenate([known.number, number]),
            np.concatenate([known.place, place]),
            [np.concatenate([gy, points.accumulate(m)], axis=1) for gy, m in zip(known.gy, self._motions, strict=True)],
        )
