"""A study from end to end: `run_study` is the data flow read aloud."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from simulator import __version__
from simulator.accumulation import Reach, StructureDoses
from simulator.assembly import DOSE_BINS, Outcome, assemble, dose_step_gy
from simulator.checkpoint import BlockStore
from simulator.config import StudyConfig, dump_study
from simulator.dose_maps import BONE, MapFrame, VisitBox
from simulator.executors import Executor, executor_with
from simulator.metrics.evaluate import dvh_percent, evaluate_metrics
from simulator.plan.quality import Plan
from simulator.population.bands import VOLUME_LEVELS, band_quantiles, count_levels
from simulator.population.intervals import FixedWidthRule
from simulator.prepare import PlanRequest, Problem, prepare
from simulator.results import open_results, write_results, write_summary
from simulator.sampling.courses import Delivery, TissueMotion, deliver, draw_courses
from simulator.sampling.streams import Draws
from simulator.spec import ConfigError
from simulator.strategy import Strategy
from simulator.true_target import true_extremes
from simulator.uncertainty.source import RandomNumbers

_COURSES_AT_ONCE = 32
_PLANS_AT_ONCE = 4
_MAP_BORDER_MM = 35.0


class Progress(Protocol):
    """Who is told how far the study is."""

    def stage(self, text: str) -> None:
        """A new stage has begun."""
        ...

    def courses(self, done: int, total: int) -> None:
        """So many courses of all strategies are done."""
        ...


class Silent:
    """Tells nobody."""

    def stage(self, text: str) -> None:
        """Ignored."""

    def courses(self, done: int, total: int) -> None:
        """Ignored."""


def run(
    study: StudyConfig,
    *,
    courses: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    out: str | Path | None = None,
) -> xr.DataTree:
    """Run a study and return its results.

    Parameters
    ----------
    courses, seed : replace those of the study.
    workers : threads; one per processor by default. Results do not depend on it.
    out : results folder, resumed if unfinished; nothing is left on disk when absent.

    Returns
    -------
    Results as `simulator.open_results` gives them.
    """
    changes = {key: value for key, value in (("courses", courses), ("seed", seed)) if value is not None}
    study = StudyConfig.model_validate({**study.model_dump(), **changes})
    if out is not None:
        run_study(study, Path(out), workers=workers)
        return open_results(out)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run_study(study, Path(folder), workers=workers)
        results = open_results(folder)
        loaded = results.load()
        results.close()
        return loaded


def run_study(config: StudyConfig, out: Path, *, workers: int | None = None, progress: Progress | None = None) -> None:
    """Simulate a study into a folder: config.yaml, results.nc and summary.csv.

    An interrupted run resumes from the finished blocks in `out`; the numbers are the same.
    """
    progress = progress or Silent()
    started = time.monotonic()
    progress.stage("reading the case")
    problem = prepare(config)
    text = dump_study(config)
    store = BlockStore(out / "blocks", fingerprint(text))
    (out / "config.yaml").write_text(text, encoding="utf-8")
    frame = map_frame(problem)
    scratch = store.scratch("values", (len(problem.strategies), config.courses, len(problem.metric_labels)))
    rule = stopping_rule(config)
    n_courses: int | None = rule.first_look if rule else config.courses
    with executor_with(workers) as executor:
        while n_courses is not None:
            values = scratch[:, :n_courses]
            outcomes = simulate_strategies(problem, frame, store, executor, progress, values)
            n_courses = rule.next_look(count_met(problem, values), n_courses) if rule else None
        results = assemble(problem, frame, outcomes, values, time.monotonic() - started)
        if config.budget is not None:
            from simulator.budget import budget_group

            progress.stage("uncertainty budget")
            results["budget"] = budget_group(problem, store, executor, budget_strategies(config, results))
    progress.stage("writing results")
    write_results(results, out / "results.nc")
    write_summary(results, out / "summary.csv")
    del results, values, scratch
    store.discard()


def budget_strategies(config: StudyConfig, results: xr.DataTree) -> list[str]:
    """Labels of the strategies with an uncertainty budget: those asked for, or the one that the decision is about."""
    assert config.budget is not None
    decision = results["decision"].attrs
    return list(config.budget.strategies) or [decision["recommended"] or decision["nearest_miss"]]


def stopping_rule(config: StudyConfig) -> FixedWidthRule | None:
    """When to stop, for a study that asks for a precision instead of a number of courses."""
    if config.precision is None:
        return None
    return FixedWidthRule(config.precision, config.courses, config.numerics.block_courses)


def count_met(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Number of courses that meet each goal, (strategy, goal)."""
    column = {label: i for i, label in enumerate(problem.metric_labels)}
    counts = [
        [
            goal.is_met(drawn[:, column[goal.metric.label]].astype(float), problem.prescription_gy).sum()
            for drawn in values
        ]
        for goal in problem.goals
    ]
    return np.array(counts).T


