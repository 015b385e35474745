"""From a study to a problem ready to simulate: what can be wrong is found here, before any long work."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.case.anatomy import Case
from simulator.case.structures import Patch, Structure, sample_structure, surface_points
from simulator.config import StudyConfig, resolve_goals
from simulator.conventions import AXES
from simulator.metrics.evaluate import check_volume
from simulator.metrics.goals import Goal, Metric, parse_metric
from simulator.plan.targets import Expansion, TargetVolume, planning_target
from simulator.spec import CaseError, ConfigError
from simulator.strategy import Strategy
from simulator.strategy.margin import Spread

_TARGET_METRICS = ("D98%", "D95%", "D2%", "Dmean", "V95%")
_OAR_METRICS = ("D0.035cc", "Dmean")


@dataclass(frozen=True)
class PlanRequest:
    """What a plan depends on: strategies that share a request share the plan."""

    margin_mm: tuple[float, float, float]
    target_path_mm: tuple[tuple[float, float, float], ...]

    @property
    def expansion(self) -> Expansion:
        """The margin as distances in the six directions."""
        margin = np.array(self.margin_mm)
        return Expansion(margin, margin)


@dataclass(frozen=True)
class Problem:
    """A study with its anatomy: what `check` prints and `run` simulates.

    Parameters
    ----------
    structures : those with points, in the order of the results.
    surfaces : surface points (n, 3) in mm of the structures whose extremes are asked for.
    metrics : for each structure, in the order of `structures`.
    skipped_goals : published goals on structures that the case does not have.
    """

    config: StudyConfig
    case: Case
    structures: tuple[Structure, ...]
    patches: dict[str, list[Patch]]
    surfaces: dict[str, np.ndarray]
    metrics: dict[str, list[Metric]]
    goals: tuple[Goal, ...]
    skipped_goals: tuple[Goal, ...]
    strategies: tuple[Strategy, ...]
    requests: tuple[PlanRequest, ...]

    @property
    def metric_labels(self) -> list[str]:
        """Labels of all metrics, structure by structure."""
        return [m.label for s in self.structures for m in self.metrics[s.name]]

    @property
    def n_points(self) -> int:
        """Points of all structures."""
        return sum(len(p.volume_cc) for patches in self.patches.values() for p in patches)

    @cached_property
    def planning_targets(self) -> dict[tuple, TargetVolume]:
        """What margins are added to, by the path that it covers."""
        paths = dict.fromkeys(r.target_path_mm for r in self.requests)
        return {path: planning_target(self.case.gtv.region, np.array(path)) for path in paths}


def prepare(config: StudyConfig) -> Problem:
    """Load the case and resolve goals, structures, strategies and plans.

    Raises
    ------
    ConfigError, CaseError : what is wrong with the study or with the patient data.
    """
    own, published = resolve_goals(config)
    case = config.case.build()
    if not own and not published:
        raise ConfigError("goals: none given; name a library such as mediastinal-5fx or write goals")
    for goal in own:
        _require(case, goal)
    known = [g for g in published if g.metric.structure in case.structures]
    goals = tuple({g.text: g for g in (*own, *known)}.values())
    named = {g.metric.structure for g in goals}
    structures = tuple(s for s in case.structures.values() if s.role != "external" or s.name in named)
    for structure in structures:
        if structure.volume_cc <= 0:
            raise CaseError(f"structure {structure.name!r} of case {case.name!r} is empty; leave it out or contour it")
    _check_breathing(config, case)
    for goal in goals:
        check_volume(goal.metric, case.structures[goal.metric.structure].volume_cc)
    strategies = tuple(config.candidates())
    extreme = {g.metric.structure for g in goals if g.metric.kind in ("minimum", "maximum")}
    return Problem(
        config=config,
        case=case,
        structures=structures,
        patches={s.name: sample_structure(s, case.gtv, max_points=config.numerics.max_points) for s in structures},
        surfaces={s.name: surface_points(s) for s in structures if s.name in extreme},
        metrics={s.name: _metrics_of(s, goals) for s in structures},
        goals=goals,
        skipped_goals=tuple(g for g in published if g.metric.structure not in case.structures),
        strategies=strategies,
        requests=tuple(_plan_request(config, case, s) for s in strategies),
    )


def _require(case: Case, goal: Goal) -> None:
    name = goal.metric.structure
    if name not in case.structures:
        raise ConfigError(
            f"goal {goal.text!r}: structure {name!r} is not in case {case.name!r}; it has: "
            f"{', '.join(case.structures)} (names are case-sensitive; case.aliases maps a clinic's own names)"
        )


def _check_breathing(config: StudyConfig, case: Case) -> None:
    respiration = config.uncertainty.respiration
    unknown = [name for name in (respiration.structures if respiration else {}) if name not in case.structures]
    if unknown:
        raise ConfigError(
            f"uncertainty.respiration.structures: {', '.join(unknown)} not in case {case.name!r}; it has: "
            f"{', '.join(case.structures)}"
        )


def _metrics_of(structure: Structure, goals: tuple[Goal, ...]) -> list[Metric]:
    usual = _TARGET_METRICS if structure.role == "target" else _OAR_METRICS
    metrics = [g.metric for g in goals if g.metric.structure == structure.name]
    metrics += [parse_metric(structure.name, m) for m in usual]
    fitting = [m for m in metrics if m.kind != "dose_at_cc" or m.argument <= structure.volume_cc]
    return list({m.label: m for m in fitting}.values())


def _plan_request(config: StudyConfig, case: Case, strategy: Strategy) -> PlanRequest:
    uncertainty = config.uncertainty
    patient = Spread(*uncertainty.patient_sd_mm())
    internal = Spread(*uncertainty.target_sd_mm())
    margin = strategy.margin.margin(strategy.guidance.residual(patient, internal))
    breathing = np.zeros((1, 3))
    if uncertainty.respiration is not None:
        breathing = uncertainty.respiration.planning_path_mm(case.target, case.target)
    path = strategy.motion.planning_path(breathing)
    if np.any(~np.isfinite(margin)):
        raise ConfigError(f"strategy {strategy.label()!r}: margin {dict(zip(AXES, margin, strict=True))} is not finite")
    rounded = np.round(margin, 3)
    return PlanRequest(
        (float(rounded[0]), float(rounded[1]), float(rounded[2])),
        tuple((float(x), float(y), float(z)) for x, y, z in path),
    )
