"""Random streams: any course alone equals the same course in a batch."""

import zlib

import numpy as np
import pytest
from scipy import special, stats

from simulator.conventions import Stream
from simulator.sampling.streams import Draws, normals, uniforms
from simulator.uncertainty import Baseline, Drift, Isocentre, Registration, Setup


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
    "GUIDANCE_ROTATION": 27, "MOTION_COURSE": 28, "MOTION_FRACTION": 29, "MOTION_INSTANT": 30, "TCP_ALPHA": 40,
    "TCP_ALPHA_BETA": 41, "NTCP_TD50": 42, "NTCP_M": 43, "NTCP_ALPHA_BETA": 44,
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
        (lambda d: Setup(systematic_mm=1).draw(d, 2), 1, True),
        (lambda d: Setup(random_mm=1).draw(d, 2), 2, False),
        (lambda d: Setup(systematic_deg=1).draw_rotation(d, 2), 7, True),
        (lambda d: Setup(random_deg=1).draw_rotation(d, 2), 8, False),
        (lambda d: Drift(sd_mm_per_min=1).draw(d, 2, 5).rate_mm_per_min, 9, False),
        (lambda d: Baseline(systematic_mm=1).draw(d, 2).imaged_mm, 11, True),
        (lambda d: Baseline(random_mm=1).draw(d, 2).imaged_mm, 12, False),
        (lambda d: Baseline(after_imaging_sd_mm=1).draw(d, 2).since_mm, 13, False),
        (lambda d: np.repeat(Registration(systematic_mm=1).draw(d)[:, None], 2, axis=1), 19, True),
        (lambda d: np.repeat(Isocentre(systematic_mm=1).draw(d)[:, None], 2, axis=1), 20, True),
    ],
)
def test_each_source_has_the_numbers_of_its_stream(draw, stream, per_course):
    """An SD of 1 mm or degree makes the error the drawn number itself, in each fraction or all through the course."""
    expected = normals(7, stream, 5, 4, 3 if per_course else 6).reshape(4, -1, 3)
    np.testing.assert_allclose(draw(Draws(7, 5, 4)), np.broadcast_to(expected, (4, 2, 3)), rtol=1e-15)
