"""Dose-volume kernels against plain numpy and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.kernels.dvh import cumulative_dvh, dose_at_volumes, extremes, mean_power, volume_at_doses


def weighted_quantile(dose, volume, wanted_cc):
    """Definition: sort from hot to cold, merge doses within 1e-6 of the maximum, interpolate linearly between middles."""
    groups = []
    for gy, cc in sorted(zip(dose, volume, strict=True), key=lambda cell: -cell[0]):
        if groups and groups[-1][0] - gy <= 1e-6 * dose.max():
            groups[-1][1] += cc
        else:
            groups.append([gy, cc])
    level, cc = np.array(groups).T
    return np.interp(wanted_cc, np.cumsum(cc) - cc / 2, level)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(0, 10_000), st.sampled_from(["even", "spike", "steps"]))
def test_dose_at_volume_equals_sorting(n_points, seed, kind):
    rng = np.random.default_rng(seed)
    dose = rng.uniform(0, 60, n_points)
    if kind == "steps":
        dose = np.round(dose / 6) * 6
    elif kind == "spike":
        dose = np.where(rng.random(n_points) < 0.05, dose, 50 + 1e-3 * dose)
    dose = dose.astype(np.float32)
    volume = rng.uniform(0.01, 1, n_points)
    wanted = volume.sum() * np.array([0.0, 0.02, 0.3, 0.5, 0.95, 0.98, 1.0])
    found = dose_at_volumes(dose[None], volume, wanted)[0]
    expected = [weighted_quantile(dose.astype(float), volume, w) for w in wanted]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_uniform_dose_has_one_value_at_every_volume():
    dose = np.full((1, 20), 41.5, np.float32)
    np.testing.assert_array_equal(dose_at_volumes(dose, np.ones(20), np.array([0.1, 10.0, 20.0])), 41.5)


def test_linear_dose_has_three_different_metrics():
    dose = np.linspace(0, 100, 10_001, dtype=np.float32)[None]
    d98, d50, d2 = dose_at_volumes(dose, np.full(10_001, 0.01), 100.01 * np.array([0.98, 0.5, 0.02]))[0]
    assert (d98, d50, d2) == pytest.approx((2, 50, 98), abs=0.01)


def test_volume_mean_extremes_and_dvh_equal_numpy():
    rng = np.random.default_rng(5)
    dose = rng.gamma(4, 5, (3, 500)).astype(np.float32)
    volume = rng.uniform(0.1, 1, 500)
    limits = np.array([5.0, 20.0, 300.0])
    np.testing.assert_allclose(
        volume_at_doses(dose, volume, limits), [[volume[d >= g].sum() for g in limits] for d in dose], rtol=1e-12
    )
    np.testing.assert_allclose(mean_power(dose, volume, 1.0), dose.astype(float) @ volume / volume.sum(), rtol=1e-12)
    geud = mean_power(dose, volume, 8.0) ** (1 / 8)
    np.testing.assert_allclose(geud, ((dose.astype(float) ** 8) @ volume / volume.sum()) ** (1 / 8), rtol=1e-10)
    np.testing.assert_array_equal(extremes(dose), np.stack([dose.min(axis=1), dose.max(axis=1)], axis=1))
    dvh = cumulative_dvh(dose, volume, 0.5, 100)
    expected = [[100 * volume[d >= 0.5 * b].sum() / volume.sum() for b in range(100)] for d in dose]
    np.testing.assert_allclose(dvh, expected, atol=1e-9)
