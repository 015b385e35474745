"""Weights of a study's own: break-evens against closed forms, their intervals, the words, and what is refused."""

import numpy as np
import pytest
from synthetic_results import synthetic_results
from test_verdicts import problem_of

import simulator
from simulator.answers.weights import weights_group
from simulator.ground.spec import ConfigError
from simulator.metrics.biology import Biology
from simulator.population.break_even import break_even
from simulator.problem.preparation import prepare
from simulator.report.verdicts import first_sentence, sentences_of
from simulator.report.weights import weight_sentences, weights_table
from simulator.results.registry import check_results
from simulator.study_file.schema import StudyConfig

GOALS = ("GTV D98% >= 95%", "Heart D0.035cc <= 38 Gy")
GTV, HEART = GOALS


def weighed(gtv_gy, heart_gy, weights):
    """The group weights of strategies whose doses (strategy, course) are given; the first is compared with."""
    problem = problem_of(GOALS, weights=weights)
    problem.biology = Biology()
    values = np.stack([np.broadcast_to(gy, np.shape(gtv_gy)) for gy in (gtv_gy, heart_gy)], axis=2).astype(float)
    return weights_group(problem, values, 0, [f"s{i}" for i in range(len(values))])


def test_the_break_even_of_two_strategies_is_the_ratio_of_their_gains():
    """s1 spares 4 Gy of the heart in the mean and leaves the target 1 Gy short: a Gy of heart is worth 1/4 of one of target."""
    found = weighed([[48.0, 48], [46.5, 46.5]], [[41.0, 43], [38.0, 38]], {GTV: 2, HEART: 0.1})
    assert found["expected"].sel(harm=GTV).values.tolist() == [0, 1]
    assert found["expected"].sel(harm=HEART).values.tolist() == [4, 0]
    assert found["loss_difference"].values.tolist() == pytest.approx([0, 2 * 1 - 0.1 * 4])
    turn = found["break_even"].sel(strategy="s1")
    assert turn.sel(harm=HEART).item() == pytest.approx(2 * 1 / 4)
    assert turn.sel(harm=GTV).item() == pytest.approx(0.1 * 4 / 1)
    assert found["counts"].values.tolist() == [f"a Gy short of {GTV}", f"a Gy beyond {HEART}"]


def test_nothing_turns_where_one_strategy_is_better_in_every_harm():
    found = weighed([[47.0, 47], [48.0, 48]], [[41.0, 43], [38.0, 38]], {GTV: 1, HEART: 1})
    assert np.isnan(found["break_even"].values).all()


def test_intervals_of_break_evens_cover_as_stated():
    """Harms of correlated normals whose mean gaps are 1 and -0.8, weights 1: the truth is 1.25, and 0.8 the other way."""
    rng, n, covered = np.random.default_rng(4), 60, np.zeros(2)
    for _ in range(2000):
        common = rng.normal(0, 1, n)
        gap = np.stack([1 + common + rng.normal(0, 1, n), -0.8 + 0.5 * common + rng.normal(0, 0.5, n)])
        at, low, high = break_even(gap, np.ones(2))
        covered += (low <= [0.8, 1.25]) & (high >= [0.8, 1.25])
        assert (low <= at).all()
        assert (at <= high).all()
    assert np.all((covered / 2000 > 0.935) & (covered / 2000 < 0.965))


def test_a_harm_that_cannot_be_told_apart_has_a_break_even_without_an_upper_end():
    gap = np.stack([np.full(50, 1.0), np.tile([1.0, -1.1], 25)])
    at, low, high = break_even(gap, np.ones(2))
    assert (at[1], low[1], high[1]) == (pytest.approx(20), 0, np.inf)
    assert np.isnan(break_even(gap[:, :1], np.ones(2))[0]).all()
    assert break_even(np.array([[1.0], [-2.0]]), np.ones(2))[2].tolist() == [np.inf, np.inf], "of a single course"


def with_weights(gtv_gy, heart_gy, weights):
    results = synthetic_results(motions=("none",), guidances=("none",), margins_mm=(0.0, 3.0, 5.0))
    found = weighed(gtv_gy, heart_gy, weights)
    names = results["decision"].to_dataset()["strategy"].values
    results["weights"] = found.assign_coords(strategy=names).assign(first=names[0])
    return results, names


