"""A real SLURM of one node with two processors, for tests: munge, slurmctld and slurmd of Debian's packages.

    with running():
        subprocess.run(["sbatch", ...])

The daemons run in the foreground as children of this process, with their configuration, state, sockets and logs in a
temporary folder and on free ports, so nothing of the machine's own set-up is touched and several nodes can run side by
side. Neither systemd nor cgroups are needed. `python tests/slurm/single_node.py` keeps a node up until Ctrl-C.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo", "squeue", "setpriv")
MEMORY_MB = 4000
PATIENCE_S = 60.0

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory={memory_mb} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why this machine cannot run the node, or None when it can."""
    if not Path("/etc/debian_version").exists():
        return "a single-node SLURM is set up on Debian only"
    if os.geteuid() != 0:
        return "a single-node SLURM needs root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm munge)"
    return None


@contextmanager
def running() -> Iterator[Path]:
    """An idle node; yields its folder (with the logs), sets SLURM_CONF meanwhile, and leaves no job behind."""
    with ExitStack() as on_exit:
        folder = Path(on_exit.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)))
        key, configuration = folder / "munge.key", folder / "slurm.conf"
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(1024))
        controller_port, node_port = free_ports(2)
        host = socket.gethostname().partition(".")[0]
        configuration.write_text(
            CONFIGURATION.format(
                host=host,
                folder=folder,
                controller_port=controller_port,
                node_port=node_port,
                memory_mb=MEMORY_MB,
            ),
            encoding="utf-8",
        )
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        before = os.environ.get("SLURM_CONF")
        on_exit.callback(_set_environment, "SLURM_CONF", before)
        os.environ["SLURM_CONF"] = str(configuration)
        munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        on_exit.enter_context(
            _daemon(folder, "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
        )
        _wait_until("munged listens", folder, (folder / "munge.socket").exists)
        on_exit.enter_context(_daemon(folder, "slurmctld", "-D", "-f", str(configuration)))
        on_exit.enter_context(_daemon(folder, "slurmd", "-D", "-f", str(configuration)))
        on_exit.callback(_cancel_all_jobs, folder)
        _wait_until("the node is idle", folder, lambda: _says("sinfo", "--noheader", "--format=%T") == "idle")
        yield folder


def _cancel_all_jobs(folder: Path) -> None:
    subprocess.run(["scancel", "--user=root"], check=False)
    _wait_until("all jobs have ended", folder, lambda: _says("squeue", "--noheader") == "")


@contextmanager
def _daemon(folder: Path, program: str, *arguments: str) -> Iterator[None]:
    """A daemon that stops on exit, and by the kernel's hand should this process be killed."""
    command = ["setpriv", "--pdeathsig", "TERM", program, *arguments]
    with (folder / f"{program}.out").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(what: str, folder: Path, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.out")))
            raise TimeoutError(f"SLURM: waited {PATIENCE_S:.0f} s until {what}\n{logs}")
        time.sleep(0.1)


def _says(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else "no answer"


def free_ports(n: int) -> list[int]:
    """Ports of the loop-back interface that nothing uses."""
    with ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(n)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in bound]


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


if __name__ == "__main__":
    if reason := why_not():
        raise SystemExit(reason)
    with running() as folder:
        print(f"export SLURM_CONF={folder}/slurm.conf", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
