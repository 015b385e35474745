"""A study from end to end: `run_study` is the data flow read aloud."""

import hashlib
import shutil
import tempfile
import time
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
from simulator.metrics.evaluate import dvh_percent, evaluate_biology, evaluate_metrics
from simulator.plan.quality import Plan
from simulator.population.bands import VOLUME_LEVELS, band_quantiles, count_levels
from simulator.prepare import PlanRequest, Problem, prepare
from simulator.results import open_results, write_results, write_summary
from simulator.sampling.courses import Delivery, TissueMotion, deliver, draw_courses
from simulator.sampling.streams import Draws
from simulator.spec import ConfigError
from simulator.strategy import Strategy
from simulator.true_target import true_extremes

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
    with executor_with(workers) as executor:
        values = store.scratch("values", (len(problem.strategies), config.courses, len(problem.metric_labels)))
        outcomes = simulate_strategies(problem, frame, store, executor, progress, values)
    progress.stage("writing results")
    results = assemble(problem, frame, outcomes, values, time.monotonic() - started)
    write_results(results, out / "results.nc")
    write_summary(results, out / "summary.csv")
    del results, values
    store.discard()


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
class _Work:
    """One strategy ready to be simulated, block by block."""

    problem: Problem
    strategy: Strategy
    doses: dict[str, StructureDoses]
    boxes: dict[str, VisitBox]
    dose_step_gy: float

    def block(self, first: int, n_courses: int) -> dict[str, np.ndarray]:
        """Metrics, DVH counts and visits of a run of courses."""
        delivery = _deliver(self.problem, self.strategy, first, n_courses)
        draws = Draws(self.problem.config.seed, first, n_courses)
        values, counts = self.evaluate(delivery, self._true_surfaces(first, n_courses), draws)
        visits = {f"visits_{i}": box.count(delivery.motion(name)) for i, (name, box) in enumerate(self.boxes.items())}
        return {"values": values, "counts": counts, **visits}

    def _true_surfaces(self, first: int, n_courses: int) -> np.ndarray | None:
        """Coefficients (course, term) of the true target's surface; None without delineation error."""
        true_target = self.problem.true_target
        if true_target is None:
            return None
        draws = Draws(self.problem.config.seed, first, n_courses)
        return true_target.delineation.draw(draws, true_target.n_terms)

    def evaluate(self, delivery: Delivery, surfaces: np.ndarray | None, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        """Metrics float32 (course, metric) and DVH level counts uint32 (structure, dose, level)."""
        true_target = self.problem.true_target
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
                volume_cc, extremes = doses.volume_cc, None
                if true_target is not None and surfaces is not None and structure.role == "target":
                    volume_cc = true_target.volume_cc(surfaces[part])
                    extremes = true_extremes(gy, volume_cc)
                else:
                    extremes = doses.extremes(gy, some)
                numbers = Draws(draws.seed, draws.first_course + start, len(gy))
                values[part] = self._metrics(structure.name, some, gy, volume_cc, extremes, numbers)
                level_counts += count_levels(dvh_percent(gy, volume_cc, self.dose_step_gy, DOSE_BINS))
            columns.append(values)
            counts.append(level_counts)
        return np.concatenate(columns, axis=1), np.stack(counts)

    def nominal(self) -> tuple[np.ndarray, np.ndarray]:
        """Metrics (metric,) and DVHs (structure, dose) in percent of the planned dose without errors."""
        columns, dvhs = [], []
        for structure in self.problem.structures:
            doses = self.doses[structure.name]
            still = TissueMotion.still(self.strategy.motion.offset_mm(self.problem.setting.planned, structure.name))
            gy = doses.accumulate(still)
            extremes = doses.extremes(gy, still)
            columns.append(self._metrics(structure.name, still, gy, doses.volume_cc, extremes, None)[0])
            dvhs.append(dvh_percent(gy, doses.volume_cc, self.dose_step_gy, DOSE_BINS)[0])
        return np.concatenate(columns).astype(np.float32), np.stack(dvhs).astype(np.float32)

    def _metrics(
        self,
        name: str,
        motion: TissueMotion,
        dose_gy: np.ndarray,
        volume_cc: np.ndarray,
        extremes_gy: np.ndarray | None,
        draws: Draws | None,
    ) -> np.ndarray:
        """Metrics float64 (course, metric) of a structure; without draws, its response is that of mean parameters."""
        metrics, doses, rx = self.problem.metrics[name], self.doses[name], self.problem.config.prescription
        is_biological = np.array([m.is_biological for m in metrics])
        if not is_biological.any():
            return evaluate_metrics(metrics, dose_gy, volume_cc, rx.dose_gy, extremes_gy)
        physical, biological = ([m for m in metrics if m.is_biological is kind] for kind in (False, True))
        points = doses.fraction_sums(dose_gy, motion, rx.fractions)
        edge = None
        if volume_cc.ndim == 1 and any(m.kind in ("minimum", "maximum") for m in biological):
            edge = doses.edge_sums(points, motion, rx.fractions)
        responses = self.problem.biology.responses(name, draws)
        values = np.empty((len(dose_gy), len(metrics)))
        values[:, ~is_biological] = evaluate_metrics(physical, dose_gy, volume_cc, rx.dose_gy, extremes_gy)
        values[:, is_biological] = evaluate_biology(biological, points, edge, volume_cc, responses)
        return values


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
    total = problem.config.courses * len(problem.strategies)
    requests = list(dict.fromkeys(problem.requests))
    for first in range(0, len(requests), _PLANS_AT_ONCE):
        some = requests[first : first + _PLANS_AT_ONCE]
        progress.stage(f"planned doses {first + 1}-{first + len(some)} of {len(requests)}")
        plans = list(executor.map(lambda request: make_plan(problem, request), some))
        for request, plan in zip(some, plans, strict=True):
            for i, strategy in enumerate(problem.strategies):
                if problem.requests[i] == request:
                    done = len(outcomes) * problem.config.courses
                    work = _prepare_work(problem, strategy, plan)
                    progress.stage(f"courses of {strategy.label()}")
                    outcomes[i] = _simulate(
                        work, plan, frame, f"s{i:03d}", store, executor, progress, done, total, values[i]
                    )
    return [outcomes[i] for i in range(len(outcomes))]


def make_plan(problem: Problem, request: PlanRequest) -> Plan:
    """Planned dose of one candidate margin."""
    target = problem.planning_targets[request.target_path_mm]
    return problem.config.plan.plan(problem.case, target, request.expansion, problem.config.prescription)


def _deliver(problem: Problem, strategy: Strategy, first: int, n_courses: int) -> Delivery:
    setting = problem.setting
    return deliver(draw_courses(setting, Draws(problem.config.seed, first, n_courses)), strategy, setting)


def _prepare_work(problem: Problem, strategy: Strategy, plan: Plan) -> _Work:
    reach = _reach(problem, strategy)
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
    return _Work(problem, strategy, doses, boxes, dose_step_gy(problem))


def _reach(problem: Problem, strategy: Strategy) -> dict[str, Reach]:
    """Displacements that occur over all courses: of each structure, and of bone at the isocentre."""
    n_courses, size = problem.config.courses, problem.config.numerics.block_courses
    reach: dict[str, Reach] = {}
    for first in range(0, n_courses, size):
        delivery = _deliver(problem, strategy, first, min(size, n_courses - first))
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
    work: _Work,
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
    n_courses, size = work.problem.config.courses, work.problem.config.numerics.block_courses
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
        for i, name in enumerate(visits):
            visits[name] += block[f"visits_{i}"]
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
