"""Speed in ratios: `python -m benchmarks [W1 W2 W3 W4] [--json FILE] [--history FILE]`; all numbers come from this run."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.workloads import measure

ROOT = Path(__file__).parents[1]
COURSES = {
    "W1": {"simulator": 10_000, "numba": 300, "scipy": 40},
    "W2": {"simulator": 2_000, "numba": 20, "scipy": 3},
    "W3": {"simulator": 200, "numba": 20, "scipy": 3},
}
WORKLOADS = [*COURSES, "W4"]
STUDY = ROOT / "configs" / "mediastinal_node.yaml"


def whole_process() -> dict[str, float]:
    """W4: seconds of `simulator run` on the shipped study with an empty and with a filled cache of compiled kernels."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(Path(folder) / "cache")}
        seconds = {}
        for state in ("cold", "warm"):
            out = Path(folder) / state
            command = [sys.executable, "-m", "simulator", "run", str(STUDY), "--out", str(out), "--quiet"]
            begin = time.perf_counter()
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
            seconds[f"{state}_s"] = time.perf_counter() - begin
            shutil.rmtree(out)
    return seconds


def commit() -> str:
    """The commit that is measured, marked when files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def read_arguments(words: list[str]) -> argparse.Namespace:
    """The command line; all workloads where none is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="W1, W2, W3 or W4; all of them by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--history", type=Path, help="append the run with date and commit, one line of JSON")
    asked = parser.parse_args(words)
    if unknown := set(asked.workloads) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    asked.workloads = asked.workloads or WORKLOADS
    return asked


def main() -> None:
    """Print one table; with --json write one object as well, with --history add a line to a file."""
    asked = read_arguments(sys.argv[1:])
    found: dict[str, dict[str, float]] = {}
    print(
        "| workload | courses/s | against numba | against scipy | worst difference (% of Rx) |\n|---|---|---|---|---|"
    )
    for name in asked.workloads:
        if name == "W4":
            found[name] = whole_process()
            print(f"| W4 | cold {found[name]['cold_s']:.0f} s, warm {found[name]['warm_s']:.0f} s | | | |", flush=True)
            continue
        row = found[name] = measure(name, COURSES[name], asked.workers)
        print(
            f"| {name} | {row['courses_per_s']:.0f} | {row['ratio_numba']:.1f} | {row['ratio_scipy']:.0f} | "
            f"{row['difference_percent_of_rx']:.1e} |",
            flush=True,
        )
    if asked.history:
        line = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), **found}
        with asked.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
