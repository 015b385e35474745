"""Shared fixtures."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
