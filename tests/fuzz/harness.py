"""What becomes of a call on mutated input: done, refused with a message, or failed. The call runs in a child of its own."""

import os
import pickle
import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from simulator.ground.spec import SimulatorError

SECONDS, MEMORY_MB = 60, 2048
_MOST_WAITING = 5


@dataclass(frozen=True)
class Outcome:
    """Seconds are those of the processor; peak memory is that of the child beyond what it was born with."""

    status: Literal["done", "refused", "failed"]
    message: str
    seconds: float
    peak_mb: float


def attempt(
    function: Callable[..., Any], *arguments: Any, seconds: int = SECONDS, memory_mb: int = MEMORY_MB
) -> Outcome:
    """Call a function in a forked child: refused is what raises a one-line message of ours, all else fails.

    Parameters
    ----------
    seconds, memory_mb : of the processor and of memory, what the call may take; more fails, and so does waiting for long.
    """
    born_mb = _resident_mb()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(writer, function, arguments, seconds, memory_mb)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status, usage = os.wait4(child, 0)
    took, peak_mb = usage.ru_utime + usage.ru_stime, max(0.0, usage.ru_maxrss / 1024 - born_mb)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        is_late = name in ("SIGALRM", "SIGXCPU")
        return Outcome("failed", f"{seconds} s were not enough" if is_late else name, took, peak_mb)
    if not answer:
        return Outcome("failed", f"exit code {os.waitstatus_to_exitcode(status)}", took, peak_mb)
    kind, message = pickle.loads(answer)
    if peak_mb > memory_mb:
        return Outcome("failed", f"{peak_mb:.0f} MB of memory", took, peak_mb)
    return Outcome(kind, message, took, peak_mb)


def assert_sound(outcome: Outcome) -> None:
    """Done, or refused in words that a user can read."""
    assert outcome.status != "failed", outcome.message
    assert "Traceback" not in outcome.message
    assert outcome.status == "done" or outcome.message.strip()


def tally(name: str, attempts: Iterable[tuple[str, Outcome]]) -> Counter[str]:
    """How many attempts, each with what was tried, came to which end: refused, or what they say they did."""
    ends: Counter[str] = Counter()
    failures, slowest, largest_mb = [], 0.0, 0.0
    for tried, outcome in attempts:
        slowest, largest_mb = max(slowest, outcome.seconds), max(largest_mb, outcome.peak_mb)
        try:
            assert_sound(outcome)
            ends[outcome.message if outcome.status == "done" else "refused"] += 1
        except AssertionError as error:
            failures.append(f"{tried}: {error}")
    print(f"{name}: {dict(ends)}, at most {slowest:.0f} s and {largest_mb:.0f} MB", flush=True)
    assert not failures, "\n".join(failures)
    return ends


def _answer(
    writer: int, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: int, memory_mb: int
) -> None:
    """What the child does: call, send (status, message), end."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_virtual_bytes() + (memory_mb << 20),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_MOST_WAITING * seconds)
        try:
            answer = "done", str(function(*arguments) or "")
        except SimulatorError as error:
            answer = "refused", str(error)
        except BaseException:
            answer = "failed", traceback.format_exc()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        os._exit(0)


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
