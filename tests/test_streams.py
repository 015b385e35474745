"""Random streams: any course alone equals the same course in a batch."""

import zlib

import numpy as np
import pytest
from drawing import by_fraction, setting, strategy
from scipy import special, stats

from simulator.ground.conventions import Stream
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver
from simulator.sampling.streams import Draws, Exchanged, normals, uniforms
from simulator.strategy.guidance import OnlineBone, OnlineTarget
from simulator.strategy.motion import BreathHold, Compression, Tracking
from simulator.uncertainty import (
    Baseline,
    Delineation,
    Drift,
    Isocentre,
    OrganMotion,
    Registration,
    Respiration,
    Setup,
    Uncertainty,
)


def test_a_course_drawn_alone_equals_the_course_in_a_batch():
    batch = normals(7, Stream.SETUP_RANDOM, 0, 1000, 15)
    np.testing.assert_array_equal(normals(7, Stream.SETUP_RANDOM, 617, 1, 15), batch[617:618])


def test_asking_for_more_numbers_keeps_the_first_ones():
    np.testing.assert_array_equal(
        uniforms(1, Stream.GUIDANCE, 5, 20, 64)[:, :9], uniforms(1, Stream.GUIDANCE, 5, 20, 9)
    )


@pytest.mark.parametrize(("seed", "stream"), [(8, Stream.SETUP_SYSTEMATIC), (7, Stream.SETUP_RANDOM)])
def test_seeds_and_streams_are_unrelated(seed, stream):
    a = normals(7, Stream.SETUP_SYSTEMATIC, 0, 20_000, 1)[:, 0]
    b = normals(seed, stream, 0, 20_000, 1)[:, 0]
    assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(20_000) < 4


def test_numbers_are_standard_normal():
    sample = normals(3, Stream.SETUP_RANDOM, 0, 50_000, 4)
    assert np.all(np.abs(sample.mean(axis=0)) * np.sqrt(50_000) < 4)
    assert np.all(np.abs(sample.var(axis=0) - 1) / np.sqrt(2 / 50_000) < 4)
    assert stats.kstest(sample.ravel()[:50_000], "norm").pvalue > 1e-4
    assert np.all(np.abs(np.corrcoef(sample.T)[np.triu_indices(4, 1)]) * np.sqrt(50_000) < 4)


def test_uniform_numbers_stay_inside_the_open_interval():
    sample = uniforms(2**63 - 1, Stream.GUIDANCE, 10**9, 1000, 64)
    assert 0 < sample.min() < 0.001
    assert 0.999 < sample.max() < 1


def test_draws_shape_by_course_first():
    draws = Draws(1, 10, 5)
    assert draws.normals(Stream.SETUP_RANDOM, 4, 3).shape == (5, 4, 3)
    np.testing.assert_array_equal(
        draws.normals(Stream.SETUP_RANDOM, 4, 3)[2, 0], Draws(1, 12, 1).normals(Stream.SETUP_RANDOM, 3)[0]
    )


def philox(counter, seed, stream):
    """Four 64-bit numbers of Philox4x64-10: ten rounds of two multiplications, keys raised by the Weyl constants."""
    mask = 2**64 - 1
    a, b, c, d = counter & mask, counter >> 64 & mask, 0, 0
    for step in range(10):
        keys = (seed + step * 0x9E3779B97F4A7C15 & mask, stream + step * 0xBB67AE8584CAA73B & mask)
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = second >> 64 ^ b ^ keys[0], second & mask, first >> 64 ^ d ^ keys[1], first & mask
    return [a, b, c, d]


def test_philox_is_that_of_the_paper():
    """Known answer of its authors' Random123 (kat_vectors, philox4x64 10 with all zeros)."""
    assert philox(0, 0, 0) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]


@pytest.mark.parametrize(("n_numbers", "counters"), [(1, 16), (64, 16), (65, 32), (200, 64)])
def test_course_c_has_the_numbers_from_its_own_counter_on(n_numbers, counters):
    """Numbers of course c come from counters c n + 1, c n + 2, ..., their upper 52 bits at the middle of their cell."""
    found = uniforms(7, 3, 5, 4, n_numbers)
    for course in range(4):
        raw = [philox((5 + course) * counters + 1 + k, 7, 3) for k in range(counters)]
        expected = [((r >> 12) + 0.5) / 2**52 for r in np.ravel(np.array(raw, object))[:n_numbers]]
        np.testing.assert_array_equal(found[course], expected)
    np.testing.assert_array_equal(normals(7, 3, 5, 4, n_numbers), special.ndtri(found))


