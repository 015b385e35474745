"""M, Σ and σ of tables of shifts: closed forms, an exact sampler, and intervals that hold what they promise."""

import numpy as np
import pytest
from scipy import stats

from simulator.records import posterior as posterior_page
from simulator.records.classical import classical_errors
from simulator.records.convergence import effective_draws, r_hat
from simulator.records.gibbs import Sums, sample
from simulator.records.posterior import errors_of, posterior, sums_of

CORRELATED = np.array([[1, 0.6, 0], [0.6, 1, -0.3], [0, -0.3, 1]])


def table(rng, counts, systematic, random, shape=None, mean=(0, 0, 0)):
    """Shifts (image, 3) of one clinic and the patient of each; covariances (3, 3), variances scaled by inverse gammas."""
    n = len(counts)
    patient = np.repeat(np.arange(n), counts)
    own = mean + rng.multivariate_normal(np.zeros(3), systematic, n)
    scale = np.ones(n) if shape is None else (shape - 1) / rng.standard_gamma(shape, n)
    daily = rng.multivariate_normal(np.zeros(3), random, len(patient))
    return own[patient] + np.sqrt(scale)[patient, None] * daily, patient


def stacked(tables):
    """Sums of tables of one make; patients stay in their order, as their counts have to agree."""
    parts = []
    for shift, patient in tables:
        own = [
            sums_of(shift[patient == p], patient[patient == p], 0 * patient[patient == p]) for p in np.unique(patient)
        ]
        parts.append(
            [
                np.concatenate([getattr(s, name) for s in own], axis=-1 if name == "count" else 1)
                for name in ("count", "mean", "scatter")
            ]
        )
    counts, means, scatters = zip(*parts, strict=True)
    return Sums(counts[0], np.zeros(len(counts[0]), int), np.concatenate(means), np.concatenate(scatters))


def chained(tables, seed, scale=3.0, n_kept=600):
    """Draws of one chain for each table."""
    scales = np.full(len(tables), scale)
    return sample(stacked(tables), np.random.default_rng(seed), scale=scales, n_kept=n_kept, n_warm_up=150)


def inverse_wishart(rng, n, scatter):
    """The prior's draws by scipy, not by the sampler."""
    return stats.invwishart(n, scatter).rvs(random_state=rng)


def from_prior(rng, scale=3.0):
    """A covariance of the Huang-Wand prior: half-t of each SD, by its auxiliary scales."""
    auxiliary = 1 / rng.gamma(0.5, scale**2, 3)
    return inverse_wishart(rng, 4, 4 * np.diag(1 / auxiliary))


# Classical


def test_balanced_analysis_of_variance():
    """Two patients of two fractions by hand: means 2 and 6, variance within 2, between 8; Σ² = 8 - 2/2, σ² = 2."""
    shift = np.array([[1.0], [3], [5], [7]])
    found = classical_errors(shift, np.array([4, 4, 9, 9]))
    assert found.mean.value == pytest.approx(4)
    assert found.systematic.value == pytest.approx(np.sqrt(7))
    assert found.random.value == pytest.approx(np.sqrt(2))
    reach = stats.t.ppf(0.975, 1) * 2
    assert (found.mean.low, found.mean.high) == (pytest.approx(4 - reach), pytest.approx(4 + reach))
    assert found.random.high == pytest.approx(np.sqrt(2 * 2 / stats.chi2.ppf(0.025, 2)))


def test_unbalanced_tables_take_off_the_mean_of_one_over_f():
    rng = np.random.default_rng(5)
    shift, patient = table(rng, rng.integers(1, 9, 20_000), 4 * np.eye(3), 9 * np.eye(3))
    found = classical_errors(shift, patient)
    for interval, truth in ((found.mean, 0), (found.systematic, 2), (found.random, 3)):
        sd = (interval.high - interval.low) / (2 * stats.norm.ppf(0.975))
        assert np.abs((interval.value - truth) / sd).max() < 4


@pytest.mark.parametrize("systematic", [0.5, 2, 4])
@pytest.mark.parametrize("counts", [[5] * 8, [1, 2, 3, 8] * 4])
def test_classical_intervals_cover(systematic, counts):
    """Of 95 % intervals of 500 tables and three axes, 92 to 98 % hold the truth."""
    rng = np.random.default_rng(6)
    truths = {"mean": 0, "systematic": systematic, "random": 2}
    held = dict.fromkeys(truths, 0.0)
    for _ in range(500):
        found = classical_errors(*table(rng, counts, systematic**2 * np.eye(3), 4 * np.eye(3)))
        for name, truth in truths.items():
            interval = getattr(found, name)
            held[name] += np.mean((interval.low <= truth) & (truth <= interval.high)) / 500
    assert all(0.92 < share < 0.98 for share in held.values()), held


def test_one_fraction_each_tells_no_systematic_error_apart():
    found = classical_errors(np.arange(12.0).reshape(4, 3), np.arange(4))
    assert np.isnan(found.random.value).all()
    assert np.isnan(found.systematic.value).all()


