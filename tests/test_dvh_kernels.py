"""Dose-volume kernels against plain numpy and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from simulator.kernels.dvh import (
    count_levels,
    cumulative_dvh,
    dose_at_volumes,
    extremes,
    generalised_mean,
    mean_dose,
    volume_at_doses,
    without_empty_points,
)


def weighted_quantile(dose, volume, wanted_cc):
    """Definition: a cell's dose belongs to the volume that is hotter plus half of what has the same dose."""
    dose, volume = dose[volume > 0], volume[volume > 0]
    same = 1e-5 * dose.max()
    hotter = (dose[None] - dose[:, None]) / same
    share = 0.5 + np.sign(hotter) * np.clip(np.abs(hotter) - 0.5, 0, 0.5)
    order = np.argsort(-dose)
    return np.interp(wanted_cc, (share @ volume)[order], dose[order])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4000), st.integers(0, 10_000), st.sampled_from(["even", "spike", "steps", "sorted"]))
def test_dose_at_volume_equals_sorting(n_points, seed, kind):
    rng = np.random.default_rng(seed)
    dose = rng.uniform(0, 60, n_points)
    if kind == "steps":
        dose = np.round(dose / 6) * 6
    elif kind == "spike":
        dose = np.where(rng.random(n_points) < 0.05, dose, 50 + 1e-3 * dose)
    elif kind == "sorted":
        dose = np.sort(dose)
    dose = dose.astype(np.float32)
    volume = rng.uniform(0.01, 1, (3, n_points)) * (rng.random((3, n_points)) < 0.7)
    volume[:, rng.integers(n_points)] = 0.5
    wanted = volume.sum(axis=1, keepdims=True) * np.array([0.0, 0.001, 0.02, 0.3, 0.5, 0.95, 0.98, 1.0])
    found = dose_at_volumes(np.stack([dose] * 3), volume, wanted)
    expected = [weighted_quantile(dose.astype(float), v, w) for v, w in zip(volume, wanted, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_dose_at_volume_does_not_jump_when_two_doses_become_alike():
    """Rounding of float32 must not move D_x by more than a small part of the step between cells."""
    found = []
    for gap in np.linspace(0, 1e-3, 1000):
        dose = np.array([[50, 40, 40 - gap, 30, 20]], np.float32)
        found.append(dose_at_volumes(dose, np.ones((1, 5)), np.array([[2.6]]))[0, 0])
    assert np.ptp(found) > 1
    assert np.abs(np.diff(found)).max() < 0.1


def test_uniform_dose_has_one_value_at_every_volume():
    dose = np.full((1, 20), 41.5, np.float32)
    np.testing.assert_array_equal(dose_at_volumes(dose, np.ones((1, 20)), np.array([[0.1, 10.0, 20.0]])), 41.5)


def test_linear_dose_has_three_different_metrics():
    dose = np.linspace(0, 100, 10_001, dtype=np.float32)[None]
    d98, d50, d2 = dose_at_volumes(dose, np.full((1, 10_001), 0.01), 100.01 * np.array([[0.98, 0.5, 0.02]]))[0]
    assert (d98, d50, d2) == pytest.approx((2, 50, 98), abs=0.01)


@pytest.mark.parametrize("n_volumes", [1, 3])
def test_volume_mean_extremes_and_dvh_equal_numpy(n_volumes):
    rng = np.random.default_rng(5)
    dose = rng.gamma(4, 5, (3, 501)).astype(np.float32)
    volume = rng.uniform(0.1, 1, (n_volumes, 501)) * (rng.random((n_volumes, 501)) < 0.9)
    limits = np.array([5.0, 20.0, 300.0])
    pairs = [(d.astype(float), volume[c % n_volumes]) for c, d in enumerate(dose)]
    np.testing.assert_allclose(
        volume_at_doses(dose, volume, limits), [[v[d >= g].sum() for g in limits] for d, v in pairs], rtol=1e-12
    )
    np.testing.assert_allclose(mean_dose(dose, volume), [d @ v / v.sum() for d, v in pairs], rtol=1e-12)
    for a in (8.0, 1.0, 0.3, -2.0):
        expected = [(d**a @ v / v.sum()) ** (1 / a) for d, v in pairs]
        np.testing.assert_allclose(generalised_mean(dose, volume, a), expected, rtol=1e-11)
    np.testing.assert_array_equal(extremes(dose, volume), [[d[v > 0].min(), d[v > 0].max()] for d, v in pairs])
    dvh = cumulative_dvh(dose, volume, 0.5, 100)
    expected = [[100 * v[d >= 0.5 * b].sum() / v.sum() for b in range(100)] for d, v in pairs]
    np.testing.assert_allclose(dvh, expected, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("a", [1000.0, 300.0, 40.0, 0.01, -0.01, -40.0, -300.0, -1000.0, 1e6, -1e6])
def test_a_generalised_mean_of_any_exponent_is_that_of_log_sum_exp(a, scale):
    """From the minimum (a -> -inf) over the geometric mean (a -> 0) to the maximum (a -> inf), without overflow."""
    rng = np.random.default_rng(3)
    dose = (scale * rng.uniform(20, 60, (2, 400))).astype(np.float32)
    volume = rng.uniform(0.1, 1, (2, 400))
    log_mean = logsumexp(a * np.log(dose.astype(float)), axis=1, b=volume / volume.sum(axis=1, keepdims=True))
    found = generalised_mean(dose, volume, a)
    np.testing.assert_allclose(found, np.exp(log_mean / a), rtol=1e-9)
    if abs(a) >= 1000:
        end = dose.max(axis=1) if a > 0 else dose.min(axis=1)
        np.testing.assert_allclose(found, end, rtol=0.01)
    if abs(a) == 0.01:
        np.testing.assert_allclose(found, np.exp(np.average(np.log(dose), axis=1, weights=volume)), rtol=1e-3)


@pytest.mark.parametrize(
    ("a", "expected"), [(8.0, 50.0 * 0.5**0.125), (-8.0, 0.0), (0.5, 12.5), (1000.0, 50 * 0.5**1e-3)]
)
def test_a_point_without_dose_counts_as_none_at_all(a, expected):
    """Slightly negative doses of a lattice are none: no power of them is NaN."""
    for nothing in (0.0, -1e-3):
        assert generalised_mean(np.array([[50, nothing]], np.float32), np.ones((1, 2)), a)[0] == pytest.approx(expected)
    assert generalised_mean(np.zeros((1, 2), np.float32), np.ones((1, 2)), a)[0] == 0


def test_levels_are_counted_as_rounded():
    percent = np.random.default_rng(0).uniform(0, 100, (40, 6))
    counts = np.zeros((6, 501), np.uint32)
    count_levels(percent, counts)
    level = np.rint(percent * 5).astype(int)
    np.testing.assert_array_equal(counts, [np.bincount(level[:, b], minlength=501) for b in range(6)])


def test_points_without_volume_are_left_out_in_order_and_change_no_number():
    rng = np.random.default_rng(2)
    dose = rng.gamma(4, 5, (5, 700)).astype(np.float32)
    volume = rng.uniform(0.1, 1, (5, 700)) * (rng.random((5, 700)) < np.linspace(0.1, 0.5, 5)[:, None])
    kept_dose, kept_volume = without_empty_points(dose, volume)
    assert kept_dose.shape == kept_volume.shape == (5, 64 * np.ceil((volume > 0).sum(axis=1).max() / 64))
    for c in range(5):
        n = (volume[c] > 0).sum()
        np.testing.assert_array_equal(kept_dose[c, :n], dose[c][volume[c] > 0])
        np.testing.assert_array_equal(kept_volume[c, :n], volume[c][volume[c] > 0])
        assert not kept_volume[c, n:].any()
    wanted = np.array([[0.3, 2.0, 20.0]])
    kernels = [
        lambda d, v: dose_at_volumes(d, v, wanted),
        lambda d, v: volume_at_doses(d, v, np.array([9.0, 20.0])),
        lambda d, v: mean_dose(d, v),
        lambda d, v: generalised_mean(d, v, 8.0),
        lambda d, v: cumulative_dvh(d, v, 0.5, 100),
    ]
    for kernel in kernels:
        np.testing.assert_allclose(kernel(kept_dose, kept_volume), kernel(dose, volume), rtol=1e-12)
        for c in range(5):
            alone = kernel(*without_empty_points(dose[c : c + 1], volume[c : c + 1]))
            np.testing.assert_array_equal(
                alone[0], kernel(kept_dose, kept_volume)[c], err_msg="depends on other courses"
            )
