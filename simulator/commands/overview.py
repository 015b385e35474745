"""Tables for the terminal: a resolved study, and the answer of a finished one."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from rich.table import Table

from simulator.accumulation.reach import Reach
from simulator.accumulation.structure import SMALLEST_CELL_POINTS
from simulator.commands.terminal import text_table
from simulator.execution.points import Point
from simulator.execution.problems import problem_of
from simulator.execution.splitting import Run, tasks_of
from simulator.execution.stopping import most_courses
from simulator.ground.conventions import percent
from simulator.problem.problem import Problem
from simulator.problem.words import biology_in_words, courses_in_words, observed_in_words, plans_in_words
from simulator.report.verdicts import first_sentence
from simulator.results.registry import JOINT_SHOWN
from simulator.results.views import (
    joint_probability,
    lost_targets,
    observed_remark,
    rough_doses,
    stopped_by_strategy,
    sweep_axes,
    sweep_points,
)
from simulator.sampling.delivery import Delivery
from simulator.simulation.courses import COURSES_COMPARED, course_draws, deliver_courses
from simulator.study_file.schema import StudyConfig

_SUMS_PER_SECOND, _LOOK_UPS_PER_SECOND, _METRICS_AS_SUMS = 2e10, 8e8, 40
_STUDY_SECONDS, _PARTS = 8.0, 36


@dataclass(frozen=True)
class Needs:
    """What a study will need: courses at most, processor seconds of them, and memory."""

    n_courses: int
    seconds: float
    megabytes: float


def needs_of(problem: Problem) -> Needs:
    """A rough estimate."""
    n_courses = most_courses(problem)
    return Needs(n_courses, n_courses * _seconds_a_course(problem), _megabytes(problem, n_courses))


def study_tables(config: StudyConfig, points: Mapping[Path, Point]) -> list[Table]:
    """What `simulator check` prints.

    Parameters
    ----------
    points : of the sweep, or the study itself, with their `needs_of` as answers; details are those of the first.
    """
    needs: dict[Path, Needs] = {folder: point.answer for folder, point in points.items()}
    first, of_first = next(iter(points.values())), next(iter(needs.values()))
    tables = _problem_tables(problem_of(first.config), of_first.n_courses)
    seconds = sum(some.seconds for some in needs.values()) + _plan_seconds(points.values())
    megabytes = max(some.megabytes for some in needs.values())
    plans = {folder: point.plans for folder, point in points.items()}
    tasks = tasks_of(plans, {f: Run.of_all(len(some), 0, needs[f].n_courses) for f, some in plans.items()})
    work = [
        *((f"sweep over {axis.name}", "; ".join(_shown(label) for label in axis.labels)) for axis in config.axes()),
        ("points", str(len(points))),
        ("tasks", f"{len(tasks)}, of at most {max(task.n_courses for task in tasks)} courses"),
        ("estimate", f"about {_rounded(seconds)} on two processors, {megabytes:.0f} MB of memory"),
    ]
    return [*tables, text_table("Work", ("what", "value"), work)]


def _shown(label: float | str) -> str:
    return label if isinstance(label, str) else f"{label:g}"


def _rounded(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def _problem_tables(problem: Problem, n_courses: int) -> list[Table]:
    config = problem.config
    targets = ", ".join(f"{target.name} ({target.structure.volume_cc:.2f} cc)" for target in problem.targets)
    study = [
        ("study", config.name),
        ("subject", config.subject),
        ("case", f"{problem.case.name}, target {targets}"),
        ("prescription", config.prescription.describe()),
        ("plan", config.plan.model),
        *(("plan", sentence) for sentence in plans_in_words(problem)),
        *(("uncertainty", sentence) for sentence in config.uncertainty.describe()),
        *(("observed", sentence) for sentence in observed_in_words(problem)),
        *(("biology", sentence) for sentence in biology_in_words(problem)),
        ("strategies", str(len(problem.strategies))),
        ("goals", str(len(problem.goals))),
        (
            "courses per strategy",
            f"at most {n_courses}" if config.precision or config.decide else courses_in_words(config, n_courses),
        ),
        ("seed", str(config.seed)),
    ]
    if problem.skipped_goals:
        study.append(("left out", "; ".join(f"{g.text} (no such structure)" for g in problem.skipped_goals)))
    structures = [
        (s.name, s.role, f"{s.volume_cc:.2f}", sum(len(p.volume_cc) for p in problem.patches[s.name]))
        for s in problem.structures
    ]
    strategies = [
        (s.label(), "; ".join(_margin(ptv.margin_mm) for ptv in r.ptvs), s.motion.describe(), s.guidance.describe())
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


def _seconds_a_course(problem: Problem) -> float:
    """Rough time of a course of all strategies, without plans, from displacements of a few; measured on two processors."""
    draws = course_draws(problem, 0, COURSES_COMPARED)
    of_roles: dict[tuple[str, str], float] = {}
    total = 0.0
    for strategy in problem.strategies:
        roles = strategy.roles
        if roles not in of_roles:
            delivery = deliver_courses(problem, strategy, draws)
            of_roles[roles] = sum(_course_seconds(problem, s.name, delivery) for s in problem.structures)
        total += of_roles[roles]
    return total


def _course_seconds(problem: Problem, structure: str, delivery: Delivery) -> float:
    """Rough time of a structure in one course: displacements share lattice nodes unless each point has its own."""
    motion = delivery.motion(structure)
    n_visits = motion.weight.shape[1]
    n_parts = _PARTS if delivery.in_time is not None and structure in delivery.met_in_parts else 1
    n_merged = n_parts * (n_visits / n_parts) ** 0.7
    reach = Reach.of(motion, None if motion.linear is None else problem.arm_mm(structure, motion.centre_mm))
    seconds = 0.0
    for patch in problem.patches[structure]:
        if reach.cell_mm < SMALLEST_CELL_POINTS * patch.lattice.spacing_mm[0]:
            seconds += len(patch.volume_cc) * n_visits / _LOOK_UPS_PER_SECOND
        else:
            seconds += len(patch.volume_cc) * (8 * n_merged + _METRICS_AS_SUMS) / _SUMS_PER_SECOND
    return seconds


def _plan_seconds(points: Collection[Point]) -> float:
    """Rough time of all plans and of what every study needs."""
    plans = {planned.key: point.config.plan.plan_seconds for point in points for planned in point.plans}
    return sum(plans.values()) / (os.cpu_count() or 1) + _STUDY_SECONDS * len(points)


def _megabytes(problem: Problem, n_courses: int) -> float:
    metrics = n_courses * len(problem.strategies) * len(problem.metric_labels) * 4 / 1e6
    return 450 + problem.config.plan.memory_mb + problem.n_points * 32 * 4 * 2 / 1e6 + metrics


def answer_table(results: xr.DataTree) -> Table:
    """By strategy the verdict, each target goal and the least certain goal on organs; by point, what a sweep recommends."""
    if sweep_axes(results):
        return _sweep_table(results)
    goals = results["goals"].to_dataset()
    is_target = goals["role"].values == "target"
    target_goals = [str(g) for g in goals["goal"].values[is_target]]
    decision = results["decision"].to_dataset()
    rows, stopped = [], stopped_by_strategy(results)
    for i in np.argsort(decision["rank"].values):
        strategy = goals["strategy"].values[i]
        cells = [
            "; ".join(word for word in (str(decision["verdict"].values[i]), stopped.get(str(strategy), "")) if word),
            *(_with_interval(goals, i, int(j)) + _known(results, i, int(j)) for j in np.flatnonzero(is_target)),
        ]
        others = np.flatnonzero(~is_target)
        if len(others):
            worst = int(others[np.argmin(goals["probability"].values[i, others])])
            cells.append(f"{goals['goal'].values[worst]}: {_with_interval(goals, i, worst)}{_known(results, i, worst)}")
        rows.append((str(strategy), *cells))
    columns = ["strategy", "verdict", *target_goals] + (
        ["OAR goal least likely to be met"] if not is_target.all() else []
    )
    return text_table(f"{results.attrs['name']}: probability of each goal (95 % interval)", columns, rows)


def recommendation(results: xr.DataTree) -> str:
    """The verdict in a sentence or two; for a sweep, where the table says it for every point, what to read."""
    is_sweep = bool(sweep_axes(results))
    notes = (observed_remark(results), lost_targets(results), "" if is_sweep else rough_doses(results))
    first = "The folders in points/ hold the complete results of each point." if is_sweep else first_sentence(results)
    return "\n".join([first, *(f"note: {note}" for note in notes if note)])


def _sweep_table(results: xr.DataTree) -> Table:
    """The decision at every point of a sweep."""
    axes = sweep_axes(results)
    decision = results["decision"].to_dataset()
    joint, organs = (joint_probability(results, name) for name in JOINT_SHOWN)
    undecided = (decision["verdict"] == "undecided").any("strategy")
    rows = []
    for at in sweep_points(results):
        here = decision.isel(at)
        recommended, chosen = str(here["recommended"].item()), str(here["nearest_miss"].item())
        chosen = recommended or chosen
        p, low, high = (float(joint[key].isel(at).sel(strategy=chosen)) for key in ("probability", "ci_low", "ci_high"))
        risk = 1 - float(organs["probability"].isel(at).sel(strategy=chosen))
        nearest = f"{'undecided' if undecided.isel(at) else 'none suits'}; nearest: {chosen}"
        rows.append(
            (
                *(_shown(here[axis].item()) for axis in axes),
                recommended or nearest,
                f"{100 * p:.1f} % ({100 * low:.1f}-{100 * high:.1f})",
                "-" if np.isnan(risk) else f"{percent(risk)} %",
            )
        )
    columns = [
        *axes,
        "recommended",
        decision.attrs.get("wanted", "wanted coverage"),
        "risk that an organ misses a goal",
    ]
    return text_table(f"{results.attrs['name']}: the decision at every point (95 % interval)", columns, rows)


def _known(results: xr.DataTree, strategy: int, goal: int) -> str:
    """The probability as stated and its range over what errors may be; nothing where they are exact or courses too few."""
    if "knowledge" not in results.children:
        return ""
    found = results["knowledge"].to_dataset()
    plug_in, low, high = (100 * float(found[key].values[strategy, goal]) for key in ("plug_in", "low", "high"))
    return f"; as stated {plug_in:.1f}, may be {low:.1f}-{high:.1f}" if np.isfinite(low) else ""


def _with_interval(goals: xr.Dataset, strategy: int, goal: int) -> str:
    p, low, high = (float(goals[key].values[strategy, goal]) for key in ("probability", "ci_low", "ci_high"))
    return f"{100 * p:.1f} % ({100 * low:.1f}-{100 * high:.1f})"
