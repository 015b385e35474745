"""The public interface: one page, `__all__`, `dir()` and what can be imported agree; what it prints can be read."""

import ast
import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import simulator
from simulator import plots

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)(\(.*?\))?` \|", PAGE, re.MULTILINE))


def signature(function) -> str:
    """As on the page: without types, and without what defaults to a function."""
    found = inspect.signature(function)
    named = [
        p.replace(annotation=p.empty)
        for p in found.parameters.values()
        if not callable(p.default) or p.default is p.empty
    ]
    return str(found.replace(parameters=named, return_annotation=found.empty))


def test_the_page_lists_the_public_names():
    assert sorted(ROWS) == sorted(simulator.__all__) == dir(simulator)
    assert sorted(re.findall(r"`plots\.(\w+)`", PAGE)) == sorted(plots.__all__)


@pytest.mark.parametrize("name", simulator.__all__)
def test_public_names_are_what_the_page_says(name):
    found = getattr(simulator, name)
    assert ROWS[name] == (signature(found) if inspect.isfunction(found) else "")
    assert name == "__version__" or found.__doc__


def test_type_checkers_find_public_names_where_they_are_imported_from():
    tree = ast.parse((ROOT / "simulator" / "__init__.py").read_text(encoding="utf-8"))
    stated = {a.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    assert {name: stated[name] for name in simulator._HOME} == simulator._HOME


def test_public_names_are_imported_when_they_are_used():
    code = "import simulator, sys; assert dir(simulator); print([m for m in sys.modules if m.startswith('simulator.')])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def test_a_run_does_not_wait_for_what_few_studies_need():
    slow = ("scipy.stats", "bokeh", "dask", "torch")
    code = f"import simulator, sys; simulator.run; print([m for m in {slow} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def code_of_the_documents() -> list[str]:
    notebooks = [json.loads(p.read_text(encoding="utf-8"))["cells"] for p in (ROOT / "notebooks").glob("*.ipynb")]
    cells = ["".join(c["source"]) for cells in notebooks for c in cells if c["cell_type"] == "code"]
    pages = [p.read_text(encoding="utf-8") for p in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md")]
    return cells + [
        block for page in pages for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    ]


@pytest.mark.parametrize("code", code_of_the_documents())
def test_notebooks_and_documents_use_public_names_alone(code):
    for node in ast.walk(ast.parse(code)):
        assert not (isinstance(node, ast.ImportFrom) and str(node.module).startswith("simulator")), ast.unparse(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "simulator":
            assert node.attr in simulator.__all__


@pytest.fixture(scope="module")
def problem():
    return simulator.prepare(simulator.load_study(ROOT / "configs" / "mediastinal_node.yaml"))


def test_objects_introduce_themselves_in_a_few_lines(problem):
    for shown in (problem, problem.config, problem.case, problem.case.gtv, problem.strategies[0]):
        lines = repr(shown).splitlines()
        assert lines[0] == type(shown).__name__
        assert 3 <= len(lines) <= 10
        assert max(map(len, lines)) < 190
        assert str(shown) == repr(shown)
        assert shown._repr_html_().count("<tr>") == len(lines) - 1
    assert "  target: GTV, 4.19 cc" in repr(problem.case).splitlines()
    assert "  prescription: 50 Gy in 5 fractions on the 80 % isodose" in repr(problem.config).splitlines()
    assert "  margin: 5 mm" in repr(problem.strategies[1]).splitlines()


def test_names_of_a_patient_s_structures_are_text_in_a_notebook(problem):
    structure = dataclasses.replace(problem.case.gtv, name="<b>GTV</b>")
    assert "<td>&lt;b&gt;GTV&lt;/b&gt;</td>" in structure._repr_html_()
