"""How much two workers do in the time of one: docs/images/workers.png.

Seconds of the courses of `configs/mediastinal_node.yaml`, plans included, from the first task to the last, for each backend.

Run it from the root of the repository:  python -m benchmarks.workers
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
STUDY, FIGURE = ROOT / "configs" / "mediastinal_node.yaml", ROOT / "docs" / "images" / "workers.png"
BACKENDS, WORKERS = ("local", "processes", "dask"), (1, 2)


def seconds_of(backend: str, n_workers: int) -> float:
    """From the message that courses begin to the one that required margins and results follow."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "simulator", "run", str(STUDY), "--out", folder, "--no-report"]
        options = ["--backend", backend, "--workers", str(n_workers)]
        with subprocess.Popen(
            [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as run:
            assert run.stderr is not None
            at = {line.split(maxsplit=1)[0]: time.perf_counter() for line in run.stderr if line.strip()}
    assert run.returncode == 0
    return at["required"] - at["courses"]


def main() -> None:
    """Measure, print one table and draw."""
    figure, axis = plt.subplots(figsize=(4.5, 3.2), layout="constrained")
    print("| backend | 1 worker | 2 workers | ratio |\n|---|---|---|---|")
    for backend in BACKENDS:
        seconds = [seconds_of(backend, n) for n in WORKERS]
        print(f"| {backend} | {seconds[0]:.0f} s | {seconds[1]:.0f} s | {seconds[0] / seconds[1]:.2f} |", flush=True)
        axis.plot(WORKERS, [seconds[0] / s for s in seconds], "o-", label=backend)
    axis.plot(WORKERS, WORKERS, ":", color="#999999", label="ideal")
    axis.set(xlabel="workers", ylabel="courses in the same time", xticks=WORKERS)
    axis.legend(frameon=False)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
