"""Every way to manage motion with every guidance protocol and every kind of margin, on one small case."""

import itertools

import numpy as np
import pytest
from drawing import by_fraction, delivered

import simulator
from simulator.problem.preparation import prepare
from simulator.simulation.plans import make_plan
from simulator.strategy.guidance import ExtendedNoActionLevel, NoActionLevel, NoGuidance, OnlineBone, OnlineTarget
from simulator.strategy.motion import (
    BreathHold,
    Compression,
    Gating,
    InternalTargetVolume,
    MidVentilation,
    NoMotionManagement,
    Tracking,
)
from simulator.study_file.schema import StudyConfig
from simulator.uncertainty import Baseline, Drift, Isocentre, Registration, Respiration, Setup, Uncertainty

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
    assert np.all(np.isfinite([r.ptvs[0].margin_mm for r in problem.requests]))
    from simulator.sampling.courses import draw_courses
    from simulator.sampling.delivery import deliver
    from simulator.sampling.streams import Draws

    for motion, guidance in itertools.product(range(len(MOTIONS)), range(len(GUIDANCES))):
        strategy = problem.strategies[motion * len(MARGINS) * len(GUIDANCES) + guidance]
        moved = deliver(draw_courses(problem.setting, Draws(1, 0, 5)), strategy, problem.setting).motion("GTV")
        assert np.all(np.isfinite(moved.shift_mm))
        np.testing.assert_allclose(moved.weight.sum(axis=1), 1, rtol=1e-12)


