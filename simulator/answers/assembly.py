"""From the outcomes of all strategies to one tree of results."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
import xarray as xr

from simulator import __version__
from simulator.accumulation.maps import MapFrame
from simulator.answers.goals import goals_group
from simulator.answers.groups import answer_groups
from simulator.answers.knowledge_group import knowledge_of
from simulator.answers.targets import targets_group
from simulator.plan.quality import PlanQuality
from simulator.population.bands import DOSE_BINS, QUANTILES
from simulator.population.coverage import COVERAGE_VOLUMES
from simulator.population.unequal import mean_intervals, numbers_of_courses
from simulator.problem.problem import Problem
from simulator.problem.words import study_in_words
from simulator.results.file import result_hash
from simulator.results.layout import SCHEMA_VERSION
from simulator.results.registry import DIRECTIONS, VARIABLES, group
from simulator.study_file.loading import dump_study

_MEAN = ("mean", "mean_low", "mean_high")


@dataclass(frozen=True)
class Outcome:
    """What is kept of one strategy besides the metrics of each course.

    Parameters
    ----------
    qualities : of the plan, by target. bridge_cc : see `simulator.plan.quality.Plan`.
    nominal : float32 (metric,).
    bands : float32 (structure, quantile, dose) in percent; nominal_dvh : float32 (structure, dose).
    coverage : float32 (structure, dose, volume), probability.
    n_without_target : courses whose true target vanishes under delineation error.
    maps : planned and mean dose (z, y, x) in Gy and the PTV's mask; where asked for, spread and percentiles.
    """

    qualities: tuple[PlanQuality, ...]
    bridge_cc: float
    nominal: np.ndarray
    bands: np.ndarray
    coverage: np.ndarray
    nominal_dvh: np.ndarray
    interpolation_error_gy: np.ndarray
    n_without_target: int
    maps: dict[str, np.ndarray]


def assemble(
    problem: Problem, frame: MapFrame, outcomes: list[Outcome], values: np.ndarray, seconds: float
) -> xr.DataTree:
    """Results of all strategies as one tree."""
    config = problem.config
    labels = [s.label() for s in problem.strategies]
    structures = [s.name for s in problem.structures]
    doubt = knowledge_of(problem, values, labels)
    ptv_cc = np.array([sum(quality.ptv_cc for quality in o.qualities) for o in outcomes])
    tree = xr.DataTree.from_dict(
        {
            "metrics": _metrics_group(problem, outcomes, values, labels),
            "goals": goals_group(problem, np.stack([o.nominal for o in outcomes]), values, labels, doubt),
            **answer_groups(problem, values, ptv_cc, doubt),
            "dvh": group(
                "dvh",
                {
                    "volume_percent": np.stack([o.bands for o in outcomes]),
                    "nominal": np.stack([o.nominal_dvh for o in outcomes]),
                    "coverage": np.stack([o.coverage for o in outcomes]),
                    "role": np.array([s.role for s in problem.structures]),
                    "volume_cc": np.array([s.volume_cc for s in problem.structures]),
                    "points": np.array([sum(len(p.volume_cc) for p in problem.patches[s]) for s in structures]),
                    "spacing_mm": np.array([problem.patches[s][0].lattice.spacing_mm[0] for s in structures]),
                    "interpolation_error_gy": np.stack([o.interpolation_error_gy for o in outcomes]),
                },
                {
                    "strategy": labels,
                    "structure": structures,
                    "quantile": QUANTILES,
                    "volume": COVERAGE_VOLUMES,
                    "dose": problem.dose_step_gy * np.arange(DOSE_BINS),
                },
            ),
            "plans": _plans_group(problem, outcomes, ptv_cc, labels),
            "dose": group(
                "dose",
                {
                    "nominal": _taken(outcomes, "nominal"),
                    "mean": _taken(outcomes, "mean"),
                    "density": frame.density,
                    "structure_mask": np.stack(list(frame.structure_percent.values())),
                    "ptv_mask": _taken(outcomes, "ptv_mask").astype(np.uint8),
                    **_spread(outcomes),
                },
                {
                    "strategy": labels,
                    "structure": list(frame.structure_percent),
                    **dict(zip("xyz", frame.grid.axes_mm, strict=True)),
                    **({"map_percentile": config.maps.percentiles} if config.maps else {}),
                },
            ),
        }
    )
    target = problem.targets[0]
    if len(problem.targets) > 1:
        plans = [(o.qualities, o.bridge_cc) for o in outcomes]
        tree["targets"] = xr.DataTree(targets_group(problem, plans, values, labels))
    tree["dose"].attrs["target_centre_mm"] = target.structure.centroid_mm
    tree.attrs.update(
        simulator_version=__version__,
        schema_version=SCHEMA_VERSION,
        config=dump_study(config),
        name=config.name,
        subject=config.subject,
        seed=config.seed,
        n_courses=values.shape[1],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        prescription_gy=target.prescription.dose_gy,
        fractions=config.prescription.fractions,
        isodose_percent=target.prescription.isodose_percent,
        case_name=problem.case.name,
        case_description=problem.case.description,
        frame_digest=problem.case.frame_digest,
        inputs=json.dumps(problem.inputs),
        target=target.name,
        words=study_in_words(problem, values.shape[1]),
        observed="" if problem.setting.treated is None else problem.setting.treated.remark(problem.setting.n_fractions),
        interplay=_interplay(problem),
        limits_of_doses=config.plan.limits_of_doses,
        interval=problem.interval_name,
        result_hash=result_hash(tree),
    )
    return tree


def _interplay(problem: Problem) -> str:
    """The structures that meet the parts of the plan; "screen" where some courses do beside the study's, "" where none."""
    asked = problem.interplay
    if asked is True:
        return ", ".join(s.name for s in problem.structures if s.name in problem.met_in_parts)
    return "screen" if asked else ""


