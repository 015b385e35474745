"""How many control displacements the change of dose on moved anatomy takes: fits of it against whole courses recomputed.

For `configs/mediastinal_node.yaml` with conformal arcs, 5 mm and no ITV: 20 courses whose plan is recomputed at the mean
displacement of every fraction, and what three fits make of the same displacements.

Run it from the root of the repository:  python -m benchmarks.static_cloud [--courses N]
"""

import argparse
from pathlib import Path

import numpy as np

import simulator
from simulator.answers.model_error import Judges
from simulator.ground.parallel import local_executor
from simulator.problem.preparation import prepare
from simulator.simulation.courses import course_draws
from simulator.simulation.plans import make_plan
from simulator.simulation.remeasured import Remeasured
from simulator.simulation.static_cloud import DoseChange, Recomputing

CONFIG = Path(__file__).parents[1] / "configs" / "mediastinal_node.yaml"
SAMPLED = 200
FITS: dict[str, tuple[tuple[float, ...], int]] = {
    "linear, 2 an axis": ((-1.0, 1.0), 1),
    "quadratic, 2 an axis": ((-1.0, 1.0), 2),
    "quartic, 4 an axis": ((-1.0, -0.5, 0.5, 1.0), 4),
}


def main() -> None:
    """Print, for each goal, the largest change by recomputing and the largest error of each fit, in the unit of the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--courses", type=int, default=20)
    n = parser.parse_args().courses
    changes = {"plan.model": "conformal-arc", "strategies.prv_mm": [0], "strategies.margins_mm": [5]}
    problem = prepare(simulator.load_study(CONFIG, changes | {"strategies.motion": ["none"]}))
    strategy, plan = problem.strategies[0], make_plan(problem, problem.requests[0])
    judges = Judges(problem)
    with local_executor(None) as executor:
        courses = Remeasured(problem, strategy, plan, course_draws(problem, 0, SAMPLED), executor)
        cloud = Recomputing.of(problem, strategy, plan, courses.points_mm)
        assert cloud is not None
        mm = courses.delivery.fractions_mm[:n]
        truth = np.stack([courses.changed_alone(i, cloud.of_fractions(own)) for i, own in enumerate(mm)])
        columns = {"recomputed": np.abs(judges.values(truth) - judges.values(courses.simulated[:n])).max(axis=0)}
        flips = {}
        for name, (controls, degree) in FITS.items():
            fit = DoseChange.fitted(cloud, courses.delivery, executor, controls, degree)
            found = np.stack([courses.changed_alone(i, fit.of_fractions(own)) for i, own in enumerate(mm)])
            columns[f"{name} ({fit.n_controls})"] = np.abs(judges.values(found) - judges.values(truth)).max(axis=0)
            flips[name] = int((judges.met(found) != judges.met(truth)).sum())
    print(f"| goal | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for k, goal in enumerate(judges.goals):
        print(f"| {goal.text} | {' | '.join(f'{column[k]:.3f}' for column in columns.values())} |")
    print(f"goals met by the fit and missed by the recomputed course, or the other way round: {flips}")


if __name__ == "__main__":
    main()
