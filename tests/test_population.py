"""Intervals and bands."""

import numpy as np
import pytest

from simulator.population.bands import QUANTILES, band_quantiles, count_levels
from simulator.population.intervals import wilson_interval


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
