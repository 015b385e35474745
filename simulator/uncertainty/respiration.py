"""Respiration: the breathing motion of the target and of the structures that move with it."""

from math import comb
from typing import Literal

import numpy as np

from simulator.conventions import Stream
from simulator.spec import Field, NonNegativeFloat, NonNegativeMm3, Spec
from simulator.uncertainty.source import RandomNumbers


class Respiration(Spec):
    """Lujan motion about the time-averaged position: u(t) = f A (cos^2n(pi t / tau - phi) - mean) towards inhale.

    A is the peak-to-peak amplitude per axis; f = f_course f_fraction is log-normal with mean 1 (never negative). Each
    fraction samples one breathing cycle at equispaced phases from a random starting phase, which gives the exact time
    average and variance for n < number of instants / 2. The planning anatomy is the time-averaged position.

    Source: Lujan 1999, doi:10.1118/1.598577; moments in closed form (mean C(2n,n)/4^n of A).
    """

    amplitude_mm: NonNegativeMm3 = Field(
        (0, 0, 0), description="peak-to-peak amplitude of the target per axis (LR, AP, SI) in mm"
    )
    n: Literal[1, 2, 3, 4] = Field(
        2, description="exponent of cos^2n; larger n dwells longer at exhale (1 suits gated treatments)"
    )
    course_cv: NonNegativeFloat = Field(
        0.0, description="coefficient of variation of the amplitude between courses (patients), log-normal"
    )
    fraction_cv: NonNegativeFloat = Field(
        0.0, description="coefficient of variation of the amplitude between fractions, log-normal"
    )
    inhale_direction: tuple[Literal[-1, 1], Literal[-1, 1], Literal[-1, 1]] = Field(
        (1, -1, -1), description="sign of the motion towards inhale per axis in LPS: left, anterior, inferior"
    )
    structures: dict[str, NonNegativeMm3] = Field(
        default_factory=dict,
        description="peak-to-peak amplitude per axis in mm of other structures that breathe in phase with the target",
    )

    @property
    def mean_depth(self) -> float:
        """Time-averaged depth of inhalation as a share of the amplitude, C(2n, n) / 4^n."""
        return comb(2 * self.n, self.n) / 4**self.n

    @property
    def depth_sd(self) -> float:
        """Standard deviation over time of the depth as a share of the amplitude."""
        return float(np.sqrt(comb(4 * self.n, 2 * self.n) / 16**self.n - self.mean_depth**2))

    def amplitudes_mm(self, target: str) -> dict[str, np.ndarray]:
        """Signed peak-to-peak vectors towards inhale (3,) in mm of every structure that breathes."""
        every = {target: self.amplitude_mm, **self.structures}
        return {name: np.multiply(a, self.inhale_direction) for name, a in every.items()}

    def draw_depth(self, numbers: RandomNumbers, n_fractions: int, n_instants: int) -> np.ndarray:
        """Depth about its time average, in units of the planning amplitude; float64 (course, fraction, instant)."""
        start = numbers.uniforms(Stream.RESPIRATION_PHASE, n_fractions)
        phase = np.pi * (start[..., None] + np.arange(n_instants) / n_instants)
        depth = np.cos(phase) ** (2 * self.n) - self.mean_depth
        course = _log_normal(numbers.normals(Stream.RESPIRATION_COURSE, 1), self.course_cv)
        fraction = _log_normal(numbers.normals(Stream.RESPIRATION_FRACTION, n_fractions), self.fraction_cv)
        return depth * (course * fraction)[..., None]

    def planning_path_mm(self, target: str, structure: str) -> np.ndarray:
        """Exhale and inhale positions at the planning amplitude, relative to the planning anatomy; (2, 3) in mm."""
        towards_inhale = self.amplitudes_mm(target)[structure]
        return np.array([-self.mean_depth * towards_inhale, (1 - self.mean_depth) * towards_inhale])

    def describe(self) -> str:
        """One sentence for the report."""
        amplitude = ", ".join(f"{a:g}" for a in self.amplitude_mm)
        others = f"; {', '.join(self.structures)} breathe with it" if self.structures else ""
        return (
            f"Respiration: Lujan cos^{2 * self.n} motion of the target, peak to peak ({amplitude}) mm (LR, AP, SI), "
            f"amplitude varying by {self.course_cv:.0%} between patients and {self.fraction_cv:.0%} between fractions"
            f"{others}."
        )


def _log_normal(standard_normal: np.ndarray, cv: float) -> np.ndarray:
    """Log-normal factors with mean 1 and the given coefficient of variation."""
    variance = np.log1p(cv**2)
    return np.exp(np.sqrt(variance) * standard_normal - variance / 2)
