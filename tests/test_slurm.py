"""A sweep on a real queue gives the numbers of a serial run, also when jobs and workers are killed on the way."""

import random
import subprocess
from pathlib import Path

import pytest
import yaml
from faults import PATIENCE_S, QUEUE, Trial, kill_one, queued, slurm_workers, undisturbed, until


@pytest.mark.nightly
def test_sweep_survives_a_killed_worker_and_a_cancelled_job(slurm: Path, tmp_path: Path) -> None:
    trial = Trial(tmp_path, courses=300)
    run = trial.start("--cluster", "queue.yaml")
    trial.until_blocks(5, run)
    kill_one(slurm_workers())
    trial.until_blocks(15, run)
    subprocess.run(["scancel", random.choice(queued())], check=True)
    assert run.wait(PATIENCE_S) == 0, trial.said()
    until(lambda: not queued(), "an empty queue")
    assert trial.result_hash() == undisturbed(300)
    submitted = subprocess.run(["scontrol", "--oneliner", "show", "jobs"], capture_output=True, text=True, check=True)
    assert submitted.stdout.count("CANCELLED") >= 1


def test_refused_job_is_a_message(slurm: Path, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    (tmp_path / "queue.yaml").write_text(yaml.safe_dump({**QUEUE, "options": {**QUEUE["options"], "queue": "nowhere"}}))
    assert trial.start("--cluster", "queue.yaml").wait(PATIENCE_S) == 2
    assert "the queue refuses the job" in trial.said()
    assert "invalid partition specified: nowhere" in trial.said()
    assert not list(tmp_path.glob("simulator-error*"))
