"""The example cluster files make job scripts, and a real queue runs what Dask submits to it."""

import shutil
import subprocess
import sys
from pathlib import Path

import dask_jobqueue
import pytest
import yaml
from distributed import Client, LocalCluster, Security

from simulator.execution.executors import executor_with
from simulator.ground.spec import ConfigError
from simulator.study_file.cluster import ClusterSpec

EXAMPLES = sorted((Path(__file__).parents[1] / "configs" / "clusters").glob("*.yaml"))
RESOURCES = {
    "slurm.yaml": ["#SBATCH --cpus-per-task=8", "#SBATCH --mem=30G", "#SBATCH -t 04:00:00"],  # 32e9 bytes are 30 GiB
    "pbs.yaml": ["#PBS -l select=1:ncpus=8:mem=32GB", "#PBS -l walltime=04:00:00"],
    "sge.yaml": ["#$ -pe smp 8", "#$ -l h_vmem=4G", "#$ -l h_rt=04:00:00"],
    "lsf.yaml": ["#BSUB -n 8", "#BSUB -M 32000", "#BSUB -W 4:00"],
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_has_the_three_keys(path: Path) -> None:
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(spec) == {"class", "jobs", "options"}
    assert path.name in {*RESOURCES, "local.yaml"}


@pytest.mark.parametrize("name", RESOURCES)
def test_example_asks_for_what_it_says(name: str, tmp_path: Path) -> None:
    spec = yaml.safe_load((EXAMPLES[0].parent / name).read_text(encoding="utf-8"))
    options = {**spec["options"], "log_directory": str(tmp_path)}
    del options["scheduler_options"]  # the only one that is not about the job
    job = getattr(dask_jobqueue, spec["class"]).job_cls("tcp://192.0.2.1:8786", name="worker", **options)
    script = job.job_script().splitlines()
    assert set(RESOURCES[name]) <= set(script)
    worker = script[-1]
    for words in ("--nworkers 8", "--nthreads 1", "--nanny", "--death-timeout 60", "--local-directory ${TMPDIR:-/tmp}"):
        assert words in worker


@pytest.mark.parametrize(
    "options", [{}, {"security": True}, {"security": {"require_encryption": True, "tls_ca_file": "ca.pem"}}]
)
def test_options_of_encrypted_connections_reach_dask(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are; the files of one's own certificates as Dask takes them."""
    given: dict = {}

    def refuse(**options: object) -> None:
        given.update(options)
        raise ValueError("enough")

    monkeypatch.setattr("distributed.LocalCluster", refuse)
    spec = ClusterSpec.model_validate({"class": "LocalCluster", "jobs": 1, "options": {"protocol": "tls"} | options})
    with pytest.raises(ConfigError, match="options of LocalCluster: enough"), executor_with(cluster=spec):
        pass
    assert given.pop("protocol") == "tls"
    security = given.get("security")
    if isinstance(options.get("security"), dict):
        assert isinstance(security, Security)
        assert (security.require_encryption, security.tls_ca_file) == (True, "ca.pem")
    else:
        assert security is options.get("security")


def test_scheduler_without_workers_says_how_to_start_one() -> None:
    said: list[str] = []
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        executor_with(scheduler=cluster.scheduler_address, say=said.append),
    ):
        dashboard, waits = said
    assert dashboard.startswith("Dask dashboard: http")
    assert f"no worker yet: start some with `dask worker {cluster.scheduler_address}`" in waits


def test_queue_runs_workers_and_is_left_empty(slurm: Path, tmp_path: Path) -> None:
    options = {"cores": 1, "processes": 1, "memory": "1GB", "interface": "lo", "log_directory": str(tmp_path)}
    with dask_jobqueue.SLURMCluster(**options, scheduler_options={"dashboard_address": ":0"}) as cluster:
        cluster.scale(jobs=2)
        with Client(cluster) as client:
            client.wait_for_workers(2, timeout=120)
            jobs = client.gather(client.map(lambda i: i**2, range(20)))
            names = client.run(lambda: __import__("os").environ["SLURM_JOB_ID"])
    assert jobs == [i**2 for i in range(20)]
    assert len(set(names.values())) == 2
    left = ["squeue", "--noheader", "--states=PENDING,RUNNING"]
    assert subprocess.run(left, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.parametrize("kind", ["SLURMCluster", "PBSCluster", "SGECluster", "LSFCluster"])
def test_a_queue_that_is_not_there_is_told(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    options = {
        "cores": 1,
        "memory": "1GB",
        "log_directory": str(tmp_path),
        "scheduler_options": {"dashboard_address": ":0"},
    }
    spec = ClusterSpec.model_validate({"class": kind, "jobs": 1, "options": options})
    with pytest.raises(ConfigError, match=f"is not a command of this machine, so the queue of a {kind} cannot"):  # noqa: SIM117
        with executor_with(cluster=spec):
            pass


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("SLURMCluster", {"interface": "ib99"}, "ib99"),
        ("SLURMCluster", {"coores": 1}, "coores"),
        ("SLURMCluster", {"security": {"tls_key": 1}}, "tls_key"),
        ("LocalCluster", {"memory_limit": "lots"}, "Could not interpret 'lots' as a byte unit"),
        ("LocalCluster", {"protocol": "tls", "processes": False}, "failed to start.*; TLS expects a `ssl_context`"),
    ],
)
def test_options_that_are_wrong_are_told(kind: str, options: dict, said: str) -> None:
    usual = {"cores": 1, "memory": "1GB"} if kind == "SLURMCluster" else {"dashboard_address": ":0"}
    spec = ClusterSpec.model_validate({"class": kind, "jobs": 1, "options": usual | options})
    with pytest.raises(ConfigError, match=f"--cluster: options of {kind}: .*{said}"):  # noqa: SIM117
        with executor_with(cluster=spec):
            pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
def test_connections_are_encrypted_where_options_say_so(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=here",
        "-keyout",
        key,
        "-out",
        cert,
    ]
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    security = {
        f"tls_{who}_{what}": str(tmp_path / f"{what}.pem")
        for who in ("scheduler", "worker", "client")
        for what in ("cert", "key")
    }
    security |= {"tls_ca_file": str(cert), "require_encryption": True}
    options = {"protocol": "tls", "security": security, "dashboard_address": ":0", "processes": False}
    with executor_with(
        cluster=ClusterSpec.model_validate({"class": "LocalCluster", "jobs": 1, "options": options})
    ) as dask:
        assert sorted(dask.map(abs, [-2, 3])) == [2, 3]
        assert dask._client.scheduler.address.startswith("tls://")


def test_keys_for_one_run_need_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    spec = ClusterSpec.model_validate({"class": "LocalCluster", "jobs": 1, "options": {"security": True}})
    with pytest.raises(ConfigError, match=r"options of LocalCluster: .*requires `cryptography`"):  # noqa: SIM117
        with executor_with(cluster=spec):
            pass
