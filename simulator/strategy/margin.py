"""Margins: how far the PTV reaches beyond the planning target."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from scipy.stats import chi, norm

from simulator.spec import Field, NonNegativeFloat, NonNegativeMm3, Spec


@dataclass(frozen=True)
class Spread:
    """Standard deviations per axis (LR, AP, SI) in mm that a margin has to cover."""

    systematic_mm: np.ndarray
    random_mm: np.ndarray


class FixedMargin(Spec):
    """The same margin for every patient, isotropic or one value per axis."""

    recipe: Literal["fixed"] = "fixed"
    margin_mm: NonNegativeMm3 = Field(description="margin per axis (LR, AP, SI) in mm; one number for all axes")

    def margin(self, spread: Spread) -> np.ndarray:
        """Margin per axis (3,) in mm; errors do not enter."""
        return np.asarray(self.margin_mm, float)

    def label(self) -> str:
        """Short name for tables."""
        values = sorted(set(self.margin_mm))
        return f"{values[0]:g} mm" if len(values) == 1 else "/".join(f"{m:g}" for m in self.margin_mm) + " mm"


class VanHerkMargin(Spec):
    """M = α Σ + β sqrt(σ² + σp²) - β σp per axis: the stated share of patients gets at least the isodose at the edge.

    α is the quantile of the chi distribution with 3 degrees of freedom, β the standard-normal quantile of the isodose
    (of the plateau) that must cover the target. Derived for large targets and many fractions: spheres of 5-20 mm
    radius reach 84-89 % where the recipe says 90 %.

    Source: van Herk 2000, doi:10.1016/S0360-3016(00)00518-6.
    """

    recipe: Literal["van-herk"] = "van-herk"
    coverage_percent: Annotated[float, Field(gt=0, lt=100)] = Field(90.0, description="share of patients in percent")
    isodose_percent: Annotated[float, Field(ge=50, lt=100)] = Field(
        95.0, description="isodose (percent of the plateau) that has to enclose the target"
    )
    penumbra_sd_mm: NonNegativeFloat = Field(3.2, description="penumbra σp in mm (3.2 in water, 6.4 in lung)")

    def margin(self, spread: Spread) -> np.ndarray:
        """Margin per axis (3,) in mm."""
        alpha = chi.ppf(self.coverage_percent / 100, 3)
        beta = norm.ppf(self.isodose_percent / 100)
        blurred_mm = np.hypot(spread.random_mm, self.penumbra_sd_mm)
        return alpha * spread.systematic_mm + beta * (blurred_mm - self.penumbra_sd_mm)

    def label(self) -> str:
        """Short name for tables."""
        return "van Herk" if self.coverage_percent == 90 else f"van Herk {self.coverage_percent:g} %"


Margin = Annotated[FixedMargin | VanHerkMargin, Field(discriminator="recipe")]