def test_the_sentence_names_the_weight_that_comes_first_and_the_strategy_that_it_chooses():
    """40 courses spare s1 3 or 5 Gy of the heart: 4 -+ 2.0227 sqrt(1 / 39) Gy; it is always 1 Gy short of the target."""
    gtv = np.repeat([[48.0], [46.5], [45.5]], 40, axis=1)
    heart = np.stack([np.tile([41.0, 43], 20), *np.full((2, 40), 38.0)])
    results, names = with_weights(gtv, heart, {GTV: 2, HEART: 0.1})
    (sentence,) = weight_sentences(results)
    assert sentence == (
        f"By the weights of the study, too, “{names[0]}” is the choice. The choice would change to “{names[1]}” if a Gy short "
        f"of {GTV} counted less than 0.400 (95 % interval 0.368 to 0.432; 2 in the study), or to “{names[1]}” if a Gy beyond "
        f"{HEART} counted more than 0.500 (95 % interval 0.463 to 0.544; 0.1 in the study)."
    )
    assert sentence in sentences_of(results)
    assert sentence in first_sentence(results)


def test_the_sentence_says_where_weights_choose_otherwise():
    results, names = with_weights(
        [[48.0, 48], [46.5, 46.5], [45.5, 45.5]], [[41.0, 43], [38.0, 38], [38.0, 38]], {GTV: 1, HEART: 2}
    )
    (sentence,) = weight_sentences(results)
    assert f"“{names[1]}” would be chosen, not “{names[0]}”, the first by the rule" in sentence
    assert f"“{names[0]}” would lose less than it if a Gy short of {GTV} counted more than 8.00" in sentence
    assert f"a Gy beyond {HEART} counted less than 0.250" in sentence
    table = weights_table(results)
    assert [cell["text"] for row in table["rows"] if row["strategy"] == names[1] for cell in row["cells"]] == [
        "below 8.00",
        "above 0.250",
    ]


def study(**decision):
    return StudyConfig.model_validate(
        {
            "name": "weights",
            "case": {"phantom": "sphere", "radius_mm": 8, "organs": {"Heart": {"radius_mm": 10, "gap_mm": 8}}},
            "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
            "plan": {"model": "penumbra", "penumbra_sd_mm": 5, "normalisation": "isodose"},
            "uncertainty": {"setup": {"systematic_mm": 1.5, "random_mm": 1.5}},
            "strategies": {"margins_mm": [2, 5], "motion": ["none"], "guidance": ["none"]},
            "goals": [GTV, "Heart D0.035cc <= 45 Gy"],
            "biology": {
                "tcp": {"GTV": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1e7}},
                "ntcp": {"Heart": {"td50_gy": 60, "m": 0.2, "n": 0.2, "alpha_beta_gy": 3}},
            },
            "numerics": {"max_points": 1000},
            "courses": 100,
            "decision": decision,
        }
    )


def test_tcp_and_ntcp_weigh_as_control_lost_and_complications():
    results = simulator.run(study(weights={"GTV TCP": 1, "Heart NTCP": 0.5}))
    check_results(results)
    found, mean = results["weights"].to_dataset(), results["metrics"].to_dataset()["mean"]
    np.testing.assert_allclose(found["expected"].sel(harm="GTV TCP"), 100 - mean.sel(metric="GTV TCP"), rtol=1e-5)
    np.testing.assert_allclose(found["expected"].sel(harm="Heart NTCP"), mean.sel(metric="Heart NTCP"), rtol=1e-5)
    assert found["counts"].values.tolist() == ["a point of GTV TCP lost", "a point of Heart NTCP"]
    lost = found["expected"].sel(harm="GTV TCP") - found["expected"].sel(harm="GTV TCP", strategy=found["first"].item())
    more = found["expected"].sel(harm="Heart NTCP") - found["expected"].sel(
        harm="Heart NTCP", strategy=found["first"].item()
    )
    other = int(np.argmax(np.abs(lost.values)))
    assert found["break_even"].sel(harm="Heart NTCP").values[other] == pytest.approx(
        -lost.values[other] / more.values[other], rel=1e-6
    )


def test_without_the_key_there_is_no_group_and_no_word():
    results = synthetic_results()
    assert "weights" not in results.children
    assert weight_sentences(results) == []
    assert weights_table(results) is None


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {GTV: 1, "Heart D0.035cc <= 46 Gy": 1},
            r"decision.weights: 'Heart D0.035cc <= 46 Gy' is neither a goal .*; did you mean 'Heart D0.035cc <= 45 Gy'\?",
        ),
        (
            {GTV: 1, "Liver NTCP": 1},
            r"decision.weights: 'Liver NTCP' is neither a goal of this study nor a TCP or NTCP of its biology",
        ),
    ],
)
def test_names_that_the_study_does_not_have_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        prepare(study(weights=weights))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({GTV: -1, "GTV TCP": 1}, "greater than or equal to 0"),
        ({GTV: 1}, "two harms or more"),
        ({GTV: 1, "GTV TCP": 0}, "two harms or more"),
    ],
)
def test_weights_below_zero_or_of_one_harm_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        study(weights=weights)
