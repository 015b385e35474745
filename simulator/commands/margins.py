"""Margins that were searched, beside isotropic and published ones: a table, what they save in words, and files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from simulator.answers.margin_shapes import ISOTROPIC, SMALLEST, VAN_HERK, away_from
from simulator.execution.margins import MarginSearch
from simulator.ground.files import write_table
from simulator.metrics.goals import Goal, parse_goal
from simulator.population.comparison import compare_metric
from simulator.results.registry import DIRECTIONS
from simulator.results.views import joint_probability

TABLE = "margins.csv"
_SMALL = 0.1

Rows = tuple[list[str], list[list[str]]]


def write_margins(found: MarginSearch, results: xr.DataTree, folder: Path) -> None:
    """Write margins.csv: by candidate its six margins, its PTV, its coverage, and what it saves where all cover alike."""
    write_table(folder / TABLE, *_numbers(found, results))


def table_of(found: MarginSearch, results: xr.DataTree) -> Rows:
    """What the terminal shows of each candidate."""
    several = len(found.targets) > 1
    columns = [
        "margins",
        "R L A P I S (mm)",
        "PTVs (cc)" if several else "PTV (cc)",
        "coverage",
        f"PTV at {100 * found.coverage:g} % (cc)",
    ]
    columns += [f"{goal}: excess" for goal in found.goals]
    rows = []
    for name, i in found.candidates.items():
        p, low, high = _coverage(results, i)
        needed = f"{found.sized[name].needed_cc(found.coverage)[0]:.2f}" if name in found.sized else ""
        excess = [f"{np.mean(_excess(results, parse_goal(goal))[i]):.2f} Gy" for goal in found.goals]
        by_target = [" ".join(f"{mm:.1f}" for mm in sides) for sides in found.sides_mm[i]]
        sides = by_target[0]
        if several:
            sides = "; ".join(f"{target} {own}" for target, own in zip(found.targets, by_target, strict=True))
        share = f"{100 * p:.1f} % ({100 * low:.1f}-{100 * high:.1f})"
        rows.append([name, sides, f"{_ptv_cc(results, i):.2f}", share, needed, *excess])
    return columns, rows


def sentences(found: MarginSearch, results: xr.DataTree) -> Iterator[str]:
    """What the search gains, and whether that is much."""
    for beside in (ISOTROPIC, VAN_HERK):
        if beside in found.sized:
            saved = found.saving(SMALLEST, beside)
            yield (
                f"Where both cover {100 * found.coverage:g} % of courses, the smallest PTV has {saved.cc:.2f} cc less than "
                f"{_words(beside)}: {100 * saved.share:.1f} % of it ({100 * saved.low:.1f} to {100 * saved.high:.1f} %)"
                f"{_how_much(saved.share, saved.low)}."
            )
    if found.organ is not None:
        name = away_from(found.organ)
        one, other = found.candidates[name], found.candidates[ISOTROPIC]
        covered = [100 * _coverage(results, i)[0] for i in (one, other)]
        for goal in map(parse_goal, found.goals):
            values = _values(results, goal)[[one, other]]
            yield (
                f"Margins {name} change the mean {goal.metric.label} by {_gy(values)} beside isotropic ones, and its excess "
                f"beyond {goal.limit:g} {goal.unit} by {_gy(_excess(results, goal)[[one, other]])}; the limit holds in "
                f"{_holds(results, goal, one)} of courses in place of {_holds(results, goal, other)}, with a coverage of "
                f"{covered[0]:.1f} % and {covered[1]:.1f} %."
            )
    yield (
        f"Shapes were searched in courses of seed {found.seeds[0]} and sized in those of seed {found.seeds[1]}; what is said "
        f"here comes from {results.attrs['n_courses']} courses of seed {found.study.seed}, which no search has seen."
    )


def _words(beside: str) -> str:
    return "that of isotropic margins" if beside == ISOTROPIC else "that of margins in van Herk's proportions"


def _how_much(share: float, low: float) -> str:
    if low <= 0:
        return ", which these courses cannot tell from nothing"
    return ", which is little" if share < _SMALL else ""


def _gy(pair: np.ndarray) -> str:
    """Mean of the first less the second (2, course), with its paired interval."""
    found = compare_metric(pair, larger_is_better=False)
    return f"{found.difference[0, 1]:+.2f} Gy ({found.low[0, 1]:+.2f} to {found.high[0, 1]:+.2f})"


def _excess(results: xr.DataTree, goal: Goal) -> np.ndarray:
    """Excess beyond a goal (strategy, course)."""
    return goal.excess(_values(results, goal), float(results.attrs["prescription_gy"]))


def _values(results: xr.DataTree, goal: Goal) -> np.ndarray:
    """Metric of a goal (strategy, course)."""
    return results["metrics"].to_dataset()["value"].sel(metric=goal.metric.label).to_numpy().astype(np.float64)


def _holds(results: xr.DataTree, goal: Goal, strategy: int) -> str:
    return f"{100 * float(results['goals'].to_dataset()['probability'].sel(goal=goal.text)[strategy]):.1f} %"


def _coverage(results: xr.DataTree, strategy: int) -> tuple[float, float, float]:
    one = joint_probability(results, "wanted coverage").isel(strategy=strategy)
    return float(one["probability"]), float(one["ci_low"]), float(one["ci_high"])


def _ptv_cc(results: xr.DataTree, strategy: int) -> float:
    return float(results["plans"].to_dataset()["ptv_cc"][strategy])


def _numbers(found: MarginSearch, results: xr.DataTree) -> Rows:
    of = [f"{target} " if len(found.targets) > 1 else "" for target in found.targets]
    columns = [
        "margins",
        "strategy",
        *(f"{which}{d}_mm" for which in of for d in DIRECTIONS),
        "ptv_cc",
        "coverage",
        "ci_low",
        "ci_high",
    ]
    columns += ["ptv_at_coverage_cc", "saved_share", "saved_low", "saved_high"]
    for text in found.goals:
        columns += [f"{text}: {what}" for what in ("excess_mean", "less_than_isotropic", "low", "high")]
    other, rows = found.candidates[ISOTROPIC], []
    labels = [s.label() for s in found.study.candidates()]
    for name, i in found.candidates.items():
        row: list[object] = [name, labels[i], *found.sides_mm[i].ravel(), _ptv_cc(results, i), *_coverage(results, i)]
        if name in found.sized:
            saved = found.saving(name, ISOTROPIC)
            row += [float(found.sized[name].needed_cc(found.coverage)[0]), saved.share, saved.low, saved.high]
        else:
            row += [""] * 4
        for text in found.goals:
            excess = _excess(results, parse_goal(text))
            gap = compare_metric(excess[[other, i]], larger_is_better=False)
            row += [float(excess[i].mean()), *(float(v[0, 1]) for v in (gap.difference, gap.low, gap.high))]
        rows.append([f"{v:.5g}" if isinstance(v, float) else str(v) for v in row])
    return columns, rows
