"""Margins: how far the PTV reaches beyond the planning target."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import numpy as np
from scipy.special import chdtri, ndtri

from simulator.ground.spec import Field, NonNegativeMm3, Spec, field_validator

_Margin = Annotated[float, Field(ge=0, le=50)]

WATER_PENUMBRA_MM = 3.2


def margin_read(value: Any) -> Any:
    """A margin as a study has it: a number, three numbers, a recipe's name or a mapping."""
    if isinstance(value, str):
        return {"recipe": value}
    if isinstance(value, int | float | list | tuple) and not isinstance(value, bool):
        return {"recipe": "fixed", "margin_mm": value}
    return value


@dataclass(frozen=True)
class Spread:
    """Standard deviations per axis (LR, AP, SI) in mm that a margin has to cover in a number of fractions.

    `penumbra_sd_mm` is that of the plan's dose edge.
    """

    systematic_mm: np.ndarray
    random_mm: np.ndarray
    n_fractions: int = 1
    penumbra_sd_mm: float = WATER_PENUMBRA_MM

    def plus(self, other: "Spread") -> "Spread":
        """Independent errors together."""
        return Spread(
            np.hypot(self.systematic_mm, other.systematic_mm),
            np.hypot(self.random_mm, other.random_mm),
            self.n_fractions,
            self.penumbra_sd_mm,
        )


class MarginRecipe(Spec):
    """A margin: numbers in, mm out.

    A new recipe has its name in `recipe: Literal["..."]`, `label`, and `directions`, or as a subclass of `PerAxisMargin`
    `margin`.

    Attributes
    ----------
    is_constant : whether it is a distance that no error changes, which its label then tells. Candidates of such margins
        give the required margin.
    """

    is_constant: ClassVar[bool] = False

    @abstractmethod
    def label(self) -> str:
        """Short name for tables."""

    @abstractmethod
    def directions(self, spread: Spread) -> np.ndarray:
        """Margin (3, 2) in mm: per axis (LR, AP, SI) towards negative and towards positive coordinates."""

    @property
    def named(self) -> frozenset[str]:
        """The targets that it has margins of their own for; none where it is one for all."""
        return frozenset()

    def of(self, target: str) -> "MarginRecipe":
        """That of one of several targets: the same for all, unless the recipe says otherwise."""
        return self

    @classmethod
    def counted(cls, spread: Spread) -> Spread:
        """The errors that the recipe's Σ and σ stand for."""
        return spread

    @classmethod
    def published(cls, coverage_percent: float, isodose_percent: float) -> dict[str, Self | None]:
        """What required margins are compared with, by name in tables: the recipe for a wanted coverage and the plan's isodose.

        None where there is no such margin.
        """
        return {}


class PerAxisMargin(MarginRecipe):
    """The same distance in both directions of an axis."""

    @abstractmethod
    def margin(self, spread: Spread) -> np.ndarray:
        """Margin (3,) per axis in mm."""

    def directions(self, spread: Spread) -> np.ndarray:
        """Margin (3, 2) in mm: per axis (LR, AP, SI) towards negative and towards positive coordinates."""
        return np.repeat(self.margin(spread)[:, None], 2, axis=1)


class FixedMargin(PerAxisMargin):
    """The same margin for every patient, isotropic or one value per axis."""

    is_constant: ClassVar[bool] = True
    recipe: Literal["fixed"] = "fixed"
    margin_mm: NonNegativeMm3 = Field(description="margin per axis (LR, AP, SI) in mm; one number for all axes")

    def margin(self, spread: Spread) -> np.ndarray:
        """Margin per axis (3,) in mm; errors do not enter."""
        return np.asarray(self.margin_mm, float)

    def label(self) -> str:
        """Short name for tables."""
        values = sorted(set(self.margin_mm))
        return f"{values[0]:g} mm" if len(values) == 1 else "/".join(f"{m:g}" for m in self.margin_mm) + " mm"


class AsymmetricMargin(MarginRecipe):
    """One margin for each of the six directions."""

    is_constant: ClassVar[bool] = True
    recipe: Literal["asymmetric"] = "asymmetric"
    right_mm: _Margin = Field(description="towards the patient's right in mm")
    left_mm: _Margin = Field(description="towards the patient's left in mm")
    anterior_mm: _Margin = Field(description="anterior in mm")
    posterior_mm: _Margin = Field(description="posterior in mm")
    inferior_mm: _Margin = Field(description="inferior in mm")
    superior_mm: _Margin = Field(description="superior in mm")

    def directions(self, spread: Spread) -> np.ndarray:
        """Margin (3, 2) in mm; errors do not enter."""
        return np.array(
            [
                [self.right_mm, self.left_mm],
                [self.anterior_mm, self.posterior_mm],
                [self.inferior_mm, self.superior_mm],
            ]
        )

    def label(self) -> str:
        """Short name for tables."""
        sides = (
            (self.right_mm, self.left_mm),
            (self.anterior_mm, self.posterior_mm),
            (self.inferior_mm, self.superior_mm),
        )
        if all(one == other for one, other in sides):
            return FixedMargin(margin_mm=tuple(one for one, _ in sides)).label()
        return " ".join(f"{k}{v:g}" for k, v in zip("RLAPIS", np.ravel(sides), strict=True)) + " mm"


