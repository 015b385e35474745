"""The harness of the fuzz tests tells what is done, refused and failed apart."""

import os
import signal
import sys
import time

import numpy as np
import pytest
from fuzz import harness
from fuzz.harness import assert_sound, attempt

from simulator.ground.spec import CaseError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked and measured as Linux does")


def _refuse():
    raise CaseError("a.csv:1: no record; export it again")


def _end_by_signal():
    os.kill(os.getpid(), signal.SIGKILL)


def _never_end():
    while True:
        pass


def _fill():
    return np.ones(300 << 17).sum()


@pytest.mark.parametrize(
    ("function", "arguments", "status", "words"),
    [
        (len, ("abc",), "done", "3"),
        (_refuse, (), "refused", "no record"),
        (int, ("x",), "failed", "ValueError"),
        (sys.exit, (1,), "failed", "SystemExit"),
        (_end_by_signal, (), "failed", "SIGKILL"),
        (time.sleep, (30,), "failed", "1 s were not enough"),
        (_never_end, (), "failed", "1 s were not enough"),
        (_fill, (), "failed", "memory"),
    ],
)
def test_outcomes(function, arguments, status, words, monkeypatch):
    monkeypatch.setattr(harness, "_MOST_WAITING", 2)
    outcome = attempt(function, *arguments, seconds=1, memory_mb=200)
    assert outcome.status == status
    assert words.lower() in outcome.message.lower()
    if status == "failed":
        with pytest.raises(AssertionError):
            assert_sound(outcome)
    else:
        assert_sound(outcome)
