"""The benchmark compares like with like: simulator and baselines give the same metrics."""

import numpy as np
import pytest

from benchmarks.__main__ import read_arguments
from benchmarks.checkouts import BEFORE
from benchmarks.workloads import RX_GY, WAYS, workload


@pytest.mark.parametrize(("name", "baseline"), [("W1", "scipy"), ("W2", "numba")])
def test_the_fast_way_is_exact(name, baseline):
    work = workload(name)
    assert sum(len(p.volume_cc) for p in work.patches.values()) == 133_580
    fast, plain = WAYS["simulator"](work, 4, 1), WAYS[baseline](work, 4, 1)
    in_gy = np.array([m.unit == "Gy" for metrics in work.metrics.values() for m in metrics])
    np.testing.assert_allclose(fast[:, in_gy], plain[:, in_gy], atol=1e-4 * RX_GY)
    np.testing.assert_allclose(fast[:, ~in_gy], plain[:, ~in_gy], atol=0.05)


def test_all_workloads_are_measured_unless_some_are_named(capsys):
    assert read_arguments(["--json", "found.json"]).workloads == ["W1", "W2", "W3", "W4"]
    assert read_arguments(["W3", "W1"]).workloads == ["W3", "W1"]
    assert read_arguments(["W3", "--against"]).against == BEFORE
    assert read_arguments(["--against", "main"]).workloads == ["W1", "W2", "W3"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["W6"], "no workload W6; there are W1, W2, W3, W4, W5"),
        (["W1", "--against", "--turns", "5"], "--turns 5: at least 6 turns are needed to tell a difference from noise"),
        (["W5", "--against", "--whole"], "--whole is for this version alone; leave it or --against out"),
        (["W4", "--against"], "W4 has no turns to compare; W5 is a whole process that has"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, text, capsys):
    with pytest.raises(SystemExit):
        read_arguments(words)
    assert text in capsys.readouterr().err
