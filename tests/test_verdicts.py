"""Verdicts from constructed metrics: each of the nine, the order, the courses that would decide, and the sentences."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from simulator.answers.decision import decision_group
from simulator.answers.goals import goals_group
from simulator.answers.joint import joint_met
from simulator.metrics.goals import parse_goal
from simulator.population.intervals import wilson_interval
from simulator.population.verdicts import NO, NOT_KNOWN, YES, courses_to_decide, decide, holds
from simulator.problem.problem import Problem
from simulator.sampling.quasi import N_RANDOMISATIONS
from simulator.study_file.schema import DecisionRule

N = 1000


def problem_of(goals, **rule):
    """What the answers ask of a problem, with metrics in the order of the goals and one on the target."""
    goals = [parse_goal(text) if isinstance(text, str) else text for text in goals]
    wanted = parse_goal("GTV D98% >= 95%")
    metrics = list(dict.fromkeys(g.metric.label for g in (wanted, *goals)))
    found = SimpleNamespace(
        goals=goals,
        wanted=[wanted],
        wanted_together=[(wanted,)],
        column={label: i for i, label in enumerate(metrics)},
        prescription_of=lambda structure: SimpleNamespace(dose_gy=50.0),
        target_named=lambda structure: structure if structure == "GTV" else None,
        interval=lambda met, n=None: wilson_interval(met.sum(axis=-1), met.shape[-1] if n is None else n),
        looks=None,
        config=SimpleNamespace(decision=DecisionRule.model_validate(rule), sampling="pseudo-random"),
    )
    found.asked = Problem.asked.func(found)
    return found


def metrics_that_meet(shares, goals=("GTV D98% >= 95%", "Heart D0.035cc <= 38 Gy")):
    """Metrics (strategy, course, metric) just on the right side in a share of courses, 1 Gy off in the others."""
    limits = {
        "GTV D98% >= 95%": (47.6, 46.5),
        "Heart D0.035cc <= 38 Gy": (37.9, 39.0),
        "Cord Dmax <= 25 Gy": (24.9, 26.0),
    }
    course = np.arange(N)
    values = [[np.where(course < N * p, *limits[g]) for g, p in zip(goals, of, strict=True)] for of in shares]
    return np.moveaxis(np.array(values), 1, 2).astype(np.float32)


def verdicts(shares, ptv_cc=None, **rule):
    problem = problem_of(["GTV D98% >= 95%", "Heart D0.035cc <= 38 Gy"], **rule)
    values = metrics_that_meet(shares)
    labels = [f"s{i}" for i in range(len(values))]
    ptv_cc = np.full(len(values), 10.0) if ptv_cc is None else np.array(ptv_cc)
    return decision_group(problem, values, joint_met(problem, values), ptv_cc, labels)


@pytest.mark.parametrize(
    ("target", "organ", "verdict"),
    [
        (0.97, 0.97, "suits"),
        (0.97, 0.90, "undecided"),
        (0.97, 0.50, "covers, but"),
        (0.90, 0.97, "undecided"),
        (0.90, 0.90, "undecided"),
        (0.90, 0.50, "undecided"),
        (0.50, 0.97, "spares, but"),
        (0.50, 0.90, "undecided"),
        (0.50, 0.50, "neither"),
    ],
)
def test_each_verdict(target, organ, verdict):
    found = verdicts([(target, organ)])
    assert found["verdict"].values.tolist() == [verdict]
    assert (found.attrs["recommended"] == "s0") == (verdict == "suits")
    assert (found["courses_to_decide"].item() > 0) == (verdict == "undecided")
    assert found["organ_risk"].item() == pytest.approx(1 - organ, abs=1e-12)


@pytest.mark.parametrize(("n_targets", "said"), [(1, "together"), (2, "each")])
def test_how_several_targets_are_asked_is_said_where_there_are_several(n_targets, said):
    problem, values = (
        problem_of(["GTV D98% >= 95%"], coverage="each"),
        metrics_that_meet([(0.97,)], ["GTV D98% >= 95%"]),
    )
    joint = joint_met(problem, values)
    problem.wanted_together = n_targets * problem.wanted_together
    assert decision_group(problem, values, joint, np.ones(1), ["s0"]).attrs["coverage"] == said


@pytest.mark.parametrize("sampling", ["pseudo-random", "sobol"])
@pytest.mark.parametrize("narrower", [1, 4])
def test_courses_that_tell_more_than_independent_ones_are_fewer(sampling, narrower):
    """Intervals as of four times the courses need a fourth of the courses; Sobol' points come in powers of two."""
    problem = problem_of(["GTV D98% >= 95%", "Heart D0.035cc <= 38 Gy"])
    problem.interval = lambda met, n: wilson_interval(narrower * met.sum(axis=-1), narrower * n)
    problem.config.sampling = sampling
    values = metrics_that_meet([(0.97, 0.905)])
    found = decision_group(problem, values, joint_met(problem, values), np.ones(1), ["s0"])
    (low, high), (plain_low, plain_high) = (wilson_interval(k * 905, k * N) for k in (narrower, 1))
    needed = courses_to_decide(np.array(0.905), 0.9, 0.01) * ((high - low) / (plain_high - plain_low)) ** 2
    assert needed > N
    if sampling == "sobol":
        needed = min(n for n in N_RANDOMISATIONS * 2 ** np.arange(20) if n >= needed)
    assert found["courses_to_decide"].item() == np.ceil(needed)


