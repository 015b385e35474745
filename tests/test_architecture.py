"""The dependency rule: a room imports from floors below its own; each heavy library has one home."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "simulator"

FLOORS = [
    {"ground", "kernels"},
    {"uncertainty", "strategy", "population"},
    {"case", "records", "sampling", "results"},
    {"plan", "metrics", "plots"},
    {"accumulation", "report", "study_file"},
    {"problem"},
    {"simulation"},
    {"answers"},
    {"execution"},
    {"commands"},
]
HOMES = {
    "numba": ("kernels",),
    "pydantic": ("ground/spec", "study_file"),
    "yaml": ("study_file/checked_yaml",),
    "joblib": ("ground/parallel",),
    "dask": ("execution/clusters",),
    "distributed": ("execution/clusters",),
    "dask_jobqueue": ("execution/clusters",),
    "pydicom": ("case/dicom",),
    "nrrd": ("case/archive", "case/inventory"),
    "nibabel": ("case/nifti",),
    "pydosert": ("plan/engine",),
    "torch": ("plan/engine",),
    "matplotlib": ("plots",),
    "jinja2": ("report",),
    "bokeh": ("report/",),
    "typer": ("commands/cli", "commands/typed"),
    "rich": ("commands",),
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


def floor_of(room: str) -> int:
    """The floor on which a room lies."""
    floors = [n for n, rooms in enumerate(FLOORS) if room in rooms]
    assert floors, f"{room} has no place in the picture of docs/explanation/design.md"
    return floors[0]


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_point_down(path):
    own = module_of(path).split("/")[0]
    if own in FREE:
        return
    for name in imported(path):
        first, *rest = name.split(".")
        if first == "simulator" and rest and rest[0] != own and not rest[0].startswith("__"):
            assert floor_of(rest[0]) < floor_of(own), f"{module_of(path)} imports {name}, which is not below"


def test_the_picture_stays_simple():
    """Pairs of rooms of which one imports from the other."""
    arrows = {
        (own, name.split(".")[1])
        for path in sources()
        if (own := module_of(path).split("/")[0]) not in FREE
        for name in imported(path)
        if name.startswith("simulator.") and (PACKAGE / name.split(".")[1]).is_dir() and name.split(".")[1] != own
    }
    assert len(arrows) <= 112


@pytest.mark.parametrize("room", [path.parent for path in sorted(PACKAGE.glob("*/__init__.py"))], ids=lambda p: p.name)
def test_each_room_says_who_lives_there_what_enters_and_what_leaves(room):
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert [word for word in ("Lives here:", "Enters:", "Leaves:") if said.count(word) != 1] == []
    assert 3 <= len(said.splitlines()) <= 7


@pytest.mark.parametrize("library", HOMES)
def test_each_heavy_library_has_one_home(library):
    for path in sources():
        if any(name.split(".")[0] == library for name in imported(path)):
            assert module_of(path).startswith(HOMES[library]), f"{path.name} imports {library}"
