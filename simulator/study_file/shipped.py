"""Studies and invented data that come with the simulator: `configs/` of the repository, wherever it was installed to."""

import shutil
from pathlib import Path

import simulator
from simulator.files import refuse_existing
from simulator.spec import ConfigError, did_you_mean
from simulator.study_file.json_schema import FILE, write_schema

_PACKAGE = Path(simulator.__file__).parent
_OF_OWN_DATA = ("dicom:", "file:")


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
        raise ConfigError(f"no example is called {name!r}; they are {', '.join(known)}{did_you_mean(name, known)}")
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
    return rows


def copy_example(name: str, out: Path | None = None) -> Path:
    """Copy an example to a file, by default of its own name here; beside a study the schema that its first line names.

    Raises
    ------
    ConfigError : unknown name, or a file that is there already.
    """
    source = example(name)
    path = out or Path(source.name)
    refuse_existing(path)
    if source.suffix == ".yaml":
        write_schema(path.with_name(FILE))
    shutil.copyfile(source, path)
    return path


def _shipped() -> dict[str, Path]:
    """Files by name: in the package, or in the checkout that it is run from."""
    folders = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
    folder = next((f for f in folders if f.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.*")) if path.suffix in (".yaml", ".csv")}
