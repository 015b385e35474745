"""Dask clusters: a running scheduler, workers of this machine, or jobs of a queue that are brought back when they end early."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

from threadpoolctl import threadpool_limits

from simulator.ground.spec import ConfigError, SimulatorError
from simulator.study_file.cluster import ClusterSpec

_CONNECT_S = 30
_LOST_WORKERS_PER_TASK = 30
_LOST_WORKER_TIMEOUT = "60s"
_NO_SUCH_COMMAND = "Exit code: 127"


class DaskExecutor:
    """Workers of a Dask cluster; tasks of lost workers are done again by others."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def dashboard(self) -> str:
        """Address of the page that shows what the workers do."""
        return str(self._client.dashboard_link)

    @property
    def n_workers(self) -> int:
        """Workers that are there now."""
        return len(self._client.nthreads())

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results as they are finished.

        Raises
        ------
        SimulatorError : the scheduler is gone, or one item loses every worker that takes it.
        """
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        futures = self._client.map(_one_thread, [(function, item) for item in items], pure=False)
        try:
            for future, result in as_completed(futures, with_results=True):
                if isinstance(result, CancelledError):  # given, not raised
                    raise result
                future.release()
                yield result
        except CancelledError:
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # it would say the same at length
            raise SimulatorError(
                "the Dask scheduler is gone; finished blocks are kept, run the same command again"
            ) from None
        except KilledWorker as error:
            raise SimulatorError(
                f"a task lost {_LOST_WORKERS_PER_TASK + 1} workers one after the other, most likely for want of memory: give "
                f"each worker more, or lower numerics.max_points ({error})"
            ) from None


def _one_thread(call: tuple[Callable[[Any], Any], Any]) -> Any:
    """A call on a worker whose linear algebra may have threads of its own."""
    function, item = call
    with threadpool_limits(limits=1):
        return function(item)


@contextmanager
def dask_executor(n_workers: int, scheduler: str | None, spec: ClusterSpec | None) -> Iterator[DaskExecutor]:
    """An executor; what was started for it ends with the context.

    Parameters
    ----------
    n_workers : processes of this machine, where neither `scheduler` (an address) nor `spec` (a job queue) is given.

    Raises
    ------
    ConfigError : Dask is missing, the scheduler does not answer, the queue refuses the job.
    """
    needed = "dask_jobqueue" if spec is not None else "distributed"
    if find_spec(needed) is None:
        raise ConfigError(
            f'Dask is not installed ({needed} is missing); run pip install ".[cluster]" in the folder of the source code'
        )
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": _LOST_WORKERS_PER_TASK,
        "distributed.deploy.lost-worker-timeout": _LOST_WORKER_TIMEOUT,
    }
    with dask.config.set(settings), ExitStack() as stack:
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout=_CONNECT_S)
            except (OSError, ValueError, TypeError) as error:
                raise ConfigError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from None
        elif spec is None:
            local = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")
            client = Client(stack.enter_context(local))
            stack.enter_context(_kept(local, partial(local.scale, n_workers)))
        else:
            client = Client(stack.enter_context(_cluster_of(spec)))
        stack.enter_context(client)
        yield DaskExecutor(client)


@contextmanager
def _cluster_of(spec: ClusterSpec) -> Iterator[Any]:
    """A cluster with its jobs submitted."""
    from distributed import LocalCluster
    from distributed.core import Status

    interrupt = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)  # importing dask-jobqueue makes Ctrl-C look like success
    is_local = spec.class_ == "LocalCluster"
    kind = LocalCluster if is_local else getattr(dask_jobqueue, spec.class_, None)
    if kind is None:
        raise ConfigError(
            f"--cluster: class {spec.class_!r} is not in dask-jobqueue; SLURMCluster, PBSCluster, SGECluster, LSFCluster, "
            "HTCondorCluster, OARCluster and MoabCluster are, and LocalCluster is for this machine"
        )
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)  # the same is said once, by the errors below
    try:
        cluster: Any = kind(n_workers=spec.jobs if is_local else 0, **_with_security(spec.options))
    except (TypeError, ValueError, RuntimeError, OSError, ImportError) as error:
        raise ConfigError(f"--cluster: options of {spec.class_}: {_with_causes(error)}") from None
    with cluster:
        if is_local:
            with _kept(cluster, partial(cluster.scale, spec.jobs)):
                yield cluster
            return
        try:
            try:
                cluster.sync(_submit, cluster, spec.jobs)
            except (RuntimeError, OSError) as error:
                if isinstance(error, FileNotFoundError) or _NO_SUCH_COMMAND in str(error):
                    command = cluster.job_cls.submit_command.split()[0]
                    raise ConfigError(
                        f"--cluster: {command} is not a command of this machine, so the queue of a {spec.class_} cannot be "
                        "reached from here; start on its login node, or name the class of the queue that there is"
                    ) from None
                raise ConfigError(f"--cluster: the queue refuses the job: {_in_a_line(error)}") from None
            with _kept(cluster, partial(cluster.scale, jobs=spec.jobs)):
                yield cluster
        finally:
            for job in cluster.workers.values():
                job.status = Status.closed  # dask-jobqueue leaves it open, which its cluster then takes for a leak


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _with_causes(error: BaseException) -> str:
    """What went wrong, and what had gone wrong before: a scheduler that fails to start says no more than that."""
    return _in_a_line(error) + (f"; {_with_causes(error.__cause__)}" if error.__cause__ else "")


def _with_security(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a cluster in which a mapping for `security` is what Dask takes: files of certificates and keys."""
    from distributed import Security

    security = options.get("security")
    return options | {"security": Security(**security)} if isinstance(security, dict) else options


async def _submit(cluster: Any, n_jobs: int) -> None:
    """Submit jobs; RuntimeError with the queue's own words if it refuses."""
    cluster.scale(jobs=n_jobs)
    with suppress(Exception):
        await cluster
    for job in list(cluster.workers.values()):
        await job


@contextmanager
def _kept(cluster: Any, scale: Callable[[], None]) -> Iterator[None]:
    """Meanwhile start workers again, or submit their jobs, that ended before the work did: cancelled, killed, out of time.

    `scale` asks the cluster for as many as are wanted. One counts as lost when it was seen and is away for
    `_Keeper.patience_s`; a job that waits in the queue is left alone.
    """
    keeper = _Keeper(cluster, scale)
    over = threading.Event()

    def keep() -> None:
        while not over.wait(keeper.interval_s):
            cluster.sync(keeper.tend)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Keeper:
    patience_s = 60.0
    interval_s = 5.0

    def __init__(self, cluster: Any, scale: Callable[[], None]) -> None:
        self._cluster, self._scale = cluster, scale
        self._last_seen_s: dict[Any, float] = {}

    async def tend(self) -> None:
        """Close what is lost, and start what is missing."""
        cluster, now_s = self._cluster, time.monotonic()
        alive = {str(worker["name"]) for worker in cluster.scheduler_info["workers"].values()}
        for name in list(cluster.workers):
            group = cluster.worker_spec.get(name, {}).get("group", [""])  # processes of one job are name-0, name-1, ...
            if any(f"{name}{suffix}" in alive for suffix in group):
                self._last_seen_s[name] = now_s
            elif now_s - self._last_seen_s.get(name, now_s) > self.patience_s:
                del self._last_seen_s[name]
                job = cluster.workers.pop(name, None)
                if job is not None:  # Dask may have dropped it while another was closed
                    await job.close()
        self._scale()
        with suppress(Exception):  # the queue may refuse for a while
            await cluster
