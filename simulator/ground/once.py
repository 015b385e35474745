"""Things that many ask for and one makes."""

import functools
import sys
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

Made = TypeVar("Made")

if TYPE_CHECKING or sys.version_info >= (3, 12):
    cached_property = functools.cached_property
else:

    class cached_property(functools.cached_property):  # noqa: N801
        """That of Python 3.12: before, a thread that computes one keeps all others from it, of whichever object they ask it."""

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            if self.attrname not in instance.__dict__:
                instance.__dict__[self.attrname] = self.func(instance)
            return instance.__dict__[self.attrname]


class Once(Generic[Made]):
    """The last few things made, each made once however many threads ask for it at a time.

    Parameters
    ----------
    size : how many are kept, those asked for last. weigh : what one counts for, when it is made; each for one by default.
    """

    def __init__(self, size: int, weigh: Callable[[Made], int] = lambda made: 1) -> None:
        self._size, self._weigh = size, weigh
        self._made: dict[Hashable, Future[Made]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` makes, or made before for this key; its exception is everyone's, and is not kept."""
        with self._lock:
            found = self._made.pop(key, None)
            future = self._made[key] = found or Future()
            self._make_room()
        if found is None:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._made.pop(key, None)
            else:
                with self._lock:
                    self._make_room()
        return future.result()

    def _make_room(self) -> None:
        """Drop the earliest where there are too many; what is being made counts for one."""
        is_made = {key: future.done() and future.exception() is None for key, future in self._made.items()}
        weights = {key: self._weigh(self._made[key].result()) if made else 1 for key, made in is_made.items()}
        excess = sum(weights.values()) - self._size
        for key, weight in weights.items():
            if excess <= 0:
                return
            excess -= weight
            self._made.pop(key)
