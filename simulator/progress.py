"""Progress of a run: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from simulator.study import Progress, Silent

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress_on(stream: TextIO, quiet: bool) -> Iterator[Progress]:
    """Whoever shows the progress on `stream`."""
    if quiet:
        yield Silent()
    elif stream.isatty():
        with Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} courses/s, left"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        ) as bar:
            yield _LiveBar(bar)
    else:
        yield _Lines(stream)


class _LiveBar:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: TaskID = bar.add_task("starting", total=None, rate="-")

    def stage(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def courses(self, done: int, total: int) -> None:
        speed = self._bar.tasks[self._task].speed
        self._bar.update(self._task, completed=done, total=total, rate=f"{speed:.0f}" if speed else "-")


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started: float | None = None
        self._last = 0.0

    def stage(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def courses(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._started = self._started or now
        if done < total and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-3)
        left = (total - done) / rate if rate else 0.0
        print(f"{done}/{total} courses, {rate:.0f} courses/s, {left:.0f} s left", file=self._stream, flush=True)