def test_the_conservative_end_counts():
    """Wilson's interval of 919 of 1000 begins at 0.9004, of 918 at 0.8993; of 881 it ends at 0.8996, of 882 at 0.9006."""
    low, high = wilson_interval(np.array([919, 918, 882, 881]), N)
    assert holds(low, high, 0.9).tolist() == [YES, NOT_KNOWN, NOT_KNOWN, NO]


def test_a_probability_of_its_own_for_a_goal():
    heart = "Heart D0.035cc <= 38 Gy"
    assert verdicts([(0.97, 0.60)])["verdict"].item() == "covers, but"
    assert verdicts([(0.97, 0.60)], goal_probability={heart: 0.5})["verdict"].item() == "suits"
    assert verdicts([(0.97, 0.60)], organ_probability=0.5)["verdict"].item() == "suits"
    assert verdicts([(0.97, 0.97)], goal_probability={"GTV D98% >=  95%": 0.99})["verdict"].item() == "spares, but"


def test_optimal_goals_are_not_asked_for():
    optimal = parse_goal("Heart D0.035cc <= 38 Gy", level="optimal")
    problem, values = problem_of(["GTV D98% >= 95%", optimal]), metrics_that_meet([(0.97, 0.1)])
    found = decision_group(problem, values, joint_met(problem, values), np.ones(1), ["s0"])
    assert found["verdict"].item() == "suits"
    assert np.isnan(goals_group(problem, values[:, 0], values, ["s0"])["wanted_probability"].values).tolist() == [
        True,
        True,
    ]


def test_what_may_still_suit_comes_before_what_does_not_and_covering_before_sparing():
    """Of the target and the organs: nine verdicts in their order, whatever the PTVs."""
    in_order = [
        (YES, YES), (YES, NOT_KNOWN), (NOT_KNOWN, YES), (NOT_KNOWN, NOT_KNOWN),
        (YES, NO), (NOT_KNOWN, NO), (NO, YES), (NO, NOT_KNOWN), (NO, NO),
    ]  # fmt: skip
    for worse in range(1, 9):
        for better in range(worse):
            target, organs = np.array([in_order[worse], in_order[better]]).T
            found = decide(target, organs[:, None], np.zeros((2, 9)), np.zeros((2, 9)), np.array([1.0, 100.0]))
            assert found.order[0] == 1, (in_order[worse], in_order[better])


def test_strategies_are_ordered_by_verdict_then_limits_then_excess_then_ptv():
    assert verdicts([(0.5, 0.5), (0.5, 0.97), (0.97, 0.5), (0.9, 0.9), (0.97, 0.97)])["rank"].values.tolist() == [
        5,
        4,
        3,
        2,
        1,
    ]
    goals = ("GTV D98% >= 95%", "Heart D0.035cc <= 38 Gy", "Cord Dmax <= 25 Gy")
    problem = problem_of(goals)
    values = metrics_that_meet([(0.97, 0.5, 0.5), (0.97, 0.2, 0.97)], goals)
    more = decision_group(problem, values, joint_met(problem, values), np.ones(2), ["a", "b"])
    assert more["limits_held"].values.tolist() == [0, 1]
    assert more["rank"].values.tolist() == [2, 1]
    assert verdicts([(0.97, 0.5), (0.97, 0.7)])["rank"].values.tolist() == [2, 1]
    assert verdicts([(0.97, 0.5), (0.97, 0.5)], [20.0, 10.0])["rank"].values.tolist() == [2, 1]


