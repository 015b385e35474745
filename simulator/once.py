"""Things that many ask for and one makes."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Once(Generic[Made]):
    """The last few things made, each made once however many threads ask for it at a time.

    Parameters
    ----------
    size : how many are kept, those asked for last.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._made: dict[Hashable, Future[Made]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` makes, or made before for this key; its exception is everyone's, and is not kept."""
        with self._lock:
            found = self._made.pop(key, None)
            future = self._made[key] = found or Future()
            while len(self._made) > self._size:
                self._made.pop(next(iter(self._made)))
        if found is None:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._made.pop(key, None)
        return future.result()
