"""Drift, organ motion and delineation whose size is known to a factor: what is drawn, and the interval by closed forms."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import chi, norm

from simulator.answers.knowledge import Knowledge
from simulator.answers.unknown import Doubted, Met
from simulator.ground.spec import ConfigError
from simulator.sampling.streams import Draws
from simulator.study_file.loading import load_study
from simulator.uncertainty import Uncertainty
from simulator.uncertainty.delineation import Delineation
from simulator.uncertainty.drift import Drift
from simulator.uncertainty.organs import OrganMotion

FACTOR = 1.5
LOG_SD = np.log(FACTOR) / norm.ppf(0.975)
N = 20_000


def drift_mm(numbers, **known):
    """After five minutes, (course, fraction, 3)."""
    source = Drift.model_validate({"sd_mm_per_min": 0.4, "mean_mm_per_min": (0, 0, 0.1)} | known)
    return source.draw(numbers, 2, 1).at(np.full((numbers.n_courses, 2, 1), 5.0))[:, :, 0]


def walk_mm(numbers, **known):
    source = Drift.model_validate({"brownian_mm_per_sqrt_min": 1} | known)
    return source.draw(numbers, 2, 1).at(np.full((numbers.n_courses, 2, 1), 4.0))[:, :, 0]


def organ_mm(numbers, **known):
    moves = {"systematic_mm": 2, "random_mm": 1, "mean_mm": (0, 0, 3), "peristalsis_mm": 1}
    source = OrganMotion.model_validate(moves | known)
    path = source.draw(numbers, "Bladder", np.zeros((numbers.n_courses, 3)), np.zeros((numbers.n_courses, 2, 3)), 1)
    return path.at(np.zeros((numbers.n_courses, 2, 1)))[:, :, 0] - (0, 0, 3)


def surface(numbers, **known):
    return Delineation.model_validate({"sd_mm": 1.5} | known).draw(numbers, 4)[:, None]


@pytest.mark.parametrize("draw", [drift_mm, walk_mm, organ_mm, surface])
def test_one_factor_of_a_course_on_all_that_it_moves(draw):
    numbers = Draws(3, 0, N)
    exact, doubted = draw(numbers), draw(numbers, known={"factor": FACTOR})
    size = doubted / exact
    np.testing.assert_allclose(size, np.broadcast_to(size[:, :1, :1], size.shape), rtol=2e-4)
    log = np.log(size[:, 0, 0])
    assert np.median(log) == pytest.approx(0, abs=4 * 1.25 * LOG_SD / np.sqrt(N))
    assert log.std() == pytest.approx(LOG_SD, rel=4 / np.sqrt(2 * N))


@pytest.mark.parametrize(
    ("key", "moved_mm", "gaussian"),
    [
        ("drift", drift_mm, {"sd_mm_per_min": 0.4, "mean_mm_per_min": 0}),
        ("organs", organ_mm, {"systematic_mm": 2, "random_mm": 0, "peristalsis_mm": 0}),
    ],
)
def test_the_knowledge_interval_of_a_ball_of_displacements(key, moved_mm, gaussian):
    """A Gaussian displacement of SD 2 mm per axis, known to a factor; 40 % of the doubt's SD count as spread."""
    source, allowed_mm, n = gaussian | {"known": {"factor": FACTOR}}, 5.0, 10_000
    uncertainty = Uncertainty.model_validate({key: {"Bladder": source} if key == "organs" else source})
    draws = [lambda k, n, seed=seed: Draws(seed, k, n) for seed in (5, 2**63 + 5)]
    met = np.linalg.norm(moved_mm(draws[0](0, n), **source)[:, 0], axis=1) <= allowed_mm
    errors = tuple(Doubted((Met(one),)) for one in uncertainty.not_exact())
    found = Knowledge(errors, *draws, 1).interval(met)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)

    def chance(log_size, sd):
        return chi.cdf(allowed_mm / (2 * np.exp(log_size + sd * nodes)), 3) @ weights / weights.sum()

    end = norm.ppf(0.975) * np.sqrt(1 - 0.4**2) * LOG_SD
    assert found.low == pytest.approx(chance(end, 0.4 * LOG_SD), abs=0.015)
    assert found.high == pytest.approx(chance(-end, 0.4 * LOG_SD), abs=0.015)
    assert found.plug_in == pytest.approx(chance(0, 0.4 * LOG_SD), abs=0.015)
    assert met.mean() == pytest.approx(chance(0, LOG_SD), abs=3 * 0.5 / np.sqrt(n))


@pytest.mark.parametrize(
    ("draw", "source"),
    [
        (drift_mm, Uncertainty.model_validate({"drift": {"sd_mm_per_min": 0.4, "known": {"factor": FACTOR}}})),
        (walk_mm, Uncertainty.model_validate({"drift": {"brownian_mm_per_sqrt_min": 1, "known": {"factor": FACTOR}}})),
        (
            organ_mm,
            Uncertainty.model_validate({"organs": {"Bladder": {"systematic_mm": 2, "known": {"factor": FACTOR}}}}),
        ),
        (surface, Uncertainty.model_validate({"delineation": {"sd_mm": 1.5, "known": {"factor": FACTOR}}})),
    ],
)
def test_the_size_whose_density_is_weighed_is_the_one_that_is_drawn(draw, source):
    numbers, (size,) = Draws(3, 0, 50), source.not_exact()
    larger = draw(numbers, known={"factor": FACTOR}) / draw(numbers)
    np.testing.assert_allclose(larger, np.broadcast_to(size.factor(numbers)[:, None, None], larger.shape), rtol=1e-4)


def test_surfaces_are_cut_off_farther_out():
    assert Delineation(sd_mm=2, mean_mm=1).farthest_mm == 8
    assert Delineation.model_validate({"sd_mm": 2, "mean_mm": 1, "known": {"factor": 1.5}}).farthest_mm == 11.5


@pytest.mark.parametrize(
    ("source", "given", "message"),
    [
        (Drift, {"sd_mm_per_min": 0.1, "known": {"patients": 9}}, "the drift is known to a factor; say factor here"),
        (Drift, {"known": {"factor": 2}}, "the drift is zero; write it, or leave known out"),
        (Delineation, {"mean_mm": 1, "known": {"factor": 2}}, "the SD of the distance is zero"),
        (OrganMotion, {"filling_course_cv": 0.3, "known": {"factor": 2}}, "the organ's motion is zero"),
    ],
)
def test_what_is_no_size_is_refused(source, given, message):
    with pytest.raises(ValidationError, match=message):
        source.model_validate(given)


def test_observed_images_take_no_organ_of_doubtful_motion():
    study = Path(__file__).parents[1] / "configs" / "after_two_fractions.yaml"
    with pytest.raises(ConfigError, match=r"uncertainty\.organs\.Esophagus: beside observed images"):
        load_study(study, {"uncertainty.organs.Esophagus.known": {"factor": 2}})