def test_of_those_that_do_not_cover_the_one_that_lacks_least_comes_first():
    """Whatever its PTV; where the target is covered, or may be, what it lacks in some courses does not count."""
    assert verdicts([(0.1, 0.97), (0.5, 0.97)], [10.0, 20.0])["rank"].values.tolist() == [2, 1]
    assert verdicts([(0.1, 0.5), (0.5, 0.5)], [10.0, 20.0])["rank"].values.tolist() == [2, 1]
    assert verdicts([(0.93, 0.97), (0.99, 0.97)], [10.0, 20.0])["rank"].values.tolist() == [1, 2]
    assert verdicts([(0.90, 0.97), (0.91, 0.97)], [10.0, 20.0])["rank"].values.tolist() == [1, 2]


def test_excesses_that_cannot_be_told_apart_tie():
    """A paired difference of 0.1 standard deviations on 100 courses is no difference, on 1,000 it is one."""
    rng = np.random.default_rng(1)
    for n, first in ((100, 1), (1000, 0)):
        noise = rng.normal(0, 1, (2, n))
        noise -= noise.mean(axis=1, keepdims=True)
        excess = 5 + noise + np.array([[0.0], [0.15]])
        found = decide(np.array([YES, YES]), np.full((2, 1), NO), excess, 0 * excess, np.array([20.0, 10.0]))
        assert found.order[0] == first
        assert len(found.tied) == 1 + first


def test_new_runs_of_so_many_courses_decide_in_nine_cases_of_ten():
    rng = np.random.default_rng(2)
    for p, wanted, truth in (
        (0.93, 0.9, 0.93),
        (0.85, 0.9, 0.85),
        (0.905, 0.9, 0.91),
        (0.895, 0.9, 0.89),
        (0.52, 0.5, 0.52),
    ):
        n = int(courses_to_decide(np.array(p), wanted, 0.01))
        low, high = wilson_interval(rng.binomial(n, truth, 4000), n)
        decided = np.mean((low >= wanted) | (high < wanted))
        assert decided == pytest.approx(0.9, abs=0.02)


def test_beyond_all_or_none_there_is_no_truth():
    """99.5 % wanted: a zone of 1 point reaches beyond all courses, so that the truth is taken to lie below; 0.5 %: above."""
    for wanted, truth in ((0.995, 0.985), (0.005, 0.015)):
        n = courses_to_decide(np.array(wanted), wanted, 0.01)
        assert n == courses_to_decide(np.array(truth), wanted, 0.01)
        assert 100 < n < 2000


def test_what_is_too_close_to_call_is_said_so():
    assert np.isinf(courses_to_decide(np.array(0.5), 0.5, 0.001))
    assert courses_to_decide(np.array(0.5), 0.5, 0.01) == pytest.approx(26_270, rel=0.01)


def test_excesses_of_a_normal_metric_are_those_of_the_closed_form():
    """E[(D - L)+] = s (phi(z) - z (1 - Phi(z))) with z = (L - m) / s, and percentiles of the normal distribution."""
    mean, sd, limit, n = 37.0, 2.0, 38.0, 200_000
    drawn = norm.ppf((np.arange(n) + 0.5) / n, mean, sd)
    values = np.stack([drawn, drawn], axis=1)[None]
    problem = problem_of(["Heart D0.035cc <= 38 Gy", "GTV D98% >= 76%"])
    problem.column = {"Heart D0.035cc": 0, "GTV D98%": 1}
    found = goals_group(problem, values[:, 0], values, ["s0"]).isel(strategy=0)
    z = (limit - mean) / sd
    upper = sd * (norm.pdf(z) - z * norm.sf(z))
    heart, gtv = found.isel(goal=0), found.isel(goal=1)
    assert float(heart["excess_mean"]) == pytest.approx(upper, rel=1e-4)
    assert float(heart["excess_median"]) == 0
    assert float(heart["excess_p95"]) == pytest.approx(norm.ppf(0.95, mean, sd) - limit, abs=1e-3)
    assert float(heart["probability_stricter"]) == pytest.approx(norm.cdf(37, mean, sd), abs=1e-4)
    assert float(heart["probability_looser"]) == pytest.approx(norm.cdf(39, mean, sd), abs=1e-4)
    shortfall = sd * (norm.pdf(z) + z * norm.cdf(z)) * 2
    assert float(gtv["excess_mean"]) == pytest.approx(shortfall, rel=1e-4)
    assert float(gtv["probability_stricter"]) == pytest.approx(norm.sf(38.5, mean, sd), abs=1e-4)
    assert float(gtv["probability_looser"]) == pytest.approx(norm.sf(37.5, mean, sd), abs=1e-4)
