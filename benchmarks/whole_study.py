"""W5: `simulator run` on 84 strategies with 10,000 courses each (w5.yaml), told from a few strategies with few courses.

Two numbers of courses give a constant and a slope, fewer strategies what the results take beside. Courses come in tasks, each
of which prepares its strategy anew (cells, dose lattices): a process is asked how many 10,000 make. Plans are timed apart.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.checkouts import Side
from benchmarks.extrapolation import STAGES, Lines, Stages

STUDY = Path(__file__).with_name("w5.yaml")
ALL_STRATEGIES, ALL_COURSES = 84, 10_000
MARGIN, MOTIONS, GUIDANCES = (
    5,
    ("none", "itv", "mid-ventilation", "tracking"),
    3,
)  # a course costs what it does in all 84
FEW, BETWEEN, MANY = 50, 150, 250
MOST_MEMORY_GIB, PEAK = 1.5, "peak GiB of what was run"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class MemoryExceededError(RuntimeError):
    """W5 took more memory than it may."""


@dataclass(frozen=True)
class Run:
    """One run of some strategies: seconds and processor seconds of its stages, and its peak memory."""

    seconds: Stages
    processor_s: Stages
    peak_gib: float


def check_memory(peak_gib: float) -> None:
    """Raise MemoryExceededError above `MOST_MEMORY_GIB`."""
    if peak_gib > MOST_MEMORY_GIB:
        raise MemoryExceededError(f"W5 took {peak_gib:.2f} GiB of memory; it may take {MOST_MEMORY_GIB:g} GiB")


def run(side: Side, motions: Sequence[str], n_courses: int, n_workers: int) -> Run:
    """Run one margin with some ways to manage motion, or all strategies where none is named; report included."""
    at, processor_at = [time.perf_counter()], [0.0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process, said = _started(side, motions, n_courses, n_workers, folder), []
        for line in process.stderr or ():
            said.append(line)
            if line.startswith(STAGES):
                at.append(time.perf_counter())
                processor_at.append(_processor_s(process.pid))
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{side.name}: simulator run failed\n{''.join(said)}")
    at.append(time.perf_counter())
    processor_at.append(used.ru_utime + used.ru_stime)
    size = GUIDANCES * len(motions) or ALL_STRATEGIES, n_courses
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return Run(Stages.between(*size, at), Stages.between(*size, processor_at), used.ru_maxrss / unit)


def tasks_of_a_strategy(side: Side, n_courses: int) -> float:
    """How many tasks the courses of a strategy come in; the process is stopped once it says so."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        _started(side, MOTIONS, n_courses, 1, folder) as process,
    ):
        for line in process.stderr or ():
            if line.startswith(STAGES[0]):
                process.kill()
                return int(line.split()[2]) / (GUIDANCES * len(MOTIONS))
    raise RuntimeError(f"{side.name}: simulator run never came to its courses")


def _started(
    side: Side, motions: Sequence[str], n_courses: int, n_workers: int, folder: str
) -> "subprocess.Popen[str]":
    options = ["--courses", str(n_courses), "--workers", str(n_workers)]
    if motions:
        options += ["--set", f"strategies.margins_mm=[{MARGIN}]", "--set", f"strategies.motion=[{', '.join(motions)}]"]
    command = [sys.executable, "-P", "-m", "simulator", "run", str(STUDY), "--out", "results", *options]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=quiet, text=True, env=side.environment, cwd=folder)


def _processor_s(process: int) -> float:
    """Processor time of a running process and its dead children, as Linux tells it."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK_S


def compiled(side: Side) -> None:
    """Fill the version's cache of compiled kernels."""
    run(side, MOTIONS[:1], FEW, 1)


def measure_w5(side: Side, n_workers: int, *, is_line_shown: bool = False) -> dict[str, float]:
    """One turn: what all of W5 takes without its plans, in seconds and processor seconds, and what that is made of."""
    few, many = (run(side, MOTIONS, n, n_workers) for n in (FEW, MANY))
    less = run(side, MOTIONS[:1], FEW, n_workers)
    found = side.result_of("plans", 1)
    plans_s, n_plans = found["processor s"], found["plans"]
    plans_of_one_s = plans_s / few.seconds.strategies
    tasks = tasks_of_a_strategy(side, ALL_COURSES)
    seconds = Lines.through(few.seconds, many.seconds, less.seconds)
    processor = Lines.through(few.processor_s, many.processor_s, less.processor_s)
    whole = ALL_STRATEGIES, ALL_COURSES
    shown = {"percent off the straight line": off_the_line_percent(side, n_workers, few, many)} if is_line_shown else {}
    return shown | {
        "seconds": seconds.at(*whole, plans_of_one_s / n_workers, tasks).total,
        "processor s": processor.at(*whole, plans_of_one_s, tasks).total,
        "processor s of a plan": plans_s / n_plans,
        "processor ms of a course": 1e3 * processor.per_course,
        "processor s of preparing a strategy once": processor.preparing - plans_of_one_s,
        "processor s of all results": processor.at(*whole).results,
        "tasks of a strategy": tasks,
        PEAK: max(few.peak_gib, many.peak_gib),
    }


def whole_w5(side: Side, n_workers: int) -> dict[str, float]:
    """All of W5 as it is, plans included."""
    found = run(side, (), ALL_COURSES, n_workers)
    return {"seconds": found.seconds.total, "processor s": found.processor_s.total, PEAK: found.peak_gib}


def off_the_line_percent(side: Side, n_workers: int, few: Run, many: Run) -> float:
    """How far a number of courses in between lies off the line through two runs, in percent of its processor time."""
    between = run(side, MOTIONS, BETWEEN, n_workers).processor_s.total
    line = np.interp(BETWEEN, (FEW, MANY), (few.processor_s.total, many.processor_s.total))
    return float(100 * (between / line - 1))
