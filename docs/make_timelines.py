"""Write images/guidance.svg and images/motion-management.svg: a course under each protocol, a fraction under each motion."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from simulator import course_draws, deliver_courses, load_study, prepare
from simulator.plots.style import PALETTE, house_style, light_grid, svg_bytes
from simulator.problem.problem import Problem
from simulator.sampling.delivery import strategy_timeline
from simulator.strategy import Strategy
from simulator.study_file.schema import StudyConfig

HERE = Path(__file__).parent
N_FRACTIONS, N_COURSES, COURSE, PATIENT, SI = 8, 2000, 1, 31, 2
GUIDANCE = [
    "none",
    {"kind": "nal", "measured_fractions": 3},
    {"kind": "enal", "measured_fractions": 3, "then_every": 2, "then_from": 5},
    "online-bone",
    "online-target",
]
OFF, UNTOUCHED, BAND = "#bbbbbb", "#777777", "#dcebf5"


def study_of(name: str, **changes: object) -> StudyConfig:
    """A shipped study with some of its keys changed and one goal; no plan is made of it."""
    study = load_study(HERE.parent / "configs" / f"{name}.yaml").model_dump()
    return StudyConfig.model_validate(
        study | {"goals": ["GTV D98% >= 95%"], "plan": {"model": "conformal-arc"}} | changes
    )


def positions_mm(problem: Problem, strategy: Strategy, first: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the target relative to the beam along SI, (course, fraction, instant), and their weights."""
    motion = deliver_courses(problem, strategy, course_draws(problem, first, n)).motion(problem.targets[0].name)
    shape = (n, motion.n_fractions, -1)
    return motion.shift_mm[..., SI].reshape(shape), motion.weight.reshape(shape)


def guidance() -> plt.Figure:
    """Where the node lies in each fraction of one course, and what is left in many."""
    problem = prepare(
        study_of(
            "pelvic_node",
            prescription={"dose_gy": 40, "fractions": N_FRACTIONS, "isodose_percent": 80},
            strategies={"margins_mm": [5], "motion": ["none"], "guidance": GUIDANCE},
        )
    )
    fraction = np.arange(1, N_FRACTIONS + 1)
    figure, grid = plt.subplots(2, 3, figsize=(8.2, 5.0), sharey=True, constrained_layout=True)
    *row, empty = grid.flat
    empty.set_axis_off()
    untouched = None
    for axes, strategy in zip(row, problem.strategies, strict=True):
        mm, weight = positions_mm(problem, strategy, 0, N_COURSES)
        daily = (mm * weight).sum(axis=2) / weight.sum(axis=2)
        untouched = daily[COURSE] if untouched is None else untouched
        spread = daily.std(axis=0)
        axes.fill_between(fraction, -spread, spread, color=BAND, linewidth=0)
        left = f"SD of {N_COURSES:,} courses:\n{spread[0]:.1f} mm first, {spread[-1]:.1f} mm last"
        axes.set(title=strategy.guidance.label(), xlabel=f"fraction\n{left}", xticks=fraction)
        print(strategy.guidance.label(), left.replace("\n", " "))
        axes.plot(fraction, untouched, color=UNTOUCHED, linewidth=1.2, linestyle="--")
        axes.plot(fraction, daily[COURSE], "o-", color=PALETTE[0], markersize=4)
        axes.axhline(0, color="#666666", linewidth=0.8)
        light_grid(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("node superior of plan, mm")
    return figure


def motion_management() -> plt.Figure:
    """Where the node lies in one fraction under each motion management, and what was planned on."""
    study = load_study(HERE.parent / "configs" / "mediastinal_strategies.yaml").model_dump()
    motion = [kind for kind in study["strategies"]["motion"] if kind["kind"] != "mid-ventilation"]
    problem = prepare(
        study_of(
            "mediastinal_strategies",
            strategies={"margins_mm": [5], "motion": motion, "guidance": ["online-target"]},
            numerics={"instants": 120},
        )
    )
    setting = problem.setting
    figure, grid = plt.subplots(2, 3, figsize=(8.2, 5.0), sharey=True, constrained_layout=True)
    row = list(grid.flat)
    for axes, strategy in zip(row, problem.strategies, strict=True):
        mm, weight = positions_mm(problem, strategy, PATIENT, 1)
        minutes = strategy_timeline(strategy, setting).time_min
        on = weight[0, 0] > 0
        target = problem.targets[0].name
        planned = strategy.motion.offset_mm(setting.planned, target)[SI]
        path, mm = strategy.motion.path_mm(setting.planned, target)[:, SI] - planned, mm - planned
        axes.axhspan(path.min() - 0.15, path.max() + 0.15, color=BAND, linewidth=0)
        axes.plot(minutes[~on], mm[0, 0][~on], "o", color=OFF, markersize=2)
        axes.plot(minutes[on], mm[0, 0][on], "o", color=PALETTE[0], markersize=2.5)
        axes.set(title=strategy.motion.label(), xlabel="min after the image", xlim=(0, None))
        print(f"{strategy.motion.label()}: beam from {minutes[0]:.1f} to {minutes[-1]:.1f} min, {on.mean():.0%} on")
        light_grid(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("node superior of plan, mm")
    return figure


def main() -> None:
    """Draw both."""
    with house_style({"axes.titlesize": 9.5}):
        for name, figure in (("guidance", guidance()), ("motion-management", motion_management())):
            (HERE / "images" / f"{name}.svg").write_bytes(svg_bytes(figure))


if __name__ == "__main__":
    main()
