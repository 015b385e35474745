"""Courses: a batch of drawn treatment courses, and what a strategy makes of them."""

from dataclasses import dataclass

import numpy as np

from simulator.conventions import Stream
from simulator.sampling.streams import Draws
from simulator.strategy import Strategy
from simulator.uncertainty import Uncertainty


@dataclass(frozen=True)
class Courses:
    """Where tissue is, before any strategy: every strategy meets these same courses.

    Parameters
    ----------
    patient_mm : (course, fraction, 3), displacement of the whole patient.
    internal_mm : by structure, (course, fraction, instant, 3), motion within the patient.
    match_noise : (course, fraction, 3), standard normal numbers for the image match.
    """

    patient_mm: np.ndarray
    internal_mm: dict[str, np.ndarray]
    match_noise: np.ndarray

    def target_position_mm(self, target: str) -> np.ndarray:
        """Time-averaged position of the target within the patient, (course, fraction, 3)."""
        if target in self.internal_mm:
            return self.internal_mm[target].mean(axis=2)
        return np.zeros_like(self.patient_mm)


def draw_courses(uncertainty: Uncertainty, target: str, n_fractions: int, n_instants: int, draws: Draws) -> Courses:
    """Draw every source of error of a run of courses."""
    patient = np.zeros((draws.n_courses, n_fractions, 3))
    internal: dict[str, np.ndarray] = {}
    if uncertainty.setup is not None:
        patient += uncertainty.setup.draw(draws, n_fractions)
    if uncertainty.respiration is not None:
        depth = uncertainty.respiration.draw_depth(draws, n_fractions, n_instants)
        for name, amplitude_mm in uncertainty.respiration.amplitudes_mm(target).items():
            if amplitude_mm.any():
                internal[name] = depth[..., None] * amplitude_mm
    return Courses(patient, internal, draws.normals(Stream.GUIDANCE, n_fractions, 3))


@dataclass(frozen=True)
class Delivery:
    """Courses as one strategy delivers them: displacement relative to the beam, u - b.

    Parameters
    ----------
    bone_mm : (course, fraction, 3), of all tissue that does not move within the patient.
    internal_mm : by structure, (course, fraction, instant, 3), what moves in addition.
    """

    bone_mm: np.ndarray
    internal_mm: dict[str, np.ndarray]

    def displacement_mm(self, structure: str) -> tuple[np.ndarray, np.ndarray]:
        """Displacements (course, k, 3) in mm of a structure and their weights (course, k), which sum to 1."""
        n_courses = len(self.bone_mm)
        moving = self.bone_mm[:, :, None, :]
        if structure in self.internal_mm:
            moving = moving + self.internal_mm[structure]
        shift = moving.reshape(n_courses, -1, 3)
        return shift, np.full(shift.shape[:2], 1.0 / shift.shape[1])


def deliver(courses: Courses, strategy: Strategy, target: str) -> Delivery:
    """Apply a strategy's guidance to drawn courses."""
    correction = strategy.guidance.correct(courses.patient_mm, courses.target_position_mm(target), courses.match_noise)
    return Delivery(courses.patient_mm - correction, courses.internal_mm)