def is_finished(config: StudyConfig, folder: Path) -> bool:
    """Whether a folder holds the finished results of this very study.

    Raises
    ------
    ConfigError : the folder holds the results of another study.
    """
    if not (folder / "results.nc").is_file():
        return False
    with open_results(folder) as results:
        if fingerprint(results.attrs["config"]) == fingerprint(dump_study(config)):
            return True
    raise ConfigError(
        f"{folder}: holds the results of a different study (the configuration, the seed or the version changed); "
        "add --fresh to replace them, or choose another folder with --out"
    )


def discard_earlier(folder: Path) -> None:
    """Remove the results and the unfinished courses of an earlier run."""
    for name in ("results.nc", "summary.csv", "report.html", "config.yaml"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "blocks", ignore_errors=True)


def fingerprint(config_text: str) -> str:
    """What identifies the numbers of a study: its resolved configuration and the simulator's version."""
    return hashlib.sha256(f"{__version__}\n{config_text}".encode()).hexdigest()


@dataclass(frozen=True)
class Work:
    """One strategy ready to be simulated, block by block."""

    problem: Problem
    strategy: Strategy
    doses: dict[str, StructureDoses]
    boxes: dict[str, VisitBox]
    dose_step_gy: float

    def block(self, first: int, n_courses: int) -> dict[str, np.ndarray]:
        """Metrics, DVH counts and visits of a run of courses."""
        draws = course_draws(self.problem, first, n_courses)
        delivery = _deliver(self.problem, self.strategy, draws)
        values, counts = self.evaluate(delivery, self.true_surfaces(draws))
        visits: dict[str, np.ndarray] = {}
        for i, (name, box) in enumerate(self.boxes.items()):
            visits |= {f"visits_{i}": box.count(delivery.motion(name)), f"visits_low_{i}": box.low_zyx}
        return {"values": values, "counts": counts, **visits}

    def metrics_of(self, draws: RandomNumbers) -> np.ndarray:
        """Metrics float32 (course, metric) of drawn courses."""
        return self.evaluate(_deliver(self.problem, self.strategy, draws), self.true_surfaces(draws))[0]

    def true_surfaces(self, draws: RandomNumbers) -> np.ndarray | None:
        """Coefficients (course, term) of the true target's surface; None without delineation error."""
        true_target = self.problem.true_target
        if true_target is None:
            return None
        return true_target.delineation.draw(draws, true_target.n_terms)

    def evaluate(self, delivery: Delivery, surfaces: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Metrics float32 (course, metric) and DVH level counts uint32 (structure, dose, level)."""
        rx, true_target = self.problem.config.prescription.dose_gy, self.problem.true_target
        columns, counts = [], []
        for structure in self.problem.structures:
            doses = self.doses[structure.name]
            motion = delivery.motion(structure.name)
            metrics = self.problem.metrics[structure.name]
            n_courses = len(motion.weight)
            values = np.empty((n_courses, len(metrics)), np.float32)
            level_counts = np.zeros((DOSE_BINS, VOLUME_LEVELS), np.uint32)
            for start in range(0, n_courses, _COURSES_AT_ONCE):
                part = slice(start, start + _COURSES_AT_ONCE)
                some = motion.courses(part)
                gy = doses.accumulate(some)
                extremes = doses.extremes(gy, some)
                volume_cc = doses.volume_cc
                if true_target is not None and surfaces is not None and structure.role == "target":
                    volume_cc = true_target.volume_cc(surfaces[part])
                    extremes = true_extremes(gy, volume_cc)
                values[part] = evaluate_metrics(metrics, gy, volume_cc, rx, extremes)
                level_counts += count_levels(dvh_percent(gy, volume_cc, self.dose_step_gy, DOSE_BINS))
            columns.append(values)
            counts.append(level_counts)
        return np.concatenate(columns, axis=1), np.stack(counts)

    def nominal(self) -> tuple[np.ndarray, np.ndarray]:
        """Metrics (metric,) and DVHs (structure, dose) in percent of the planned dose without errors."""
        rx = self.problem.config.prescription.dose_gy
        columns, dvhs = [], []
        for structure in self.problem.structures:
            doses = self.doses[structure.name]
            still = TissueMotion.still(self.strategy.motion.offset_mm(self.problem.setting.planned, structure.name))
            gy = doses.accumulate(still)
            extremes = doses.extremes(gy, still)
            metrics = self.problem.metrics[structure.name]
            columns.append(evaluate_metrics(metrics, gy, doses.volume_cc, rx, extremes)[0])
            dvhs.append(dvh_percent(gy, doses.volume_cc, self.dose_step_gy, DOSE_BINS)[0])
        return np.concatenate(columns).astype(np.float32), np.stack(dvhs).astype(np.float32)


def simulate_strategies(
    problem: Problem,
    frame: MapFrame,
    store: BlockStore,
    executor: Executor,
    progress: Progress,
    values: np.ndarray,
) -> list[Outcome]:
    """Outcomes in the order of the strategies; each plan is made once and dropped when its strategies are done.

    `values` (strategy, course, metric) receives the metrics.
    """
    outcomes: dict[int, Outcome] = {}
    n_courses = values.shape[1]
    total = n_courses * len(problem.strategies)
    size = problem.config.numerics.block_courses
    blocks = [course_draws(problem, first, min(size, n_courses - first)) for first in range(0, n_courses, size)]
    requests = list(dict.fromkeys(problem.requests))
    for first in range(0, len(requests), _PLANS_AT_ONCE):
        some = requests[first : first + _PLANS_AT_ONCE]
        progress.stage(f"planned doses {first + 1}-{first + len(some)} of {len(requests)}")
        plans = list(executor.map(lambda request: make_plan(problem, request), some))
        for request, plan in zip(some, plans, strict=True):
            for i, strategy in enumerate(problem.strategies):
                if problem.requests[i] == request:
                    done = len(outcomes) * n_courses
                    work = prepare_work(problem, strategy, plan, blocks)
                    progress.stage(f"courses of {strategy.label()}")
                    outcomes[i] = _simulate(
                        work, plan, frame, f"s{i:03d}", store, executor, progress, done, total, values[i]
                    )
    return [outcomes[i] for i in range(len(outcomes))]


def make_plan(problem: Problem, request: PlanRequest) -> Plan:
    """Planned dose of one candidate margin."""
    target = problem.planning_targets[request.target_path_mm]
    return problem.config.plan.plan(problem.case, target, request.expansion, problem.config.prescription)


def course_draws(problem: Problem, first: int, n_courses: int) -> RandomNumbers:
    """The random numbers of some courses of the study."""
    return Draws(problem.config.seed, first, n_courses)


def _deliver(problem: Problem, strategy: Strategy, draws: RandomNumbers) -> Delivery:
    return deliver(draw_courses(problem.setting, draws), strategy, problem.setting)


def same_delivery(problem: Problem, strategy: Strategy, draws: RandomNumbers, other: RandomNumbers) -> bool:
    """Whether a strategy delivers the same whichever of two sets of random numbers is drawn."""
    first, second = (_deliver(problem, strategy, d) for d in (draws, other))
    for name in (BONE, *(s.name for s in problem.structures)):
        one, two = first.motion(name), second.motion(name)
        pairs = ((one.shift_mm, two.shift_mm), (one.weight, two.weight), (one.linear, two.linear))
        if not all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None):
            return False
    return True


def prepare_work(problem: Problem, strategy: Strategy, plan: Plan, draws: Iterable[RandomNumbers]) -> Work:
    """Doses of a plan around every structure, as far as some draws move it."""
    reach = _reach(problem, strategy, draws)
    numerics = problem.config.numerics
    doses = {
        s.name: StructureDoses(
            plan.dose,
            problem.patches[s.name],
            reach[s.name],
            numerics.target_lattice_mm if s.role == "target" else numerics.oar_lattice_mm,
            problem.surfaces.get(s.name),
        )
        for s in problem.structures
    }
    boxes = {name: VisitBox.covering(reach[name]) for name in (BONE, *problem.moving)}
    return Work(problem, strategy, doses, boxes, dose_step_gy(problem))


def _reach(problem: Problem, strategy: Strategy, draws: Iterable[RandomNumbers]) -> dict[str, Reach]:
    """Displacements that occur over all courses: of each structure, and of bone at the isocentre."""
    reach: dict[str, Reach] = {}
    for some in draws:
        delivery = _deliver(problem, strategy, some)
        for name in (BONE, *(s.name for s in problem.structures)):
            motion = delivery.motion(name)
            arm = None if name == BONE else problem.arm_mm(name, motion.centre_mm)
            box = Reach.of(motion, arm)
            reach[name] = reach[name].union(box) if name in reach else box
    for name in reach:
        reach[name] = reach[name].union(
            Reach.of(TissueMotion.still(strategy.motion.offset_mm(problem.setting.planned, name)))
        )
    return reach


def map_frame(problem: Problem) -> MapFrame:
    """The grid of the dose maps: around the target, its motion and its largest margin."""
    lower, upper = problem.case.gtv.region.bounds_mm
    margin = max(max(r.margin_mm) for r in problem.requests)
    path = np.concatenate([np.array(r.target_path_mm) for r in problem.requests])
    border = margin + _MAP_BORDER_MM
    return MapFrame(problem.case, lower + path.min(axis=0) - border, upper + path.max(axis=0) + border, problem.moving)


def _simulate(
    work: Work,
    plan: Plan,
    frame: MapFrame,
    key: str,
    store: BlockStore,
    executor: Executor,
    progress: Progress,
    done: int,
    total: int,
    values: np.ndarray,
) -> Outcome:
    n_courses, size = len(values), work.problem.config.numerics.block_courses
    counts = np.zeros((len(work.problem.structures), DOSE_BINS, VOLUME_LEVELS), np.int64)
    visits = {name: np.zeros(box.shape_zyx, np.int64) for name, box in work.boxes.items()}

    def finished_block(first: int) -> dict[str, np.ndarray]:
        n = min(size, n_courses - first)
        name = f"{key}-{first:08d}-{n}"
        block = store.load(name)
        if block is None:
            block = work.block(first, n)
            store.save(name, block)
        return block

    firsts = range(0, n_courses, size)
    for first, block in zip(firsts, executor.map(finished_block, firsts), strict=True):
        n = len(block["values"])
        values[first : first + n] = block["values"]
        counts += block["counts"]
        for i, (name, box) in enumerate(work.boxes.items()):
            box.add(visits[name], block[f"visits_{i}"], block[f"visits_low_{i}"])
        progress.courses(done + first + n, total)
    nominal, nominal_dvh = work.nominal()
    setting, motion = work.problem.setting, work.strategy.motion
    offset_mm = {name: motion.offset_mm(setting.planned, name) for name in work.boxes}
    maps = {
        "nominal": frame.planned_dose_gy(plan.dose, offset_mm),
        "mean": frame.mean_dose_gy(plan.dose, visits, work.boxes, n_courses),
        "ptv_mask": frame.ptv_mask(plan.ptv, offset_mm[setting.target]),
    }
    errors = np.array([work.doses[s.name].interpolation_error_gy for s in work.problem.structures], np.float32)
    return Outcome(plan.quality, nominal, band_quantiles(counts), nominal_dvh, errors, maps)
