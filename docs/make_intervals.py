"""Write images/intervals.svg: what the interval of the simulation holds, and what the knowledge interval does."""

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from simulator import load_study, run
from simulator.plots.style import PALETTE, house_style, light_grid, svg_bytes
from simulator.population.intervals import wilson_interval
from simulator.study_file.schema import StudyConfig

HERE = Path(__file__).parent
N_STUDIES, N_COURSES = 100, 200
TRUTH = 0.695
"""P(D98% >= 95 %) of `configs/sphere_truth.yaml` by quadrature, as that file has it."""
PATIENTS, RUNS = 15, (2000, 4000, 8000)


def ball(**changes: object) -> StudyConfig:
    """The ground-truth ball, with some keys changed."""
    study = load_study(HERE.parent / "configs" / "sphere_truth.yaml").model_dump(exclude_none=True)
    return StudyConfig.model_validate(study | changes)


def of_simulation(axes: Axes) -> None:
    """The interval of each of a hundred small studies; those that miss the truth in another colour."""
    values = run(ball(courses=N_STUDIES * N_COURSES))["metrics/value"].sel(metric="GTV D98%").values.ravel()
    met = (values >= 47.5).reshape(N_STUDIES, N_COURSES).sum(axis=1)
    low, high = wilson_interval(met, N_COURSES)
    misses = (low > TRUTH) | (high < TRUTH)
    for i, (below, above) in enumerate(zip(low, high, strict=True)):
        axes.plot([i + 1] * 2, [100 * below, 100 * above], color=PALETTE[1] if misses[i] else PALETTE[0], linewidth=1.3)
    axes.axhline(100 * TRUTH, color="black", linewidth=1)
    axes.set(title=f"{N_STUDIES} studies of {N_COURSES} courses", xlabel="study", ylabel="coverage, %")
    print(f"{misses.sum()} of {N_STUDIES} intervals miss the truth; the first study: {low[0]:.3f} to {high[0]:.3f}")


def of_knowledge(axes: Axes) -> None:
    """Both intervals of the same question after ever more courses."""
    known = {"systematic_mm": 2, "random_mm": 2, "known": {"patients": PATIENTS, "fractions": 5 * PATIENTS}}
    for i, n in enumerate(RUNS):
        results = run(ball(courses=n, uncertainty={"setup": known}))
        goal = results["goals"].to_dataset().isel(strategy=0, goal=0)
        knowledge = results["knowledge"].to_dataset().isel(strategy=0, goal=0)
        pairs = ((goal["ci_low"], goal["ci_high"]), (knowledge["low"], knowledge["high"]))
        for (low, high), off, colour in zip(pairs, (-0.12, 0.12), PALETTE, strict=False):
            axes.plot(
                [i + off] * 2, [100 * float(low), 100 * float(high)], color=colour, linewidth=5, solid_capstyle="butt"
            )
        axes.plot(i - 0.12, 100 * float(goal["probability"]), "ko", markersize=4)
        low, high = (float(knowledge[bound]) for bound in ("low", "high"))
        print(f"{n} courses: {float(goal['probability']):.3f}, knowledge {low:.3f} to {high:.3f}")
    axes.set(title=f"Σ, σ from {PATIENTS} patients", xticks=range(len(RUNS)), xlim=(-0.5, len(RUNS) - 0.5))
    axes.set_xticklabels([f"{n:,}" for n in RUNS])
    axes.set_xlabel("courses")
    for colour, name in zip(PALETTE, ("simulation", "knowledge"), strict=False):
        axes.plot([], [], color=colour, linewidth=5, label=name)
    axes.set_ylim(40, 95)
    axes.legend(loc="upper center", ncols=2)


def main() -> None:
    """Draw both, side by side."""
    with house_style():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9.2, 3.2), sharey=True, width_ratios=(1.8, 1), constrained_layout=True
        )
        of_simulation(left)
        of_knowledge(right)
        for axes in (left, right):
            light_grid(axes)
        (HERE / "images" / "intervals.svg").write_bytes(svg_bytes(figure))


if __name__ == "__main__":
    main()
