"""A small results tree with every variable of the table, for tests of figures and report."""

import json
from types import SimpleNamespace

import numpy as np
import xarray as xr

from simulator.answers.goals import goals_group
from simulator.answers.groups import answer_groups
from simulator.answers.margin_causes import CAUSES
from simulator.metrics.goals import Goal, parse_goal
from simulator.plan.penumbra import Penumbra
from simulator.plan.prescription import Prescription
from simulator.population.coverage import COVERAGE_VOLUMES
from simulator.population.intervals import mean_interval, wilson_interval
from simulator.problem.margins import PlanRequest, PtvRequest
from simulator.problem.problem import Problem
from simulator.problem.target import Target
from simulator.results.registry import DIRECTIONS, VARIABLES, group
from simulator.sampling.courses import Setting
from simulator.strategy.session import Session
from simulator.study_file.candidates import StrategyGrid
from simulator.study_file.schema import DecisionRule
from simulator.uncertainty import Uncertainty

RX_GY = 50.0
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def synthetic_results(
    motions: tuple[str, ...] = ("none", "itv"),
    guidances: tuple[str, ...] = ("none", "online-target"),
    margins_mm: tuple[float, ...] = (0.0, 3.0, 5.0),
    n_oars: int = 2,
    n_courses: int = 60,
    with_dose: bool = True,
) -> xr.DataTree:
    """Random but ordered numbers: wider margins raise target and organ doses.

    Goals: two on the target, one on each organ at risk; that on the last organ is unchecked.
    """
    random = np.random.default_rng(7)
    plans = [(m, g, d) for m in motions for g in guidances for d in margins_mm]
    strategies = [f"{m}, {d:g} mm, {g}" for m, g, d in plans]
    structures = ["GTV", *(f"Organ{i + 1}" for i in range(n_oars))]
    metrics = ["GTV D98%", *(f"{name} D0.035cc" for name in structures[1:])]
    step = 1.8 * np.array([d for _, _, d in plans])[:, None, None] + np.arange(len(plans))[:, None, None] * 0.1
    value = 44 + step + random.normal(0, 2, (len(plans), n_courses, len(metrics)))
    value[..., 1:] -= 14 + 2 * np.arange(n_oars)
    nominal = value.mean(1) + 1
    problem = synthetic_problem(plans, metrics)
    goals = goals_group(problem, nominal, value, strategies)
    tree = {
        "/": xr.Dataset(attrs=_attributes(n_courses, len(plans))),
        "metrics": group(
            "metrics",
            {
                "value": value,
                "unit": np.full(len(metrics), "Gy"),
                "structure": np.array(structures),
                "nominal": nominal,
                "n_without_target": np.array(0),
                **dict(zip(("mean", "mean_low", "mean_high"), mean_interval(value, axis=1), strict=True)),
            },
            {"strategy": strategies, "course": np.arange(n_courses), "metric": metrics},
        ),
        "goals": goals,
        **_answers(problem, value),
        "budget": _budget(strategies, metrics, goals),
        "dvh": _dvh(strategies, structures),
        "plans": _plans(plans, strategies),
    }
    if with_dose:
        tree["dose"] = _dose(strategies, structures)
    return xr.DataTree.from_dict(tree)


