"""Apertures and penalties in closed form: kernels against numpy, slopes against differences, and against the open beam."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.special import ndtr

from simulator.kernels.apertures import add_fields, blur_apertures
from simulator.kernels.beams import add_beam_at_points
from simulator.plan.aperture import Rows, blurred
from simulator.plan.leaves import Blur, Leaves, Machine, SeenPoints, objective_of, optimised, travel_penalty
from simulator.plan.penalties import AtLeast, AtLeastBut, AtMost, AtMostBeyond, MeanAtMost, sum_of

EDGE = np.arange(-15.0, 16.0, 5.0)
REACH = np.array([-15.0, -20.0]), np.array([15.0, 20.0])


def some_leaves(rng, n_beams=3, n_passes=2) -> Leaves:
    low = rng.uniform(-14, -1, (n_beams, n_passes, len(EDGE) - 1))
    return Leaves(EDGE, low, low + rng.uniform(0, 16, low.shape), rng.uniform(0.5, 2, (n_beams, n_passes)))


def some_points(rng, n_beams=3, n=400) -> SeenPoints:
    seen = rng.uniform(-22, 22, (n_beams, n, 2))
    open_dose = rng.uniform(0.4, 1, (n_beams, n)).astype(np.float32)
    shares = rng.uniform(0, 0.5, (3, n)).astype(np.float32)
    shares[1, ::2] = 0
    blurs = (Blur(2.5, 0.6, shares[0]), Blur(6.0, 1.5, shares[1]), Blur(25.0, 6.0, shares[2]))
    return SeenPoints(seen, open_dose, blurs, REACH, np.zeros(len(open_dose[0])))


def numpy_fields(leaves: Leaves, sd: float, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The definition of blurred apertures in plain numpy."""
    across = np.diff(ndtr((leaves.edge_mm - v[:, None]) / sd), axis=1)
    along = ndtr((leaves.high_mm[..., None] - u) / sd) - ndtr((leaves.low_mm[..., None] - u) / sd)
    return np.einsum("vr,bari,ba->bvi", across, along, leaves.weight)


def test_blurred_apertures_are_their_numpy_twin():
    leaves = some_leaves(np.random.default_rng(1))
    v, u = np.arange(-25, 26, 1.5), np.arange(-30, 31, 1.5)
    fields = np.empty((3, len(v), len(u)), np.float32)
    blur_apertures(leaves.edge_mm, leaves.low_mm, leaves.high_mm, leaves.weight, 3.0, v, u, fields)
    np.testing.assert_allclose(fields, numpy_fields(leaves, 3.0, v, u), atol=2e-6)


def test_points_look_fields_up_as_numpy_does():
    rng = np.random.default_rng(2)
    fields = rng.uniform(0, 1, (3, 15, 17)).astype(np.float32)
    points = some_points(rng)
    dose = np.ones(400)
    share = points.blurs[1].share
    add_fields(fields, np.array([-20.0, -24.0]), 3.0, points.seen_mm, points.open_dose, share, dose)
    truth = np.ones(400)
    for field, seen, open_dose in zip(fields, points.seen_mm, points.open_dose, strict=True):
        place = ((seen - [-20.0, -24.0]) / 3).T
        inside = np.all((place >= 0) & (place < np.array([[14], [16]])), axis=0)
        truth += inside * open_dose * share * map_coordinates(field.astype(float), place, order=1)
    np.testing.assert_allclose(dose, truth, atol=2e-6)


def test_apertures_are_those_of_the_beam_model():
    """The dose of one aperture at points is what beams look up in their finely sampled fields."""
    rng = np.random.default_rng(3)
    points, leaves = some_points(rng, 1), some_leaves(rng, 1, 1)
    one = SeenPoints(
        points.seen_mm, points.open_dose, (Blur(3.2, 0.8, np.ones(400, np.float32)),), REACH, np.zeros(400)
    )
    rows = Rows(leaves.edge_mm, leaves.low_mm[0, 0], leaves.high_mm[0, 0])
    field = blurred(rows, np.array([3.2, 6.4]), leaves.weight[0, 0] * np.eye(2), 0.5, 26.0)
    truth = np.zeros(400)
    add_beam_at_points(truth, points.seen_mm[0], points.open_dose[0], np.zeros(400, np.float32), *field.arrays)
    assert truth.max() > 0.4
    np.testing.assert_allclose(one.dose(leaves), truth, atol=6e-3 * truth.max())


def test_beamlets_add_up_to_the_open_field():
    rng = np.random.default_rng(4)
    points = some_points(rng, 1)
    whole = Leaves(EDGE, np.full((1, 1, 6), -15.0), np.full((1, 1, 6), 15.0), np.ones((1, 1)))
    total = np.zeros(400)
    for start in np.arange(-15.0, 15.0, 5.0):
        total += points.dose(Leaves(EDGE, whole.low_mm * 0 + start, whole.high_mm * 0 + start + 5, whole.weight))
    np.testing.assert_allclose(total, points.dose(whole), atol=1e-5)


