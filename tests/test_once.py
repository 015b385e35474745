"""Each thing is made once, for all threads that want it, and failures are not kept."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator.once import Once


def test_many_threads_make_one_thing_once():
    made = []

    def make():
        time.sleep(0.05)
        made.append(threading.get_ident())
        return object()

    once = Once(2)
    with ThreadPoolExecutor(8) as pool:
        things = list(pool.map(lambda _: once.get("key", make), range(8)))
    assert len(made) == 1
    assert len(set(map(id, things))) == 1


def test_what_was_asked_for_last_is_kept():
    once, made = Once(2), []
    for key in "abacab":
        once.get(key, lambda key=key: made.append(key))
    assert "".join(made) == "abcb"


def test_what_weighs_much_leaves_less_room():
    """Of room for 10, 7 and 2 stay when 3 is asked for less lately; 11 do not fit."""
    once, made = Once(10, lambda weight: weight), []
    for weight in (3, 7, 2, 7, 2, 3, 11, 3):
        once.get(weight, lambda weight=weight: made.append(weight) or weight)
    assert made == [3, 7, 2, 3, 11, 3]


def test_a_failure_is_told_and_tried_again():
    once = Once(2)
    with pytest.raises(ZeroDivisionError):
        once.get("key", lambda: 1 / 0)
    assert once.get("key", lambda: 7) == 7
