"""Write explanation/plans.md and its pictures: conformal arcs beside inverse-planned ones, three sites and three margins."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from simulator import load_study, prepare
from simulator.ground.parallel import local_executor
from simulator.plan.quality import Plan
from simulator.problem.problem import Problem
from simulator.simulation.plans import make_plans
from simulator.study_file.schema import StudyConfig

HERE = Path(__file__).parent
SITES = ("mediastinal", "abdominal", "pelvic")
MODELS = ("conformal-arc", "inverse-arc")
MARGINS_MM = (3, 5, 8)
PRV_MM = 2
ISODOSES = {20: "#3b6fb6", 50: "#37a05a", 80: "#e0a000", 90: "#e06a00", 100: "#c0202a"}
HALF_MM = 70.0
INTRO = """# Plans, looked at

Conformal arcs (`conformal-arc`) know the PTV alone; inverse-planned arcs (`inverse-arc`) keep the mandatory limits of the
study's organs too, here with a planning-risk volume of 2 mm. One full turn, no ITV, the anatomies of the shipped studies. Left
to right in each picture: axial and coronal section of the conformal plan, then of the inverse plan; from top to bottom margins
of 3, 5 and 8 mm. Isodoses of 20, 50, 80, 90 and 100 % of the prescription; GTV white, PTV black, organs with goals grey. D95
below the prescription is the prescription rule: where a limit binds, the dose is the largest that keeps every limit.
`python docs/make_plans.py` makes this page.
"""
COLUMNS = (
    "plan", "margin (mm)", "PTV (cc)", "D95 (Gy)", "V100 (%)", "V90 (%)", "D99 (Gy)", "R100", "R50", "D2cm (%)",
    "maximum (Gy)", "limits",
)  # fmt: skip


def study_of(site: str, model: str) -> StudyConfig:
    """The shipped study of a site with one plan model and three margins."""
    study = load_study(HERE.parent / "configs" / f"{site}_node.yaml").model_dump()
    study["strategies"] = {"margins_mm": MARGINS_MM, "motion": ["none"], "guidance": ["online-target"]}
    if model == "inverse-arc":
        study["strategies"]["prv_mm"] = PRV_MM
    study["plan"] = {"model": model}
    return StudyConfig.model_validate(study)


def section(axes: plt.Axes, problem: Problem, plan: Plan, axis: int) -> None:
    """One section through the centre of the target: axis 0 axial, 1 coronal."""
    (target,) = problem.targets
    centre = target.structure.centroid_mm
    offsets = np.arange(-HALF_MM, HALF_MM + 0.5)
    across, along = np.meshgrid(offsets, offsets)
    flat = np.zeros_like(across)
    points = centre + np.stack([across, along, flat] if axis == 0 else [across, flat, along], axis=-1)
    density = problem.case.density
    index = np.rint(density.grid.index_zyx(points.reshape(-1, 3))).astype(int)
    index = np.clip(index, 0, np.array(density.grid.shape) - 1)
    grey = density.values[tuple(index.T)].reshape(across.shape)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1.6, extent=(-HALF_MM, HALF_MM, -HALF_MM, HALF_MM), origin="lower")
    percent = 100 * plan.dose.at(points.reshape(-1, 3)).reshape(across.shape) / problem.config.prescription.dose_gy
    axes.contour(across, along, percent, list(ISODOSES), colors=list(ISODOSES.values()), linewidths=1.0)
    limited = {goal.metric.structure for goal in problem.goals}
    shapes = [(s.region, "#bbbbbb") for s in problem.structures if s.name in limited and s is not target.structure]
    grid = density.grid
    for region, colour in [*shapes, (target.structure.region, "white")]:
        share = region.occupancy(grid)[tuple(index.T)].reshape(across.shape)
        if share.any():
            axes.contour(across, along, share, [0.5], colors=colour, linewidths=0.9)
    lattice = plan.ptv.lattice
    inside = np.rint(lattice.index_zyx(points.reshape(-1, 3))).astype(int)
    known = np.all((inside >= 0) & (inside < lattice.shape), axis=1)
    ptv = np.zeros(len(inside))
    ptv[known] = plan.ptv.occupancy[tuple(inside[known].T)]
    axes.contour(across, along, ptv.reshape(across.shape), [0.5], colors="black", linewidths=1.2)
    if axis == 0:
        axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_yticks([])


def row(problem: Problem, model: str, margin_mm: float, plan: Plan) -> str:
    """A line of the table."""
    q = plan.quality
    held = [f"{words} {names}" for words, names in (("held down by", q.limited_by), ("given up:", q.given_up)) if names]
    numbers = (
        f"{margin_mm:g} | {q.ptv_cc:.1f} | {q.ptv_d95_gy:.1f} | {q.ptv_v100_percent:.1f} | {q.ptv_v90_percent:.2f} | "
        f"{q.ptv_d99_gy:.1f} | {q.r100:.2f} | {q.r50:.2f} | {q.d2cm_percent:.0f} | {q.max_gy:.1f}"
    )
    return f"| {model} | {numbers} | {'; '.join(held) or '–'} |"


def main() -> None:
    """Make the plans, the pictures and the page."""
    page = [INTRO]
    for site in SITES:
        figure, grid = plt.subplots(len(MARGINS_MM), 4, figsize=(12, 9), constrained_layout=True)
        lines = []
        for m, model in enumerate(MODELS):
            problem = prepare(study_of(site, model))
            with local_executor(None) as executor:
                plans = make_plans(problem, problem.requests, executor)
            for i, (margin_mm, plan) in enumerate(zip(MARGINS_MM, plans, strict=True)):
                for axis, name in enumerate(("axial", "coronal")):
                    section(grid[i, 2 * m + axis], problem, plan, axis)
                    if i == 0:
                        grid[i, 2 * m + axis].set_title(f"{model}, {name}", fontsize=10)
                grid[i, 0].set_ylabel(f"{margin_mm} mm", fontsize=10)
                lines.append(row(problem, model, margin_mm, plan))
        figure.savefig(HERE / "images" / f"plans-{site}.png", dpi=90)
        rx = problem.config.prescription
        page += [
            f"## {site.capitalize()}: {rx.describe()}\n",
            f"![Isodoses of conformal and inverse-planned arcs](../images/plans-{site}.png)\n",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" * len(COLUMNS) + "|",
            *lines,
            "",
        ]
    (HERE / "explanation" / "plans.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