def _taken(outcomes: list[Outcome], name: str) -> np.ndarray:
    """A map of all strategies (strategy, z, y, x), which the outcomes no longer keep: maps are most of what results hold."""
    return np.stack([o.maps.pop(name) for o in outcomes])


def _spread(outcomes: list[Outcome]) -> dict[str, np.ndarray]:
    """Maps of spread and percentiles; NaN for strategies that are not asked for."""
    asked = next((o.maps for o in outcomes if "sd" in o.maps), {})
    return {
        key: np.stack([o.maps.get(key, np.full_like(asked[key], np.nan)) for o in outcomes])
        for key in ("sd", "percentile")
        if key in asked
    }


def _metrics_group(problem: Problem, outcomes: list[Outcome], values: np.ndarray, labels: list[str]) -> xr.Dataset:
    metrics = [m for s in problem.structures for m in problem.metrics[s.name]]
    return group(
        "metrics",
        {
            "value": values,
            "unit": np.array([m.unit for m in metrics]),
            "structure": np.array([m.structure for m in metrics]),
            "nominal": np.stack([o.nominal for o in outcomes]),
            "n_without_target": np.array(outcomes[0].n_without_target),
            **dict(zip(_MEAN, mean_intervals(values, numbers_of_courses(values)), strict=True)),
        },
        {"strategy": labels, "course": np.arange(values.shape[1]), "metric": problem.metric_labels},
    )


def _plans_group(problem: Problem, outcomes: list[Outcome], ptv_cc: np.ndarray, labels: list[str]) -> xr.Dataset:
    """Plan quality, of several targets that of the first."""
    qualities = [asdict(o.qualities[0]) | {"ptv_cc": cc} for o, cc in zip(outcomes, ptv_cc, strict=True)]
    target = problem.targets[0]
    ptvs = [request.ptvs[target.number] for request in problem.requests]
    return group(
        "plans",
        {
            "margin_label": np.array([s.margin.label() for s in problem.strategies]),
            "motion": np.array([s.motion.label() for s in problem.strategies]),
            "guidance": np.array([s.guidance.label() for s in problem.strategies]),
            "margin_mm": np.array([ptv.margin_mm for ptv in ptvs]),
            "prv_mm": np.array([s.prv_mm for s in problem.strategies]),
            "planning_target_cc": np.array(
                [sum(v.volume_cc for v in problem.planning_targets[r]) for r in problem.requests]
            ),
            **{key: np.array([q[key] for q in qualities]) for key in VARIABLES["plans"] if key in qualities[0]},
        },
        {"strategy": labels, "direction": DIRECTIONS},
    )
