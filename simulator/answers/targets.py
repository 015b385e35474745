"""What each of several targets gets, by itself and together with the others."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import xarray as xr

from simulator.answers.joint import all_met
from simulator.ground.conventions import AXES
from simulator.plan.quality import PlanQuality
from simulator.population.unequal import numbers_of_courses
from simulator.problem.problem import Problem
from simulator.results.registry import DIRECTIONS, VARIABLES, group


def targets_group(
    problem: Problem,
    plans: Sequence[tuple[Sequence[PlanQuality], float]],
    values: np.ndarray,
    labels: list[str],
) -> xr.Dataset:
    """The group targets of the results.

    Parameters
    ----------
    plans : by strategy its quality by target, and the volume of the bridge in cc. values : (strategy, course, metric).
    """
    targets = problem.targets
    met = np.stack([all_met(problem, values, list(target.wanted)) for target in targets], axis=1)
    n = numbers_of_courses(values)[:, None]
    low, high = problem.interval(met, n)
    share = met.sum(axis=2) / n
    of_plans = [[asdict(quality) for quality in qualities] for qualities, _ in plans]
    isocentre_mm = np.array([problem.setting.about(target.name).isocentre_mm for target in targets])
    away_mm = np.linalg.norm([target.structure.centroid_mm for target in targets] - isocentre_mm, axis=1)
    return group(
        "targets",
        {
            "probability": share,
            "ci_low": low,
            "ci_high": high,
            "product": share.prod(axis=1),
            "wanted": np.array(["; ".join(goal.text for goal in target.wanted) for target in targets]),
            "prescription_gy": np.array([target.prescription.dose_gy for target in targets]),
            "volume_cc": np.array([target.structure.volume_cc for target in targets]),
            "isocentre_mm": isocentre_mm,
            "isocentre_distance_mm": away_mm,
            "margin_mm": np.array([[ptv.margin_mm for ptv in request.ptvs] for request in problem.requests]),
            "planning_target_cc": np.array(
                [[v.volume_cc for v in problem.planning_targets[r]] for r in problem.requests]
            ),
            "bridge_cc": np.array([bridge_cc for _, bridge_cc in plans]),
            **{
                key: np.array([[quality[key] for quality in of_strategy] for of_strategy in of_plans])
                for key in VARIABLES["targets"]
                if key in of_plans[0][0]
            },
        },
        {"strategy": labels, "target": [target.name for target in targets], "direction": DIRECTIONS, "axis": AXES},
    )
