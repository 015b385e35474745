"""Break runs on purpose, many times, and check that the same numbers come out: `python tests/faults.py --times 5 [FAULT ...]`.

Prints the table of docs/explanation/reliability.md. A fault strikes a small sweep once some of its blocks are finished; then
the same command is given again, if it ended. What the fault cost is the number of courses finished before and simulated again.
"""

import argparse
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from slurm import single_node

import simulator
from simulator.results.file import open_results
from simulator.study_file.schema import StudyConfig

ROOT = Path(__file__).parents[1]
PATIENCE_S = 300.0
STUDY = {
    "name": "faults",
    "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 2},
    "prescription": {"dose_gy": 48, "fractions": 4, "isodose_percent": 80},
    "plan": {"model": "penumbra", "normalisation": "isodose", "gridded": True},
    "uncertainty": {
        "setup": {"systematic_mm": 1, "random_mm": [1, 2, 1.5]},
        "respiration": {"amplitude_mm": [1, 2, 6], "course_cv": 0.4, "fraction_cv": 0.2},
    },
    "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["online-target"]},
    "goals": ["GTV D98% >= 95%", "GTV V48Gy >= 99 %"],
    "courses": 500,
    "seed": 5,
    "numerics": {"block_courses": 10, "max_points": 6000},
    "sweep": {"uncertainty.setup.systematic_mm": [1, 2]},
}
N_COURSES = 2 * 500
QUEUE = {
    "class": "SLURMCluster",
    "jobs": 2,
    "options": {
        "cores": 1,
        "processes": 1,
        "memory": "1GB",
        "interface": "lo",
        "walltime": "00:30:00",
        "death_timeout": 20,
        "scheduler_options": {"dashboard_address": ":0"},
    },
}
# The command line, with less patience for lost jobs than a real queue needs; if asked, with a clock that jumps to and fro.
SIMULATOR = """
import os
import time

if "JUMP_S" in os.environ:
    real, jump_s = time.time, float(os.environ["JUMP_S"])
    time.time = lambda: real() + jump_s * (-1) ** int(time.monotonic())
import simulator.execution.clusters as clusters
from simulator.commands.cli import main
if __name__ == "__main__":
    clusters._LOST_WORKER_TIMEOUT, clusters._Keeper.patience_s, clusters._Keeper.interval_s = "15s", 15.0, 1.0
    main()
"""


class Trial:
    """`simulator run` of the study in a folder of its own, with so many courses at each of its two points."""

    def __init__(self, folder: Path, courses: int = N_COURSES // 2) -> None:
        self.folder, self.n_courses = folder, 2 * courses
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | {"courses": courses}), encoding="utf-8")
        (folder / "queue.yaml").write_text(yaml.safe_dump(QUEUE), encoding="utf-8")
        (folder / "simulate.py").write_text(SIMULATOR, encoding="utf-8")
        self.out = folder / "out"
        self._runs: list[subprocess.Popen] = []

    def start(self, *options: str, **environment: str) -> subprocess.Popen:
        """The command, with its messages in log.txt."""
        command = [sys.executable, "simulate.py", "run", "study.yaml", "--out", str(self.out), "--no-report"]
        with (self.folder / "log.txt").open("ab") as log:
            run = subprocess.Popen(
                [*command, *options],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._runs.append(run)
        return run

    def stop(self) -> None:
        """End what still runs."""
        for run in self._runs:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()

    def blocks(self) -> list[Path]:
        """Files of finished blocks of courses."""
        return sorted(self.out.glob("points/*/blocks/*-c*.block"))

    def n_finished(self) -> int:
        """Courses in finished blocks."""
        return sum(int(path.stem.rsplit("-", 1)[1]) for path in self.blocks())

    def until_blocks(self, n: int, run: subprocess.Popen) -> None:
        """Wait until so many blocks are finished."""
        until(lambda: len(self.blocks()) >= n or run.poll() is not None, f"{n} blocks")
        assert run.poll() is None, f"the run ended before the fault\n{self.said()}"

    def n_simulated(self) -> int:
        """Courses that the tasks on record have simulated, rather than found."""
        path = self.out / "tasks.csv"
        if not path.exists():
            return 0
        with path.open(newline="", encoding="utf-8") as file:
            return sum(int(row["n_new"]) for row in csv.DictReader(file))

    def said(self) -> str:
        """The last messages."""
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-3000:]

    def result_hash(self) -> str:
        """Of the finished results."""
        with open_results(self.out) as results:
            return str(results.attrs["result_hash"])


