"""Randomised quasi-Monte Carlo: right marginals, balanced nets, the same bits for any block, honest intervals."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm
from test_answers import study

import simulator
from simulator.ground.conventions import Stream
from simulator.population.intervals import randomisation_interval, wilson_interval
from simulator.sampling.quasi import N_RANDOMISATIONS, SobolDraws, allowed_courses
from simulator.sampling.streams import Draws
from simulator.uncertainty import Uncertainty

TOTAL, FRACTIONS = 16 * 64, 5
SOURCES = Uncertainty.model_validate(
    {"setup": {"systematic_mm": 1}, "baseline": {}, "registration": {}, "isocentre": {}, "respiration": {"amplitude_mm": 1},
     "delineation": {"sd_mm": 1}, "organs": {"Bowel_Small": {"random_mm": 3}}}
)  # fmt: skip


def draws(first=0, n=TOTAL, seed=3, fractions=FRACTIONS):
    return SobolDraws(seed, first, n, TOTAL, fractions, SOURCES)


@pytest.mark.parametrize(
    ("stream", "shape", "of"),
    [
        (Stream.SETUP_SYSTEMATIC, (3,), ""),
        (Stream.SETUP_RANDOM, (FRACTIONS, 3), ""),
        (Stream.RESPIRATION_FRACTION, (FRACTIONS,), ""),
        (Stream.DELINEATION, (40,), ""),
        (Stream.ORGAN_FRACTION, (FRACTIONS, 3), "Bowel_Small"),
        (Stream.DRIFT_WALK, (FRACTIONS, 4, 3), ""),
    ],
)
def test_every_number_is_standard_normal(stream, shape, of):
    numbers = draws().normals(stream, *shape, of=of).reshape(TOTAL, -1)
    assert min(kstest(column, "norm").pvalue for column in numbers.T) > 1e-3 / numbers.shape[1]
    correlation = np.corrcoef(numbers.T) - np.eye(numbers.shape[1]) if numbers.shape[1] > 1 else np.zeros(1)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(TOTAL)


def test_each_net_is_stratified_in_course_errors_and_in_means_over_fractions():
    systematic = draws().normals(Stream.SETUP_SYSTEMATIC, 3)
    mean = draws().normals(Stream.SETUP_RANDOM, FRACTIONS, 3).mean(axis=1) * np.sqrt(FRACTIONS)
    for numbers in (systematic, mean):
        place = np.floor(norm.cdf(numbers) * 64).astype(int).reshape(N_RANDOMISATIONS, 64, 3)
        for run in place:
            np.testing.assert_array_equal(np.sort(run, axis=0), np.repeat(np.arange(64)[:, None], 3, axis=1))
    assert not np.array_equal(systematic[:64], systematic[64:128])


def test_the_same_bits_for_any_block():
    whole = draws().normals(Stream.SETUP_RANDOM, FRACTIONS, 3)
    parts = [draws(a, b - a).normals(Stream.SETUP_RANDOM, FRACTIONS, 3) for a, b in ((0, 50), (50, 700), (700, TOTAL))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_instants_and_uniform_numbers_stay_pseudo_random():
    plain = Draws(3, 0, TOTAL)
    for stream, shape in ((Stream.DRIFT_WALK, (FRACTIONS, 4, 3)), (Stream.MOTION_INSTANT, (FRACTIONS, 4, 3))):
        np.testing.assert_array_equal(draws().normals(stream, *shape), plain.normals(stream, *shape))
    phase = Stream.RESPIRATION_PHASE
    np.testing.assert_array_equal(draws().uniforms(phase, FRACTIONS, 2), plain.uniforms(phase, FRACTIONS, 2))


def test_intervals_from_randomisations_cover_and_are_no_wider():
    streams = (Stream.SETUP_SYSTEMATIC, Stream.BASELINE_COURSE, Stream.REGISTRATION, Stream.ISOCENTRE)
    squares = [
        np.square(draws(seed=seed, fractions=1).normals(s, 3)) for seed in range(50) for s in streams
    ]  # (course, axis)
    along_axes, in_space = np.concatenate(squares, axis=1).T, np.stack([s.sum(axis=1) for s in squares])
    for truth in (0.8, 0.98, 0.997):
        wilson_low, wilson_high = wilson_interval(np.array(truth * TOTAL), TOTAL)
        for square, n_axes in ((along_axes, 1), (in_space, 3)):
            low, high = randomisation_interval(square < chi2.ppf(truth, n_axes), N_RANDOMISATIONS)
            assert np.mean((low <= truth) & (truth <= high)) >= 0.94, (truth, n_axes)
            assert np.mean(high - low) < (wilson_high - wilson_low) * (0.75 if truth == 0.8 else 1.05)


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_intervals_cover_where_sobol_points_gain_nothing(p):
    met = np.random.default_rng(11).random((10_000, TOTAL), np.float32) < p
    low, high = randomisation_interval(met, N_RANDOMISATIONS)
    assert np.mean((low <= p) & (p <= high)) == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 10_000))


def test_randomisations_that_agree_fall_back_on_wilson():
    found = randomisation_interval(np.ones(TOTAL, bool), N_RANDOMISATIONS)
    assert found == pytest.approx(wilson_interval(np.array(TOTAL), TOTAL))


@pytest.mark.parametrize(("n", "allowed"), [(1, (16, 16)), (512, (512, 512)), (2000, (1024, 2048)), (17, (16, 32))])
def test_whole_nets(n, allowed):
    assert allowed_courses(n) == allowed


def test_courses_that_fill_no_net_are_refused():
    with pytest.raises(ValueError, match="2000 do not fill 16 Sobol' nets of 2\\^m courses; write 1024 or 2048"):
        study(sampling="sobol", courses=2000)
    with pytest.raises(ValueError, match="give courses, not precision"):
        study(sampling="sobol", precision=0.02)


def test_a_sobol_study_depends_on_its_sampling_and_not_on_blocks():
    some = {"courses": 256, "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]}}
    sobol = study(sampling="sobol", **some)
    blocks = study(sampling="sobol", numerics={"max_points": 1000, "block_courses": 37}, **some)
    one, again, plain = (simulator.run(s, workers=w) for s, w in ((sobol, 1), (blocks, 2), (study(**some), 1)))
    assert one.attrs["result_hash"] == again.attrs["result_hash"] != plain.attrs["result_hash"]


@pytest.mark.nightly
def test_a_sobol_study_agrees_with_many_pseudo_random_courses():
    sobol = simulator.run(study(sampling="sobol", courses=2048), workers=1)
    many = simulator.run(study(courses=2000))
    p, n = many["goals/probability"].values, 2000
    se = np.hypot(np.sqrt(p * (1 - p) / n), (sobol["goals/ci_high"] - sobol["goals/ci_low"]).values / 4.26)
    assert np.all(np.abs(sobol["goals/probability"].values - p) < 4 * np.maximum(se, 1e-3))
    value = sobol["metrics/value"].sel(metric="GTV D98%").values.astype(float)
    runs = value.reshape(3, N_RANDOMISATIONS, -1).mean(axis=2)
    gain = (value.var(axis=1) / 2048) / (runs.var(axis=1, ddof=1) / N_RANDOMISATIONS)
    assert gain[0] > 3  # smallest margin: D98% falls with every displacement; at larger ones only rare courses count
    assert np.all(gain > 1.2)