# Posterior


def test_many_patients_give_the_classical_estimates():
    rng = np.random.default_rng(7)
    shift, patient = table(rng, [4] * 1500, 4 * CORRELATED, 2.25 * CORRELATED, mean=(1, -2, 0.5))
    classical = classical_errors(shift, patient)
    draws = chained([(shift, patient)], seed=1)
    found = errors_of(draws)
    for name in ("mean", "systematic", "random"):
        a, b = getattr(classical, name), getattr(found, name)
        np.testing.assert_allclose(b.value, a.value, atol=0.02)
        np.testing.assert_allclose(b.high - b.low, a.high - a.low, rtol=0.2)
    systematic, random = draws.systematic.mean(axis=(0, 1)), draws.random.mean(axis=(0, 1))
    np.testing.assert_allclose(systematic, 4 * CORRELATED, atol=0.4)
    np.testing.assert_allclose(random, 2.25 * CORRELATED, atol=0.2)


@pytest.mark.parametrize(("systematic", "n"), [(0.5, 15), (2, 8), (4, 8)])
def test_credible_intervals_cover(systematic, n):
    """Of 95 % intervals of 120 tables and three axes with heavy-tailed patients, 92 to 98 % hold the truth (+/- 1.2)."""
    rng = np.random.default_rng(9)
    tables = [table(rng, [5] * n, systematic**2 * np.eye(3), 4 * np.eye(3), shape=4) for _ in range(120)]
    draws = chained(tables, seed=3)
    sd = [np.sqrt(np.diagonal(c, axis1=-2, axis2=-1)) for c in (draws.systematic, draws.random)]
    for values, truth in ((draws.mean[:, :, 0], 0), (sd[0], systematic), (sd[1], 2)):
        low, high = np.quantile(values, (0.025, 0.975), axis=0)
        assert 0.908 < np.mean((low <= truth) & (truth <= high)) < 0.992


def test_same_seed_same_numbers_whatever_the_order(monkeypatch):
    for name, value in (("_N_KEPT", 100), ("_WARM_UP", 50), ("_EVERY", (1,))):
        monkeypatch.setattr(posterior_page, name, value)
    rng = np.random.default_rng(10)
    shift, patient = table(rng, [3, 5, 1, 4, 5, 2], 4 * CORRELATED, np.eye(3))
    clinic = (patient > 2).astype(int)
    one, again = (posterior(shift, patient, clinic, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.draws.systematic, again.draws.systematic)
    order = rng.permutation(len(patient))
    renamed = np.array([7, 3, 9, 1, 4, 0])[patient]
    other = posterior(shift[order], renamed[order], clinic[order], seed=4)
    for name in ("mean", "systematic", "random", "shape"):
        np.testing.assert_array_equal(getattr(one.draws, name), getattr(other.draws, name))
    assert one.draws.mean.shape[2] == 2
    assert np.any(posterior(shift, patient, clinic, seed=5).draws.mean != one.draws.mean)
    assert not one.converged


def test_clinics_have_means_of_their_own_and_one_spread():
    rng = np.random.default_rng(11)
    shift, patient = table(rng, [4] * 40, np.eye(3), np.eye(3))
    clinic = (patient >= 20).astype(int)
    shift[clinic == 1] += (0, 12, 0)
    sums = sums_of(shift, patient, clinic)
    draws = sample(sums, np.random.default_rng(1), scale=np.full(1, 3.0), n_kept=400, n_warm_up=100)
    np.testing.assert_allclose(draws.mean[..., 1].mean(axis=(0, 1)), (0, 12), atol=1)
    assert errors_of(draws).systematic.value[1] < 2


def test_a_wider_prior_moves_few_patients_and_not_many():
    rng = np.random.default_rng(12)
    tables = [table(rng, [4] * n, 4 * np.eye(3), np.eye(3)) for n in (4, 60)]
    ends = [[errors_of(chained([t], 5, scale)).systematic.high.mean() for scale in (1.0, 10.0)] for t in tables]
    (few_narrow, few_wide), (many_narrow, many_wide) = ends
    assert few_wide / few_narrow > 1.3
    assert many_wide / many_narrow < 1.1


# Chains


def test_convergence_of_known_chains():
    """Independent draws count for themselves; an autoregression counts (1 - φ)/(1 + φ); chains apart are told."""
    rng = np.random.default_rng(13)
    white = rng.standard_normal((4000, 4))
    assert r_hat(white) == pytest.approx(1, abs=0.002)
    assert effective_draws(white) == pytest.approx(white.size, rel=0.1)
    slow = np.empty_like(white)
    slow[0] = white[0]
    for i in range(1, len(white)):
        slow[i] = 0.8 * slow[i - 1] + np.sqrt(1 - 0.8**2) * white[i]
    assert effective_draws(slow) == pytest.approx(white.size / 9, rel=0.2)
    assert r_hat(white + np.array([0, 0, 0, 1])) > 1.05