NUMBERS = {
    "SETUP_SYSTEMATIC": 1, "SETUP_RANDOM": 2, "RESPIRATION_COURSE": 3, "RESPIRATION_FRACTION": 4, "RESPIRATION_PHASE": 5,
    "GUIDANCE": 6, "ROTATION_SYSTEMATIC": 7, "ROTATION_RANDOM": 8, "DRIFT_RATE": 9, "DRIFT_WALK": 10, "BASELINE_COURSE": 11,
    "BASELINE_FRACTION": 12, "BASELINE_AFTER_IMAGING": 13, "ORGAN_COURSE": 14, "ORGAN_FRACTION": 15, "ORGAN_PERISTALSIS": 16,
    "FILLING_COURSE": 17, "FILLING_FRACTION": 18, "REGISTRATION": 19, "ISOCENTRE": 20, "DELINEATION": 21,
    "RESPIRATION_BREATH": 22, "RESPIRATION_PERIOD": 23, "GUIDANCE_AGAIN": 24, "COUCH": 25, "COUCH_AGAIN": 26,
    "GUIDANCE_ROTATION": 27, "MOTION_COURSE": 28, "MOTION_FRACTION": 29, "MOTION_INSTANT": 30,
    "BASELINE_AFTER_IMAGING_COURSE": 31, "TCP_ALPHA": 40,
    "TCP_ALPHA_BETA": 41, "NTCP_TD50": 42, "NTCP_M": 43, "NTCP_ALPHA_BETA": 44,
    "SETUP_SCALE": 50, "SETUP_KNOWN": 51, "BASELINE_SCALE": 52, "BASELINE_KNOWN": 53, "AFTER_IMAGING_SCALE": 54,
    "AFTER_IMAGING_KNOWN": 55, "REGISTRATION_KNOWN": 56, "ISOCENTRE_KNOWN": 57, "RESPIRATION_KNOWN": 58,
    "DRIFT_SIZE": 59, "DRIFT_KNOWN": 60, "DELINEATION_SIZE": 61, "DELINEATION_KNOWN": 62,
    "ORGAN_SIZE": 63, "ORGAN_KNOWN": 64, "ISOCENTRE_ROTATION": 65,
}  # fmt: skip


def test_streams_keep_their_numbers():
    assert {stream.name: stream.value for stream in Stream} == NUMBERS


def test_a_structure_has_a_stream_of_its_own():
    draws = Draws(7, 5, 4)
    key = 14 + (zlib.crc32(b"Bladder") << 16)
    np.testing.assert_array_equal(draws.normals(Stream.ORGAN_COURSE, 3, of="Bladder"), normals(7, key, 5, 4, 3))
    np.testing.assert_array_equal(draws.uniforms(Stream.ORGAN_COURSE, 3, of="Bladder"), uniforms(7, key, 5, 4, 3))
    np.testing.assert_array_equal(draws.part(1, 2).normals(Stream.GUIDANCE, 3), normals(7, 6, 6, 2, 3))


@pytest.mark.parametrize(
    ("draw", "stream", "per_course"),
    [
        (lambda d: Setup(systematic_mm=1).patient_mm(d, 2), 1, True),
        (lambda d: Setup(random_mm=1).patient_mm(d, 2), 2, False),
        (lambda d: Setup(systematic_deg=1).draw_rotation(d, 2), 7, True),
        (lambda d: Setup(random_deg=1).draw_rotation(d, 2), 8, False),
        (lambda d: Drift(sd_mm_per_min=1).draw(d, 2, 5).rate_mm_per_min, 9, False),
        (lambda d: Baseline(systematic_mm=1).within_mm(d, 2, "GTV")["GTV"], 11, True),
        (lambda d: Baseline(random_mm=1).within_mm(d, 2, "GTV")["GTV"], 12, False),
        (lambda d: Baseline(after_imaging_sd_mm=1).after_imaging_mm(d, 2), 13, False),
        (lambda d: Baseline(after_imaging_systematic_mm=1).after_imaging_mm(d, 2), 31, True),
        (lambda d: np.repeat(Registration(systematic_mm=1).misdrawn_mm(d)[:, None], 2, axis=1), 19, True),
        (lambda d: -np.repeat(Isocentre(systematic_mm=1).unseen_mm(d)[:, None], 2, axis=1), 20, True),
    ],
)
def test_each_source_has_the_numbers_of_its_stream(draw, stream, per_course):
    """An SD of 1 mm or degree makes the error the drawn number itself, in each fraction or all through the course."""
    expected = normals(7, stream, 5, 4, 3 if per_course else 6).reshape(4, -1, 3)
    np.testing.assert_allclose(draw(Draws(7, 5, 4)), np.broadcast_to(expected, (4, 2, 3)), rtol=1e-15)


