"""The executor that a command asks for, with what it starts."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from simulator.execution.clusters import dask_executor
from simulator.ground.parallel import Executor, JoblibExecutor, local_executor
from simulator.ground.spec import ConfigError
from simulator.study_file.cluster import ClusterSpec

Say = Callable[[str], None]


@contextmanager
def _threads(n_workers: int, say: Say) -> Iterator[Executor]:
    with local_executor(n_workers) as executor:
        yield executor


@contextmanager
def _processes(n_workers: int, say: Say) -> Iterator[Executor]:
    yield JoblibExecutor(n_workers, "loky")


@contextmanager
def _dask(
    n_workers: int, say: Say, scheduler: str | None = None, cluster: ClusterSpec | None = None
) -> Iterator[Executor]:
    with dask_executor(n_workers, scheduler, cluster) as dask:
        say(f"Dask dashboard: {dask.dashboard}")
        if dask.n_workers == 0:
            start = f"start some with `dask worker {scheduler}`" if scheduler else "jobs start or wait in the queue"
            say(f"no worker yet: {start}; the study begins with the first one")
        yield dask


# By name on the command line: a number of workers and whom to tell where to watch in, an executor out, closed at the end.
BACKENDS: dict[str, Callable[[int, Say], AbstractContextManager[Executor]]] = {
    "local": _threads,
    "processes": _processes,
    "dask": _dask,
}


def executor_with(
    n_workers: int | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    cluster: ClusterSpec | None = None,
    say: Say = lambda text: None,
) -> AbstractContextManager[Executor]:
    """An executor, closed with all that it started when the context ends.

    Parameters
    ----------
    n_workers : threads or processes, one per processor by default.
    backend : threads of this process, processes of this machine, or Dask; see `BACKENDS`.
    scheduler : address of a running Dask scheduler. cluster : job queue to ask for workers. Both imply Dask.
    say : is told where to watch.

    Raises
    ------
    ConfigError : Dask is not installed, or the scheduler does not answer.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"--backend {backend}: has to be one of {', '.join(BACKENDS)}")
    count = n_workers or os.cpu_count() or 1
    return _dask(count, say, scheduler, cluster) if scheduler or cluster else BACKENDS[backend](count, say)
