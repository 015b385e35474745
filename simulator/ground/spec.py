"""Parameter objects and the errors that a user reads.

A `Spec` is frozen, keyword-only and validated: at once the YAML schema and the notebook vocabulary.
"""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, get_args

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
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = [
    "BeforeValidator",
    "CaseError",
    "ConfigError",
    "Deg3",
    "Discriminator",
    "Field",
    "Mm3",
    "NonNegativeFloat",
    "NonNegativeMm3",
    "PositionMm3",
    "PositiveFloat",
    "PositiveInt",
    "PrivateAttr",
    "SdDeg3",
    "SimulatorError",
    "Spec",
    "Tag",
    "did_you_mean",
    "field_validator",
    "model_validator",
    "require_named",
]


_TRUTH = "a number or a name (in quotes) is wanted"


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The end of a message about a name that is not known: the known one most like it, if any is."""
    near = difflib.get_close_matches(name, known, 1, likeness)
    return f"; did you mean {near[0]!r}?" if near else ""


class SimulatorError(Exception):
    """Something the user can mend; the command line prints the message alone and exits with 2."""


class ConfigError(SimulatorError):
    """The study file asks for something impossible or unknown."""


class CaseError(SimulatorError):
    """The patient data are incomplete, inconsistent or of an unsupported kind."""


class Spec(BaseModel):
    """Base of every parameter object; every number has bounds beyond which no clinic is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, raw: Any) -> Any:
        fields = cls.model_fields.items() if isinstance(raw, dict) else ()
        wrong = [
            InitErrorDetails(type=PydanticCustomError("truth", _TRUTH), loc=(key,), input=truth)
            for key, field in fields
            if (truth := _first_truth(raw.get(key))) is not None and not _mentions_truth(field.annotation)
        ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return raw


def require_named(kind: Spec, moved: Iterable[str], named: Iterable[str]) -> None:
    """Refuse a kind that moves structures which it does not name: they would be neither checked nor moved in dose maps."""
    if unnamed := sorted(set(moved) - set(named)):
        raise NotImplementedError(f"{type(kind).__name__}.moving has to name {', '.join(unnamed)}, which it moves")


def _three_axes(value: Any) -> Any:
    """One number means the same on all three axes."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value, value, value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple) and len(value) != 3:
        raise ValueError(f"3 values wanted (LR, AP, SI), got {len(value)}: {list(value)}")
    return value


def _first_truth(value: Any) -> bool | None:
    """The first true or false in nested lists and mappings."""
    if isinstance(value, bool):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for v in inner if (found := _first_truth(v)) is not None), None)


def _mentions_truth(annotation: Any) -> bool:
    """Whether a type is made of bool, of anything, or of parameter objects, which look at their own keys."""
    if annotation in (bool, Any) or (isinstance(annotation, type) and issubclass(annotation, Spec)):
        return True
    return any(_mentions_truth(part) for part in get_args(annotation))


_Shift = Annotated[float, Field(ge=-100, le=100)]
_Length = Annotated[float, Field(ge=0, le=50)]
_Position = Annotated[float, Field(ge=-5000, le=5000)]
_Angle = Annotated[float, Field(ge=-360, le=360)]
_Turn = Annotated[float, Field(ge=0, le=20)]
Mm3 = Annotated[
    tuple[_Shift, _Shift, _Shift],
    BeforeValidator(_three_axes, json_schema_input_type=_Shift | tuple[_Shift, _Shift, _Shift]),
]
NonNegativeMm3 = Annotated[
    tuple[_Length, _Length, _Length],
    BeforeValidator(_three_axes, json_schema_input_type=_Length | tuple[_Length, _Length, _Length]),
]
PositionMm3 = Annotated[
    tuple[_Position, _Position, _Position],
    BeforeValidator(_three_axes, json_schema_input_type=_Position | tuple[_Position, _Position, _Position]),
]
Deg3 = Annotated[
    tuple[_Angle, _Angle, _Angle],
    BeforeValidator(_three_axes, json_schema_input_type=_Angle | tuple[_Angle, _Angle, _Angle]),
]
SdDeg3 = Annotated[
    tuple[_Turn, _Turn, _Turn], BeforeValidator(_three_axes, json_schema_input_type=_Turn | tuple[_Turn, _Turn, _Turn])
]
