"""Speed in ratios: `python -m benchmarks [W1 W2 W3 W4 W5] [--json FILE] [--history FILE]`; all numbers come from this run.

With `--against [VERSION]`, a folder or a commit, this version and that one take turns, and a table says what is slower.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.checkouts import BEFORE, ROOT, NoCheckoutError, side
from benchmarks.cold_and_warm import whole_process
from benchmarks.comparison import compare
from benchmarks.noise import LEAST_TURNS
from benchmarks.whole_study import PEAK, MemoryExceededError, check_memory, compiled, measure_w5, whole_w5
from benchmarks.workloads import measure

COURSES = {
    "W1": {"simulator": 10_000, "numba": 300, "scipy": 40},
    "W2": {"simulator": 2_000, "numba": 20, "scipy": 3},
    "W3": {"simulator": 200, "numba": 20, "scipy": 3},
}
USUAL = [*COURSES, "W4"]
WORKLOADS = [*USUAL, "W5"]


def commit() -> str:
    """The commit that is measured, marked when files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def read_arguments(words: list[str]) -> argparse.Namespace:
    """The command line; all workloads where none is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="W1 to W5; all but W5 by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--history", type=Path, help="append the run with date and commit, one line of JSON")
    parser.add_argument(
        "--against",
        nargs="?",
        const=BEFORE,
        metavar="VERSION",
        help=f"folder or commit to compare with; {BEFORE} by default",
    )
    parser.add_argument("--turns", type=int, default=8, help=f"of each version, at least {LEAST_TURNS}")
    parser.add_argument("--whole", action="store_true", help="all of W5 instead of a part of it")
    asked = parser.parse_args(words)
    if asked.turns < LEAST_TURNS:
        parser.error(f"--turns {asked.turns}: at least {LEAST_TURNS} turns are needed to tell a difference from noise")
    if asked.against and asked.whole:
        parser.error("--whole is for this version alone; leave it or --against out")
    if asked.against and "W4" in asked.workloads:
        parser.error("W4 has no turns to compare; W5 is a whole process that has")
    if unknown := set(asked.workloads) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    asked.workloads = asked.workloads or (list(COURSES) if asked.against else USUAL)
    return asked


def whole_study(n_workers: int, is_whole: bool) -> dict[str, float]:
    """W5 of this version: all of it, or from a part, with what shows that its time is a straight line in the courses."""
    with side(ROOT) as here:
        compiled(here)
        return whole_w5(here, n_workers) if is_whole else measure_w5(here, n_workers, is_line_shown=True)


def print_comparison(asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """A table of two versions that took turns."""
    found: dict[str, dict[str, float]] = {}
    print(f"| workload | measured | {asked.against} | this version | ratio |\n|---|---|---|---|---|")
    with side(asked.against) as before, side(ROOT) as now:
        for work, name, a, b, ratio in compare(asked.workloads, before, now, asked.turns, asked.workers):
            print(f"| {work} | {name} | {a:.4g} | {b:.4g} | {ratio} |", flush=True)
            found.setdefault(work, {})[name] = b
            found[work][f"ratio of {name}"] = ratio.middle
    return found


def print_each(asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """A table of this version: ratios to plain programs, and times of whole processes."""
    found: dict[str, dict[str, float]] = {}
    print(
        "| workload | courses/s | against numba | against scipy | worst difference (% of Rx) |\n|---|---|---|---|---|"
    )
    for name in asked.workloads:
        if name == "W4":
            found[name] = whole_process()
            print(f"| W4 | cold {found[name]['cold_s']:.0f} s, warm {found[name]['warm_s']:.0f} s | | | |", flush=True)
            continue
        if name == "W5":
            found[name] = whole_study(asked.workers, asked.whole)
            print(
                "| W5 | " + ", ".join(f"{of} {value:.4g}" for of, value in found[name].items()) + " | | | |", flush=True
            )
            continue
        row = found[name] = measure(name, COURSES[name], asked.workers)
        print(
            f"| {name} | {row['courses_per_s']:.0f} | {row['ratio_numba']:.1f} | {row['ratio_scipy']:.0f} | "
            f"{row['difference_percent_of_rx']:.1e} |",
            flush=True,
        )
    return found


def main() -> None:
    """Print one table; with --json write one object as well, with --history add a line to a file."""
    asked = read_arguments(sys.argv[1:])
    try:
        found = print_comparison(asked) if asked.against else print_each(asked)
    except NoCheckoutError as error:
        sys.exit(str(error))
    if asked.history:
        line = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), **found}
        with asked.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if "W5" in found:
        try:
            check_memory(found["W5"][PEAK])
        except MemoryExceededError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
