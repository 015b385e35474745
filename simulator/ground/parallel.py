"""Executors: anything with `.map` that yields results as they are finished. They alone own parallelism.

`concurrent.futures` executors and pools of `multiprocessing` will do as well.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from simulator.ground.spec import SimulatorError


class Executor(Protocol):
    """Runs a function over items."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results, in any order."""
        ...


class SerialExecutor:
    """One item after the other in this thread."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the items."""
        return map(function, items)


class JoblibExecutor:
    """Threads of this process, whose kernels release the interpreter lock, or processes of this machine."""

    def __init__(self, n_workers: int, kind: Literal["threading", "loky"]) -> None:
        self._n_workers, self._kind = n_workers, kind

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results as they are finished.

        Raises
        ------
        SimulatorError : a worker process was killed.
        """
        parallel = Parallel(n_jobs=self._n_workers, backend=self._kind, return_as="generator_unordered", batch_size=1)
        try:
            yield from parallel(delayed(function)(item) for item in items)
        except BrokenProcessPool:
            raise SimulatorError(
                "a worker process was killed, most likely for want of memory; finished blocks are kept, run the same command "
                "again, perhaps with fewer --workers"
            ) from None


def in_order(executor: Executor, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Results in the order of the items, for executors that share this process's memory."""
    found = dict(executor.map(lambda pair: (pair[0], function(pair[1])), enumerate(items)))
    return [found[i] for i in range(len(found))]


@contextmanager
def local_executor(n_workers: int | None) -> Iterator[Executor]:
    """Threads of this process, one per processor by default; linear algebra keeps to one thread in each."""
    count = n_workers or os.cpu_count() or 1
    with threadpool_limits(limits=1):
        yield SerialExecutor() if count == 1 else JoblibExecutor(count, "threading")
