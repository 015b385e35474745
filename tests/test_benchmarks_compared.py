"""Two versions are told apart from noise, W5 is told from a part of it, and what is compared is what was asked for."""

import numpy as np
import pytest

import simulator
from benchmarks import comparison
from benchmarks.checkouts import ROOT, NoCheckoutError, Side, side
from benchmarks.comparison import compare, interleaved
from benchmarks.extrapolation import Lines, Stages
from benchmarks.noise import LEAST_TURNS, ratio_of
from benchmarks.whole_study import (
    ALL_COURSES,
    ALL_STRATEGIES,
    GUIDANCES,
    MARGIN,
    MOTIONS,
    STUDY,
    MemoryExceededError,
    check_memory,
)

TRIALS = 400


def verdicts(n_turns, slower, noise):
    rng = np.random.default_rng(5)
    first, second = (np.exp(noise(rng, (TRIALS, n_turns))) for _ in range(2))
    return [ratio_of(a, slower * b).verdict for a, b in zip(first, second, strict=True)]


def gaussian(rng, size):
    return 0.03 * rng.standard_normal(size)


def disturbed(rng, size):
    """Now and then somebody else works on the machine."""
    return gaussian(rng, size) + 0.5 * (rng.random(size) < 0.2)


@pytest.mark.parametrize("noise", [gaussian, disturbed])
@pytest.mark.parametrize("n_turns", [LEAST_TURNS, 8, 12])
def test_sides_that_are_alike_are_called_so(n_turns, noise):
    found = verdicts(n_turns, 1.0, noise)
    z = (0.95 - np.mean([v == "no difference beyond noise" for v in found])) / np.sqrt(0.95 * 0.05 / TRIALS)
    assert z < 4, z  # at least 95 %, and as many of the rest in either direction
    assert abs(found.count("slower") - found.count("faster")) < 4 * np.sqrt(0.05 * TRIALS)


@pytest.mark.parametrize(("factor", "word"), [(1.1, "slower"), (1 / 1.1, "faster")])
def test_a_tenth_is_found_in_3_percent_of_noise(factor, word):
    assert verdicts(8, factor, gaussian).count(word) > 0.95 * TRIALS


def test_a_ratio_says_what_it_is():
    a = np.arange(1.0, 9.0)
    assert str(ratio_of(a, 1.5 * a)) == "1.500 (1.500-1.500), slower"
    with pytest.raises(ValueError, match="5 turns cannot show a difference; take at least 6"):
        ratio_of(a[:5], a[:5])


def test_interval_of_eight_turns_leaves_out_three_means_at_either_end():
    rng = np.random.default_rng(1)
    logs = rng.standard_normal(8)
    means = sorted((a + b) / 2 for i, a in enumerate(logs) for b in logs[i:])
    found = ratio_of(
        np.ones(8), np.exp(logs)
    )  # 5 of 256 signs have ranks of at most 3, 7 of at most 4: tables of Wilcoxon
    np.testing.assert_allclose(np.log([found.low, found.high]), [means[3], means[-4]])


def test_straight_lines_come_back():
    truth = Lines(4.0, 5.5, 0.011, 3.0, 1.2, 0.0004)
    found = Lines.through(truth.at(9, 50), truth.at(9, 250), truth.at(3, 50))
    assert vars(found) == pytest.approx(vars(truth))
    whole = found.at(84, 10_000, plans=0.5, tasks=3)
    assert whole.courses == pytest.approx(84 * (3 * 5.0 + 110))
    assert whole.total == pytest.approx(4 + 84 * (3 * 5.0 + 110) + 3 + 84 * (1.2 + 4))


def test_stages_are_the_times_between_words():
    assert Stages.between(9, 50, [1.0, 4.0, 14.0, 16.0]) == Stages(9, 50, 3.0, 10.0, 2.0)


def test_w5_is_84_strategies_of_10_000_courses_and_its_part_is_what_is_counted():
    study = simulator.load_study(STUDY)
    assert (len(study.candidates()), study.courses) == (ALL_STRATEGIES, ALL_COURSES)
    assert study.plan.model == "conformal-arc"
    some = simulator.load_study(STUDY, {"strategies.margins_mm": [MARGIN], "strategies.motion": list(MOTIONS)})
    assert len(some.candidates()) == GUIDANCES * len(MOTIONS)


def test_too_much_memory_is_an_error():
    check_memory(1.5)
    with pytest.raises(MemoryExceededError, match=r"W5 took 1.61 GiB of memory; it may take 1.5 GiB"):
        check_memory(1.61)


def test_versions_take_turns(tmp_path):
    a, b = (Side(name, tmp_path, tmp_path) for name in "AB")
    order = []

    def turn(of, n_workers):
        order.append(of.name)
        return {"seconds": float(len(order))}

    first, second = interleaved(turn, a, b, 4, 1)
    assert "".join(order) == "ABBAABBA"
    assert [row["seconds"] for row in first] == [1, 4, 5, 8]
    assert [row["seconds"] for row in second] == [2, 3, 6, 7]


def test_each_quantity_of_a_turn_has_a_ratio(tmp_path, monkeypatch):
    a, b = (Side(name, tmp_path, tmp_path) for name in "AB")
    cost = {"A": {"seconds": 2.0, "processor s": 4.0}, "B": {"seconds": 3.0, "processor s": 4.0}}
    monkeypatch.setattr(comparison, "turns_of", lambda work: lambda of, n_workers: cost[of.name])
    rows = [(work, name, before, now, ratio.verdict) for work, name, before, now, ratio in compare(["W1"], a, b, 6, 1)]
    assert rows == [
        ("W1", "seconds", 2.0, 3.0, "slower"),
        ("W1", "processor s", 4.0, 4.0, "no difference beyond noise"),
    ]


def test_a_version_is_a_folder_or_a_commit():
    with side(ROOT) as here:
        assert here.environment["PYTHONPATH"] == str(ROOT)
    what = "nowhere: neither a folder with the simulator nor a commit that is here"
    with pytest.raises(NoCheckoutError, match=what), side("nowhere"):
        pass