PERFECT = {"match_mm": 0, "couch_mm": 0}
UNCORRECTED, AFTER_ONE = (1, 1, 1), (1, 0, 0)
PROTOCOLS = {  # what is left of an error of everything, and of the target's own one, in each of three fractions
    "none": (NoGuidance(), UNCORRECTED, UNCORRECTED),
    "nal on bone": (NoActionLevel(measured_fractions=1, **PERFECT), AFTER_ONE, UNCORRECTED),
    "nal on target": (NoActionLevel(measured_fractions=1, match="target", **PERFECT), AFTER_ONE, AFTER_ONE),
    "enal on bone": (ExtendedNoActionLevel(measured_fractions=1, then_every=1, **PERFECT), AFTER_ONE, UNCORRECTED),
    "enal on target": (
        ExtendedNoActionLevel(measured_fractions=1, then_every=1, match="target", **PERFECT), AFTER_ONE, AFTER_ONE
    ),
    "bone": (OnlineBone(**PERFECT), (0, 0, 0), UNCORRECTED),
    "target": (OnlineTarget(**PERFECT), (0, 0, 0), (0, 0, 0)),
}  # fmt: skip
MANAGED = {  # time from first to last beam in s of 150 s of beam, and where the target is planned along SI in mm
    "none": (NoMotionManagement(), 150, 0.0),
    "itv": (InternalTargetVolume(), 150, 0.0),
    "mid-ventilation": (MidVentilation(), 150, 0.0),
    "gating": (Gating(signal="phase", window_percent=50, latency_s=0), 300, 8 / np.pi),  # half a sine
    "breath-hold": (BreathHold(depth=1, systematic_mm=0, hold_mm=0, hold_s=50, pause_s=30), 210, -4.0),
    "compression": (Compression(), 150, 0.0),
    "tracking": (Tracking(latency_s=0, error_systematic_mm=0, error_mm=0, reimaging_interval_s=7200), 150, 0.0),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("managed", MANAGED)
def test_every_source_meets_every_motion_management_and_guidance(managed, protocol):
    """Errors along SI of 16 mm setup, 8 mm baseline, 4 mm of the target after imaging, 2 mm registration, 1 mm isocentre,
    0.3 mm/min drift, and a sine of 8 mm: which of them are left of target and cord, averaged over each fraction.

    Setup goes with any match, the baseline with one on the target, which takes the cord off by as much. Shifts after the
    image stay, except that a tracking beam follows what it saw at first; registration and isocentre always stay.
    """
    motion, beam_s, planned_mm = MANAGED[managed]
    guidance, of_all, of_target = (PROTOCOLS[protocol][i] for i in range(3))
    along = lambda mm: (0, 0, mm)  # noqa: E731
    uncertainty = Uncertainty(
        setup=Setup(mean_mm=along(16)),
        baseline=Baseline(mean_mm=along(8), after_imaging_mean_mm=along(4)),
        drift=Drift(mean_mm_per_min=along(0.3)),
        respiration=Respiration(amplitude_mm=along(8), n=1),
        registration=Registration(mean_mm=along(2)),
        isocentre=Isocentre(mean_mm=along(1)),
    )
    delivery = delivered(uncertainty, motion, guidance, n_instants=40)
    minutes = (180 + (np.arange(40) + 0.5) / 40 * beam_s) / 60
    mean = lambda path: 3 * (delivery.weight * path).sum(axis=2)  # noqa: E731
    followed = 4 + 0.3 * minutes[0] if managed == "tracking" else 0.0
    drift = mean(0.3 * minutes)
    common = 16 * np.array(of_all) - 1 + drift - followed
    target, cord = (mean(by_fraction(delivery, name)[..., 2]) for name in ("GTV", "SpinalCord"))
    expected = planned_mm + common + 8 * np.array(of_target) + 4 + 2
    taken_off = 8 * (1 - np.array(of_target)) if guidance.matches_target else 0.0
    near = {"atol": 0.03} if managed == "gating" else {"atol": 1e-9}
    np.testing.assert_allclose(target, np.broadcast_to(expected, target.shape), **near)
    np.testing.assert_allclose(cord, np.broadcast_to(common - taken_off, cord.shape), **near)
    for name in ("GTV", "SpinalCord"):
        np.testing.assert_allclose(by_fraction(delivery, name)[..., :2], 0, atol=1e-12)


NONE, FIRST, ALL = np.eye(3), np.array([[1, 0, 0], [-1, 1, 0], [-1, 0, 1]]), np.zeros((3, 3))
LINE = np.array([[1, 0, 0], [-1, 1, 0], [1, -2, 1]])  # through the first two: the third is foreseen at 2 r2 - r1
LEFT = {  # what is left in each fraction of errors of three fractions: of everything, and of the target's own
    "none": (NONE, NONE),
    "nal on bone": (FIRST, NONE),
    "nal on target": (FIRST, FIRST),
    "enal on bone": (LINE, NONE),
    "enal on target": (LINE, LINE),
    "bone": (ALL, NONE),
    "target": (ALL, ALL),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("managed", MANAGED)
def test_spreads_of_every_motion_management_and_guidance(managed, protocol):
    """Setup of Σ = 3 and σ = 2 mm, and a baseline of Σ = 2 and σ = 1 mm, in any course: what images leave of each of them."""
    motion, guidance = MANAGED[managed][0], PROTOCOLS[protocol][0]
    breathing = {"respiration": Respiration(amplitude_mm=(0, 0, 8), n=1)}
    setup = {"setup": Setup(systematic_mm=3, random_mm=2)} | breathing
    every = {"baseline": Baseline(systematic_mm=2, random_mm=1)} | setup

    def found(sources, name, motion=motion, guidance=guidance):
        return by_fraction(delivered(Uncertainty(**sources), motion, guidance, n_instants=40), name).mean(axis=2)

    of_all = found(setup, "SpinalCord", NoMotionManagement(), NoGuidance())
    of_target = found(every, "GTV", NoMotionManagement(), NoGuidance()) - of_all
    assert of_all.std() > 2
    assert of_target.std() > 1
    left_of_all, left_of_target = LEFT[protocol]
    common = np.einsum("gf,cfx->cgx", left_of_all, of_all)
    own = np.einsum("gf,cfx->cgx", left_of_target, of_target)
    at_rest = {name: found(breathing, name) for name in ("GTV", "SpinalCord")}
    np.testing.assert_allclose(found(every, "GTV") - at_rest["GTV"], common + own, atol=1e-9)
    taken_off = of_target - own if guidance.matches_target else 0.0
    np.testing.assert_allclose(found(every, "SpinalCord") - at_rest["SpinalCord"], common - taken_off, atol=1e-9)


@pytest.mark.parametrize("managed", [name for name in MANAGED if name != "tracking"])
@pytest.mark.parametrize(("guidance", "left"), [(OnlineBone, 1), (OnlineTarget, 0)])
def test_an_image_each_minute_takes_off_what_moved_before_it(managed, guidance, left):
    """0.3 mm/min of drift: after each image what came since the instant before it; 4 mm of the target if it is matched."""
    motion, beam_s, _ = MANAGED[managed]
    uncertainty = Uncertainty(
        drift=Drift(mean_mm_per_min=(0, 0, 0.3)),
        baseline=Baseline(after_imaging_mean_mm=(4, 0, 0)),
        respiration=Respiration(amplitude_mm=(0, 8, 0), n=1),
    )
    path = delivered(uncertainty, motion, guidance(reimage_every_min=1, **PERFECT), n_instants=40)
    elapsed_s = (np.arange(40) + 0.5) / 40 * beam_s
    n_images = (elapsed_s // 60).astype(int)
    minutes = (180 + elapsed_s + 60 * n_images) / 60
    before = np.array([minutes[n_images < n][-1] if n else 0.0 for n in n_images])
    found = by_fraction(path, "GTV")
    np.testing.assert_allclose(found[..., 2], np.broadcast_to(0.3 * (minutes - before), (4, 3, 40)), atol=1e-9)
    np.testing.assert_allclose(
        found[..., 0], np.broadcast_to(4 * np.where(n_images > 0, left, 1), (4, 3, 40)), atol=1e-9
    )


@pytest.mark.parametrize("guidance", [OnlineBone, OnlineTarget])
def test_a_beam_that_is_told_of_every_shift_leaves_none_however_the_couch_moves_meanwhile(guidance):
    """Its model is new at each instant and the couch moves each minute: the cord is off by the target's own 4 mm alone."""
    uncertainty = Uncertainty(
        drift=Drift(mean_mm_per_min=(0, 0, 0.3)), baseline=Baseline(after_imaging_mean_mm=(4, 0, 0))
    )
    beam = Tracking(latency_s=0, error_systematic_mm=0, error_mm=0, reimaging_interval_s=1)
    path = delivered(uncertainty, beam, guidance(reimage_every_min=1, **PERFECT), n_instants=40)
    np.testing.assert_allclose(by_fraction(path, "GTV"), 0, atol=1e-12)
    np.testing.assert_allclose(by_fraction(path, "SpinalCord"), np.broadcast_to([-4, 0, 0], (4, 3, 40, 3)), atol=1e-12)


@pytest.mark.parametrize("guidance", [OnlineBone, OnlineTarget])
def test_a_couch_that_moves_under_a_tracking_beam_takes_nothing_off_twice(guidance):
    """Told of shifts at the first instant alone: 0.3 mm/min of drift since then stay, though the couch moves each minute."""
    uncertainty = Uncertainty(
        drift=Drift(mean_mm_per_min=(0, 0, 0.3)), baseline=Baseline(after_imaging_mean_mm=(4, 0, 0))
    )
    beam = Tracking(latency_s=0, error_systematic_mm=0, error_mm=0, reimaging_interval_s=7200)
    path = delivered(uncertainty, beam, guidance(reimage_every_min=1, **PERFECT), n_instants=40)
    elapsed_s = (np.arange(40) + 0.5) / 40 * 150
    minutes = (elapsed_s + 60 * (elapsed_s // 60)) / 60
    found = by_fraction(path, "GTV")
    np.testing.assert_allclose(found[..., 2], np.broadcast_to(0.3 * (minutes - minutes[0]), (4, 3, 40)), atol=1e-9)
    np.testing.assert_allclose(found[..., :2], 0, atol=1e-9)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "margin",
    [
        pytest.param(m, marks=pytest.mark.nightly) if m in ([3, 4, 5], "van-herk", "stroom", "finite-fraction") else m
        for m in MARGINS
    ],
    ids=str,
)
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
        simulator.ground.spec.ConfigError, match=r"there is no breathing to gate; add uncertainty\.respiration"
    ):
        prepare(study(uncertainty=still.model_dump()))