def some_penalties(rng, n=400):
    volume_cc = rng.uniform(0.5, 1.5, n)
    return [
        AtLeast(slice(0, 100), volume_cc[:100], 1.2, 30.0, 100.0),
        AtLeastBut(slice(0, 100), volume_cc[:100], 1.0, 10.0, 100.0, 5.0),
        AtMost(slice(100, 200), volume_cc[100:200], rng.uniform(0.2, 0.8, 100), 3.0, 100.0),
        AtMostBeyond(slice(200, 300), volume_cc[200:300], 0.4, 5.0, 50.0, 12.0),
        MeanAtMost(slice(300, 400), volume_cc[300:], 0.3, 7.0, 80.0),
    ]


def test_slopes_are_those_of_differences():
    """By every leaf and weight, to a thousandth of the largest."""
    rng = np.random.default_rng(5)
    points, leaves, penalties = some_points(rng), some_leaves(rng), some_penalties(rng)
    objective, pack, unpack = objective_of(
        points, penalties, 1.0, leaves, Machine(np.array([3.0, 3.0, np.inf]), (0, 9))
    )
    z = pack(leaves)
    np.testing.assert_allclose(unpack(z).high_mm, leaves.high_mm, atol=1e-12)
    value, gradient = objective(z)
    assert value > 0
    step = 2e-3 * np.eye(len(z))
    differences = np.array([(objective(z + e)[0] - objective(z - e)[0]) / 4e-3 for e in step])
    np.testing.assert_allclose(gradient, differences, atol=1e-3 * np.abs(differences).max())


@pytest.mark.parametrize("which", range(5))
def test_each_penalty_is_its_formula(which):
    rng = np.random.default_rng(6)
    penalty, dose = some_penalties(rng)[which], rng.uniform(0, 1.5, 400)
    d, v = dose[penalty.points], penalty.volume_cc
    wrong = {
        AtLeast: np.maximum(penalty.gy - d, 0),
        AtLeastBut: np.maximum(penalty.gy - d, 0),
        AtMost: np.maximum(d - penalty.gy, 0),
        AtMostBeyond: np.maximum(d - penalty.gy, 0),
        MeanAtMost: np.full_like(d, max(np.average(d, weights=v) - np.mean(penalty.gy), 0)),
    }[type(penalty)]
    spared = {AtLeastBut: (d, 5.0), AtMostBeyond: (-d, 12.0)}.get(type(penalty))
    if spared is not None:
        order = np.argsort(spared[0])
        wrong[order[np.cumsum(v[order]) < spared[1]]] = 0
    value, slope = sum_of([penalty], dose, 2.0)
    assert value == pytest.approx(penalty.weight * np.sum(v * wrong**2) / (penalty.per_cc * 4), rel=1e-12)
    up = dose + 1e-6 * rng.normal(size=400)
    assert sum_of([penalty], up, 2.0)[0] - value == pytest.approx(np.sum(slope * (up - dose)), rel=1e-3, abs=1e-15)


def test_a_weighted_penalty_weighs():
    rng = np.random.default_rng(7)
    penalty, dose = some_penalties(rng)[0], rng.uniform(0, 1, 400)
    assert sum_of([penalty.heavier(4)], dose, 1.0)[0] == pytest.approx(4 * sum_of([penalty], dose, 1.0)[0])


def test_leaves_travel_no_farther_than_they_can():
    mm = np.array([0.0, 4.0, 20.0, 0.0])[:, None, None]
    value, slope = travel_penalty(mm, np.array([5.0, 5.0, np.inf, np.inf]))
    assert value == 11.0**2
    np.testing.assert_array_equal(slope.ravel(), [0, -22, 22, 0])


def test_the_optimiser_finds_the_field_that_was_asked_for():
    """Points that want the dose of known apertures get it from others, and weights stay within the machine's."""
    rng = np.random.default_rng(8)
    points = some_points(rng, 1, 600)
    wanted = Leaves(EDGE, np.full((1, 1, 6), -8.0), np.full((1, 1, 6), 7.0), np.ones((1, 1)))
    gy, all_points, volume_cc = points.dose(wanted), slice(0, 600), np.ones(600)
    penalties = [kind(all_points, volume_cc, gy, 100.0, 600.0) for kind in (AtLeast, AtMost)]
    start = Leaves(EDGE, np.full((1, 1, 6), -3.0), np.full((1, 1, 6), 3.0), np.full((1, 1), 1.3))
    found, value = optimised(points, penalties, 1.0, start, Machine.without_limits(1), 200)
    assert value < 1e-5 * sum_of(penalties, points.dose(start), 1.0)[0]
    np.testing.assert_allclose(found.low_mm, -8, atol=0.1)
    np.testing.assert_allclose(found.high_mm, 7, atol=0.1)
    heavy, _ = optimised(points, penalties, 1.0, start, Machine(np.full(1, np.inf), (0.9, 4.0)), 50)
    assert heavy.weight[0, 0] >= 0.9 * 1.3 - 1e-9
