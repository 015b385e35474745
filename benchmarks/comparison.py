"""Two versions in one interleaved run: A B B A A B ..., and what their ratios say."""

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.checkouts import Side
from benchmarks.noise import Ratio, ratio_of
from benchmarks.whole_study import compiled, measure_w5

Turn = Callable[[Side, int], dict[str, float]]


def turns_of(work: str) -> Turn:
    """How one turn of a workload is measured."""
    return measure_w5 if work == "W5" else lambda of, n_workers: of.result_of(work, n_workers)


def interleaved(turn: Turn, first: Side, second: Side, n_turns: int, n_workers: int) -> tuple[list, list]:
    """What each side measured in each turn; which of them begins changes from turn to turn."""
    found: dict[Side, list[dict[str, float]]] = {first: [], second: []}
    for k in range(n_turns):
        for of in (first, second) if k % 2 == 0 else (second, first):
            found[of].append(turn(of, n_workers))
    return found[first], found[second]


def compare(
    works: list[str], before: Side, now: Side, n_turns: int, n_workers: int
) -> Iterator[tuple[str, str, float, float, Ratio]]:
    """Workload, what was measured, medians of the version before and of this one, and their ratio."""
    for work in works:
        if work == "W5":
            for of in (before, now):
                compiled(of)
        earlier, later = interleaved(turns_of(work), before, now, n_turns, n_workers)
        for name in earlier[0]:
            a, b = (np.array([row[name] for row in rows]) for rows in (earlier, later))
            yield work, name, float(np.median(a)), float(np.median(b)), ratio_of(a, b)
