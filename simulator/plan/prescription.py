"""The prescription of a course."""

from typing import Annotated

from simulator.ground.spec import Field, Spec


class Prescription(Spec):
    """Dose of the whole course, number of fractions, and the isodose to which the dose is prescribed."""

    dose_gy: Annotated[float, Field(ge=0.1, le=300)] = Field(description="prescribed dose of the whole course in Gy")
    fractions: Annotated[int, Field(ge=1, le=100)] = Field(description="number of fractions")
    isodose_percent: Annotated[float, Field(ge=30, le=100)] = Field(
        80.0, description="prescription isodose in percent of the maximum dose (RTOG 0813/0915 allow 60-90)"
    )
    overrides_plan: bool = Field(
        False, description="keep the study's dose and fractions where the RTPLAN of an imported dose has others"
    )

    def describe(self) -> str:
        """A phrase."""
        return f"{self.dose_gy:g} Gy in {self.fractions} fractions on the {self.isodose_percent:g} % isodose"

    @property
    def highest_gy(self) -> float:
        """Maximum dose in Gy that the prescription isodose implies."""
        return self.dose_gy / (self.isodose_percent / 100)
