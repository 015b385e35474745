"""The benchmark compares like with like: simulator and baselines give the same metrics."""

import numpy as np
import pytest

from benchmarks.workloads import RX_GY, WAYS, workload


@pytest.mark.parametrize(("name", "baseline"), [("W1", "scipy"), ("W2", "numba")])
def test_the_fast_way_is_exact(name, baseline):
    work = workload(name)
    assert sum(len(p.volume_cc) for p in work.patches.values()) == 133_580
    fast, plain = WAYS["simulator"](work, 4, 1), WAYS[baseline](work, 4, 1)
    in_gy = np.array([m.unit == "Gy" for metrics in work.metrics.values() for m in metrics])
    np.testing.assert_allclose(fast[:, in_gy], plain[:, in_gy], atol=1e-4 * RX_GY)
    np.testing.assert_allclose(fast[:, ~in_gy], plain[:, ~in_gy], atol=0.05)
