"""Executors: anything with `.map` that yields results as they are finished. They alone own parallelism.

`concurrent.futures` executors and pools of `multiprocessing` will do as well.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any, Literal, Protocol, get_args

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from simulator.config import ClusterSpec
from simulator.spec import ConfigError

Backend = Literal["local", "processes", "dask"]
_LOST_WORKERS_PER_TASK = 50
_CONNECT_S = 20


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
        """Results as they are finished."""
        parallel = Parallel(n_jobs=self._n_workers, backend=self._kind, return_as="generator_unordered", batch_size=1)
        return parallel(delayed(function)(item) for item in items)


class DaskExecutor:
    """Workers of a Dask cluster; tasks of lost workers are done again by others."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results as they are finished."""
        from distributed import as_completed

        futures = self._client.map(_one_thread, [(function, item) for item in items], pure=False)
        for future, result in as_completed(futures, with_results=True):
            future.release()
            yield result


def _one_thread(call: tuple[Callable[[Any], Any], Any]) -> Any:
    """A call on a worker whose linear algebra may have threads of its own."""
    function, item = call
    with threadpool_limits(limits=1):
        return function(item)


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
        with _dask_client(count, scheduler, cluster) as client:
            say(f"Dask dashboard: {client.dashboard_link}")
            yield DaskExecutor(client)
    elif backend == "processes":
        yield JoblibExecutor(count, "loky")
    else:
        with local_executor(n_workers) as executor:
            yield executor


@contextmanager
def _dask_client(n_workers: int, scheduler: str | None, spec: ClusterSpec | None) -> Iterator[Any]:
    needed = "dask_jobqueue" if spec is not None and spec.class_ != "LocalCluster" else "distributed"
    if find_spec(needed) is None:
        raise ConfigError(f'Dask is not installed ({needed} is missing); pip install "simulator[cluster]"')
    import dask
    from distributed import Client, LocalCluster

    with dask.config.set({"distributed.scheduler.allowed-failures": _LOST_WORKERS_PER_TASK}), ExitStack() as stack:
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout=_CONNECT_S)
            except (OSError, ValueError) as error:
                raise ConfigError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from None
        elif spec is not None:
            client = Client(stack.enter_context(_job_queue(spec)))
        else:
            client = Client(stack.enter_context(LocalCluster(n_workers=n_workers, threads_per_worker=1)))
        yield stack.enter_context(client)


def _job_queue(spec: ClusterSpec) -> Any:
    """A cluster that keeps its number of jobs, also when some are lost."""
    import dask_jobqueue
    import distributed

    kind = getattr(dask_jobqueue, spec.class_, None) or getattr(distributed, spec.class_, None)
    if kind is None:
        raise ConfigError(f"--cluster: class {spec.class_!r} is not in dask-jobqueue; SLURMCluster and PBSCluster are")
    try:
        cluster = kind(**spec.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--cluster: options of {spec.class_}: {error}") from None
    cluster.adapt(minimum_jobs=spec.jobs, maximum_jobs=spec.jobs)
    return cluster
