"""Documents that follow from the code are in step with it."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_configuration_page_is_in_step_with_the_schema():
    make = runpy.run_path(str(DOCS / "make_configuration.py"))
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert page == make["configuration_page"](), "run: python docs/make_configuration.py"


def test_every_key_of_a_study_is_explained():
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    unexplained = [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert unexplained == []
