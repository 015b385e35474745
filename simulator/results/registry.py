"""The table of result variables: dimensions, units and meanings, and the check of results against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from simulator.ground.spec import SimulatorError


@dataclass(frozen=True)
class Variable:
    """One result variable: dimensions (after any sweep dimensions), unit and meaning."""

    dims: tuple[str, ...]
    unit: str
    meaning: str


_SG, _SS = ("strategy", "goal"), ("strategy", "structure")
_SP = ("strategy", "percentile")
_SM = ("strategy", "metric")
_SSM = ("strategy", "source", "metric")
_SJ, _SIDES = ("strategy", "joint"), ("series", "direction")
_MPAIR, _JPAIR = ("metric", "strategy", "other"), ("joint", "strategy", "other")
_ST = ("strategy", "target")
_AG = ("approximation", "goal")
_SGS, _SX = ("strategy", "goal", "scale"), ("strategy", "scale")
_MAP = ("strategy", "z", "y", "x")

# What a strategy is judged by: names in the group joint.
JOINT_SHOWN = ("wanted coverage", "all organ goals")

VARIABLES: dict[str, dict[str, Variable]] = {
    "metrics": {
        "value": Variable(("strategy", "course", "metric"), "", "metric of each course, in its unit"),
        "unit": Variable(("metric",), "", "unit of the metric"),
        "structure": Variable(("metric",), "", "structure of the metric"),
        "nominal": Variable(("strategy", "metric"), "", "metric of the planned dose without errors"),
        "n_without_target": Variable(
            (), "1", "courses whose true target vanishes under delineation error: not covered"
        ),
        "mean": Variable(("strategy", "metric"), "", "mean over courses; of TCP and NTCP, that of the population"),
        "mean_low": Variable(("strategy", "metric"), "", "lower end of the 95 % interval of mean (Student t)"),
        "mean_high": Variable(("strategy", "metric"), "", "upper end of the 95 % interval of mean (Student t)"),
    },
    "goals": {
        "probability": Variable(_SG, "1", "share of courses that meet the goal"),
        "ci_low": Variable(_SG, "1", "lower end of the 95 % interval of the probability"),
        "ci_high": Variable(_SG, "1", "upper end of the 95 % interval of the probability"),
        "nominal": Variable(_SG, "", "metric of the planned dose, in the unit of the goal"),
        "mean": Variable(_SG, "", "mean over courses, in the unit of the goal"),
        "mean_low": Variable(_SG, "", "lower end of the 95 % interval of mean (Student t)"),
        "mean_high": Variable(_SG, "", "upper end of the 95 % interval of mean (Student t)"),
        "median": Variable(_SG, "", "median over courses, in the unit of the goal"),
        "p05": Variable(_SG, "", "5th percentile over courses, in the unit of the goal"),
        "p95": Variable(_SG, "", "95th percentile over courses, in the unit of the goal"),
        **{
            f"{key}_{end}": Variable(_SG, "", f"{word} end of the 95 % order-statistic interval of {key}")
            for key in ("median", "p05", "p95")
            for end, word in (("low", "lower"), ("high", "upper"))
        },
        "excess_mean": Variable(_SG, "", "expected excess beyond the limit, or shortfall, in the unit of the goal"),
        "excess_mean_low": Variable(_SG, "", "lower end of the 95 % interval of excess_mean (Student t)"),
        "excess_mean_high": Variable(_SG, "", "upper end of the 95 % interval of excess_mean (Student t)"),
        **{
            f"excess_{key}{end}": Variable(_SG, "", f"{words}{name} over courses of the excess beyond the limit")
            for key, name in (("median", "median"), ("p95", "95th percentile"))
            for end, words in (
                ("", ""),
                ("_low", "lower end of the 95 % interval of the "),
                ("_high", "upper end of the 95 % interval of the "),
            )
        },
        "probability_stricter": Variable(_SG, "1", "probability if the limit were stricter by 1 Gy, 1 % or 1 cc"),
        "probability_looser": Variable(_SG, "1", "probability if the limit were looser by 1 Gy, 1 % or 1 cc"),
        "wanted_probability": Variable(("goal",), "1", "probability that the verdict asks for; NaN where it does not"),
        "holds": Variable(_SG, "", "whether the goal holds with the wanted probability: yes, not known or no"),
        "metric": Variable(("goal",), "", "metric that the goal limits"),
        "structure": Variable(("goal",), "", "structure that the goal is about"),
        "operator": Variable(("goal",), "", "comparison"),
        "limit": Variable(("goal",), "", "limit, in the unit of the goal"),
        "unit": Variable(("goal",), "", "unit of the goal"),
        "role": Variable(("goal",), "", "target or oar"),
        "level": Variable(("goal",), "", "mandatory, optimal or empty"),
        "source": Variable(("goal",), "", "publication of the limit"),
        "checked": Variable(("goal",), "", "whether the limit was checked against its publication"),
        "note": Variable(("goal",), "", "remark on the limit"),
    },
    "joint": {
        "probability": Variable(_SJ, "1", "share of courses that meet all of the goals together"),
        "ci_low": Variable(_SJ, "1", "lower end of the 95 % interval of the probability"),
        "ci_high": Variable(_SJ, "1", "upper end of the 95 % interval of the probability"),
        "members": Variable(("joint",), "", "the goals, separated by semicolons"),
    },
    "comparison": {
        "p_better": Variable(_MPAIR, "1", "probability that strategy is better than other, ties counted half"),
        "difference": Variable(_MPAIR, "", "mean of strategy minus other, in the unit of the metric"),
        "difference_low": Variable(_MPAIR, "", "lower end of the 95 % interval of the difference"),
        "difference_high": Variable(_MPAIR, "", "upper end of the 95 % interval of the difference"),
        "joint_difference": Variable(_JPAIR, "1", "probability of strategy minus that of other"),
        "joint_low": Variable(_JPAIR, "1", "lower end of the 95 % paired interval of joint_difference"),
        "joint_high": Variable(_JPAIR, "1", "upper end of the 95 % paired interval of joint_difference"),
        "distinguishable": Variable(_JPAIR, "1", "whether the probabilities differ (exact McNemar, Bonferroni)"),
    },
    "margins": {
        "motion": Variable(("series",), "", "motion management"),
        "guidance": Variable(("series",), "", "image guidance"),
        "target": Variable(("series",), "", "target that the margin is for"),
        "smallest_mm": Variable(_SIDES, "mm", "smallest candidate margin"),
        "largest_mm": Variable(_SIDES, "mm", "largest candidate margin"),
        "required_mm": Variable(_SIDES, "mm", "margin that reaches the wanted coverage; inf above the largest"),
        "low_mm": Variable(_SIDES, "mm", "lower end of the 95 % interval of required_mm; -inf below the smallest"),
        "high_mm": Variable(_SIDES, "mm", "upper end of the 95 % interval of required_mm; inf above the largest"),
        "falls": Variable(
            ("series",),
            "1",
            "whether a larger candidate covers less often than a smaller one: no margin is required then, required_mm is NaN",
        ),
        "interpolation_mm": Variable(
            ("series",),
            "mm",
            "bound of the error of interpolating between candidates, which the interval does not hold",
        ),
        "recipe_mm": Variable(("series", "recipe", "direction"), "mm", "margin of a published recipe, same errors"),
        "recipe_penumbra_mm": Variable((), "mm", "penumbra of the recipes, one SD: the plan's, 3.2 mm if it has none"),
        "cause_mm": Variable(
            ("series", "recipe", "cause", "direction"),
            "mm",
            "part of required_mm minus recipe_mm that is due to a cause",
        ),
    },
    "prescription": {
        "dose_gy": Variable(("scale",), "Gy", "prescription of the same plans scaled"),
        "probability": Variable(
            _SGS, "1", "probability of the goal there, limits in percent kept as the dose that they are"
        ),
        "ci_low": Variable(_SGS, "1", "lower end of the 95 % interval of probability"),
        "ci_high": Variable(_SGS, "1", "upper end of the 95 % interval of probability"),
        "coverage_of_dose": Variable(
            _SX, "1", "probability there of the dose that the wanted coverage asks for in the study"
        ),
        "coverage_of_dose_low": Variable(_SX, "1", "lower end of the 95 % interval of coverage_of_dose"),
        "coverage_of_dose_high": Variable(_SX, "1", "upper end of the 95 % interval of coverage_of_dose"),
        "organs": Variable(_SX, "1", "probability there that all mandatory limits on organs hold together"),
        "organs_low": Variable(_SX, "1", "lower end of the 95 % interval of organs"),
        "organs_high": Variable(_SX, "1", "upper end of the 95 % interval of organs"),
        "verdict": Variable(_SX, "", "verdict there"),
        "limits_held": Variable(_SX, "1", "number of mandatory limits on organs that hold there as wanted"),
        "rank": Variable(_SX, "1", "place there in the order of strategies, 1 for the first"),
        "largest_gy": Variable(
            ("strategy",), "Gy", "largest prescription at which every mandatory limit is met as often as wanted"
        ),
        "largest_low_gy": Variable(
            ("strategy",), "Gy", "the same at the lower ends of 95 % intervals: where every limit is shown to hold"
        ),
        "largest_high_gy": Variable(("strategy",), "Gy", "the same at the upper ends of 95 % intervals"),
        "first_limit": Variable(("strategy",), "", "limit that fails first beyond largest_low_gy"),
        "coverage_there": Variable(("strategy",), "1", "coverage_of_dose at largest_low_gy"),
        "coverage_there_low": Variable(("strategy",), "1", "lower end of the 95 % interval of coverage_there"),
        "coverage_there_high": Variable(("strategy",), "1", "upper end of the 95 % interval of coverage_there"),
    },
    "decision": {
        "verdict": Variable(("strategy",), "", "suits, undecided, covers but, spares but, or neither"),
        "target_holds": Variable(("strategy",), "", "whether the target is covered as wanted: yes, not known or no"),
        "organs_hold": Variable(("strategy",), "", "whether every mandatory limit on organs holds as wanted"),
        "limits_held": Variable(("strategy",), "1", "number of mandatory limits on organs that hold as wanted"),
        "rank": Variable(("strategy",), "1", "place in the order of strategies, 1 for the first"),
        "courses_to_decide": Variable(
            ("strategy",),
            "1",
            "courses of one new run that would settle the verdict; 0 if settled, inf above a million",
        ),
        "organ_risk": Variable(("strategy",), "1", "probability that any organ misses a goal"),
        "on_front": Variable(("strategy",), "1", "on the Pareto front of coverage against organ risk"),
        "wanted_probability": Variable((), "1", "wanted probability of the wanted coverage"),
        "recommended": Variable((), "", "recommended strategy; empty if none suits"),
        "nearest_miss": Variable((), "", "strategy that comes nearest where none suits"),
        "n_courses": Variable(
            ("strategy",), "1", "courses that were simulated, where settled strategies stop (`decide`)"
        ),
        "stopped": Variable(("strategy",), "", "what its probabilities are: stopped after so many courses, or empty"),
    },
    "weights": {
        "weight": Variable(("harm",), "", "weight that the study gives to the harm"),
        "counts": Variable(("harm",), "", "what has that weight"),
        "expected": Variable(
            ("strategy", "harm"),
            "",
            "mean over courses of the harm: of a dose in Gy, of a volume in percent or cc, of TCP and NTCP in points",
        ),
        "first": Variable((), "", "strategy that the others are compared with: the first in the order"),
        "loss_difference": Variable(("strategy",), "", "sum of weighted harms less that of the first strategy"),
        "loss_difference_low": Variable(("strategy",), "", "lower end of its paired 95 % interval (Student t)"),
        "loss_difference_high": Variable(("strategy",), "", "upper end of its paired 95 % interval (Student t)"),
        "break_even": Variable(
            ("strategy", "harm"), "", "weight at which strategy and the first lose the same; NaN where none does"
        ),
        "break_even_low": Variable(("strategy", "harm"), "", "lower end of its 95 % interval (Fieller)"),
        "break_even_high": Variable(("strategy", "harm"), "", "upper end of its 95 % interval (Fieller)"),
    },
    "knowledge": {
        "plug_in": Variable(_SG, "1", "probability of the goal if errors were exactly as stated"),
        "low": Variable(_SG, "1", "2.5 % of the probability over what errors may be; NaN where courses are too few"),
        "high": Variable(_SG, "1", "97.5 % of the probability over what errors may be"),
        "joint_plug_in": Variable(_SJ, "1", "probability of the goals together if errors were exactly as stated"),
        "joint_low": Variable(_SJ, "1", "2.5 % of it over what errors may be; NaN where courses are too few"),
        "joint_high": Variable(_SJ, "1", "97.5 % of it over what errors may be"),
        **{
            f"{prefix}part_{end}": Variable(
                ("unknown", "strategy", of), "1", f"{prefix}{end} if this part alone were unknown"
            )
            for prefix, of in (("", "goal"), ("joint_", "joint"))
            for end in ("low", "high")
        },
        "known_from": Variable(("unknown",), "", "what is known of this part of the errors"),
        "record_size": Variable(
            ("unknown",), "1", "patients (systematic) or images (random errors) of the record it is from"
        ),
        "undecided_by": Variable(
            ("strategy",), "", "what leaves the verdict undecided: courses, knowledge, both, or nothing"
        ),
        "open_condition": Variable(
            ("strategy",), "", "wanted coverage, or goal, that knowledge leaves open and that needs the longest record"
        ),
        "record": Variable(
            ("strategy",), "", "part of the errors of which a longer record would settle the verdict first"
        ),
        "record_to_decide": Variable(
            ("strategy",),
            "1",
            "patients or images of that record which would; 0 where knowledge settles it, inf above 10000",
        ),
        "effective_courses": Variable(
            (), "1", "courses of equal weight that 95 % of the possible errors have at least"
        ),
        "courses_wanted": Variable((), "1", "courses with which the intervals are known, all errors at once"),
        "required_plug_in_mm": Variable(_SIDES, "mm", "required margin if errors were exactly as stated"),
        "required_low_mm": Variable(_SIDES, "mm", "2.5 % of the required margin over what errors may be"),
        "required_high_mm": Variable(_SIDES, "mm", "97.5 % of the required margin over what errors may be"),
    },
    "budget": {
        **{
            f"{index}{end}": Variable(_SSM, "1", f"{words} of the metric's variance that is due to the source")
            for index, name in (("first_order", "first-order Sobol' share"), ("total", "total Sobol' share"))
            for end, words in (
                ("", name),
                ("_low", f"lower 95 % end of the {name}"),
                ("_high", f"upper end of the {name}"),
            )
        },
        "probability": Variable(_SG, "1", "probability of the goal with all sources"),
        "without": Variable(("strategy", "source", "goal"), "1", "probability of the goal if the source were removed"),
        "coverage": Variable(("strategy",), "1", "probability of the wanted coverage with all sources"),
        "coverage_without": Variable(("strategy", "source"), "1", "the same if the source were removed"),
        "target_coverage": Variable(_ST, "1", "probability that one of several targets is covered, with all sources"),
        "target_coverage_without": Variable(
            ("strategy", "source", "target"), "1", "the same if the source were removed"
        ),
    },
    "interplay": {
        "change": Variable(_SM, "", "mean change of the metric by interplay over paired courses, in its unit"),
        "change_low": Variable(_SM, "", "lower end of the 95 % interval of change (Student t)"),
        "change_high": Variable(_SM, "", "upper end of the 95 % interval of change (Student t)"),
        "change_sd": Variable(_SM, "", "standard deviation of the change over courses, in the unit of the metric"),
        "largest_change": Variable(_SM, "", "largest change of the metric, up or down, in its unit"),
        "probability_change": Variable(_SG, "1", "change of the probability of the goal over the paired courses"),
        "pairs_changed": Variable(_SG, "1", "paired courses that meet the goal one way and not the other"),
        "bound": Variable(
            _SG,
            "1",
            "share of the study's courses that the largest change, the same way in all of them, would carry across the limit",
        ),
        "bound_low": Variable(_SG, "1", "lower end of the 95 % interval of bound (Wilson)"),
        "bound_high": Variable(_SG, "1", "upper end of the 95 % interval of bound (Wilson)"),
    },
    "model_error": {
        "of_strategy": Variable((), "", "strategy that it is about: the recommended one, or the nearest miss"),
        "probability": Variable(("goal",), "1", "probability of the goal as simulated, over all courses"),
        "change": Variable(
            _AG,
            "1",
            "change of the probability without the approximation, on the same courses; of the dose grid: linear between nodes, "
            "not splines; 0 where a bound alone is known",
        ),
        "change_low": Variable(_AG, "1", "lower end of its paired 95 % interval, or of the bound"),
        "change_high": Variable(_AG, "1", "upper end of its paired 95 % interval, or of the bound"),
        "value_change": Variable(_AG, "", "mean change of the metric over courses, in the unit of the goal"),
        "together_low": Variable(("goal",), "1", "sum of all changes, what is not known at its lower ends"),
        "together_high": Variable(("goal",), "1", "the same at its upper ends"),
        "nominal_grid_change": Variable(
            ("goal",),
            "",
            "change of the metric of the planned dose where it is linear between nodes, in the unit of the goal",
        ),
        "grid_mm": Variable((), "mm", "largest spacing of the dose grid"),
        "fit_error": Variable(
            ("goal",), "", "largest error of the fitted change of dose in whole courses recomputed at every fraction"
        ),
        "fit_error_probability": Variable(("goal",), "1", "error of the probability by that, on these courses"),
        "recomputed_change": Variable(
            ("goal",), "", "largest change of the metric in these courses by recomputing them, in the unit of the goal"
        ),
    },
    "courses": {
        "course": Variable(_SP, "1", "number of the course that lies at a percentile of the metric looked at"),
        "value": Variable(_SP, "", "metric looked at, of that course, in its unit"),
        "error_mm": Variable(
            (*_SP, "source", "fraction", "axis"),
            "mm",
            "displacement of the target relative to the beam less the planned one, by source, mean over the beam; the sources "
            "sum to the whole",
        ),
        "fraction_value": Variable(
            (*_SP, "fraction"), "", "metric looked at if every fraction of the course were like this one"
        ),
        "dose_gy": Variable(
            ("mapped_strategy", "percentile", "z", "y", "x"),
            "Gy",
            "dose of that course to the tissue of each voxel, for the first strategies of the order",
        ),
    },
    "dvh": {
        "volume_percent": Variable(
            ("strategy", "structure", "quantile", "dose"), "percent", "quantile over courses of the cumulative DVH"
        ),
        "nominal": Variable((*_SS, "dose"), "percent", "cumulative DVH of the planned dose"),
        "coverage": Variable((*_SS, "dose", "volume"), "1", "probability that a volume gets at least a dose"),
        "role": Variable(("structure",), "", "target, oar or external"),
        "volume_cc": Variable(("structure",), "cc", "volume of the structure"),
        "points": Variable(("structure",), "1", "cells of the structure, before those that decide are divided"),
        "spacing_mm": Variable(("structure",), "mm", "edge of these cells"),
        "interpolation_error_gy": Variable(
            _SS, "Gy", "bound on the error of doses at volumes by structure cells and dose lattice"
        ),
    },
    "plans": {
        "margin_label": Variable(("strategy",), "", "margin as named in the study"),
        "motion": Variable(("strategy",), "", "motion management"),
        "guidance": Variable(("strategy",), "", "image guidance"),
        "margin_mm": Variable(("strategy", "direction"), "mm", "margin from planning target to PTV"),
        "planning_target_cc": Variable(
            ("strategy",), "cc", "volume of the planning target, of several targets together"
        ),
        "ptv_cc": Variable(("strategy",), "cc", "volume of the PTV, of several targets together"),
        "r100": Variable(("strategy",), "1", "volume of the prescription isodose over PTV volume"),
        "r50": Variable(("strategy",), "1", "volume of half the prescription isodose over PTV volume"),
        "d2cm_percent": Variable(("strategy",), "percent", "largest dose 2 cm or more from the PTV, of prescription"),
        "paddick_index": Variable(("strategy",), "1", "Paddick conformity index"),
        "gradient_index": Variable(("strategy",), "1", "half-prescription over prescription isodose volume"),
        "ptv_v90_percent": Variable(("strategy",), "percent", "PTV that gets 90 % of the prescription"),
        "ptv_v100_percent": Variable(("strategy",), "percent", "PTV that gets the prescription"),
        "ptv_d99_gy": Variable(("strategy",), "Gy", "PTV D99%"),
        "ptv_d98_gy": Variable(("strategy",), "Gy", "PTV D98%"),
        "ptv_d95_gy": Variable(("strategy",), "Gy", "PTV D95%"),
        "ptv_d2_gy": Variable(("strategy",), "Gy", "PTV D2%"),
        "ptv_free_percent": Variable(("strategy",), "percent", "share of the PTV outside of planning-risk volumes"),
        "ptv_free_v100_percent": Variable(("strategy",), "percent", "share of that which gets the prescription"),
        "max_gy": Variable(("strategy",), "Gy", "maximum dose"),
        "isodose_percent": Variable(("strategy",), "percent", "prescription as a share of the maximum dose"),
        "limited_by": Variable(("strategy",), "", "limits of organs that hold the dose below the prescription rule"),
        "given_up": Variable(("strategy",), "", "limits of organs that gave way to the coverage of the PTV"),
        "prv_mm": Variable(("strategy",), "mm", "planning-risk volume: by how much planning grew organs"),
        "r100_deviation": Variable(("strategy",), "", "RTOG 0813/0915 deviation of R100: none, minor or major"),
        "r50_deviation": Variable(("strategy",), "", "RTOG 0813/0915 deviation of R50: none, minor or major"),
        "d2cm_deviation": Variable(("strategy",), "", "RTOG 0813/0915 deviation of D2cm: none, minor or major"),
        "v90_deviation": Variable(
            ("strategy",), "", "RTOG 0813/0915 deviation of V90% (99 % of the PTV): none or major"
        ),
        "v100_deviation": Variable(
            ("strategy",), "", "RTOG 0813/0915 deviation of V100% (95 % of the PTV): none or major"
        ),
    },
    "targets": {
        "probability": Variable(_ST, "1", "share of courses in which the target is covered"),
        "ci_low": Variable(_ST, "1", "lower end of the 95 % interval of the probability"),
        "ci_high": Variable(_ST, "1", "upper end of the 95 % interval of the probability"),
        "product": Variable(
            ("strategy",), "1", "product of the targets' probabilities: what independent errors would give"
        ),
        "wanted": Variable(("target",), "", "goals that have to be met together for the target to count as covered"),
        "prescription_gy": Variable(("target",), "Gy", "prescribed dose of the target"),
        "volume_cc": Variable(("target",), "cc", "volume of the target"),
        "isocentre_mm": Variable(("target", "axis"), "mm", "isocentre of its plan, in DICOM patient coordinates"),
        "isocentre_distance_mm": Variable(("target",), "mm", "from the isocentre to the target's centre"),
        "margin_mm": Variable(("strategy", "target", "direction"), "mm", "margin from planning target to PTV"),
        "planning_target_cc": Variable(_ST, "cc", "volume of the planning target"),
        "bridge_cc": Variable(
            ("strategy",), "cc", "half of the lowest prescription that no target's own plan alone gives"
        ),
    },
    "leaves": {
        "gantry_deg": Variable(("beam",), "degree", "gantry angle (IEC 61217)"),
        "couch_deg": Variable(("beam",), "degree", "couch rotation (IEC 61217)"),
        "edge_mm": Variable(("strategy", "beam", "edge"), "mm", "borders of leaf pairs along the rotation axis"),
        "low_mm": Variable(("strategy", "beam", "leaf"), "mm", "end of the leaf pair towards lower u, isocentre plane"),
        "high_mm": Variable(("strategy", "beam", "leaf"), "mm", "end of the leaf pair towards higher u"),
        "weight": Variable(("strategy", "beam"), "", "weight of the aperture, relative to the others of its plan"),
    },
    "engine": {
        "factor": Variable(("strategy",), "1", "on the dose that the engine found, so that it agrees best"),
        "points_percent": Variable(
            ("strategy",), "percent", "points above a tenth of the highest dose that agree to 3 % of it within 2 mm"
        ),
        "rms_percent": Variable(
            ("strategy",), "percent", "RMS difference above half of the highest dose, in percent of that"
        ),
    },
    "dose": {
        "nominal": Variable(_MAP, "Gy", "planned dose"),
        "mean": Variable(_MAP, "Gy", "mean over courses of the dose to the tissue of each voxel"),
        "sd": Variable(_MAP, "Gy", "standard deviation over courses of the dose to the tissue of each voxel"),
        "percentile": Variable(
            ("strategy", "map_percentile", "z", "y", "x"),
            "Gy",
            "percentile over courses of the dose to the tissue of each voxel",
        ),
        "density": Variable(("z", "y", "x"), "1", "mass density relative to water"),
        "structure_mask": Variable(("structure", "z", "y", "x"), "percent", "share of the voxel in the structure"),
        "ptv_mask": Variable(_MAP, "1", "whether the voxel is in the PTV"),
    },
}

_OF_STRATEGIES = ("margin_label", "motion", "guidance", "margin_mm", "planning_target_cc", "prv_mm")
VARIABLES["targets"] |= {
    key: Variable(_ST, quality.unit, quality.meaning)
    for key, quality in VARIABLES["plans"].items()
    if key not in _OF_STRATEGIES
}

OPTIONAL = (
    *("dose", "targets", "knowledge", "budget", "weights", "interplay", "model_error", "courses", "leaves", "engine"),
    *("dose/sd", "dose/percentile", "decision/n_courses", "decision/stopped"),
    *("budget/target_coverage", "budget/target_coverage_without"),
)

DIRECTIONS = ("right", "left", "anterior", "posterior", "inferior", "superior")


def group(name: str, arrays: dict[str, np.ndarray], coords: dict[str, Sequence[Any] | np.ndarray]) -> xr.Dataset:
    """A group of results with dimensions, units and meanings from the table of variables."""
    table = VARIABLES[name]
    data = {
        key: xr.Variable(table[key].dims, values, {"units": table[key].unit, "long_name": table[key].meaning})
        for key, values in arrays.items()
    }
    return xr.Dataset(data, {key: np.asarray(values) for key, values in coords.items()})


def check_results(results: xr.DataTree) -> None:
    """Raise `SimulatorError` unless every variable is there with its dimensions (optional groups may be absent)."""
    for name, table in VARIABLES.items():
        if name not in results.children:
            if name in OPTIONAL:
                continue
            raise SimulatorError(f"results have no group {name!r}: not a results.nc of this version")
        dataset = results[name].to_dataset()
        for key, variable in table.items():
            if key not in dataset and f"{name}/{key}" in OPTIONAL:
                continue
            if key not in dataset or dataset[key].dims[dataset[key].ndim - len(variable.dims) :] != variable.dims:
                raise SimulatorError(f"results: /{name}/{key} has to have dimensions {variable.dims}")
