"""The dependency rule: imports point down, or left in one's own row; each heavy library has one home."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "simulator"

ROWS = [
    ["conventions", "spec", "once", "files", "reading", "parallel", "kernels"],
    [("case", "plan"), "uncertainty", "strategy"],
    ["sampling", "accumulation", "dose_maps", "true_target", "metrics", "refinement", "population"],
    ["results", "plots", "report"],
    [
        "sweep",
        "checked_yaml",
        "config",
        "published",
        "prepare",
        "words",
        "answers",
        "assembly",
        "deciding",
        "clusters",
        "executors",
        "checkpoint",
        "simulation",
        "beyond_grid",
        "margin_causes",
        "budget",
        "rare",
        "tasks",
        "study",
        "terminal",
        "progress",
        "overview",
        "export",
        "side_by_side",
        "commissioning",
        "starter",
        "warm_up",
        "cli",
    ],
]
HOMES = {
    "numba": ("kernels",),
    "pydantic": ("spec", "checked_yaml", "config"),
    "yaml": ("checked_yaml",),
    "joblib": ("parallel",),
    "dask": ("clusters",),
    "distributed": ("clusters",),
    "dask_jobqueue": ("clusters",),
    "pydicom": ("case/dicom",),
    "nrrd": ("case/archive", "case/inventory"),
    "matplotlib": ("plots",),
    "jinja2": ("report",),
    "typer": ("cli",),
    "rich": ("terminal", "progress", "overview"),
}
FREE = {"", "__main__", "__init__"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix().removesuffix(".py").removesuffix("/__init__")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def place(top: str) -> tuple[int, int, str]:
    """Row, column and name of a top-level module; nouns of row 2 share no order."""
    for row, members in enumerate(ROWS):
        for column, member in enumerate(members):
            if top == member or (isinstance(member, tuple) and top in member):
                return row, column, top
    raise AssertionError(f"{top} has no place in the picture of docs/design.md")


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_point_down_or_left(path):
    own = module_of(path).split("/")[0]
    if own in FREE:
        return
    row, column, _ = place(own)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "simulator" or len(parts) < 2 or parts[1] == own or parts[1].startswith("__"):
            continue
        their_row, their_column, theirs = place(parts[1])
        if row == 1 and their_row == 1:
            assert (own, theirs) == ("plan", "case"), f"{path.name} imports its neighbour {theirs}"
        else:
            assert (their_row, their_column) < (row, column), (
                f"{path.name} imports {theirs}, which is not below or left"
            )


@pytest.mark.parametrize("library", HOMES)
def test_each_heavy_library_has_one_home(library):
    for path in sources():
        if any(name.split(".")[0] == library for name in imported(path)):
            assert module_of(path).startswith(HOMES[library]), f"{path.name} imports {library}"
