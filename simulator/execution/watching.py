"""What is seen of a run while others work: courses in finished blocks, and who did which task."""

import csv
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.execution.checkpoint import BLOCKS, BlockStore
from simulator.execution.listening import Progress
from simulator.execution.tasks import TaskRecord
from simulator.ground.files import inert

_SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def task_log(path: Path) -> Iterator[Callable[[TaskRecord], None]]:
    """A function that appends a record to a CSV file."""
    columns = [field.name for field in dataclasses.fields(TaskRecord)]
    with path.open("a", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        if file.tell() == 0:
            table.writeheader()
            file.flush()

        def write(record: TaskRecord) -> None:
            table.writerow({key: inert(value) for key, value in dataclasses.asdict(record).items()})
            file.flush()

        yield write


@contextmanager
def watched(folders: list[Path], total: int, progress: Progress) -> Iterator[Callable[[int], None]]:
    """Meanwhile tell the progress how many courses are in finished blocks, whoever simulates them.

    Yields a function that is told how many courses a finished task has added.
    """
    over = threading.Event()
    shown = added = 0

    def tell(done: int) -> None:
        nonlocal shown
        shown = max(shown, min(done, total))
        progress.courses(shown, total)

    def look() -> int:
        return sum(_courses_in(BlockStore(folder / BLOCKS)) for folder in folders)

    def count(n_new: int) -> None:
        nonlocal added
        added += n_new
        tell(at_begin + added)

    def watch() -> None:
        pause = _SECONDS_BETWEEN_LOOKS
        while not over.wait(pause):
            began = time.monotonic()
            done = look()
            pause = max(_SECONDS_BETWEEN_LOOKS, 20 * (time.monotonic() - began))
            if not over.is_set():
                tell(done)

    at_begin = look()
    tell(at_begin)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()


def _courses_in(store: BlockStore) -> int:
    return sum(int(key.rsplit("-", 1)[1]) for key in store.names() if "-c" in key)
