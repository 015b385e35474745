"""YAML text into validated parameter objects, with errors that name file, line and key."""

import difflib
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from simulator.conventions import AXES
from simulator.spec import ConfigError, Spec

Checked = TypeVar("Checked", bound=Spec)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str, where: str) -> tuple[Any, dict[tuple, int]]:
    """The parsed document, and the line of each key path."""
    try:
        loader = _LOADER(text)
        root = loader.get_single_node()
        raw = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(
            f"{where}:{line}: YAML syntax: {error.problem}; check indentation, colons and brackets"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: YAML syntax: {error}") from None
    lines: dict[tuple, int] = {}
    if root is not None:
        _collect_lines(root, (), lines, where)
    return raw, lines


def _collect_lines(node: yaml.Node, path: tuple, lines: dict[tuple, int], where: str) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            if inner in lines:
                raise ConfigError(f"{where}:{key.start_mark.line + 1}: {'.'.join(map(str, inner))} is given twice")
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines, where)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _collect_lines(value, (*path, i), lines, where)


def override(raw: dict, key: str, value: Any) -> None:
    """Replace the value of a dotted key, making the mappings that lead to it."""
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            place[parent] = {}
        place = place[parent]
    place[last] = value


def parse_value(text: str) -> Any:
    """A value given on the command line, read as YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set: {text!r} is not a YAML value") from None


def to_yaml(raw: Any) -> str:
    """Plain data as YAML text, keys in their order."""
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=110)


def to_scalar(text: str, *, quoted: bool = False) -> str:
    """A text as YAML on one line that reads back as this text; in quotes where it must be, or where they are wanted."""
    plain = yaml.safe_dump(text, allow_unicode=True, width=float("inf")).removesuffix("...\n").removesuffix("\n")
    if not quoted and "\n" not in plain and (plain == text or text.isprintable()):
        return plain
    return yaml.safe_dump(text, allow_unicode=True, width=float("inf"), default_style='"').removesuffix("\n")


def validated(spec: type[Checked], raw: Any, lines: dict[tuple, int], where: str) -> Checked:
    """What a file describes; `ConfigError` with every problem at once."""
    try:
        return spec.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(messages(error, raw, lines, where))) from None


def messages(error: ValidationError, raw: Any, lines: dict[tuple, int], where: str) -> list[str]:
    """One line per problem: file:line: key: what is wrong and what is allowed."""
    found = []
    for problem in error.errors():
        path = _path_in_file(problem["loc"], raw, problem["type"])
        line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), None)
        place = f"{where}:{line}" if line else where
        key = ".".join(str(p) for p in path) + _axis_of(path, raw)
        found.append(f"{place}: {key + ': ' if key else ''}{_explain(problem, path)}")
    return list(dict.fromkeys(found))


def _path_in_file(location: tuple, raw: Any, kind: str) -> tuple:
    """The part of a validation path that exists in the file: union tags are left out."""
    path: list = []
    place = raw
    for i, step in enumerate(location):
        inside = (isinstance(place, dict) and step in place) or (
            isinstance(place, list) and isinstance(step, int) and step < len(place)
        )
        if inside:
            path.append(step)
            place = place[step]
        elif kind == "missing" and i == len(location) - 1:
            path.append(step)
    return tuple(path)


def _axis_of(path: tuple, raw: Any) -> str:
    """Which axis a number of a vector belongs to, in brackets; nothing for other values."""
    place = raw
    for step in path[:-1]:
        place = place[step]
    is_vector = path and isinstance(place, list) and len(place) == len(AXES) and isinstance(path[-1], int)
    return f" ({AXES[path[-1]]})" if is_vector and all(isinstance(v, int | float) for v in place) else ""


def _explain(problem: Any, path: tuple) -> str:
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "extra_forbidden":
        others = [key for key in _every_key() if key != path[-1]]
        near = difflib.get_close_matches(str(path[-1]), others, 1, 0.5)
        return "unknown key" + (f"; did you mean {near[0]!r}?" if near else "; see docs/configuration.md")
    if kind == "missing":
        return "this key is missing"
    if kind == "tuple_type":
        hint = f"; write it in brackets, [{given}]" if isinstance(given, str) and "," in given else ""
        return f"a list is wanted, got {given!r}{hint}"
    if kind == "string_pattern_mismatch" and path == ("name",):
        return f"letters, digits, '_', '-' and '.' make a name, which begins with another one than '.'; got {given!r}"
    if kind == "too_short":
        return f"at least {context['min_length']} wanted, got {len(given)}"
    if kind == "value_error":
        return str(context.get("error", problem["msg"]))
    if kind == "union_tag_invalid":
        return f"{context['tag']!r} is not known here; known are {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"a name or a mapping with {context['discriminator']} is wanted, got {given!r}"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        return f"{problem['msg'].removeprefix('Input ').replace('should be', 'has to be')}, got {given!r}"
    return f"{problem['msg'].removeprefix('Input ').replace('should be', 'has to be')}, got {given!r}"


def _every_key() -> list[str]:
    """Every key that a study file can have."""
    pending, keys = [Spec], set[str]()
    while pending:
        spec = pending.pop()
        keys.update(spec.model_fields)
        pending += spec.__subclasses__()
    return sorted(keys)
