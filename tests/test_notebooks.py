"""The notebooks run from top to bottom."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_cell_runs(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    mpl.use("Agg")
    names: dict = {}
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert all(cell["outputs"] or "import" in "".join(cell["source"]) for cell in cells), "saved without its outputs"
    for cell in cells:
        exec("".join(cell["source"]).replace("courses=2000", "courses=30"), names)
    assert names["results"].attrs["n_courses"] == 30


def test_a_notebook_away_from_the_studies_says_what_to_set(tmp_path):
    cells = json.loads((ROOT / "notebooks" / "first_study.ipynb").read_text(encoding="utf-8"))["cells"]
    first = next("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    moved = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", first], cwd=tmp_path, env=moved, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(
        "AssertionError: set config to the path of configs/mediastinal_node.yaml"
    )
