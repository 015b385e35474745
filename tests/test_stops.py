"""A run that is stopped while courses are simulated keeps what is finished, and goes on to the same numbers."""

import signal
import subprocess
import sys

import faults
import pytest


@pytest.fixture(autouse=True)
def _hang_ups_are_heeded():
    """As in a terminal, also where the tests themselves were started to ignore them."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
@pytest.mark.parametrize(
    "stops",
    [faults.STOPS[1::2], pytest.param(faults.STOPS, marks=pytest.mark.nightly)],
    ids=lambda stops: ", ".join(stop.name for stop in stops),
)
def test_ways_to_stop_and_the_same_numbers(stops, tmp_path):
    trial = faults.Trial(tmp_path, courses=200)
    try:
        blocks = [faults.stopped(trial, number) for number in stops]
        assert all(after > before for before, after in blocks)
        assert "interrupted; what was finished is kept" in trial.said()
        assert trial.start("--workers", "2", *faults.SMALL_BLOCKS).wait(faults.PATIENCE_S) == 0, trial.said()
    finally:
        trial.stop()
    assert trial.result_hash() == faults.undisturbed(200)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="no hang-up")
def test_a_run_that_ignores_hang_ups_goes_on(tmp_path):
    """As under nohup."""
    trial = faults.Trial(tmp_path, courses=200)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = trial.start("--workers", "2")
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        trial.until_blocks(2, run)
        run.send_signal(signal.SIGHUP)
        assert run.wait(faults.PATIENCE_S) == 0, trial.said()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        trial.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="another shell")
def test_a_reader_that_leaves_early_is_no_defect(tmp_path):
    command = f"{sys.executable} -m simulator --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert "defect" not in done.stderr
