"""Parameter objects and the errors that a user reads.

A `Spec` is frozen, keyword-only and validated: at once the YAML schema and the notebook vocabulary.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)

__all__ = [
    "CaseError",
    "ConfigError",
    "Discriminator",
    "Field",
    "Mm3",
    "NonNegativeFloat",
    "NonNegativeMm3",
    "PositiveFloat",
    "PositiveInt",
    "PrivateAttr",
    "SimulatorError",
    "Spec",
    "Tag",
    "field_validator",
    "model_validator",
]


class SimulatorError(Exception):
    """Something the user can mend; the command line prints the message alone and exits with 2."""


class ConfigError(SimulatorError):
    """The study file asks for something impossible or unknown."""


class CaseError(SimulatorError):
    """The patient data are incomplete, inconsistent or of an unsupported kind."""


class Spec(BaseModel):
    """Base of every parameter object."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _three_axes(value: Any) -> Any:
    """One number means the same on all three axes."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value, value, value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple) and len(value) != 3:
        raise ValueError(f"3 values wanted (LR, AP, SI), got {len(value)}: {list(value)}")
    return value


Mm3 = Annotated[tuple[float, float, float], BeforeValidator(_three_axes)]
NonNegativeMm3 = Annotated[tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat], BeforeValidator(_three_axes)]