def synthetic_problem(plans, metrics) -> SimpleNamespace:
    """What the answers ask of a problem."""
    target = Target(
        number=0,
        structure=SimpleNamespace(name="GTV"),
        prescription=Prescription(dose_gy=RX_GY, fractions=5, isodose_percent=80),
        uncertainty=Uncertainty.model_validate({"setup": {"systematic_mm": 2, "random_mm": 2}}),
        wanted=(parse_goal("GTV D98% >= 95%"),),
        true_target=None,
    )
    problem = SimpleNamespace(
        strategies=[
            StrategyGrid.model_validate(
                {"margins_mm": [d], "motion": [_named(m)], "guidance": [_named(g)]}
            ).candidates()[0]
            for m, g, d in plans
        ],
        requests=[PlanRequest(Penumbra(), (PtvRequest((d,) * 6, ((0.0, 0.0, 0.0),)),)) for _, _, d in plans],
        goals=_goals(metrics),
        targets=[target],
        target_named=lambda structure: target if structure == "GTV" else None,
        wanted=target.wanted,
        wanted_together=[target.wanted],
        metric_labels=metrics,
        column={label: i for i, label in enumerate(metrics)},
        prescription_of=lambda structure: target.prescription,
        interval=lambda met, n=None: wilson_interval(met.sum(axis=-1), met.shape[-1] if n is None else n),
        looks=None,
        config=SimpleNamespace(
            decision=DecisionRule(),
            precision=None,
            sampling="pseudo-random",
            prescription=target.prescription,
        ),
        setting=Setting(
            uncertainty=target.uncertainty,
            session=Session(),
            targets={"GTV": target.uncertainty},
            n_fractions=5,
            n_instants=4,
            fraction_gy=10.0,
            centre_mm={"GTV": np.zeros(3)},
            volume_cc={},
            isocentre_mm=np.zeros(3),
        ),
    )
    problem.asked = Problem.asked.func(problem)
    return problem


def _answers(problem, value) -> dict[str, xr.Dataset]:
    """Joint probabilities, comparison, margins and decision of these very numbers."""
    answers = answer_groups(problem, value, np.linspace(5, 40, len(value)))
    return answers | {"margins": _with_causes(answers["margins"])}


def _with_causes(margins: xr.Dataset) -> xr.Dataset:
    """Equal parts of the difference to each recipe."""
    difference = (margins["required_mm"] - margins["recipe_mm"]).transpose("series", "recipe", "direction").values
    parts = np.repeat(difference[:, :, None] / len(CAUSES), len(CAUSES), axis=2)
    parts[~np.isfinite(parts)] = np.nan
    return margins.assign(cause_mm=(VARIABLES["margins"]["cause_mm"].dims, parts)).assign_coords(cause=list(CAUSES))


def _named(name: str) -> dict[str, str]:
    return {"kind": "none", "name": name}


def _budget(strategies, metrics, goals) -> xr.Dataset:
    """Two sources, the first ten times as important as the second, for the last strategy."""
    share = np.array([0.8, 0.08])[None, :, None] * np.ones((1, 2, len(metrics)))
    arrays = {f"{key}{end}": share + add for key in ("first_order", "total") for end, add in _ENDS.items()}
    arrays["probability"] = goals["probability"].values[-1:]
    arrays["without"] = np.repeat(arrays["probability"][:, None], 2, axis=1)
    arrays |= {"coverage": np.array([0.8]), "coverage_without": np.array([[0.97, 0.82]])}
    coords = {"strategy": strategies[-1:], "source": ["setup, systematic", "drift"], "metric": metrics}
    budget = group("budget", arrays, coords | {"goal": goals["goal"].values})
    budget.attrs["n_courses"] = 50
    return budget


_ENDS = {"": 0.0, "_low": -0.05, "_high": 0.05}


def _attributes(n_courses: int, n_strategies: int) -> dict[str, object]:
    return {
        "simulator_version": "0.0.test",
        "config": "name: <synthetic> & small\nseed: 7\n",
        "name": "synthetic",
        "seed": 7,
        "n_courses": n_courses,
        "result_hash": "0123abcd" * 8,
        "created": "2024-01-02T03:04:05+00:00",
        "seconds": 1.5,
        "prescription_gy": RX_GY,
        "fractions": 5,
        "isodose_percent": 80.0,
        "subject": "population",
        "case_name": "box",
        "case_description": "case: a box",
        "target": "GTV",
        "interval": "Wilson",
        "words": json.dumps([f"{n_strategies} strategies <of> courses.", "Setup error Σ = 2 mm."]),
    }


def _goals(metrics) -> list[Goal]:
    """Two on the target, one on each organ; the last is unchecked."""
    organs = [
        parse_goal(f"{m} <= 38 Gy", level="mandatory", source="Author 2000", checked=m != metrics[-1], note="a remark")
        for m in metrics[1:]
    ]
    return [parse_goal("GTV D98% >= 95%"), parse_goal("GTV D98% >= 100%"), *organs]


