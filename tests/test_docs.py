"""Documents that follow from the code are in step with it, and every key of a study has an example that is valid."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from simulator.ground.spec import Spec
from simulator.results.layout import DIMENSIONS, GROUPS
from simulator.results.registry import VARIABLES
from simulator.study_file.schema import StudyConfig

DOCS = Path(__file__).parents[1] / "docs"
MADE = {
    "configuration": ("make_configuration.py", "configuration_page"),
    "goals": ("make_goals.py", "goals_page"),
    "commands": ("make_commands.py", "commands_page"),
    "results_file": ("make_results_file.py", "results_page"),
}
SMALL_STUDY = {
    "name": "small",
    "case": {"phantom": "mediastinal"},
    "prescription": {"dose_gy": 50, "fractions": 5},
    "plan": {"model": "conformal-arc"},
    "strategies": {"margins_mm": [5], "motion": ["itv"], "guidance": ["online-target"]},
    "goals": ["GTV D98% >= 95%"],
}


@pytest.mark.parametrize("name", MADE)
def test_page_is_in_step_with_the_code(name):
    script, function = MADE[name]
    page = (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(DOCS / script))[function](), f"run: python docs/{script}"


def test_pages_of_docstrings_are_in_step_with_the_package():
    pages = runpy.run_path(str(DOCS / "make_api.py"))["api_pages"]()
    found = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "reference" / "python").glob("*.md")}
    assert found == pages, "run: python docs/make_api.py"


def test_every_key_of_a_study_is_explained():
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    unexplained = [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert unexplained == []


@pytest.mark.parametrize("section", ["tutorials", "how-to", "reference", "explanation"])
def test_the_first_page_of_a_section_leads_to_all_others(section):
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (DOCS / section / "index.md").read_text(encoding="utf-8")))
    assert {path.name for path in (DOCS / section).glob("*.md")} - {"index.md"} - linked == set()


def specs_within(value: object) -> Iterator[Spec]:
    """A parameter object and all those within it."""
    if isinstance(value, Spec):
        yield value
        value = [getattr(value, key) for key in type(value).model_fields]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for part in inner:
        yield from specs_within(part)


def test_every_key_has_an_example_that_is_valid():
    make = runpy.run_path(str(DOCS / "make_configuration.py"))
    shown: dict[str, set[str]] = {}
    for name, text in make["examples"]():
        study = StudyConfig.model_validate(SMALL_STUDY | yaml.safe_load(text))
        found = [spec.model_fields_set for spec in specs_within(study) if type(spec).__name__ == name]
        assert found, f"{name}: its example has none"
        shown[name] = shown.get(name, set()).union(*found)
    assert shown == {spec.__name__: set(spec.model_fields) for spec in make["parameter_objects"]()}


def test_every_group_and_dimension_of_results_has_a_meaning():
    assert set(GROUPS) == set(VARIABLES)
    assert set(DIMENSIONS) == {
        dim for table in VARIABLES.values() for variable in table.values() for dim in variable.dims
    }


def test_nobody_is_told_to_ask_the_package_index_for_us():
    """`simulator` is another project there: extras are those of a checkout, as in `pip install ".[cluster]"`."""
    root, asked = DOCS.parent, re.compile(r"simulator\[|pip install[^`\n]*?[\s\"'](?:sbrt-)?simulator\b")
    found = [p for name in ("docs", "notebooks", "simulator", "configs") for p in (root / name).rglob("*.*")]
    texts = [p for p in found if p.suffix in (".md", ".ipynb", ".py", ".yaml")] + [root / "README.md"]
    assert [p.name for p in texts if asked.search(p.read_text(encoding="utf-8"))] == []