def test_some_streams_may_come_from_elsewhere_or_rest_at_their_centre():
    base, other, some = Draws(7, 5, 4), Draws(8, 5, 4), frozenset({Stream.GUIDANCE, Stream.RESPIRATION_PHASE})
    exchanged, held = Exchanged(base, other, some), Exchanged(base, None, some)
    assert exchanged.n_courses == held.n_courses == 4
    for law, centre in (("normals", 0.0), ("uniforms", 0.5)):
        for numbers, expected in (
            (exchanged, getattr(other, law)(Stream.GUIDANCE, 2, 3)),
            (held, np.full((4, 2, 3), centre)),
        ):
            np.testing.assert_array_equal(getattr(numbers, law)(Stream.GUIDANCE, 2, 3), expected)
            np.testing.assert_array_equal(getattr(numbers.part(1, 2), law)(Stream.GUIDANCE, 2, 3), expected[1:3])
            kept = getattr(base, law)(Stream.COUCH, 2, 3, of="image 1")
            np.testing.assert_array_equal(getattr(numbers, law)(Stream.COUCH, 2, 3, of="image 1"), kept)
            np.testing.assert_array_equal(getattr(numbers.part(1, 2), law)(Stream.COUCH, 2, 3, of="image 1"), kept[1:3])


def test_breathing_has_the_numbers_of_its_streams():
    """Factors exp(s z - s^2 / 2) with s^2 = ln(1 + cv^2), and instants from a drawn one on, in its drawn part."""
    source = Respiration(
        amplitude_mm=1, delivery_factor=1.2, course_cv=0.3, fraction_cv=0.2, breath_cv=0.1, period_s=4, period_cv=0.5
    )
    breathing = source.draw(Draws(7, 5, 4), source.waveform("GTV"), 2, 5)

    def factor(stream, n, cv):
        s = np.sqrt(np.log(1 + cv**2))
        return np.exp(s * normals(7, stream, 5, 4, n) - s**2 / 2)

    np.testing.assert_allclose(breathing.size, 1.2 * factor(3, 1, 0.3) * factor(4, 2, 0.2), rtol=1e-12)
    np.testing.assert_allclose(breathing.breath.reshape(4, 10), factor(22, 10, 0.1), rtol=1e-12)
    period = factor(23, 3, 0.5)
    np.testing.assert_allclose(breathing.period_s, 4 * period[:, :1] * period[:, 1:], rtol=1e-12)
    start = uniforms(7, 5, 5, 4, 4).reshape(4, 2, 2)
    first = (np.floor(5 * start[..., 0]) + start[..., 1]) / 5
    np.testing.assert_allclose(breathing.cycle[..., 0], first, rtol=1e-12)


def test_an_organ_has_the_numbers_of_its_own_streams_and_those_of_the_target_it_follows():
    """Correlation 0.6: 0.6 of the target's number and 0.8 of its own."""
    draws, name = Draws(7, 5, 4), zlib.crc32(b"Bladder") << 16
    organ = OrganMotion(
        systematic_mm=1, random_mm=2, correlation=0.6, peristalsis_mm=1, filling_course_cv=0.3, filling_fraction_cv=0.2
    )
    course, fraction = (normals(7, stream, 5, 4, n).reshape(4, -1, 3) for stream, n in ((11, 3), (12, 6)))
    path = organ.draw(draws, "Bladder", course[:, 0], fraction, 5)
    own_course, own_fraction = (normals(7, s + name, 5, 4, n).reshape(4, -1, 3) for s, n in ((14, 3), (15, 6)))
    expected = 0.6 * course + 0.8 * own_course + 2 * (0.6 * fraction + 0.8 * own_fraction)
    np.testing.assert_allclose(path.shift_mm, expected, rtol=1e-12)
    np.testing.assert_array_equal(path.steps, normals(7, 16 + name, 5, 4, 30).reshape(4, 2, 5, 3))
    s, t = np.sqrt(np.log(1.09)), np.sqrt(np.log(1.04))
    log_volume = s * normals(7, 17 + name, 5, 4, 1) - s**2 / 2 + t * normals(7, 18 + name, 5, 4, 2) - t**2 / 2
    np.testing.assert_allclose(np.log(path.volume_ratio), log_volume, rtol=1e-12)


