"""How to cite: CITATION.cff, and a bibliography that holds what studies, goal libraries and tissues name."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

import simulator

ROOT = Path(__file__).parents[1]
MAKE = runpy.run_path(str(ROOT / "docs" / "make_publications.py"))
BIB = (ROOT / "docs" / "reference" / "publications.bib").read_text(encoding="utf-8")
ENTRIES = MAKE["entries"](BIB)
DOI = re.compile(r"10\.\d{4,5}/[A-Za-z0-9().;/_-]+[A-Za-z0-9]")
NAMING = [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "simulator" / "metrics").rglob("*.yaml")]


@pytest.mark.parametrize("path", NAMING, ids=lambda path: path.name)
def test_each_doi_that_a_study_or_a_library_names_is_in_the_bibliography(path):
    known = {entry.get("doi") for entry in ENTRIES.values()}
    assert set(DOI.findall(path.read_text(encoding="utf-8"))) <= known


def test_every_entry_can_be_found_and_says_what_it_is_for():
    assert len(ENTRIES) == BIB.count("\n@")
    for key, entry in ENTRIES.items():
        assert {"year", "keywords", "note"} <= set(entry), key
        assert "doi" in entry or "title" in entry, key
        assert entry["keywords"] in MAKE["GROUPS"], key
    dois = [entry["doi"] for entry in ENTRIES.values() if "doi" in entry]
    assert len(dois) == len(set(dois))


def test_the_page_is_in_step_with_the_bibliography():
    page = (ROOT / "docs" / "reference" / "publications.md").read_text(encoding="utf-8")
    assert page == MAKE["page"](), "run: python docs/make_publications.py"


def test_the_citation_names_this_version():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(cff)
    assert (cff["version"], cff["license"]) == (project["version"], project["license"])
    assert cff["keywords"] == project["keywords"]
    assert f"version = {{{simulator.__version__}}}" in (ROOT / "docs" / "how-to" / "citing.md").read_text(
        encoding="utf-8"
    )
