"""Files that are whole or absent, whatever happens while they are written, and folders that may be written to."""

import csv
import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from simulator.ground.spec import ConfigError

MARK = ".simulator"
_MARK_TEXT = "This folder was made by simulator, which may replace the files that it wrote here.\n"
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
_MOST_NAMES = 3
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def writer() -> str:
    """A name that no other thread on any machine has."""
    return f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; afterwards the file is synced to the disk and renamed to `path`, replacing it at once.

    Threads, processes and machines may write the same file at the same time; that of the last one stays.
    """
    partial = path.with_name(f"{path.name}.{writer()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(text: str) -> str:
    """Text in which control characters, which give a terminal orders, are written out."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def is_marked(folder: Path) -> bool:
    """Whether the simulator has marked a folder as its own."""
    return (folder / MARK).is_file()


def require_own(folder: Path, recognise: Callable[[Path], bool] = is_marked) -> None:
    """Refuse to write to a folder unless it is new, empty or the simulator's own. Changes nothing.

    Parameters
    ----------
    recognise : tells from its files that an unmarked folder is the simulator's own.

    Raises
    ------
    ConfigError : what is there instead.
    """
    remedy = "name a new or an empty folder with --out"
    if any("\ud800" <= sign <= "\udfff" for sign in str(folder)):
        raise ConfigError(f"{folder}: its name is not Unicode, which the files in it are; {remedy}")
    if folder.is_symlink() and not folder.exists():
        raise ConfigError(f"{folder}: a link to something that is not there; {remedy}")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: a file, and a folder is wanted; {remedy}")
    here = Path.cwd().resolve()
    if folder.resolve() in (here, *here.parents):
        raise ConfigError(f"{folder}: the folder of the command itself, or one above it; {remedy}")
    names = sorted(path.name for path in folder.iterdir())
    if names and not is_marked(folder) and not recognise(folder):
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        raise ConfigError(
            f"{folder}: holds files that the simulator did not write ({', '.join(names[:_MOST_NAMES])}{more}), and they are "
            f"never changed or removed; {remedy}"
        )


def mark_own(folder: Path) -> None:
    """Make a folder and mark it as the simulator's own.

    Raises
    ------
    ConfigError : it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_marked(folder):
            (folder / MARK).write_text(_MARK_TEXT, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written to ({error.strerror}); name another folder with --out"
        ) from None


def claim(folder: Path) -> None:
    """Make a folder the simulator's own, or refuse it; see `require_own`."""
    require_own(folder)
    mark_own(folder)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, which is there when all of it is."""
    with whole_file(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def refuse_existing(path: Path) -> None:
    """Raise `ConfigError` where a file, or a link to one, would be overwritten."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path}: exists already; choose another file with --out")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, which is there when all of it is."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([inert(cell) for cell in row] for row in rows)


def inert(cell: Any) -> Any:
    """A cell for a table: text that a spreadsheet would take for a formula begins with an apostrophe, numbers stay."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_SIGNS):
        with suppress(ValueError):
            float(cell)
            return cell
        return f"'{cell}"
    return cell


def reserve(path: Path) -> None:
    """Take the room on the disk that a file with holes will need: OSError now rather than a crash while it is filled."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