def test_delineation_and_brownian_drift_have_the_numbers_of_their_streams():
    coefficients = Delineation(sd_mm=1).draw(Draws(7, 5, 4), 9)
    assert coefficients.dtype == np.float32
    np.testing.assert_array_equal(coefficients, normals(7, 21, 5, 4, 9).astype(np.float32))
    steps = Drift(brownian_mm_per_sqrt_min=1).draw(Draws(7, 5, 4), 2, 5).steps
    np.testing.assert_array_equal(steps, normals(7, 10, 5, 4, 30).reshape(4, 2, 5, 3))


def left_of(motion=None, guidance=None, uncertainty=None, n_instants=1):
    """Displacement (4, 2, instant, 3) of the target in two fractions of courses 5 to 8 of seed 7."""
    place = setting(uncertainty or Uncertainty(), n_fractions=2, n_instants=n_instants)
    return by_fraction(deliver(draw_courses(place, Draws(7, 5, 4)), strategy(motion, guidance), place), "GTV")


@pytest.mark.parametrize("kind", [OnlineBone, OnlineTarget])
@pytest.mark.parametrize(("error", "begin", "again"), [("match_mm", 6, 24), ("couch_mm", 25, 26)])
def test_matches_and_couches_have_the_numbers_of_their_streams(kind, error, begin, again):
    """Setup of 5 mm to correct; instants of 30 s and an image after two minutes, before the last of five."""
    guidance = kind(**{"match_mm": 0, "couch_mm": 0, "reimage_every_min": 2} | {error: 1})
    found = left_of(guidance=guidance, uncertainty=Uncertainty(setup=Setup(mean_mm=(5, 5, 5))), n_instants=5)
    first = -normals(7, begin, 5, 4, 6).reshape(4, 2, 1, 3)
    np.testing.assert_allclose(found[:, :, :4], np.repeat(first, 4, axis=2), atol=1e-12)
    key = again + (zlib.crc32(b"image 1") << 16)
    np.testing.assert_allclose(found[:, :, 4], -normals(7, key, 5, 4, 6).reshape(4, 2, 3), atol=1e-12)


def test_motion_management_has_the_numbers_of_its_streams():
    """Hold: systematic, then the creep, the image's hold and the holds; tracking and compression alike."""
    course = normals(7, 28, 5, 4, 6).reshape(4, 2, 3)
    fraction = normals(7, 29, 5, 4, 24).reshape(4, 4, 2, 3)
    instant = normals(7, 30, 5, 4, 12).reshape(4, 2, 2, 3)
    still = {"systematic_mm": 0, "hold_mm": 0, "hold_s": 75}  # two holds of 150 s of beam
    hold = left_of(BreathHold(**still | {"systematic_mm": 1}), n_instants=2)
    np.testing.assert_allclose(hold, np.broadcast_to(course[:, :1, None], hold.shape), rtol=1e-12)
    np.testing.assert_allclose(
        left_of(BreathHold(**still | {"hold_mm": 1}), n_instants=2), fraction[:, 2:].transpose(0, 2, 1, 3), rtol=1e-12
    )
    creep = left_of(BreathHold(**still, creep_sd_mm=1), n_instants=2)
    np.testing.assert_allclose(creep, np.repeat(fraction[:, 0][:, :, None] / 2, 2, axis=2), rtol=1e-12)
    imaged = left_of(BreathHold(**still | {"hold_mm": 1}), OnlineTarget(match_mm=0), n_instants=2)
    np.testing.assert_allclose(
        imaged, fraction[:, 2:].transpose(0, 2, 1, 3) - fraction[:, 1][:, :, None], rtol=1e-9, atol=1e-12
    )
    beam = {"latency_s": 0, "error_systematic_mm": 0, "error_mm": 0}
    tracked = left_of(Tracking(**beam | {"error_systematic_mm": 1}), n_instants=2)
    np.testing.assert_allclose(tracked, np.broadcast_to(-course[:, :1, None], tracked.shape), rtol=1e-12)
    np.testing.assert_allclose(left_of(Tracking(**beam | {"error_mm": 1}), n_instants=2), -instant, rtol=1e-12)
    one = normals(7, 29, 5, 4, 6).reshape(4, 2, 3)
    squeezed = left_of(Compression(systematic_mm=1, random_mm=2))[:, :, 0]
    np.testing.assert_allclose(squeezed, course[:, :1] + 2 * one, rtol=1e-12)
    source = Uncertainty(respiration=Respiration(amplitude_mm=(0, 0, 10)))
    s = np.sqrt(np.log(1.09))
    ratio = 0.5 * np.exp(s * course[:, 1, 0] - s**2 / 2)
    smaller = left_of(Compression(ratio=(1, 1, 0.5), ratio_cv=0.3), uncertainty=source)
    np.testing.assert_allclose(smaller, ratio[:, None, None, None] * left_of(uncertainty=source), rtol=1e-9)
