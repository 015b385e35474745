"""Executors: anything with `.map` that yields results as they are finished. They alone own parallelism.

`concurrent.futures` executors and pools of `multiprocessing` will do as well.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Literal, Protocol, get_args

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from simulator.clusters import dask_executor
from simulator.config import ClusterSpec
from simulator.spec import ConfigError, SimulatorError

Backend = Literal["local", "processes", "dask"]


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


@contextmanager
def executor_with(
    n_workers: int | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    cluster: ClusterSpec | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Executor]:
    """An executor, closed with all that it started when the context ends.

    Parameters
    ----------
    n_workers : threads or processes, one per processor by default.
    backend : threads of this process, processes of this machine, or Dask.
    scheduler : address of a running Dask scheduler. cluster : job queue to ask for workers. Both imply Dask.
    say : is told where to watch.

    Raises
    ------
    ConfigError : Dask is not installed, or the scheduler does not answer.
    """
    if backend not in get_args(Backend):
        raise ConfigError(f"--backend {backend}: has to be one of {', '.join(get_args(Backend))}")
    count = n_workers or os.cpu_count() or 1
    if backend == "dask" or scheduler or cluster:
        with dask_executor(count, scheduler, cluster) as dask:
            say(f"Dask dashboard: {dask.dashboard}")
            if dask.n_workers == 0:
                start = f"start some with `dask worker {scheduler}`" if scheduler else "jobs start or wait in the queue"
                say(f"no worker yet: {start}; the study begins with the first one")
            yield dask
    elif backend == "processes":
        yield JoblibExecutor(count, "loky")
    else:
        with local_executor(n_workers) as executor:
            yield executor
