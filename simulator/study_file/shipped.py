"""Studies and invented data that come with the simulator: `configs/` of the repository, wherever it was installed to."""

import shutil
from pathlib import Path

import simulator
from simulator.case.dicom_invented import invented_patient
from simulator.ground.files import refuse_existing
from simulator.ground.spec import ConfigError, did_you_mean
from simulator.study_file.json_schema import FILE, write_schema

_PACKAGE = Path(simulator.__file__).parent
_OF_OWN_DATA = ("dicom:", "file:")
_PATIENT = "invented_patient"


def example(name: str) -> Path:
    """Path of a study or a table that comes with the simulator.

    Parameters
    ----------
    name : as `simulator examples` lists it, such as mediastinal_node or shift_log.

    Raises
    ------
    ConfigError : unknown name.
    """
    known = _shipped()
    if name not in known:
        raise ConfigError(
            f"no example is called {name!r}; they are {', '.join([*known, _PATIENT])}{did_you_mean(name, known)}"
        )
    return known[name]


def examples() -> list[tuple[str, str, str]]:
    """Name, what it is of in a line, and what it needs, of each."""
    rows = []
    for name, path in _shipped().items():
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        if path.suffix == ".csv":
            rows.append((name, "Shifts of an invented clinic, for simulator errors: " + first.replace(";", ", "), ""))
            continue
        needs = "your own data" if any(line.strip().startswith(_OF_OWN_DATA) for line in lines) else ""
        rows.append((name, lines[0].removeprefix("# "), needs))
    return [
        *rows,
        (
            _PATIENT,
            "A folder of DICOM-RT files of nobody: a node, two organs, and a plan for each of three margins.",
            "",
        ),
    ]


def copy_example(name: str, out: Path | None = None) -> Path:
    """Copy an example to a file or folder, by default of its own name here; beside a study the schema of its first line.

    Raises
    ------
    ConfigError : unknown name, or a file that is there already.
    """
    if name == _PATIENT:
        return invented_patient(out or Path(name))
    source = example(name)
    path = out or Path(source.name)
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".yaml":
        write_schema(path.with_name(FILE))
    shutil.copyfile(source, path)
    return path


def reference(name: str) -> Path:
    """Path of the filed summary of a shipped study."""
    return _folder("reference", "results/reference") / f"{name}.csv"


def published_studies() -> dict[str, Path]:
    """Published studies by name; beside each a table of what was published."""
    paths = (_folder("configs", "configs") / "published").glob("*.yaml")
    return {path.stem: path for path in sorted(paths)}


def _shipped() -> dict[str, Path]:
    """Studies and tables by name."""
    paths = sorted(_folder("configs", "configs").glob("*.*"))
    return {path.stem: path for path in paths if path.suffix in (".yaml", ".csv")}


def _folder(in_package: str, in_checkout: str) -> Path:
    """Of the installed package, or of the checkout that it is run from."""
    installed = _PACKAGE / in_package
    return installed if installed.is_dir() else _PACKAGE.parent / in_checkout
