"""Memory of this process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator.execution.memory import give_back, peak_mb


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what is free")
def test_what_is_free_is_given_back():
    """Of 200 MB in small arrays all but the last are free: glibc keeps them below it."""
    arrays = [np.ones(8000) for _ in range(3000)]
    del arrays[:-1]
    kept = resident_mb()
    give_back()
    assert resident_mb() < kept - 100
    assert peak_mb() > 0.95 * kept


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system is asked, which tells less")
def test_the_peak_is_a_process_s_own_and_not_that_of_who_began_it():
    large = np.ones(50_000_000)
    code = "from simulator.execution.memory import peak_mb; print(peak_mb())"
    begun = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(begun.stdout) < peak_mb() - large.nbytes / 2e6
