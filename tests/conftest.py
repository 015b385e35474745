"""Shared fixtures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm import single_node

ROOT = Path(__file__).parents[1]
os.environ["COLUMNS"] = "160"  # pytest-xdist says 80, and tables would fold what tests look for


def _shared(name: str) -> Path:
    folder = ROOT.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"{name} data are not beside the repository")
    return folder


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Folder of truth values and clinical numbers."""
    return _shared("reference")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real patient data."""
    return _shared("data")


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """A real SLURM of one node with two processors; yields the folder of its logs."""
    if reason := single_node.why_not():
        pytest.skip(reason)
    with single_node.running() as folder:
        yield folder
