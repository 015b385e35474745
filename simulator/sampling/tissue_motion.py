"""Tissue motion: where one structure is relative to the beam, visit by visit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

COURSES_AT_ONCE = 32


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

    @classmethod
    def in_turn(cls, motions: Sequence["TissueMotion"]) -> "TissueMotion":
        """Motions of one structure that follow each other in every fraction, each with an equal share of the weight."""
        first, n = motions[0], motions[0].n_fractions

        def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
            of_fraction = [array.reshape(len(array), n, -1, *array.shape[2:]) for array in arrays]
            whole = np.concatenate(of_fraction, axis=2)
            return whole.reshape(len(whole), -1, *whole.shape[3:])

        linear = [motion.linear for motion in motions if motion.linear is not None]
        return cls(
            joined([motion.shift_mm for motion in motions]),
            joined([motion.weight / len(motions) for motion in motions]),
            joined(linear) if linear else None,
            first.centre_mm,
            n,
        )

    def in_parts(self, n: int = COURSES_AT_ONCE) -> Iterator[tuple[slice, "TissueMotion"]]:
        """A few courses after the other, and which they are, so that their doses stay at hand and need little memory."""
        for first in range(0, len(self.weight), n):
            few = slice(first, first + n)
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