def _dvh(strategies, structures) -> xr.Dataset:
    dose_gy = np.linspace(0, 70, 71)
    centre_gy = 50 - 12 * np.arange(len(structures))[None, :] % 48 + np.arange(len(strategies))[:, None] * 0.2
    shift_gy = np.array([-4.0, -1.5, 0.0, 1.5, 4.0])

    def fall(middle_gy):
        return 100 / (1 + np.exp((dose_gy - middle_gy[..., None]) / 2))

    n = len(structures)
    arrays = {
        "volume_percent": fall(centre_gy[..., None] + shift_gy),
        "nominal": fall(centre_gy + 1),
        "coverage": 1 / (1 + np.exp((np.array(COVERAGE_VOLUMES) - fall(centre_gy)[..., None]) / 4)),
        "role": np.array(["target", *["oar"] * (n - 1)]),
        "volume_cc": np.linspace(4.25, 90, n),
        "points": np.arange(1000, 1000 + n),
        "spacing_mm": np.linspace(0.75, 2, n),
        "interpolation_error_gy": np.linspace(0.01, 0.2, len(strategies) * n).reshape(len(strategies), n),
    }
    coords = {
        "strategy": strategies,
        "structure": structures,
        "quantile": QUANTILES,
        "dose": dose_gy,
        "volume": COVERAGE_VOLUMES,
    }
    return group("dvh", arrays, coords)


def _plans(plans, strategies) -> xr.Dataset:
    n = len(plans)
    margins_mm = np.repeat([[float(d)] for _, _, d in plans], 6, axis=1)
    margins_mm[-1, 4:] += 3.0
    text = {
        "margin_label": [f"{d:g} mm" for _, _, d in plans],
        "motion": [m for m, _, _ in plans],
        "guidance": [g for _, g, _ in plans],
        "r100_deviation": ["none"] * n,
        "r50_deviation": ["minor"] * n,
        "d2cm_deviation": ["major"] * n,
        "v90_deviation": ["none"] * n,
        "v100_deviation": ["major"] * n,
    }
    arrays = {key: np.array(values) for key, values in text.items()} | {"margin_mm": margins_mm}
    for i, (key, variable) in enumerate(VARIABLES["plans"].items()):
        if key not in arrays and variable.dims == ("strategy",):
            arrays[key] = np.linspace(i, i + 1, n)
    return group("plans", arrays, {"strategy": strategies, "direction": DIRECTIONS})


def _dose(strategies, structures) -> xr.Dataset:
    """Dose that falls off with distance from (0, 0, 0), 10 Gy higher from z = 12 mm on; light tissue right."""
    z, y, x = np.arange(-20.0, 21, 4), np.arange(-24.0, 25, 4), np.arange(-28.0, 29, 4)
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    dose_gy = 60 * np.exp(-((radius / 20) ** 2))
    dose_gy[z >= 12] += 10.0
    n = len(strategies)
    arrays = {
        "nominal": np.repeat(dose_gy[None], n, 0),
        "mean": np.repeat(0.9 * dose_gy[None], n, 0),
        "sd": np.repeat(0.05 * dose_gy[None], n, 0),
        "percentile": np.repeat(np.stack([0.8 * dose_gy, 0.98 * dose_gy])[None], n, 0),
        "density": np.where(x < 0, 0.3, 1.0) * np.ones_like(radius),
        "structure_mask": np.stack([np.where(radius < 10 + 2 * i, 100, 0) for i in range(len(structures))]),
        "ptv_mask": np.repeat((radius < 14)[None], n, 0).astype(np.uint8),
    }
    coords = {"strategy": strategies, "structure": structures, "map_percentile": [5.0, 95.0], "z": z, "y": y, "x": x}
    dose = group("dose", arrays, coords)
    dose.attrs["target_centre_mm"] = np.zeros(3)
    return dose
