"""Probabilities under errors that may be, by weights: against closed forms, and with the courses' noise taken out."""

import numpy as np
import pytest
from scipy.stats import chi, chi2, norm

from simulator.answers.knowledge import Knowledge
from simulator.answers.unknown import Doubted, Met
from simulator.population.logistic import chance, logistic_coefficients, quadratic
from simulator.population.reweighting import together, weighted, weighted_means
from simulator.sampling.streams import Draws
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.respiration import Respiration
from simulator.uncertainty.setup import Setup

ALLOWED_MM = 5.2976937  # see test_knowledge.py
PLUG_IN = chi.cdf(ALLOWED_MM / 2, 3)
N_FRACTIONS = 3


def knowledge(*sources, seed=5, fractions=1):
    errors = tuple(Doubted((Met(one),)) for source in sources for one in source.not_exact())
    return Knowledge(errors, lambda k, n: Draws(seed, k, n), lambda k, n: Draws(2**63 + seed, k, n), fractions)


def sphere(known, n, seed=5):
    """What is known of the sphere's coverage (see test_knowledge.py)."""
    source = Setup.model_validate({"systematic_mm": 2, "known": known})
    shift = source.patient_mm(Draws(seed, 0, n), 1)[:, 0]
    return knowledge(source, seed=seed).interval(np.linalg.norm(shift, axis=1) <= ALLOWED_MM)


def alike_range(patients):
    """2.5 and 97.5 % of the coverage over one Σ for all axes, in closed form."""
    sd = 2 * np.sqrt((patients - 1) / chi2.ppf((0.975, 0.025), patients - 1))
    return chi.cdf(ALLOWED_MM / sd[::-1], 3)


@pytest.mark.parametrize("patients", [8, 15, 30, 60])
def test_the_knowledge_interval_of_the_sphere_with_one_spread(patients):
    found = sphere({"patients": patients, "axes": "alike", "mean_se_mm": 0}, 2000)
    assert (found.low, found.high) == pytest.approx(tuple(alike_range(patients)), abs=0.015)
    published = {8: (0.36, 1.0), 15: (0.58, 1.0), 30: (0.73, 0.99), 60: (0.81, 0.98)}[patients]
    assert (found.low, found.high) == pytest.approx(published, abs=0.02)
    assert found.plug_in == pytest.approx(PLUG_IN, abs=0.01)


@pytest.mark.parametrize(("patients", "published"), [(8, (0.54, 0.98)), (15, (0.73, 0.98)), (60, (0.85, 0.96))])
def test_the_knowledge_interval_with_independent_axes(patients, published):
    found = sphere({"patients": patients, "mean_se_mm": 0}, 2000)
    assert (found.low, found.high) == pytest.approx(published, abs=0.02)


def test_the_interval_moves_by_less_than_a_point_with_four_times_the_courses():
    for known in ({"patients": 15}, {"patients": 15, "axes": "alike", "mean_se_mm": 0}, {"factor": 1.3}):
        few, many = (sphere(known, n, seed=9) for n in (2000, 8000))
        assert abs(few.low - many.low) < 0.01
        assert abs(few.high - many.high) < 0.01


@pytest.mark.nightly
def test_so_it_does_on_average_with_several_errors_that_are_just_told_at_once():
    """Eight runs of the fewest courses that tell Σ, σ and M of setup and target shift; each end of one run scatters as the
    probability itself does, by a point."""
    known = {"systematic_mm": 1.4, "random_mm": 1.4, "known": {"patients": 30, "fractions": 150}}
    setup, shifted = Setup.model_validate(known), Baseline.model_validate(known)

    def ends(seed, n):
        numbers = Draws(seed, 0, n)
        shift = setup.patient_mm(numbers, N_FRACTIONS) + shifted.within_mm(numbers, N_FRACTIONS, "GTV")["GTV"]
        covered = np.linalg.norm(shift.mean(axis=1), axis=1) <= ALLOWED_MM
        found = knowledge(setup, shifted, seed=seed, fractions=N_FRACTIONS).interval(covered)
        return np.array([found.low, found.high])

    n = knowledge(setup, shifted, fractions=N_FRACTIONS).courses_wanted(1000)
    moves = np.array([ends(seed, n) - ends(seed, 4 * n) for seed in range(100, 108)])
    assert np.abs(moves.mean(axis=0)).max() < 0.01
    assert moves.std() < 0.015


def test_too_few_courses_say_nothing():
    found = sphere({"patients": 8}, 800)
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert found.plug_in == pytest.approx(PLUG_IN, abs=0.02)
    assert found.effective < 400


def test_noise_of_courses_is_taken_off():
    """Where nothing depends on the errors, nothing of the scatter of weighted probabilities is left."""
    source = Setup.model_validate({"systematic_mm": 2, "known": {"patients": 15}})
    met = np.random.default_rng(0).random((3, 3000)) < np.array([[0.5], [0.9], [0.99]])
    found = knowledge(source).interval(met)
    assert np.all(found.high - found.low < 0.015)
    assert np.abs(found.low - met.mean(axis=1)).max() < 0.02
    w = np.exp(np.random.default_rng(1).normal(0, 0.5, (3000, 200)))
    plain = weighted(met.T, lambda first, n: w[first : first + n])
    assert plain.noise == pytest.approx(plain.mean.var(axis=0), rel=0.3)
    assert weighted_means(met.T, lambda first, n: w[first : first + n]) == pytest.approx(plain.mean)
    assert plain.mean[:, 0] == pytest.approx((w * met[0][:, None]).sum(axis=0) / w.sum(axis=0))