@dataclass(frozen=True)
class Cost:
    """What a fault cost: commands given until the results were there, and courses finished before that were done again."""

    commands: int
    redone: int
    exit_code: int | None


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something, with an end."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.05)


def finish(trial: Trial, run: subprocess.Popen, *options: str, **environment: str) -> Cost:
    """Let a run that was struck end, and repeat the command if it did not finish."""
    code = run.wait(PATIENCE_S)
    if code == 0:
        return Cost(1, max(0, trial.n_simulated() - N_COURSES), code)
    finished, before = trial.n_finished(), trial.n_simulated()
    again = trial.start(*options, **environment).wait(PATIENCE_S)
    assert again == 0, f"the second command ended with {again}\n{trial.said()}"
    return Cost(2, finished + trial.n_simulated() - before - N_COURSES, code)


def workers_below(process: subprocess.Popen | int) -> list[psutil.Process]:
    """Worker processes of Dask or joblib that descend from a process."""
    root = psutil.Process(process if isinstance(process, int) else process.pid)
    marks = ("multiprocessing.spawn", "loky.backend.popen", "popen_loky")
    return [p for p in root.children(recursive=True) if any(mark in " ".join(_words(p)) for mark in marks)]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_of_this_queue(process: psutil.Process) -> bool:
    try:
        return process.environ().get("SLURM_CONF") == os.environ["SLURM_CONF"]
    except psutil.Error:
        return False


def slurm_workers() -> list[psutil.Process]:
    """Worker processes of the jobs of this queue, not of another one on the same machine."""
    nannies = [p for p in psutil.process_iter() if "distributed.cli.dask_worker" in _words(p) and _is_of_this_queue(p)]
    return [worker for nanny in nannies for worker in workers_below(nanny.pid)]


def kill_one(workers: list[psutil.Process]) -> None:
    """Kill -9 of one of them."""
    random.choice(workers).kill()


def queued() -> list[str]:
    """Numbers of the jobs that wait or run."""
    states = ["squeue", "--noheader", "--states=PENDING,RUNNING", "--format=%i"]
    return subprocess.run(states, capture_output=True, text=True, check=True).stdout.split()


def a_moment() -> int:
    """Number of finished blocks at which the fault strikes."""
    return random.randint(10, 60)


def worker_of_processes(trial: Trial) -> Cost:
    """kill -9 of a worker, `--backend processes`"""
    options = ("--backend", "processes", "--workers", "2")
    run = trial.start(*options)
    trial.until_blocks(a_moment(), run)
    kill_one(workers_below(run))
    cost = finish(trial, run, *options)
    assert cost.exit_code == 2, f"the run ended with {cost.exit_code}"
    return cost


def worker_of_dask(trial: Trial) -> Cost:
    """kill -9 of a worker, `--backend dask`"""
    run = trial.start("--backend", "dask", "--workers", "2")
    trial.until_blocks(a_moment(), run)
    kill_one(workers_below(run))
    return finish(trial, run)


def twenty_kills(trial: Trial) -> Cost:
    """20 times kill -9 of a random worker in one sweep, `--backend dask`"""
    run = trial.start("--backend", "dask", "--workers", "2")
    for kill in range(20):
        trial.until_blocks(4 * kill + 1, run)
        until(lambda: len(workers_below(run)) > 0, "a worker")
        kill_one(workers_below(run))
    return finish(trial, run)


def worker_of_slurm(trial: Trial) -> Cost:
    """kill -9 of a worker, SLURM"""
    run = trial.start("--cluster", "queue.yaml")
    trial.until_blocks(a_moment(), run)
    kill_one(slurm_workers())
    return _slurm_finish(trial, run)


def job_cancelled(trial: Trial) -> Cost:
    """scancel of a job, SLURM"""
    run = trial.start("--cluster", "queue.yaml")
    trial.until_blocks(a_moment(), run)
    subprocess.run(["scancel", random.choice(queued())], check=True)
    return _slurm_finish(trial, run)


def all_jobs_cancelled(trial: Trial) -> Cost:
    """scancel of all jobs, SLURM"""
    run = trial.start("--cluster", "queue.yaml")
    trial.until_blocks(a_moment(), run)
    subprocess.run(["scancel", *queued()], check=True)
    return _slurm_finish(trial, run)


