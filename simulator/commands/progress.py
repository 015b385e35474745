"""Progress of a run: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from simulator.execution.listening import Progress, Silent
from simulator.ground.files import printable

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
            TextColumn("{task.fields[rate]}, left"),
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
        self._is_new = False

    def stage(self, text: str) -> None:
        self._bar.update(self._task, description=printable(text))
        self._is_new = True

    def note(self, text: str) -> None:
        self._bar.console.print(f"note: {printable(text)}", markup=False, highlight=False)

    def courses(self, done: int, total: int) -> None:
        self._tell(done, total, "courses")

    def points(self, done: int, total: int) -> None:
        self._tell(done, total, "points")

    def _tell(self, done: int, total: int, what: str) -> None:
        if self._is_new:
            self._bar.reset(self._task, completed=done)
            self._is_new = False
        speed = self._bar.tasks[self._task].speed
        self._bar.update(self._task, completed=done, total=total, rate=_rate(speed, what) if speed else "-")


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begin: tuple[float, int] | None = None
        self._last_s, self._last_done = 0.0, -1

    def stage(self, text: str) -> None:
        self._begin, self._last_done = None, -1
        self._print(printable(text))

    def note(self, text: str) -> None:
        self._print(f"note: {printable(text)}")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def courses(self, done: int, total: int) -> None:
        self._tell(done, total, "courses")

    def points(self, done: int, total: int) -> None:
        self._tell(done, total, "points")

    def _tell(self, done: int, total: int, what: str) -> None:
        now_s = time.monotonic()
        if self._begin is None:
            self._begin = now_s, done
        if done == self._last_done or (done < total and now_s - self._last_s < _SECONDS_BETWEEN_LINES):
            return
        self._last_s, self._last_done = now_s, done
        began_s, at_begin = self._begin
        line = f"{done}/{total} {what}"
        if done > at_begin:
            rate = (done - at_begin) / max(now_s - began_s, 1e-3)
            line += f", {_rate(rate, what)}, {(total - done) / rate:.0f} s left"
        self._print(line)


def _rate(of_a_second: float, what: str) -> str:
    return f"{of_a_second:.0f} {what}/s" if of_a_second >= 10 else f"{of_a_second:.2g} {what}/s"
