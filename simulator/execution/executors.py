"""The executor that a command asks for, with what it starts."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from simulator.execution.clusters import dask_executor
from simulator.parallel import Executor, JoblibExecutor, local_executor
from simulator.spec import ConfigError
from simulator.study_file.schema import ClusterSpec

Backend = Literal["local", "processes", "dask"]


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
