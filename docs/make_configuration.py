"""Write reference/configuration.md from the schema of the study file: `python docs/make_configuration.py`."""

import re
import types
import typing
from pathlib import Path

from pydantic_core import PydanticUndefined

from simulator.ground.spec import Spec
from simulator.study_file.schema import StudyConfig

HERE = Path(__file__).parent
HEAD = """# The study file

Written by `docs/make_configuration.py` from the schema and the examples of `docs/keys.yaml`; a test keeps it in step. A study
is a YAML file; unknown keys are errors that suggest the nearest known one. Lengths are in mm, doses in Gy, angles in degrees;
per-axis values are (LR, AP, SI), and one number stands for all three. Numbers have bounds beyond which no clinic is; what
lies outside is an error. Relative paths start from the study file's folder. How goals are written: [goals](goals.md).

Each section shows its keys as they stand in a study; values are examples, not recommendations.

{contents}
"""


def specs_in(annotation: object) -> list[type[Spec]]:
    """Every parameter object that a type mentions, in order."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    found: list[type[Spec]] = []
    for part in typing.get_args(annotation):
        found += specs_in(part)
    return found


def shown_type(annotation: object) -> str:
    """A type as a reader of YAML thinks of it."""
    specs = specs_in(annotation)
    if specs:
        links = " or ".join(f"[{s.__name__}](#{s.__name__.lower()})" for s in dict.fromkeys(specs))
        return f"list of {links}" if typing.get_origin(annotation) is tuple else links
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return shown_type(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{p}`" for p in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(shown_type(p) for p in parts if p is not type(None))
    if origin is tuple:
        return f"list of {shown_type(parts[0])}" if Ellipsis in parts else f"{len(parts)} numbers"
    if origin is dict:
        return f"mapping of name to {shown_type(parts[1])}"
    return {float: "number", int: "whole number", str: "text", bool: "true or false", typing.Any: "any value"}.get(
        annotation, str(annotation)
    )  # type: ignore[call-overload]


def shown_bounds(annotation: object, metadata: typing.Iterable[object] = ()) -> str:
    """Least and greatest number that a type takes, the first that it mentions; nothing where it names none."""
    bounds = {
        name: value
        for mark in metadata
        for part in (mark, *getattr(mark, "metadata", ()))
        for name in ("ge", "gt", "le", "lt")
        if (value := getattr(part, name, None)) is not None
    }
    if not bounds:
        marks = getattr(annotation, "__metadata__", ())
        parts = typing.get_args(annotation)[:1] if marks else typing.get_args(annotation)
        return next((found for part in parts if (found := shown_bounds(part, marks))), "")
    low = f"{bounds['ge']:g}" if "ge" in bounds else f"above {bounds['gt']:g}"
    high = f"{bounds['le']:g}" if "le" in bounds else f"below {bounds['lt']:g}"
    return f", {low} to {high}"


def shown_default(field: object) -> str:
    """Default value, or that the key is required."""
    if field.default_factory is not None:  # type: ignore[attr-defined]
        value = field.default_factory()  # type: ignore[attr-defined]
        return "" if not value or isinstance(value, Spec) else f"`{shorten(value)}`"
    if field.default is PydanticUndefined:  # type: ignore[attr-defined]
        return "required"
    return "" if field.default is None else f"`{shorten(field.default)}`"  # type: ignore[attr-defined]


def shorten(value: object) -> str:
    """A default as it would stand in YAML."""
    if isinstance(value, Spec):
        return str(value.model_dump(mode="json"))
    if isinstance(value, tuple | list):
        return "[" + ", ".join(shorten(v) for v in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def examples() -> list[tuple[str, str]]:
    """Name of a parameter object, and a part of a study that has one, of every example in keys.yaml."""
    parts = re.split(r"^--- # (\w+)\n", (HERE / "keys.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def section(spec: type[Spec]) -> list[str]:
    """Heading, docstring, examples and table of one parameter object."""
    doc = (spec.__doc__ or "").strip()
    lines = [f"## {spec.__name__}", "", "\n".join(line.strip() for line in doc.splitlines()), ""]
    for text in (text for name, text in examples() if name == spec.__name__):
        lines += ["```yaml", text.rstrip(), "```", ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in spec.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        if typing.get_origin(field.annotation) is typing.Literal and len(typing.get_args(field.annotation)) == 1:
            meaning = meaning or "chooses this kind"
        bounds = "" if specs_in(field.annotation) else shown_bounds(field.annotation, field.metadata)
        lines.append(f"| `{name}` | {shown_type(field.annotation)}{bounds} | {shown_default(field)} | {meaning} |")
    return [*lines, ""]


def parameter_objects() -> list[type[Spec]]:
    """Every parameter object of a study, the study first."""
    found: list[type[Spec]] = [StudyConfig]
    for spec in found:
        for field in spec.model_fields.values():
            found += [inner for inner in dict.fromkeys(specs_in(field.annotation)) if inner not in found]
    return found


def specs_below(annotation: object) -> list[type[Spec]]:
    """Every parameter object that a type mentions, and those within them."""
    found = specs_in(annotation)
    for spec in found:
        found += [s for f in spec.model_fields.values() for s in specs_in(f.annotation) if s not in found]
    return list(dict.fromkeys(found))


def contents() -> str:
    """Under each key of a study the parameter objects that it may hold."""
    keys = {key: specs_below(field.annotation) for key, field in StudyConfig.model_fields.items()}
    lines = [
        f"- `{key}`: " + " · ".join(f"[{s.__name__}](#{s.__name__.lower()})" for s in specs)
        for key, specs in keys.items()
        if specs
    ]
    return "\n".join(["[StudyConfig](#studyconfig) is the whole study. Under its keys:", "", *lines])


def configuration_page() -> str:
    """The whole page."""
    lines = [line for spec in parameter_objects() for line in section(spec)]
    return "\n".join([HEAD.format(contents=contents()), *lines])


if __name__ == "__main__":
    (HERE / "reference" / "configuration.md").write_text(configuration_page(), encoding="utf-8")
