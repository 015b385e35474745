"""Files that are whole or absent, whatever happens while they are written."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def reserve(path: Path) -> None:
    """Take the room on the disk that a file with holes will need: OSError now rather than a crash while it is filled."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
