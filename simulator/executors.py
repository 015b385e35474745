"""Executors: anything with `.map` that yields results in order. They alone own parallelism."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits


class Executor(Protocol):
    """Runs a function over items and yields the results in the order of the items."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the items."""
        ...


class SerialExecutor:
    """One item after the other in this thread."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the items."""
        return map(function, items)


class ThreadExecutor:
    """Threads of this process through joblib; the kernels release the interpreter lock."""

    def __init__(self, n_workers: int) -> None:
        self._n_workers = n_workers

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the items."""
        parallel = Parallel(n_jobs=self._n_workers, backend="threading", return_as="generator")
        return parallel(delayed(function)(item) for item in items)


@contextmanager
def executor_with(n_workers: int | None) -> Iterator[Executor]:
    """An executor with that many workers, by default one per processor; linear algebra keeps to one thread in each."""
    count = n_workers or os.cpu_count() or 1
    with threadpool_limits(limits=1):
        yield SerialExecutor() if count == 1 else ThreadExecutor(count)
