"""One piece of work by the version on PYTHONPATH, as JSON: `python -P benchmarks/one_turn.py (W1 | W2 | W3 | plans) WORKERS`.

Workloads come from that version too, since they call inner parts of it; a comparison runs this script once for each turn.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import simulator

COURSES = {"W1": 20_000, "W2": 8_000, "W3": 400}
STUDY = Path(__file__).with_name("w5.yaml")
SOME = {
    "strategies.margins_mm": [5],
    "strategies.motion": ["none", "itv", "mid-ventilation", "tracking"],
}


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds and processor seconds of some work."""
    begin, processor_begin = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - begin, "processor s": time.process_time() - processor_begin}


def of_workload(name: str, n_workers: int) -> dict[str, float]:
    """The courses of W1, W2 or W3, compiled before."""
    from benchmarks.workloads import by_simulator, workload

    work = workload(name)
    by_simulator(work, 8 * n_workers, n_workers)
    return timed(lambda: by_simulator(work, COURSES[name], n_workers))


def of_plans() -> dict[str, float]:
    """The plans of some strategies of W5 in one thread, without its case."""
    from simulator.ground.parallel import SerialExecutor
    from simulator.problem.preparation import prepare
    from simulator.simulation.plans import make_plan, make_plans

    problem = prepare(simulator.load_study(STUDY, SOME))
    requests = list(dict.fromkeys(problem.requests))
    make_plan(problem, requests[0])
    return {**timed(lambda: make_plans(problem, requests, SerialExecutor())), "plans": len(requests)}


if __name__ == "__main__":
    name, n_workers = sys.argv[1], int(sys.argv[2])
    found = of_plans() if name == "plans" else of_workload(name, n_workers)
    print(json.dumps(found | {"simulator": str(Path(simulator.__file__).parent)}))
