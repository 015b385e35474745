"""Random streams: any course alone equals the same course in a batch."""

import numpy as np
import pytest
from scipy import stats

from simulator.conventions import Stream
from simulator.sampling.streams import Draws, normals, uniforms


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
