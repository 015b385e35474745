"""Each thing is made once, for all threads that want it, and failures are not kept."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator.ground.once import Once, cached_property


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


def test_threads_compute_properties_of_different_objects_at_the_same_time():
    """Each waits for the other within the property; before Python 3.12 that of functools lets in one thread at a time."""
    both = threading.Barrier(2, timeout=20)

    class Course:
        @cached_property
        def metrics(self):
            both.wait()
            return object()

    courses = Course(), Course()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda course: course.metrics, courses))
    assert found == [course.metrics for course in courses]
    assert found[0] is not found[1]


def test_a_failure_is_told_and_tried_again():
    once = Once(2)
    with pytest.raises(ZeroDivisionError):
        once.get("key", lambda: 1 / 0)
    assert once.get("key", lambda: 7) == 7
