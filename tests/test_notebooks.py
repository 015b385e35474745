"""The notebooks run from top to bottom, from an installed package as well: they take studies and data from it."""

import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
BY_DAY = ("reading_results",)
MOST_BYTES = 200_000


def code_of(path: Path) -> list[dict]:
    """The cells with code."""
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize(
    "path",
    [p if p.stem in BY_DAY else pytest.param(p, marks=pytest.mark.nightly) for p in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_every_cell_runs(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names: dict = {}
    for cell in code_of(path):
        exec(re.sub(r"courses=\d+", "courses=30", "".join(cell["source"])), names)
    results = names["results"]
    assert results.attrs["n_courses"] == 30


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_saved_with_its_outputs_small_and_without_places_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    cells = code_of(path)
    assert all(cell["outputs"] or "import" in "".join(cell["source"]) for cell in cells), "saved without its outputs"
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    assert "simulator.example(" in text
    assert not re.search(r"/(tmp|home|root|work)/", text)
