"""Every way to manage motion with every guidance protocol and every kind of margin, on one small case."""

import itertools

import numpy as np
import pytest

import simulator
from simulator.problem.preparation import prepare
from simulator.simulation.work import make_plan
from simulator.study_file.schema import StudyConfig

MOTIONS = ["none", "itv", "mid-ventilation", "gating", "breath-hold", "tracking", "compression"]
GUIDANCES = [
    "none",
    {"kind": "nal", "measured_fractions": 1},
    {"kind": "enal", "measured_fractions": 1, "then_every": 1},
]
GUIDANCES += ["online-bone", {"kind": "online-target", "couch": "6D", "reimage_every_min": 1}]
MARGINS = [4, [3, 4, 5], "van-herk", "stroom", "finite-fraction"]
MARGINS += [{"recipe": "asymmetric", "right_mm": 3, "left_mm": 4, "anterior_mm": 3, "posterior_mm": 5, "inferior_mm": 6,
             "superior_mm": 4}]  # fmt: skip


def study(**changes):
    """A sphere that breathes, drifts, turns and was drawn and registered badly."""
    return StudyConfig.model_validate(
        {
            "name": "together",
            "case": {"phantom": "sphere", "radius_mm": 7},
            "prescription": {"dose_gy": 40, "fractions": 4, "isodose_percent": 80},
            "plan": {"model": "conformal-arc", "arcs": [{"start_deg": -180, "stop_deg": 180, "spacing_deg": 45}]}
            | {"dose_grid_mm": 4},
            "uncertainty": {
                "setup": {"systematic_mm": 1.5, "random_mm": 1.5, "random_deg": 1},
                "drift": {"sd_mm_per_min": 0.2, "brownian_mm_per_sqrt_min": 0.2},
                "baseline": {"systematic_mm": 1, "random_mm": 1, "after_imaging_mean_mm": [0, 0, 1]},
                "respiration": {"amplitude_mm": [1, 2, 6], "course_cv": 0.3, "breath_cv": 0.2},
                "registration": {"systematic_mm": 0.5},
                "delineation": {"sd_mm": 0.5, "correlation_deg": 60},
                "isocentre": {"systematic_mm": 0.3},
            },
            "strategies": {"margins_mm": MARGINS, "motion": MOTIONS, "guidance": GUIDANCES},
            "goals": ["GTV D98% >= 95%", "GTV Dmin >= 90%"],
            "courses": 6,
            "seed": 4,
            "numerics": {"instants": 6, "max_points": 1000},
        }
        | changes
    )


def test_every_combination_can_be_prepared_and_delivered():
    """Margins and planning targets of all 210 combinations are finite and the couch obeys the protocol."""
    problem = prepare(study())
    assert len(problem.strategies) == len(MOTIONS) * len(GUIDANCES) * len(MARGINS)
    assert np.all(np.isfinite([r.margin_mm for r in problem.requests]))
    from simulator.sampling.courses import deliver, draw_courses
    from simulator.sampling.streams import Draws

    for motion, guidance in itertools.product(range(len(MOTIONS)), range(len(GUIDANCES))):
        strategy = problem.strategies[motion * len(MARGINS) * len(GUIDANCES) + guidance]
        moved = deliver(draw_courses(problem.setting, Draws(1, 0, 5)), strategy, problem.setting).motion("GTV")
        assert np.all(np.isfinite(moved.shift_mm))
        np.testing.assert_allclose(moved.weight.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("margin", MARGINS, ids=str)
def test_every_combination_runs_and_repeats(margin):
    few = {"margins_mm": [margin], "motion": MOTIONS, "guidance": [GUIDANCES[0], GUIDANCES[1], GUIDANCES[4]]}
    if margin == 4:
        few["guidance"] = GUIDANCES
    results = simulator.run(study(strategies=few))
    values = results["metrics/value"].values
    assert np.all(np.isfinite(values))
    assert np.all(values >= 0)
    some = {"margins_mm": [margin], "motion": ["gating"], "guidance": [GUIDANCES[4]]}
    one = simulator.run(
        study(strategies=some, numerics={"instants": 6, "max_points": 1000, "block_courses": 4}), workers=1
    )
    np.testing.assert_array_equal(one["metrics/value"].values[0], results["metrics/value"].sel(
        strategy=one["metrics/strategy"].values[0]).values)  # fmt: skip


def test_planning_targets_differ_by_motion_management():
    """Expected for one motion: the ITV is the largest, tracking and mid-ventilation the smallest."""
    problem = prepare(study(strategies={"margins_mm": [3], "motion": MOTIONS, "guidance": ["online-target"]}))
    volume = {
        s.motion.kind: make_plan(problem, r).quality.ptv_cc
        for s, r in zip(problem.strategies, problem.requests, strict=True)
    }
    assert volume["itv"] > volume["compression"] > volume["gating"] > volume["tracking"]
    assert volume["tracking"] == volume["mid-ventilation"] == volume["none"]
    assert volume["itv"] > 1.2 * volume["mid-ventilation"]


def test_a_motion_management_without_breathing_to_manage_is_refused():
    still = study().uncertainty.model_copy(update={"respiration": None})
    with pytest.raises(
        simulator.spec.ConfigError, match=r"there is no breathing to gate; add uncertainty\.respiration"
    ):
        prepare(study(uncertainty=still.model_dump()))
