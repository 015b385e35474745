"""Setup error: where the whole patient lies relative to the plan."""

import numpy as np

from simulator.conventions import Stream
from simulator.spec import Field, Mm3, NonNegativeMm3, Spec
from simulator.uncertainty.source import RandomNumbers


class Setup(Spec):
    """Translation of the whole patient before any image guidance: N(mean, Σ²) per course plus N(0, σ²) per fraction.

    Source: van Herk 2000, doi:10.1016/S0360-3016(00)00518-6 (Σ and σ as population SD of means and RMS of SDs).
    """

    systematic_mm: NonNegativeMm3 = Field((0, 0, 0), description="Σ per axis (LR, AP, SI), one SD in mm")
    random_mm: NonNegativeMm3 = Field((0, 0, 0), description="σ per axis (LR, AP, SI), one SD in mm")
    mean_mm: Mm3 = Field((0, 0, 0), description="population mean per axis (LR, AP, SI) in mm, LPS signs")

    def draw(self, numbers: RandomNumbers, n_fractions: int) -> np.ndarray:
        """Displacement of the patient, float64 (course, fraction, 3) in mm."""
        course = np.asarray(self.mean_mm) + numbers.normals(Stream.SETUP_SYSTEMATIC, 3) * self.systematic_mm
        fraction = numbers.normals(Stream.SETUP_RANDOM, n_fractions, 3) * self.random_mm
        return course[:, None, :] + fraction

    def describe(self) -> str:
        """One sentence for the report."""
        return (
            f"Setup error of the whole patient: Σ = {_axes(self.systematic_mm)} mm, σ = {_axes(self.random_mm)} mm"
            + (f", mean {_axes(self.mean_mm)} mm" if any(self.mean_mm) else "")
            + " (LR, AP, SI; one standard deviation)."
        )


def _axes(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"
