"""A study from end to end: `run_study` is the data flow read aloud."""

import hashlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from simulator import __version__
from simulator.assembly import DOSE_BINS, Outcome, assemble
from simulator.budget import budget_group
from simulator.checkpoint import BlockStore
from simulator.config import DoseMaps, StudyConfig, dump_study
from simulator.dose_maps import MapFrame
from simulator.executors import Executor, executor_with
from simulator.plan.quality import Plan
from simulator.population.bands import VOLUME_LEVELS, band_quantiles
from simulator.population.coverage import dose_volume_coverage
from simulator.population.intervals import FixedWidthRule
from simulator.prepare import Problem, prepare
from simulator.results import open_results, write_results, write_summary
from simulator.simulation import Work, course_draws, make_plans, prepare_work
from simulator.spec import ConfigError

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
        for request, plan in zip(some, make_plans(problem, some, executor), strict=True):
            for i, strategy in enumerate(problem.strategies):
                if problem.requests[i] == request:
                    done = len(outcomes) * n_courses
                    work = prepare_work(problem, strategy, plan, blocks, executor)
                    progress.stage(f"courses of {strategy.label()}")
                    outcomes[i] = _simulate(
                        work, plan, frame, f"s{i:03d}", store, executor, progress, done, total, values[i]
                    )
    return [outcomes[i] for i in range(len(outcomes))]


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
    asked = work.problem.config.maps
    if asked is not None and work.strategy.label() in (asked.strategies or (work.strategy.label(),)):
        maps |= _spread_maps(work, plan, frame, asked, min(asked.courses, n_courses), key, store, executor)
    errors = np.array([work.doses[s.name].interpolation_error_gy for s in work.problem.structures], np.float32)
    return Outcome(
        plan.quality, nominal, band_quantiles(counts), dose_volume_coverage(counts), nominal_dvh, errors, maps
    )


def _spread_maps(
    work: Work,
    plan: Plan,
    frame: MapFrame,
    asked: DoseMaps,
    n_courses: int,
    key: str,
    store: BlockStore,
    executor: Executor,
) -> dict[str, np.ndarray]:
    """Maps of the standard deviation (z, y, x) and of percentiles (percentile, z, y, x) over the first courses."""
    delivery = work.deliver(course_draws(work.problem, 0, n_courses))

    def finished_slab(number: int) -> dict[str, np.ndarray]:
        name = f"{key}-map-{n_courses}-{number:05d}"
        block = store.load(name)
        if block is None:
            sd, percentile = slabs[number].spread_gy(
                plan.dose, delivery.motion(slabs[number].structure), asked.percentiles
            )
            block = {"sd": sd, "percentile": percentile}
            store.save(name, block)
        return block

    slabs = frame.slabs(n_courses)
    sd = np.zeros(frame.grid.shape, np.float32)
    percentile = np.zeros((len(asked.percentiles), *frame.grid.shape), np.float32)
    for slab, block in zip(slabs, executor.map(finished_slab, range(len(slabs))), strict=True):
        voxels = tuple(slab.patch.index_zyx.T)
        sd[voxels] = block["sd"]
        percentile[(slice(None), *voxels)] = block["percentile"]
    return {"sd": sd, "percentile": percentile}