def test_random_errors_and_their_patients_scale():
    """The mean square of the days of a course stays below a limit: closed form by integration over the patient's scale."""
    source = Setup.model_validate(
        {"random_mm": 2, "known": {"patients": 20, "fractions": 60}, "patient_variance_shape": 4}
    )
    shift = source.patient_mm(Draws(5, 0, 4000), N_FRACTIONS)
    limit = 6.0
    found = knowledge(source, fractions=N_FRACTIONS).interval((shift**2).mean(axis=(1, 2)) <= limit)
    rng = np.random.default_rng(0)
    sd = 2 * np.sqrt(40 / rng.chisquare(40, (1000, 3)))
    days = np.sqrt(3 / rng.gamma(4, size=(2000, 1, 1))) * rng.standard_normal((2000, N_FRACTIONS, 3))
    squares = (days**2).mean(axis=1)
    p = (squares @ (sd**2).T / 3 <= limit).mean(axis=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(p, (0.025, 0.975))), abs=0.025)
    assert found.plug_in == pytest.approx((squares.mean(axis=1) * 4 <= limit).mean(), abs=0.025)


def test_two_sources_and_their_parts():
    setup = Setup.model_validate({"systematic_mm": (0, 0, 2), "known": {"patients": 12}})
    shifted = Baseline.model_validate(
        {"systematic_mm": (0, 0, 1), "random_mm": (0, 0, 0.5)} | {"known": {"factor": 1.6}}
    )
    numbers = Draws(5, 0, 4000)
    total = setup.patient_mm(numbers, 1) + shifted.within_mm(numbers, 1, "GTV")["GTV"]
    what = knowledge(setup, shifted)
    assert [part.name for part in what.parts] == ["setup, systematic", "target shift, course", "target shift, fraction"]
    met = total[:, 0, 2] <= 3
    whole, *parts = (what.interval(met, part) for part in (None, *what.parts))
    rng = np.random.default_rng(0)
    sd = np.sqrt(4 * 11 / rng.chisquare(11, 20000))
    mean, other = (
        sd * rng.standard_normal(20000) / np.sqrt(12),
        np.exp(np.log(1.6) / 1.96 * rng.standard_normal((2, 20000))),
    )
    p = norm.cdf((3 - mean) / np.sqrt(sd**2 + other[0] ** 2 + 0.25 * other[1] ** 2))
    assert (whole.low, whole.high) == pytest.approx(tuple(np.quantile(p, (0.025, 0.975))), abs=0.012)
    assert whole.plug_in == pytest.approx(norm.cdf(3 / np.sqrt(5.25)), abs=0.012)
    widths = [part.high - part.low for part in parts]
    assert whole.high - whole.low > widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("cv", [0.0, 0.3])
def test_an_amplitude_known_to_a_factor(cv):
    """The amplitude stays below 13 mm: closed form; without a spread of its own P is nearly 0 or 1."""
    source = Respiration.model_validate({"amplitude_mm": (0, 0, 10), "course_cv": cv, "known": {"factor": 1.6}})
    size = source.draw(Draws(5, 0, 5000), source.waveform("GTV"), 1, 4).size[:, 0]
    found = knowledge(source).interval(10 * size <= 13)
    sd = np.log(1.6) / 1.95996
    within, of_mean = (np.sqrt(np.log1p(cv**2)), sd) if cv else (0.4 * sd, np.sqrt(0.84) * sd)
    ends = norm.cdf((np.log(1.3) + np.log1p(cv**2) / 2 + np.array([-1, 1]) * 1.95996 * of_mean) / within)
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=0.03)


def test_logistic_regression_finds_its_coefficients():
    rng = np.random.default_rng(3)
    x = np.concatenate([np.ones((20000, 1)), rng.standard_normal((20000, 2))], axis=1)
    truth = np.array([[0.5, -2], [1.0, 0], [-1.0, 0.5]])
    found = logistic_coefficients(x, rng.random((20000, 2)) < chance(x, truth))
    assert found == pytest.approx(truth, abs=0.1)
    assert quadratic(np.array([[3.0, 0], [30, 40]])) == pytest.approx(
        np.array([[3, 0, 9, 0, 0], [2.4, 3.2, 5.76, 7.68, 10.24]])
    )


def test_parts_add_up_in_log_odds():
    """Two errors along one axis, each of unknown SD: the probability under both from those under each alone."""
    rng = np.random.default_rng(2)
    first, second = 2 * np.exp(rng.normal(0, 0.25, (1000, 1))), np.exp(rng.normal(0, 0.3, (1000, 1)))
    limit = np.array([2.5, 4.0])

    def alone(sd, others):
        return norm.cdf(limit / np.sqrt(sd[:, None] ** 2 + others.T[..., None] ** 2)).mean(axis=1)

    truth = norm.cdf(limit / np.hypot(first, second))
    found = together([alone(first, second), alone(second, first)])
    for q in (0.025, 0.5, 0.975):
        assert np.quantile(found, q, axis=0) == pytest.approx(np.quantile(truth, q, axis=0), abs=0.012)
    assert together([truth]) is truth
