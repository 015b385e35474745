"""Two kinds of margin that the simulator does not have."""

from typing import ClassVar, Literal, Self

import numpy as np

from simulator.ground.spec import Field
from simulator.strategy.margin import MarginRecipe, PerAxisMargin, Spread


class AllRound(MarginRecipe):
    """The same distance in all directions."""

    is_constant: ClassVar[bool] = True
    recipe: Literal["all-round"] = "all-round"
    length_mm: float = Field(description="margin in mm")

    def label(self) -> str:
        """Short name for tables."""
        return f"all round {self.length_mm:g} mm"

    def directions(self, spread: Spread) -> np.ndarray:
        """Margin (3, 2) in mm; errors do not enter."""
        return np.full((3, 2), self.length_mm)


class ThreeSigma(PerAxisMargin):
    """M = 3 Σ, of errors that are twice as large as they are."""

    recipe: Literal["three-sigma"] = "three-sigma"

    def margin(self, spread: Spread) -> np.ndarray:
        """Margin per axis (3,) in mm."""
        return 3 * self.counted(spread).systematic_mm

    @classmethod
    def counted(cls, spread: Spread) -> Spread:
        """Twice the errors."""
        return Spread(2 * spread.systematic_mm, 2 * spread.random_mm, spread.n_fractions, spread.penumbra_sd_mm)

    @classmethod
    def published(cls, coverage_percent: float, isodose_percent: float) -> dict[str, Self | None]:
        """Whatever the coverage and the isodose."""
        return {"three sigma": cls()}

    def label(self) -> str:
        """Short name for tables."""
        return "three sigma"
