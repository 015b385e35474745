"""How the time of a study's courses grows with courses, fractions, instants, structures and grid: docs/images/scaling.png.

Processor time of one thread on workload W2 and variants of it, relative to W2 itself.

Run it from the root of the repository:  python -m benchmarks.scaling
"""

import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.workloads import Workload, by_simulator, workload
from simulator.case.cells import Patch

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "scaling.png"
_COURSES, _REPEATS = 4000, 3  # so many that making the lattices, a constant, hardly counts


def seconds_of(work: Workload, n_courses: int = _COURSES) -> float:
    """Processor time of some courses, the least of a few runs."""
    found = []
    for _ in range(_REPEATS):
        begin = time.process_time()
        by_simulator(work, n_courses, 1)
        found.append(time.process_time() - begin)
    return min(found)


def thinned(work: Workload, share: float) -> Workload:
    """The same structures with fewer points."""
    patches = {
        name: Patch(
            p.lattice, p.index_zyx[: int(share * len(p.volume_cc))], p.volume_cc[: int(share * len(p.volume_cc))]
        )
        for name, p in work.patches.items()
    }
    return replace(work, patches=patches)


def some_structures(work: Workload, n: int) -> Workload:
    """The first few structures."""
    return replace(work, patches=dict(list(work.patches.items())[:n]))


def main() -> None:
    """Measure, print one table and draw."""
    base = workload("W2")
    one = seconds_of(base)
    found = {
        "courses": [(n, seconds_of(base, n) / one) for n in (1000, 2000, 8000)],
        "fractions": [
            (n, seconds_of(replace(base, setting=replace(base.setting, n_fractions=n))) / one) for n in (1, 3, 10, 20)
        ],
        "instants": [
            (n, seconds_of(replace(base, setting=replace(base.setting, n_instants=n))) / one) for n in (5, 10, 40, 80)
        ],
        "structures": [(n, seconds_of(some_structures(base, n)) / one) for n in (1, 3, 5)],
        "points (thousands)": [
            (round(133.58 * share), seconds_of(thinned(base, share)) / one) for share in (0.125, 0.25, 0.5)
        ],
    }
    here = {"courses": _COURSES, "fractions": 5, "instants": 20, "structures": 7, "points (thousands)": 134}
    figure, axes = plt.subplots(1, len(found), figsize=(13, 2.8), sharey=True, layout="constrained")
    print("| grows with | time relative to W2 |\n|---|---|")
    for axis, (name, measured) in zip(axes, found.items(), strict=True):
        rows = sorted([*measured, (here[name], 1.0)])
        print(f"| {name} | " + ", ".join(f"{n}: {ratio:.2f}" for n, ratio in rows) + " |")
        n, ratio = np.array(rows).T
        axis.loglog(n, ratio, "o-", color="#1f5f8b")
        axis.loglog(n, n / here[name], ":", color="#999999")
        axis.set_xlabel(name)
        axis.set_xticks(n, [f"{value:g}" for value in n])
        axis.set_yticks([0.125, 0.25, 0.5, 1, 2, 4], ["1/8", "1/4", "1/2", "1", "2", "4"])
        axis.minorticks_off()
    axes[0].set_ylabel("time relative to W2")
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