def client_of_slurm(trial: Trial) -> Cost:
    """kill -9 of `simulator run`, SLURM"""
    run = trial.start("--cluster", "queue.yaml")
    trial.until_blocks(a_moment(), run)
    run.kill()
    until(lambda: not queued(), "the jobs of a killed run to end")
    return _slurm_finish(trial, run)


def interrupted_slurm(trial: Trial) -> Cost:
    """Ctrl-C of `simulator run`, SLURM"""
    run = trial.start("--cluster", "queue.yaml")
    trial.until_blocks(a_moment(), run)
    run.send_signal(signal.SIGINT)
    assert run.wait(PATIENCE_S) == 130, trial.said()
    until(lambda: not queued(), "the jobs of an interrupted run to end")
    return _slurm_finish(trial, run)


def _slurm_finish(trial: Trial, run: subprocess.Popen) -> Cost:
    cost = finish(trial, run, "--cluster", "queue.yaml")
    until(lambda: not queued(), "an empty queue")
    return cost


def client(trial: Trial) -> Cost:
    """kill -9 of `simulator run`, threads"""
    run = trial.start("--workers", "2")
    trial.until_blocks(a_moment(), run)
    run.kill()
    return finish(trial, run)


def interrupted(trial: Trial) -> Cost:
    """Ctrl-C, threads"""
    run = trial.start("--workers", "2")
    trial.until_blocks(a_moment(), run)
    run.send_signal(signal.SIGINT)
    cost = finish(trial, run)
    assert cost.exit_code == 130, f"Ctrl-C ended with {cost.exit_code}"
    return cost


def stopped(trial: Trial, number: signal.Signals) -> tuple[int, int]:
    """Stop a run by a signal at a random moment while courses are simulated; finished blocks before and after this run."""
    before = len(trial.blocks())
    run = trial.start("--workers", "2", *SMALL_BLOCKS)
    trial.until_blocks(before + 1, run)
    time.sleep(random.uniform(0, 0.1))
    run.send_signal(number)
    code, expected = run.wait(PATIENCE_S), -number if number == signal.SIGKILL else 128 + number
    after = trial.n_finished()
    assert code == expected, f"{number.name} ended with {code}\n{trial.said()}"
    assert after < trial.n_courses, f"all courses were finished before {number.name}"
    return before, len(trial.blocks())


SMALL_BLOCKS = ("--set", "numerics.block_courses=1")  # many, so that each of many stops finds some unfinished
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


def twenty_stops(trial: Trial) -> Cost:
    """20 times Ctrl-C, SIGTERM, SIGHUP or kill -9 of `simulator run` in one sweep, each with blocks unfinished, threads"""
    for stop in range(20):
        before, after = stopped(trial, STOPS[stop % len(STOPS)])
        print(
            f"{STOPS[stop % len(STOPS)].name}: {before} blocks before, {after} of {N_COURSES} after",
            file=sys.stderr,
        )
    finished, done = trial.n_finished(), trial.n_simulated()
    assert trial.start("--workers", "2", *SMALL_BLOCKS).wait(PATIENCE_S) == 0, trial.said()
    return Cost(21, finished + trial.n_simulated() - done - N_COURSES, 0)


@contextmanager
def _scheduler(trial: Trial, port: int) -> Iterator[subprocess.Popen]:
    """A Dask scheduler with two workers."""
    programs = [("scheduler", "--host", "127.0.0.1", "--port", str(port))]
    programs += [("worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--death-timeout", "120")] * 2
    started = []
    with (trial.folder / "dask.txt").open("ab") as log:
        for name, *options in programs:
            command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *options, "--no-dashboard"]
            started.append(
                subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)})
            )
    try:
        yield started[0]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(PATIENCE_S)


def scheduler(trial: Trial) -> Cost:
    """kill -9 of the Dask scheduler, `--scheduler`"""
    (port,) = single_node.free_ports(1)
    options = ("--scheduler", f"tcp://127.0.0.1:{port}")
    with _scheduler(trial, port) as process:
        run = trial.start(*options)
        trial.until_blocks(a_moment(), run)
        process.kill()
        assert run.wait(PATIENCE_S) == 2, trial.said()
    with _scheduler(trial, port):
        return finish(trial, run, *options)


def _stopped_early(trial: Trial) -> subprocess.Popen:
    """A run that ended with many finished blocks."""
    run = trial.start("--workers", "2")
    trial.until_blocks(60, run)
    run.kill()
    run.wait()
    return run


