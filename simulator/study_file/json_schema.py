"""The JSON Schema of a study file, by which editors complete keys, explain them and mark what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.ground.files import refuse_existing, whole_file
from simulator.study_file.published import library_names
from simulator.study_file.schema import StudyConfig

FILE = "simulator.schema.json"
_TITLE = "A study of simulator"
_DRAFT = "http://json-schema.org/draft-07/schema#"
_BY_NAME = ("kind", "recipe")  # what chooses a kind that a study may also give by its name alone
_ONE_OR_SEVERAL = ("margins_mm", "motion", "guidance", "prv_mm")


def study_schema() -> dict[str, Any]:
    """The schema, draft 7, made of the parameter objects of a study with its short forms.

    It refuses less than the loader, which also compares keys with each other and reads goals and files; and only numbers in
    quotes are refused here alone.
    """
    schema = StudyConfig.model_json_schema()
    kinds = schema["$defs"]
    for place in list(_places(schema)):
        _simplify(place)
    for place in list(_places(schema)):
        _accept_names(place, kinds)
    grid = kinds["StrategyGrid"]["properties"]
    for key in _ONE_OR_SEVERAL:
        several = {k: grid[key].pop(k) for k in ("type", "items", "minItems") if k in grid[key]}
        grid[key]["anyOf"] = [several["items"], several]
    schema["properties"]["goals"]["items"] = {"anyOf": [{"enum": library_names()}, {"type": "string"}]}
    return {"$schema": _DRAFT, **schema, "title": _TITLE}


def schema_text() -> str:
    """The schema as the text of its file."""
    return json.dumps(study_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(path: Path) -> None:
    """Write the schema, over an earlier one too.

    Raises
    ------
    ConfigError : another file is there.
    """
    text = schema_text()
    if not (path.is_file() and f'"title": "{_TITLE}"' in path.read_text(encoding="utf-8", errors="replace")):
        refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _places(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a schema."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _places(inner)


def _simplify(place: dict[str, Any]) -> None:
    """Drop titles made of keys, write tuples of equals as lists, and require what chooses a kind."""
    if isinstance(place.get("title"), str):
        del place["title"]
    if isinstance(pattern := place.get("pattern"), str):
        place["pattern"] = pattern.replace(r"\w", r"\w\u00c0-\uffff")  # editors take \w for unaccented letters alone
    if items := place.pop("prefixItems", None):
        assert all(item == items[0] for item in items), "values of a list are of one kind"
        place["items"] = items[0]
    properties = place.get("properties")
    if isinstance(properties, dict) and "type" in place:
        chosen = [key for key, value in properties.items() if "const" in value]
        place["required"] = list(dict.fromkeys([*chosen, *place.get("required", ())]))


def _accept_names(place: dict[str, Any], kinds: dict[str, Any]) -> None:
    """Let a kind without keys that it needs be given by its name, and a fixed margin by its mm."""
    choice = place.pop("discriminator", None)
    if not choice or choice["propertyName"] not in _BY_NAME:
        return
    chosen = {name: kinds[ref.rsplit("/", 1)[1]] for name, ref in choice["mapping"].items()}
    names = [name for name, kind in chosen.items() if kind["required"] == [choice["propertyName"]]]
    short: list[dict[str, Any]] = [{"enum": names}]
    if "fixed" in chosen:
        short += [{k: v for k, v in chosen["fixed"]["properties"]["margin_mm"].items() if k != "description"}]
    place["anyOf"] = [*short, *place.pop("oneOf")]
