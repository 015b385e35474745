"""Write images/course.svg: the positions of the node in two courses of the first study, instant by instant, and their causes.

`python docs/make_course_picture.py results/mediastinal-station7`
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from simulator import course_draws, deliver_courses, load_study, open_results, prepare
from simulator.plots.courses import name_of
from simulator.plots.style import PALETTE, house_style, light_grid, svg_bytes
from simulator.problem.problem import Problem

STRATEGY = "itv, 5 mm, online-target, PRV 2 mm"
AXES = ("LR", "AP", "SI")
GREYS = ("#555555", "#999999", "#cccccc")


def instants_mm(problem: Problem, course: int) -> np.ndarray:
    """Displacement of the target relative to the beam, (fraction, instant, axis)."""
    strategy = next(s for s in problem.strategies if s.label() == STRATEGY)
    motion = deliver_courses(problem, strategy, course_draws(problem, course, 1)).motion(problem.targets[0].name)
    return motion.shift_mm[0].reshape(motion.n_fractions, -1, 3)


def draw_instants(axes: Axes, mm: np.ndarray) -> None:
    """A dot for each instant, in the order of the beam-on time of its fraction, and a line for the mean, axis by axis."""
    for axis, (name, colour) in enumerate(zip(AXES, PALETTE, strict=False)):
        for fraction, of_fraction in enumerate(mm[..., axis], 1):
            middle = fraction + 0.28 * (axis - 1)
            at = middle + np.linspace(-0.11, 0.11, len(of_fraction))
            axes.plot(at, of_fraction, "o", color=colour, markersize=2, alpha=0.6)
            axes.plot(
                [middle - 0.12, middle + 0.12],
                [of_fraction.mean()] * 2,
                color=colour,
                label=name if fraction == 1 else None,
            )


def draw_sources(axes: Axes, error_mm: xr.DataArray, names: list[str]) -> None:
    """Bars that stack what each source does to the target along SI, up or down from 0."""
    fraction = error_mm["fraction"].values
    up, down = np.zeros(len(fraction)), np.zeros(len(fraction))
    for name, colour in zip(names, (*PALETTE, *GREYS), strict=False):
        mm = error_mm.sel(source=name, axis="SI").values
        axes.bar(fraction, mm, 0.7, bottom=np.where(mm > 0, up, down), color=colour, label=name)
        up, down = up + np.maximum(mm, 0), down + np.minimum(mm, 0)
    axes.plot(fraction, error_mm.sel(axis="SI").sum("source"), "k_", markersize=22, markeredgewidth=2)


def main(folder: Path) -> None:
    """The course that 5 % of courses fall below, and the median one."""
    results = open_results(folder)
    problem = prepare(load_study(Path(__file__).parents[1] / "configs" / "mediastinal_node.yaml"))
    looked_at = results["courses"].to_dataset().sel(strategy=STRATEGY)
    error_mm = looked_at["error_mm"]
    size_mm = np.abs(error_mm.sel(axis="SI")).max(("percentile", "fraction"))
    names = [
        str(name) for name in error_mm["source"].values[np.argsort(-size_mm.values)] if size_mm.sel(source=name) > 0.05
    ]
    with house_style():
        figure, grid = plt.subplots(2, 2, figsize=(9.2, 5.6), sharey=True, constrained_layout=True)
        courses = zip(looked_at["percentile"].values, looked_at["course"].values, strict=True)
        for row, (percentile, course) in zip(grid, courses, strict=True):
            draw_instants(row[0], instants_mm(problem, int(course)))
            draw_sources(row[1], error_mm.sel(percentile=percentile), names)
            d98 = float(looked_at["value"].sel(percentile=percentile))
            row[0].set(
                title=f"course {course}, {name_of(percentile)} of D98% ({d98:.1f} Gy)", ylabel="displacement, mm"
            )
            row[1].set(title="which source moved it along SI")
            row[0].legend(loc="upper left", ncols=3)
            for axes in row:
                axes.axhline(0, color="#666666", linewidth=0.8)
                light_grid(axes)
        for axes in grid[1]:
            axes.set_xlabel("fraction")
        figure.legend(*grid[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        (Path(__file__).parent / "images" / "course.svg").write_bytes(svg_bytes(figure))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