class TargetMargins(MarginRecipe):
    """A margin for each of several targets, however their errors compare."""

    is_constant: ClassVar[bool] = True
    recipe: Literal["each"] = "each"
    targets: Annotated[
        dict[str, Annotated[FixedMargin | AsymmetricMargin, Field(discriminator="recipe")]], Field(min_length=2)
    ] = Field(description="by target a number of mm, three (LR, AP, SI) or six as in `asymmetric`")

    @field_validator("targets", mode="before")
    @classmethod
    def _accept_short_forms(cls, value: Any) -> Any:
        return {name: margin_read(one) for name, one in value.items()} if isinstance(value, dict) else value

    @property
    def named(self) -> frozenset[str]:
        """Those that it is for."""
        return frozenset(self.targets)

    def of(self, target: str) -> MarginRecipe:
        """Its own."""
        return self.targets[target]

    def directions(self, spread: Spread) -> np.ndarray:
        """The largest of any target, (3, 2) in mm."""
        return np.max([margin.directions(spread) for margin in self.targets.values()], axis=0)

    def label(self) -> str:
        """Short name for tables."""
        return "; ".join(f"{name} {margin.label()}" for name, margin in self.targets.items())


class VanHerkMargin(PerAxisMargin):
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
    penumbra_sd_mm: Annotated[float, Field(ge=0, le=30)] | None = Field(
        None,
        description="penumbra σp in mm (3.2 in water, 6.4 in lung); by default plan.penumbra_sd_mm, 3.2 if the plan has none",
    )

    def margin(self, spread: Spread) -> np.ndarray:
        """Margin per axis (3,) in mm."""
        alpha = np.sqrt(chdtri(3, 1 - self.coverage_percent / 100))
        beta = ndtri(self.isodose_percent / 100)
        penumbra_mm = spread.penumbra_sd_mm if self.penumbra_sd_mm is None else self.penumbra_sd_mm
        counted = self.counted(spread)
        return alpha * counted.systematic_mm + beta * (np.hypot(counted.random_mm, penumbra_mm) - penumbra_mm)

    @classmethod
    def published(cls, coverage_percent: float, isodose_percent: float) -> dict[str, Self | None]:
        """For 95 % of the plateau, and for the plan's own isodose: none where that is the maximum, which no margin holds."""
        return {
            "van Herk": cls(coverage_percent=coverage_percent),
            "van Herk, isodose of the plan": cls._at_isodose(coverage_percent, isodose_percent),
        }

    @classmethod
    def _at_isodose(cls, coverage_percent: float, isodose_percent: float) -> Self | None:
        if isodose_percent == 100:
            return None
        return cls(coverage_percent=coverage_percent, isodose_percent=max(50.0, isodose_percent))

    def label(self) -> str:
        """Short name for tables."""
        return "van Herk" if self.coverage_percent == 90 else f"van Herk {self.coverage_percent:g} %"


class FiniteFractionMargin(VanHerkMargin):
    """The van Herk recipe with the errors of a course of F fractions: Σ² + σ²/F and (1 - 1/F) σ².

    It still overstates coverage where random errors dominate: a ball of 15 mm with Σ = 1 and σ = 3 mm is covered in 70 % of
    courses of 5 fractions, and in 69 % of those of 30, where it says 90 %.

    Source: van Herk 2003 and Gordon & Siebers 2007 (as quoted in the reference sheet).
    """

    recipe: Literal["finite-fraction"] = "finite-fraction"  # type: ignore[assignment]

    @classmethod
    def counted(cls, spread: Spread) -> Spread:
        """Σ of a course's mean error, and σ about it."""
        n = spread.n_fractions
        systematic = np.sqrt(spread.systematic_mm**2 + spread.random_mm**2 / n)
        return replace(spread, systematic_mm=systematic, random_mm=spread.random_mm * np.sqrt(1 - 1 / n))

    @classmethod
    def published(cls, coverage_percent: float, isodose_percent: float) -> dict[str, Self | None]:
        """For the plan's own isodose."""
        return {"finite fractions, isodose of the plan": cls._at_isodose(coverage_percent, isodose_percent)}

    def label(self) -> str:
        """Short name for tables."""
        return super().label().replace("van Herk", "finite-fraction")


class StroomMargin(PerAxisMargin):
    """M = 2 Σ + 0.7 σ per axis: on average 99 % of the target gets at least 95 %.

    Small targets get less: with Σ = σ = 3 mm a ball of 25 mm gets 99.6 % on average, one of 15 mm 99.1 % and one of 10 mm
    98.4 %. How many courses cover the target is not asked.

    Source: Stroom 1999 (recipe as quoted in Radiat Oncol 2016 11:724, table 5).
    """

    recipe: Literal["stroom"] = "stroom"

    def margin(self, spread: Spread) -> np.ndarray:
        """Margin per axis (3,) in mm."""
        return 2 * spread.systematic_mm + 0.7 * spread.random_mm

    @classmethod
    def published(cls, coverage_percent: float, isodose_percent: float) -> dict[str, Self | None]:
        """Whatever the coverage and the isodose."""
        return {"Stroom": cls()}

    def label(self) -> str:
        """Short name for tables."""
        return "Stroom"


Margin = Annotated[
    FixedMargin | AsymmetricMargin | TargetMargins | VanHerkMargin | FiniteFractionMargin | StroomMargin,
    Field(discriminator="recipe"),
]


def published_recipes(
    coverage_percent: float, isodose_percent: float
) -> dict[str, tuple[type[MarginRecipe], Margin | None]]:
    """By name in tables, every kind's published recipes for a wanted coverage and the plan's isodose; see `MarginRecipe`."""
    return {
        name: (kind, recipe)
        for kind in get_args(get_args(Margin)[0])
        for name, recipe in kind.published(coverage_percent, isodose_percent).items()
    }