def truncated(trial: Trial) -> Cost:
    """3 block files truncated"""
    run = _stopped_early(trial)
    for path in random.sample(trial.blocks(), 3):
        os.truncate(path, random.randrange(path.stat().st_size))
    return finish(trial, run)


def flipped(trial: Trial) -> Cost:
    """3 block files with one bit flipped"""
    run = _stopped_early(trial)
    for path in random.sample(trial.blocks(), 3):
        content = bytearray(path.read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(content)
    return finish(trial, run)


def clock(trial: Trial) -> Cost:
    """File times changed at random, then a clock that jumps between 1000 days ago and 1000 days ahead every second"""
    run = _stopped_early(trial)
    for path in trial.out.rglob("*"):
        os.utime(path, (random.uniform(0, 4e9),) * 2)
    return finish(trial, run, JUMP_S=str(1000 * 86400))


def disk_full(trial: Trial) -> Cost:
    """Disk full"""
    trial.out.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={random.randint(1500, 4000)}k", "tmpfs", trial.out], check=True
    )
    try:
        run = trial.start("--workers", "2")
        code = run.wait(PATIENCE_S)
        assert code == 2, f"a full disk ended with {code}\n{trial.said()}"
        assert "No space left on device" in trial.said(), trial.said()
        subprocess.run(["mount", "-o", "remount,size=500m", trial.out], check=True)
        cost = finish(trial, run)
        kept = trial.folder / "kept"
        shutil.copytree(trial.out, kept)
    finally:
        subprocess.run(["umount", trial.out], check=True)
    shutil.rmtree(trial.out)
    kept.rename(trial.out)
    return cost


def two_at_once(trial: Trial) -> Cost:
    """Two runs in one folder at once"""
    runs = [trial.start("--workers", "1") for _ in range(2)]
    codes = [run.wait(PATIENCE_S) for run in runs]
    assert codes == [0, 0], f"{codes}\n{trial.said()}"
    return Cost(1, max(0, trial.n_simulated() - N_COURSES), 0)


FAULTS = {
    f.__name__.replace("_", "-"): f
    for f in (
        *(worker_of_processes, worker_of_dask, worker_of_slurm, twenty_kills, job_cancelled, all_jobs_cancelled),
        *(
            scheduler,
            client,
            client_of_slurm,
            interrupted,
            interrupted_slurm,
            disk_full,
            truncated,
            flipped,
            clock,
            two_at_once,
            twenty_stops,
        ),
    )
}


def strike(fault: Callable[[Trial], Cost], expected: str) -> Cost:
    """One fault in a fresh folder; the numbers have to be the expected ones."""
    with tempfile.TemporaryDirectory(prefix="fault-", ignore_cleanup_errors=True) as folder:
        trial = Trial(Path(folder))
        try:
            cost = fault(trial)
        finally:
            trial.stop()
        assert trial.result_hash() == expected, "the numbers differ"
        left = [str(path) for path in trial.out.rglob("*") if re.search(r"partial|blocks|\.npy$", path.name)]
        assert not left, f"left behind: {left}"
        return cost


def undisturbed(courses: int = N_COURSES // 2) -> str:
    """Hash of the numbers without any fault, of one thread."""
    return str(simulator.run(StudyConfig.model_validate(STUDY), courses=courses, workers=1).attrs["result_hash"])


def main() -> None:
    """Print one line of the table for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; all by default")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and all they start, ignore it
    expected = undisturbed()
    print("| fault | times | same numbers | commands | finished courses done again, most | seconds |")
    print("|---|---|---|---|---|---|")
    names = arguments.faults or list(FAULTS)
    with ExitStack() as stack:
        if any("slurm" in name or "job" in name for name in names):
            stack.enter_context(single_node.running())
        for name in names:
            costs, failures, began = [], [], time.monotonic()
            for _ in range(arguments.times):
                try:
                    costs.append(strike(FAULTS[name], expected))
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {error}")
            seconds = (time.monotonic() - began) / arguments.times
            commands = "-".join(str(n) for n in sorted({cost.commands for cost in costs}))
            redone = max((cost.redone for cost in costs), default=-1)
            same = f"{len(costs)} of {arguments.times}"
            print(
                f"| {FAULTS[name].__doc__} | {arguments.times} | {same} | {commands} | {redone} | {seconds:.0f} |",
                flush=True,
            )
            for failure in failures:
                print(failure, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
