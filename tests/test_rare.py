"""Rare events by importance sampling against a chi tail and against brute force."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi
from test_answers import study

import simulator
from simulator.ground.conventions import Stream
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import ConfigError
from simulator.population.intervals import wilson_interval
from simulator.problem.preparation import prepare
from simulator.sampling.tissue_motion import TissueMotion
from simulator.sampling.widened import SCALES, WidenedDraws
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work

GOAL = "GTV D98% >= 95%"
N = 2000


def test_weights_average_to_one_and_are_bounded():
    draws = WidenedDraws(5, 0, 40_000, (Stream.SETUP_SYSTEMATIC, Stream.REGISTRATION))
    weight = draws.weights()
    assert abs(weight.mean() - 1) < 4 * weight.std() / np.sqrt(len(weight))
    assert weight.max() <= len(SCALES)
    numbers = draws.normals(Stream.SETUP_SYSTEMATIC, 3)
    assert (weight[:, None] * numbers**2).mean() == pytest.approx(1, abs=0.03)
    for c, scale in enumerate(SCALES):
        assert numbers[draws.component == c].std() == pytest.approx(scale, rel=0.03)
    plain = draws.normals(Stream.SETUP_RANDOM, 5, 3)
    assert plain.std() == pytest.approx(1, rel=0.02)


def systematic(margin_mm):
    return study(
        uncertainty={"setup": {"systematic_mm": 2}},
        strategies={"margins_mm": [margin_mm], "motion": ["none"], "guidance": ["none"]},
        seed=4,
    )


def directions(n):
    """Even over the sphere (Fibonacci lattice), (n, 3)."""
    z, turn = 1 - (2 * np.arange(n) + 1) / n, np.pi * (1 + np.sqrt(5)) * np.arange(n)
    return np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)


@pytest.mark.parametrize("margin_mm", [7.5, 8.5])
def test_a_chi_tail_is_found_far_out(margin_mm):
    config = systematic(margin_mm)
    problem = prepare(config)
    plan = make_plan(problem, problem.requests[0])
    delivery = deliver_courses(problem, problem.strategies[0], course_draws(problem, 0, 8))
    doses = prepare_work(problem, problem.strategies[0], plan, [delivery], SerialExecutor()).doses["GTV"]

    def excess_gy(shift_mm, direction):
        gy = doses.accumulate(TissueMotion.still(shift_mm * direction))[0]
        order = np.argsort(gy)
        return float(gy[order][np.searchsorted(np.cumsum(doses.volume_cc[order]), 0.02 * doses.volume_cc.sum())]) - 47.5

    # A sphere of voxels is not round: P(missed) is the mean over directions of P(|error| > radius that misses the goal).
    truth = np.mean([chi.sf(brentq(excess_gy, 1, 20, (u,), xtol=1e-3) / 2, 3) for u in directions(60)])
    assert 2e-5 < truth < 3e-3
    found = simulator.rare_event_probability(config, problem.strategies[0].label(), GOAL, courses=N)
    se = (found.ci_high - found.ci_low) / (2 * 1.96)
    assert abs(found.probability - truth) < 4 * se
    low, high = wilson_interval(np.array(truth * N), N)
    assert found.ci_high - found.ci_low < (high - low) / 3
    assert found.effective_courses > 10 * N


@pytest.mark.nightly
def test_random_errors_and_fractions_agree_with_brute_force():
    config = study(courses=20_000, strategies={"margins_mm": [9], "motion": ["none"], "guidance": ["none"]})
    brute = 1 - float(simulator.run(config)["goals/probability"].sel(goal=GOAL)[0])
    found = simulator.rare_event_probability(config, "none, 9 mm, none", GOAL, courses=4000, seed=99)
    se = np.hypot((found.ci_high - found.ci_low) / (2 * 1.96), np.sqrt(brute / 20_000))
    assert 0.0005 < brute < 0.02
    assert abs(found.probability - brute) < 4 * se
    assert found.effective_courses > 4000


def test_the_same_bits_for_any_block_and_worker():
    config = systematic(6.5)
    other = config.model_copy(update={"numerics": config.numerics.model_copy(update={"block_courses": 37})})
    one, two = (
        simulator.rare_event_probability(c, "none, 6.5 mm, none", GOAL, courses=200, workers=w)
        for c, w in ((config, 1), (other, 2))
    )
    assert one == two


def test_nothing_seen_leaves_room_for_what_was_not_seen():
    found = simulator.rare_event_probability(systematic(25), "none, 25 mm, none", GOAL, courses=400)
    assert found.probability == found.ci_low == 0
    assert found.ci_high == pytest.approx(1 - 0.025 ** (1 / 100))


def test_wrong_wishes_are_explained():
    config = systematic(6.5)
    with pytest.raises(
        ConfigError, match=r"no strategy 'none, 6 mm, none' in this study; did you mean 'none, 6.5 mm, none'"
    ):
        simulator.rare_event_probability(config, "none, 6 mm, none", GOAL)
    with pytest.raises(ConfigError, match=r"no goal 'GTV D97% >= 95%' in this study; did you mean 'GTV D98% >= 95%'"):
        simulator.rare_event_probability(config, "none, 6.5 mm, none", "GTV D97% >= 95%")
    still = study(uncertainty={"setup": {"random_mm": 2}})
    with pytest.raises(ConfigError, match=r"no systematic error acts on 'none, 3 mm, none'"):
        simulator.rare_event_probability(still, "none, 3 mm, none", GOAL)
    with pytest.raises(ConfigError, match="7 courses give no interval; simulate 8 or more"):
        simulator.rare_event_probability(config, "none, 6.5 mm, none", GOAL, courses=7)
