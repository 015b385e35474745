"""What interplay does to a node: `python -m benchmarks.interplay` prints the tables of docs/how-to/interplay.md.

The node of `configs/mediastinal_node.yaml` in free breathing, planned on its ITV, without any other error.
"""

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import simulator
from simulator.ground.parallel import SerialExecutor
from simulator.plan.quality import Plan
from simulator.problem.preparation import prepare
from simulator.problem.problem import Problem
from simulator.sampling.courses import draw_courses
from simulator.sampling.delivery import deliver
from simulator.simulation.courses import course_draws
from simulator.simulation.interplay import deliver_in_time, in_parts, parts_of
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work, tissue_of

PERIODS_S = (3.5, 7, 15, 30, 60)
AMPLITUDES_MM = (5, 10, 20, 30)
ARCS: dict[str, dict[str, Any]] = {
    "conformal": {"model": "conformal-arc"},
    "inverse, 1 pass": {"model": "inverse-arc", "passes": 1},
    "inverse, 2 passes": {"model": "inverse-arc", "passes": 2},
}
_BLUR_INSTANTS = 240


@dataclass(frozen=True)
class Changes:
    """What interplay changes over starting phases.

    Parameters
    ----------
    pointwise_percent : SD of the dose of a point over phases, percent of its blurred dose, of the point where it is largest.
    mean_percent : largest difference of a point's mean over phases from its blurred dose, percent.
    dose_percent : D99% with interplay less that without, percent of the latter (course,). d98_gy : D98% (course,).
    """

    pointwise_percent: float
    mean_percent: float
    dose_percent: np.ndarray
    d98_gy: np.ndarray


def study(
    arc: dict[str, Any], amplitude_mm: tuple[float, float, float], motion: str, fractions: int, beam_s: float
) -> Problem:
    """The node, breathing as a cosine."""
    dose_gy = 50.0
    changes = {
        "plan": arc,
        "prescription": {"dose_gy": dose_gy, "fractions": fractions, "isodose_percent": 80},
        "uncertainty": {"respiration": {"amplitude_mm": amplitude_mm, "n": 1}},
        "session": {"dose_rate_gy_per_min": dose_gy / fractions / beam_s * 60},
        "strategies": {"margins_mm": [5], "motion": [motion], "guidance": ["none"]},
        "goals": ["GTV D98% >= 95%", "GTV D99% >= 95%", *_LIMITS],
        "simulate": {"interplay": "screen", "organs": 0},
    }
    return prepare(simulator.load_study(simulator.example("mediastinal_node"), changes))


_LIMITS = ("Esophagus D0.035cc <= 35 Gy", "SpinalCord D0.035cc <= 25.3 Gy", "BronchialTree_Prox D0.035cc <= 40 Gy")


def with_period(problem: Problem, period_s: float, apart_s: float = 0.5) -> Problem:
    """The same patient and plan, breathing more slowly or more quickly."""
    respiration = problem.config.uncertainty.respiration.model_copy(update={"period_s": period_s})  # type: ignore[union-attr]
    uncertainty = problem.config.uncertainty.model_copy(update={"respiration": respiration})
    simulate = problem.config.simulate.model_copy(update={"instant_s": apart_s})
    config = problem.config.model_copy(update={"uncertainty": uncertainty, "simulate": simulate})
    setting = replace(problem.setting, uncertainty=uncertainty, n_instants=_BLUR_INSTANTS)
    target = (problem.targets[0].structure,)
    return replace(problem, config=config, setting=setting, structures=target)


def changes(problem: Problem, plan: Plan, n_courses: int = 32) -> Changes:
    """Courses that differ by their starting phases alone, with interplay and blurred."""
    own, draws, name = problem.strategies[0], course_draws(problem, 0, n_courses), problem.targets[0].name
    delivery, blurred = (
        deliver_in_time(problem, own, draws),
        deliver(draw_courses(problem.setting, draws), own, problem.setting),
    )
    work = prepare_work(problem, own, plan, [delivery, blurred], SerialExecutor())
    parts = parts_of(problem, plan, work.reach)
    parted = tissue_of(problem, problem.structures[0], in_parts(problem, work.doses, parts)[name])
    found, static = (
        parted.measure(delivery.motion(name), draws),
        work.tissues[name].measure(blurred.motion(name), draws),
    )
    gy = in_parts(problem, work.doses, parts)[name].accumulate(delivery.motion(name)).astype(float)
    blur = work.doses[name].accumulate(blurred.motion(name)).astype(float).mean(axis=0)
    d98, d99 = (problem.column[f"{name} {metric}"] for metric in ("D98%", "D99%"))
    return Changes(
        float(100 * (gy.std(axis=0) / blur).max()),
        float(100 * np.abs(gy.mean(axis=0) / blur - 1).max()),
        100 * (found.values[:, d99] / static.values[:, d99] - 1),
        found.values[:, d98],
    )


def by_period() -> str:
    """Largest SD of the dose of a point over starting phases, in percent, and the range of D98%, by period and kind of arc."""
    rows = {f"{period:g}": [f"{period:g}"] for period in PERIODS_S}
    for arc in ARCS.values():
        problem = study(arc, (2.3, 2.1, 4.6), "none", 1, 120.0)
        plan = make_plan(problem, problem.requests[0])
        for period in PERIODS_S:
            found = changes(with_period(problem, period), plan)
            rows[f"{period:g}"] += [
                f"{found.pointwise_percent:.2f}",
                f"{found.d98_gy.min():.2f}-{found.d98_gy.max():.2f}",
            ]
    head = "| period (s) | " + " | ".join(f"{name}: SD (%) | D98% (Gy)" for name in ARCS) + " |"
    return _table(head, rows.values())


def by_amplitude() -> str:
    """|change of D99%| in percent, mean and largest, by amplitude along SI, period and number of fractions of 10 Gy a 150 s."""
    rows = []
    for amplitude in AMPLITUDES_MM:
        of_fractions = {n: study(ARCS["inverse, 2 passes"], (0, 0, amplitude), "itv", n, 150.0) for n in (1, 3, 5)}
        plan, row = make_plan(of_fractions[1], of_fractions[1].requests[0]), [f"{amplitude}"]
        for n, period in ((1, 5.0), (3, 5.0), (5, 5.0), (1, 60.0)):
            found = np.abs(changes(with_period(of_fractions[n], period), plan).dose_percent)
            row.append(f"{found.mean():.2f} ({found.max():.2f})")
        rows.append(row)
    return _table("| amplitude (mm) | 5 s, 1 fraction | 3 fractions | 5 fractions | 60 s, 1 fraction |", rows)


def _table(head: str, rows: Any) -> str:
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    for table in (by_period, by_amplitude):
        if len(sys.argv) == 1 or table.__name__ in sys.argv:
            sys.stdout.write(f"{table.__doc__}\n\n{table()}\n\n")
