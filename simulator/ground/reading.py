"""One door for users' files: whatever goes wrong while one is read becomes a message with place, reason and remedy."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

from simulator.ground.spec import CaseError, SimulatorError

_MOST_TEXT_BYTES = 1 << 26
_MOST_BYTES = 1 << 30
_DAMAGED = (EOFError, struct.error, zlib.error, BadZipFile)


@contextmanager
def reading(where: str | Path, remedy: str, kind: type[SimulatorError] = CaseError) -> Iterator[None]:
    """Turn every error inside into "where: what is wrong; remedy"; messages of ours pass as they are.

    Parameters
    ----------
    where : the file, and in it the line, element or array; a door within a door names its place more closely.
    """
    try:
        yield
    except SimulatorError:
        raise
    except Exception as error:
        raise kind(f"{where}: {_in_words(error)}; {remedy}") from error


def opened(path: str | Path) -> BinaryIO:
    """A file to read; ValueError for a pipe with a name, to which nobody may ever write."""
    path = Path(path)
    if path.is_fifo() and path.absolute().parts[1] not in ("dev", "proc"):  # there are those of a shell
        raise ValueError("it is a pipe, which may never end")
    return path.open("rb")


def read_text(path: str | Path, remedy: str, kind: type[SimulatorError] = CaseError) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark; anything else is refused."""
    with reading(path, remedy, kind):
        with opened(path) as file:
            content = file.read(_MOST_TEXT_BYTES + 1)
        if len(content) > _MOST_TEXT_BYTES:
            raise ValueError(f"it is longer than {_MOST_TEXT_BYTES >> 20} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise kind(f"{path}:{line}: {wrong}; save it as UTF-8 in the editor or spreadsheet that wrote it") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise kind(f"{path}:{line}: a NUL character is no text; save it as UTF-8, or restore the file")
    return text


def check_room(n_bytes: float, where: str | Path, remedy: str, kind: type[SimulatorError] = CaseError) -> None:
    """Refuse what needs more memory than any patient's data, before the memory is asked for."""
    if not n_bytes <= _MOST_BYTES:
        raise kind(
            f"{where}: {n_bytes / 2**30:.3g} GiB of memory wanted, at most {_MOST_BYTES >> 30} are given; {remedy}"
        )


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]} is missing"
    if isinstance(error, AttributeError) and error.name:
        return f"{error.name} is missing"
    if isinstance(error, _DAMAGED):
        return f"is damaged or cut short ({error})"
    lines = str(error).split("\n")
    return f"cannot be read ({lines[0] or type(error).__name__})"
