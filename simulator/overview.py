"""Tables for the terminal: a resolved study, and the answer of a finished one."""

import numpy as np
import xarray as xr
from rich.markup import escape
from rich.table import Table

from simulator.prepare import Problem
from simulator.words import biology_in_words

_FMA_PER_SECOND = 2e9
_PLAN_SECONDS = 3.0


def text_table(title: str, columns: tuple[str, ...] | list[str], rows: list) -> Table:
    """A plain table."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def problem_tables(problem: Problem) -> list[Table]:
    """What `simulator check` prints."""
    config = problem.config
    rx = config.prescription
    study = [
        ("study", config.name),
        ("case", f"{problem.case.name}, target {problem.case.target} ({problem.case.gtv.volume_cc:.2f} cc)"),
        ("prescription", f"{rx.dose_gy:g} Gy in {rx.fractions} fractions on the {rx.isodose_percent:g} % isodose"),
        ("plan", config.plan.model),
        *(("uncertainty", sentence) for sentence in config.uncertainty.describe()),
        *(("biology", sentence) for sentence in biology_in_words(problem)),
        ("strategies", str(len(problem.strategies))),
        ("goals", str(len(problem.goals))),
        ("courses per strategy", f"at most {config.courses}" if config.precision else str(config.courses)),
        ("seed", str(config.seed)),
        ("estimate", _estimate(problem)),
    ]
    if problem.skipped_goals:
        study.append(("left out", "; ".join(f"{g.text} (no such structure)" for g in problem.skipped_goals)))
    structures = [
        (s.name, s.role, f"{s.volume_cc:.2f}", sum(len(p.volume_cc) for p in problem.patches[s.name]))
        for s in problem.structures
    ]
    strategies = [
        (s.label(), _margin(r.margin_mm), s.motion.describe(), s.guidance.describe())
        for s, r in zip(problem.strategies, problem.requests, strict=True)
    ]
    goals = [(g.text, g.level, "yes" if g.checked else "check the publication", g.source) for g in problem.goals]
    return [
        text_table("Study", ("what", "value"), study),
        text_table("Structures", ("name", "role", "volume (cc)", "points"), structures),
        text_table("Strategies", ("label", "margin LR/AP/SI (mm)", "motion", "guidance"), strategies),
        text_table("Goals", ("goal", "level", "checked", "source"), goals),
    ]


def _margin(margin_mm: tuple[float, ...]) -> str:
    """LR/AP/SI, with both directions where they differ."""
    pairs = zip(margin_mm[::2], margin_mm[1::2], strict=True)
    return "/".join(f"{a:g}" if a == b else f"{a:g}+{b:g}" for a, b in pairs)


def _estimate(problem: Problem) -> str:
    """Rough time and memory from the number of sums; measured on two cores."""
    config = problem.config
    varies = set(problem.moving) if config.uncertainty.drift is None else {s.name for s in problem.structures}
    sums = 0.0
    for structure in problem.structures:
        points = sum(len(p.volume_cc) for p in problem.patches[structure.name])
        instants = config.numerics.instants if structure.name in varies else 1
        sums += points * min(8 * instants, 80) * config.prescription.fractions
    seconds = sums * config.courses * len(problem.strategies) / _FMA_PER_SECOND
    seconds += _PLAN_SECONDS * len(set(problem.requests)) + 20
    megabytes = 400 + problem.n_points * 32 * 4 * 2 / 1e6
    megabytes += config.courses * len(problem.strategies) * len(problem.metric_labels) * 4 / 1e6
    return f"about {seconds:.0f} s on two processors and {megabytes:.0f} MB of memory"


def answer_table(results: xr.DataTree) -> Table:
    """Probability of each target goal, and the least certain goal on organs at risk, by strategy."""
    goals = results["goals"].to_dataset()
    is_target = goals["role"].values == "target"
    target_goals = [str(g) for g in goals["goal"].values[is_target]]
    rows = []
    for i, strategy in enumerate(goals["strategy"].values):
        cells = [_with_interval(goals, i, int(j)) for j in np.flatnonzero(is_target)]
        others = np.flatnonzero(~is_target)
        if len(others):
            worst = int(others[np.argmin(goals["probability"].values[i, others])])
            cells.append(f"{goals['goal'].values[worst]}: {_with_interval(goals, i, worst)}")
        rows.append((str(strategy), *cells))
    columns = ["strategy", *target_goals] + (["least certain OAR goal"] if not is_target.all() else [])
    return text_table(f"{results.attrs['name']}: probability of each goal (95 % interval)", columns, rows)


def _with_interval(goals: xr.Dataset, strategy: int, goal: int) -> str:
    p, low, high = (float(goals[key].values[strategy, goal]) for key in ("probability", "ci_low", "ci_high"))
    return f"{100 * p:.1f} % ({100 * low:.1f}-{100 * high:.1f})"
