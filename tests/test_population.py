"""Intervals and bands."""

import numpy as np
import pytest

from simulator.population.bands import QUANTILES, band_quantiles, count_levels
from simulator.population.intervals import quantile_interval, randomisation_interval, wilson_interval


@pytest.mark.parametrize(
    ("n_met", "n", "low", "high"),
    [(90, 100, 0.825634, 0.944771), (900, 1000, 0.87985, 0.91709), (1000, 1000, 0.99617, 1)],
)
def test_wilson_interval_is_the_published_one(n_met, n, low, high):
    assert wilson_interval(np.array(n_met), n) == pytest.approx((low, high), abs=6e-6)


def test_wilson_interval_covers_as_stated():
    rng = np.random.default_rng(0)
    for p in (0.5, 0.9, 0.99):
        low, high = wilson_interval(rng.binomial(1000, p, 20_000), 1000)
        assert 0.94 <= np.mean((low <= p) & (p <= high)) <= 0.975


def test_bands_are_quantiles_to_their_resolution():
    rng = np.random.default_rng(1)
    dvhs = np.sort(rng.uniform(0, 100, (400, 30)), axis=1)[:, ::-1]
    bands = band_quantiles(count_levels(dvhs[:150]).astype(np.int64) + count_levels(dvhs[150:]))
    expected = np.quantile(dvhs, QUANTILES, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(bands, expected, atol=0.1001)


def test_intervals_of_quantiles_are_order_statistics():
    """1 to 100: the 40th and 61st for the median (binomial 2.5 % at 40, 97.5 % at 60), the 84th and 96th for 90 %."""
    values = np.random.default_rng(0).permutation(np.arange(1.0, 101))
    low, high = quantile_interval(values, (0.5, 0.9))
    np.testing.assert_array_equal(low, [40, 84])
    np.testing.assert_array_equal(high, [61, 96])


def test_intervals_from_randomisations_are_those_of_student():
    """Shares 0.4, 0.5, 0.6 of 100 courses: mean 0.5, SD 0.1, t = 4.302653: half width 0.1 t / sqrt(3)."""
    met = np.concatenate([np.arange(100) < n for n in (40, 50, 60)])
    assert randomisation_interval(met, 3) == pytest.approx((0.5 - 0.248414, 0.5 + 0.248414), abs=1e-6)
    alike = np.concatenate([np.arange(100) < 50] * 3)  # their SD counts as 1/100
    assert randomisation_interval(alike, 3) == pytest.approx((0.5 - 0.0248414, 0.5 + 0.0248414), abs=1e-7)
    few = np.arange(300) < 5  # fewer than two of each
    assert randomisation_interval(few, 3) == pytest.approx(wilson_interval(np.array(5), 300))
    enough = np.concatenate([np.arange(100) < 2] * 3)
    half = 4.302653 * 0.01 / np.sqrt(3)
    assert randomisation_interval(enough, 3) == pytest.approx((0, 0.02 + half), abs=1e-6)
