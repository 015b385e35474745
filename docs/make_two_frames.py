"""Write images/two-frames.svg: a patient 4 mm and a node another 6 mm off to the left, without a match and with two."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from simulator import course_draws, deliver_courses, prepare, run
from simulator.ground.parallel import SerialExecutor
from simulator.plots.style import house_style, svg_bytes
from simulator.problem.problem import Problem
from simulator.simulation.plans import make_plans
from simulator.strategy import Strategy
from simulator.study_file.schema import StudyConfig

IMAGES = Path(__file__).parent / "images"
GTV_MM, ORGAN_MM, GAP_MM, MARGIN_MM = 10, 8, 22, 5
SETUP_MM, MOVED_MM = 4.0, 6.0
ISODOSES = {20: "#9ecae1", 50: "#4292c6", 95: "#c0202a"}
TITLES = {"none": "no match", "online-bone": "match on bone", "online-target": "match on the node"}
STUDY = {
    "name": "two-frames",
    "case": {"phantom": "sphere", "radius_mm": GTV_MM, "organs": {"Organ": {"radius_mm": ORGAN_MM, "gap_mm": GAP_MM}}},
    "prescription": {"dose_gy": 50, "fractions": 1, "isodose_percent": 80},
    "plan": {"model": "penumbra", "normalisation": "isodose"},
    "uncertainty": {"setup": {"mean_mm": [SETUP_MM, 0, 0]}, "baseline": {"mean_mm": [MOVED_MM, 0, 0]}},
    "strategies": {
        "margins_mm": [MARGIN_MM],
        "motion": ["none"],
        "guidance": ["none", *({"kind": k, "match_mm": 0} for k in ("online-bone", "online-target"))],
    },
    "goals": ["GTV D98% >= 95%", "Organ D0.035cc <= 30 Gy"],
    "courses": 1,
}  # fmt: skip


def places_mm(problem: Problem, strategy: Strategy) -> tuple[float, float, float]:
    """Where node, organ and beam are along LR in the patient's frame, relative to the plan."""
    delivery = deliver_courses(problem, strategy, course_draws(problem, 0, 1))
    node, organ = (float(delivery.motion(name).shift_mm[0, 0, 0]) for name in ("GTV", "Organ"))
    beam = -organ  # nothing moves the organ within the patient, so what it moves relative to the beam is the beam
    return node + beam, 0.0, beam


def draw(
    axes: Axes, problem: Problem, dose: np.ndarray, across: np.ndarray, places: tuple[float, float, float]
) -> None:
    """Node and organ where they are, dashed where they were planned, under the dose where the beam is."""
    node, organ, beam = places
    axes.contour(across + beam, across, dose, list(ISODOSES), colors=list(ISODOSES.values()), linewidths=1.4)
    centres = [s.centroid_mm[0] for s in problem.structures]
    for centre, at, radius, colour in zip(
        centres, (node, organ), (GTV_MM, ORGAN_MM), ("#222222", "#009E73"), strict=True
    ):
        axes.add_patch(Circle((centre, 0), radius, fill=False, linestyle=":", color="#888888"))
        axes.add_patch(Circle((centre + at, 0), radius, color=colour, alpha=0.25, linewidth=0))
        axes.add_patch(Circle((centre + at, 0), radius, fill=False, color=colour, linewidth=1.6))
    axes.plot(beam, 0, "+", color="#c0202a", markersize=11, markeredgewidth=2)
    axes.set(aspect="equal", xlim=(-24, 44), ylim=(-24, 24), xticks=[], yticks=[])


def main() -> None:
    """Run the study and draw a panel for each guidance."""
    study = StudyConfig.model_validate(STUDY)
    problem, metrics = prepare(study), run(study)["metrics"].to_dataset()
    (plan, *_) = make_plans(problem, problem.requests, SerialExecutor())
    across = np.linspace(-40, 60, 81)
    x, y = np.meshgrid(across, across)
    dose = 2 * plan.dose.at(np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)).reshape(x.shape)  # % of 50 Gy
    with house_style():
        figure, grid = plt.subplots(2, 2, figsize=(7.6, 6.4), constrained_layout=True)
        panels = list(grid.flat)
        draw(panels[0], problem, dose, across, (0.0, 0.0, 0.0))
        values = {"as planned": metrics["nominal"].isel(strategy=0)}
        panels[0].set_title("as planned")
        for i, strategy in enumerate(problem.strategies, 1):
            draw(panels[i], problem, dose, across, places_mm(problem, strategy))
            title = TITLES[strategy.guidance.kind]
            panels[i].set_title(title)
            values[title] = metrics["value"].isel(strategy=i - 1, course=0)
        for axes, (title, value) in zip(panels, values.items(), strict=True):
            gtv, organ = (float(value.sel(metric=m)) for m in ("GTV D98%", "Organ D0.035cc"))
            axes.set_xlabel(f"node D98% {gtv:.1f} Gy\norgan D0.035cc {organ:.1f} Gy")
            print(f"{title}: GTV D98% {gtv:.1f} Gy, organ D0.035cc {organ:.1f} Gy")
        (IMAGES / "two-frames.svg").write_bytes(svg_bytes(figure))


if __name__ == "__main__":
    main()
