"""Sources of error against closed forms."""

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.sampling.streams import Draws
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.setup import Setup

LUJAN = {1: (0.5, 1 / 8), 2: (3 / 8, 17 / 128), 3: (5 / 16, 131 / 1024), 4: (35 / 128, 3985 / 32768)}


@pytest.mark.parametrize("n", LUJAN)
def test_lujan_mean_and_sd_are_the_closed_forms(n):
    mean, variance = LUJAN[n]
    breathing = Respiration(amplitude_mm=10, n=n)
    assert breathing.mean_depth == pytest.approx(mean, abs=1e-15)
    assert breathing.depth_sd == pytest.approx(np.sqrt(variance), abs=1e-15)


@pytest.mark.parametrize("n", LUJAN)
def test_ten_instants_have_the_exact_mean_and_variance_in_every_fraction(n):
    depth = Respiration(amplitude_mm=10, n=n).draw_depth(Draws(1, 0, 50), 3, 10)
    np.testing.assert_allclose(depth.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(depth.var(axis=-1), LUJAN[n][1], atol=1e-12)


def test_breathing_goes_towards_inhale_left_anterior_inferior():
    exhale, inhale = Respiration(amplitude_mm=(2, 3, 8), n=2).planning_path_mm("GTV", "GTV")
    np.testing.assert_allclose(inhale - exhale, [2, -3, -8])
    np.testing.assert_allclose(exhale, [-0.75, 9 / 8, 3])


def test_amplitude_varies_with_the_stated_cv_and_never_turns_negative():
    breathing = Respiration(amplitude_mm=10, course_cv=0.5, fraction_cv=0.2)
    depth = breathing.draw_depth(Draws(4, 0, 20_000), 2, 12)
    factor = depth.std(axis=-1) / breathing.depth_sd
    assert factor.min() > 0
    assert abs(factor.mean() - 1) / (factor.mean(axis=1).std() / np.sqrt(20_000)) < 4
    cv2 = (1 + 0.5**2) * (1 + 0.2**2) - 1
    log_var = np.log(factor).var()
    assert log_var == pytest.approx(np.log1p(0.5**2) + np.log1p(0.2**2), rel=0.03)
    assert factor.var() == pytest.approx(cv2, rel=0.08)
    between = np.cov(np.log(factor).T)[0, 1]
    assert between == pytest.approx(np.log1p(0.5**2), rel=0.04)


def test_setup_has_the_stated_mean_systematic_and_random_sd():
    setup = Setup(systematic_mm=(1, 2, 3), random_mm=(0.5, 1, 1.5), mean_mm=(0, 1, 2.2))
    moved = setup.draw(Draws(2, 0, 20_000), 5)
    mean, total_sd = moved.mean(axis=(0, 1)), np.array([1, 2, 3]) ** 2 + np.array([0.5, 1, 1.5]) ** 2 / 5
    assert np.all(np.abs(mean - [0, 1, 2.2]) / np.sqrt(total_sd / 20_000) < 4)
    np.testing.assert_allclose(moved.mean(axis=1).var(axis=0), total_sd, rtol=0.04)
    np.testing.assert_allclose(moved.var(axis=1, ddof=1).mean(axis=0), np.array([0.5, 1, 1.5]) ** 2, rtol=0.02)


def test_one_number_means_all_axes_and_negative_sd_is_refused():
    assert Setup(systematic_mm=2).systematic_mm == (2, 2, 2)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Setup(random_mm=(1, -1, 1))
    with pytest.raises(ValidationError, match=r"3 values wanted \(LR, AP, SI\), got 2: \[1.5, 1.5\]"):
        Setup(random_mm=[1.5, 1.5])
