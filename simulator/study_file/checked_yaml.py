"""YAML text into validated parameter objects, with errors that name file, line and key."""

import re
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError

from simulator.ground.conventions import AXES
from simulator.ground.reading import reading
from simulator.ground.spec import ConfigError, Spec, did_you_mean

Checked = TypeVar("Checked", bound=Spec)
KeyPath = tuple[str | int, ...]
_MOST_VALUES, _MOST_LEVELS, _MOST_SHOWN = 50_000, 40, 100
_TAG = "tag:yaml.org,2002:"
_AMBIGUOUS = "!ambiguous"
_PLAIN_TAGS = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NEVER = re.compile(r"[\x00\ud800-\udfff]")
_NUMBER_AND_UNIT = re.compile(r"\s*([-+]?[0-9]+(?:[.,][0-9]+)?)\s*([a-zA-Z%°/]*)\s*")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Scalars as YAML 1.2 reads them; what YAML 1.1 reads as another number is told, dates are text."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would not read as text."""


for _kind, _pattern in (
    ("bool", "true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?(?:0|[1-9]\d*)"),
    ("float", r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
    ("null", "~|null|Null|NULL|"),
    ("merge", "<<"),
    (
        _AMBIGUOUS,
        r"[-+]?(?:0[\d_]+|0[xob][\da-fA-F_]+|[1-9]\d*_[\d_]*)(?:\.[\d_]*)?(?:[eE][-+]?\d+)?"
        r"|[-+]?(?:[1-9][\d_]*(?::[0-5]?\d)+|\d[\d_]*(?::[0-5]?\d)+\.[\d_]*)",
    ),
):
    _name = _kind if _kind == _AMBIGUOUS else _TAG + _kind
    _Loader.add_implicit_resolver(_name, re.compile(rf"(?:{_pattern})$", re.ASCII), None)
    if _kind in ("float", _AMBIGUOUS):
        _Dumper.add_implicit_resolver(_name, re.compile(rf"(?:{_pattern})$", re.ASCII), None)


def parse_yaml(text: str, where: str) -> tuple[Any, dict[KeyPath, int]]:
    """The parsed document, and the line of each key path.

    Raises
    ------
    ConfigError : no YAML, or more than a study can mean: tags, thousands of values, aliases of aliases, ambiguous numbers.
    """
    lines: dict[KeyPath, int] = {}
    with reading(where, "write plain YAML", ConfigError):
        try:
            _check_depth(text, where)
            loader = _Loader(text)
            root = loader.get_single_node()
            if root is None:
                return None, lines
            _collect_lines(root, (), lines, where)
            return loader.construct_document(root), lines
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise ConfigError(
                f"{where}:{line}: YAML syntax: {error.problem}; check indentation, colons and brackets"
            ) from None


def _check_depth(text: str, where: str) -> None:
    """Refuse what is nested too deeply to be composed."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_LEVELS:
            line = event.start_mark.line + 1  # type: ignore[union-attr]
            raise ConfigError(f"{where}:{line}: nested more than {_MOST_LEVELS} levels deep")


def _collect_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], where: str) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(path) > _MOST_LEVELS or len(lines) > _MOST_VALUES:
        raise ConfigError(
            f"{where}:{line}: more than {_MOST_VALUES} values or {_MOST_LEVELS} levels once aliases (*name) are followed; "
            "write out what is meant"
        )
    if node.tag not in _PLAIN_TAGS:
        raise ConfigError(f"{where}:{line}: {_not_plain(node)}")
    refused = _NEVER if path[:1] == ("case",) else _CONTROL  # a case has the names that its files have
    if isinstance(node, yaml.ScalarNode) and (found := refused.search(node.value)):
        raise ConfigError(f"{where}:{line}: the character {found[0]!a} has no place in a study; remove it")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value if isinstance(key, yaml.ScalarNode) else str(key.tag))
            if inner in lines:
                raise ConfigError(f"{where}:{key.start_mark.line + 1}: {'.'.join(map(str, inner))} is given twice")
            _collect_lines(key, inner, lines, where)
            _collect_lines(value, inner, lines, where)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _collect_lines(value, (*path, i), lines, where)


def _not_plain(node: yaml.Node) -> str:
    if node.tag == _AMBIGUOUS:
        return (
            f"{node.value} means different things to different readers; write a plain decimal number, "
            "or put a time or a name in quotes"
        )
    return f"the tag {node.tag.replace(_TAG, '!!')} is not known here; write a plain value"


def override(raw: dict[str, Any], key: str, value: Any) -> None:
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
    return parse_yaml(text, f"--set {text!r}")[0]


def to_yaml(raw: Any) -> str:
    """Plain data as YAML text, keys in their order."""
    return yaml.dump(raw, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def to_scalar(text: str, *, quoted: bool = False) -> str:
    """A text as YAML on one line that reads back as this text; in quotes where it must be, or where they are wanted."""
    plain = (
        yaml.dump(text, Dumper=_Dumper, allow_unicode=True, width=float("inf")).removesuffix("...\n").removesuffix("\n")
    )
    if not quoted and "\n" not in plain and (plain == text or text.isprintable()):
        return plain
    return yaml.safe_dump(text, allow_unicode=True, width=float("inf"), default_style='"').removesuffix("\n")


def validated(spec: type[Checked], raw: Any, lines: dict[KeyPath, int], where: str) -> Checked:
    """What a file describes; `ConfigError` with every problem at once."""
    try:
        return spec.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(messages(error, raw, lines, where))) from None


def messages(error: ValidationError, raw: Any, lines: dict[KeyPath, int], where: str) -> list[str]:
    """One line per problem: file:line: key: what is wrong and what is allowed."""
    found = []
    for problem in error.errors():
        if problem["type"] == "too_short" and len(problem["input"]) >= problem["ctx"]["min_length"]:
            continue  # what is wrong with its items is told
        path = _path_in_file(problem["loc"], raw, problem["type"])
        line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), None)
        place = f"{where}:{line}" if line else where
        key = ".".join(str(p) for p in path) + _axis_of(path, raw)
        found.append(f"{place}: {key + ': ' if key else ''}{_explain(problem, path)}")
    return list(dict.fromkeys(found))


def _path_in_file(location: KeyPath, raw: Any, kind: str) -> KeyPath:
    """The part of a validation path that exists in the file: union tags, which may look like keys, are left out."""
    if not location:
        return ()
    step, *rest = location
    paths = [_path_in_file(tuple(rest), raw, kind)]
    is_key = isinstance(raw, dict) and step in raw
    if is_key or (isinstance(raw, list) and isinstance(step, int) and step < len(raw)):
        paths.append((step, *_path_in_file(tuple(rest), raw[step], kind)))
    elif kind == "missing" and not rest:
        paths.append((step,))
    return max(paths, key=lambda path: (path[-1:] == location[-1:], len(path)))


def _axis_of(path: KeyPath, raw: Any) -> str:
    """Which axis a number of a vector belongs to, in brackets; nothing for other values."""
    place = raw
    for step in path[:-1]:
        place = place[step]
    last = path[-1] if path else None
    is_vector = isinstance(place, list) and len(place) == len(AXES) and all(isinstance(v, int | float) for v in place)
    return f" ({AXES[last]})" if is_vector and isinstance(last, int) else ""


def _explain(problem: Any, path: KeyPath) -> str:
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    got = f"got {_shown(given)}"
    if kind == "extra_forbidden":
        others = [key for spec in _every_spec() for key in spec.model_fields if key != path[-1]]
        return "unknown key" + (
            did_you_mean(str(path[-1]), sorted(set(others)), 0.5) or "; see docs/reference/configuration.md"
        )
    if kind == "missing":
        wanted = [spec.model_fields[path[-1]] for spec in _every_spec() if path[-1] in spec.model_fields]
        meanings = {field.description for field in wanted if field.is_required()}
        return f"this key is missing: {meanings.pop()}" if len(meanings) == 1 else "this key is missing"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        keys = next((s.model_fields for s in _every_spec() if s.__name__ == context.get("class_name")), {})
        known = f" ({', '.join([*keys][:3])} ...)" if keys else ""
        return f"a mapping of keys{known} is wanted, {got}"
    if kind == "string_type":
        return f"text is wanted, {got}; put it in quotes"
    if kind == "tuple_type":
        if hint := _without_unit(given):
            return f"a number is wanted, {got}{hint}"
        hint = f"; write it in brackets, [{given}]" if isinstance(given, str) and "," in given else ""
        return f"a list is wanted, {got}{hint}"
    if kind == "string_pattern_mismatch" and path == ("name",):
        return (
            f"letters, digits, '_', '-' and '.', at most 80, make a name, which begins with another one than '.'; {got}"
        )
    if kind == "too_short":
        return f"at least {context['min_length']} wanted, got {len(given)}"
    if kind == "value_error":
        return str(context.get("error", problem["msg"]))
    if kind == "union_tag_invalid":
        return f"{context['tag']!r} is not known here; known are {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"a name or a mapping with {context['discriminator']} is wanted, {got}"
    return f"{problem['msg'].removeprefix('Input ').replace('should be', 'has to be')}, {got}{_without_unit(given)}"


def _shown(given: Any) -> str:
    """A value as the file has it, cut short."""
    text = "nothing" if given is None else str(given).lower() if isinstance(given, bool) else repr(given)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ..."


def _without_unit(given: Any) -> str:
    """How to write a number that was given with its unit or with a decimal comma."""
    match = _NUMBER_AND_UNIT.fullmatch(given) if isinstance(given, str) else None
    return f"; write {match[1].replace(',', '.')}{', without the unit' if match[2] else ''}" if match else ""


def _every_spec() -> list[type[Spec]]:
    """Every parameter object of a study file."""
    found = [Spec]
    for spec in found:
        found += spec.__subclasses__()
    return found
