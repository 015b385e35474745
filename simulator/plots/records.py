"""A clinic's record of shifts, patient by patient, and what it says of M, Σ and σ."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.ground.conventions import AXES
from simulator.plots.style import MARKERS, PALETTE, legend_below, light_grid, panels, styled
from simulator.records.classical import Errors
from simulator.records.estimates import NAMES, UNITS, Estimated
from simulator.records.posterior import OTHER_SCALES, PRIOR_SCALE, Posterior
from simulator.records.record import ShiftRecord

_TOWARD = {"LR": "right (-) to left (+)", "AP": "anterior (-) to posterior (+)", "SI": "inferior (-) to superior (+)"}
_BINS, _LEVEL = 60, 99.0
_MOST_DRAWN, _BEYOND = 4000, 1.2
PATIENTS_PER_FIGURE = 12


@styled
def record_of_shifts(record: ShiftRecord, classical: Errors, posterior: Posterior) -> Figure:
    """Per axis: every image by patient with the population's mean and Σ; below, the posterior of Σ and σ."""
    figure, grid = panels(2, len(AXES), 3.5, 2.9)
    kind = Estimated("mm", record.shift_mm, record.patient, classical, posterior)
    for axis in range(len(AXES)):
        _images(grid[0, axis], kind, axis)
        _densities(grid[1, axis], kind, axis)
    _legend(figure, grid[0, 0], grid[1, 0])
    return figure


@styled
def errors_along_axis(kind: Estimated, axis: int) -> Figure:
    """One axis of shifts or rotations: every image by patient, and the posterior of Σ and σ."""
    figure, grid = panels(1, 2, 3.6, 3.0)
    _images(grid[0, 0], kind, axis)
    _densities(grid[0, 1], kind, axis)
    _legend(figure, grid[0, 0], grid[0, 1])
    return figure


def _legend(figure: Figure, *sides: Axes) -> None:
    legend_below(figure, [handle for side in sides for handle in side.get_legend_handles_labels()[0]], 7)


def _images(axes: Axes, kind: Estimated, axis: int) -> None:
    """Every image by patient, with means of patients, M and Σ."""
    values, name = kind.values[:, axis], AXES[axis]
    axes.plot(
        kind.patient + 1,
        values,
        ".",
        color=PALETTE[3],
        markersize=4,
        label="image",
        rasterized=len(values) > _MOST_DRAWN,
    )
    patients = np.unique(kind.patient)
    means = [values[kind.patient == p].mean() for p in patients]
    axes.plot(patients + 1, means, "_", color=PALETTE[0], markersize=8, mew=2, label="mean of a patient")
    errors = kind.posterior.errors
    centre, spread = errors.mean.value[axis], errors.systematic.value[axis]
    axes.axhspan(centre - spread, centre + spread, color=PALETTE[0], alpha=0.12, lw=0, label="M +/- Σ")
    axes.axhline(centre, color=PALETTE[0], lw=0.8)
    toward = f"{_TOWARD[name]}, mm" if kind.unit == "mm" else f"rotation about {name}, {UNITS[kind.unit]}"
    axes.set(title=name, xlabel="patient", ylabel=toward)


def _densities(axes: Axes, kind: Estimated, axis: int) -> None:
    """Posterior of Σ and σ beside the classical estimates."""
    unit, draws = UNITS[kind.unit], (kind.posterior.draws.systematic, kind.posterior.draws.random)
    spreads = [np.sqrt(covariance[..., axis, axis]).ravel() for covariance in draws]
    farthest = max(np.percentile(values, _LEVEL) for values in spreads)
    classical = (kind.classical.systematic, kind.classical.random)
    for values, label, colour, plain in zip(spreads, ("Σ", "σ"), PALETTE, classical, strict=False):
        axes.hist(
            values,
            _BINS,
            range=(0, farthest),
            density=True,
            histtype="stepfilled",
            color=colour,
            alpha=0.35,
            label=label,
        )
        axes.axvline(plain.value[axis], color=colour, ls="--", label=f"{label}, classical")
    axes.set(xlabel=f"one SD, {unit}", ylabel=f"posterior density, 1/{unit}", xlim=(0, farthest), ylim=(0, None))


@styled
def patients_by_fraction(record: ShiftRecord, patients: Sequence[int]) -> Figure:
    """Shifts of some patients fraction by fraction, a panel for each, on the record's scale; outliers leave their panels."""
    figure, grid = panels(-(-len(patients) // 3), 3, 2.4, 1.75)
    size = np.abs(record.shift_mm)
    reach = min(1.05 * size.max(), _BEYOND * np.percentile(size, _LEVEL))
    last = record.fraction[np.isin(record.patient, patients)].max()
    for axes, patient in zip(grid.flat, patients, strict=False):
        rows = record.patient == patient
        for axis, name in enumerate(AXES):
            axes.plot(
                record.fraction[rows], record.shift_mm[rows, axis], MARKERS[axis], ls="-", lw=1, markersize=3.5,
                color=PALETTE[axis], label=name,
            )  # fmt: skip
        axes.axhline(0, color="#999999", lw=0.7)
        axes.set(
            title=f"patient {patient + 1}", xlabel="fraction", ylabel="mm", ylim=(-reach, reach), xlim=(0.5, last + 0.5)
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid.flat[len(patients) :]:
        axes.set_visible(False)
    legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], 3)
    return figure


@styled
def intervals_of_errors(kind: Estimated) -> Figure:
    """M, Σ and σ per axis with 95 % intervals: classical, posterior, and with other scales of the prior."""
    figure, grid = panels(1, len(NAMES), 2.4, 2.9)
    estimates = {"classical": kind.classical, f"posterior (prior scale {PRIOR_SCALE:g})": kind.posterior.errors} | {
        f"prior scale {scale:g}": kind.posterior.other_priors[scale] for scale in OTHER_SCALES
    }
    for axes, (name, title) in zip(grid.flat, NAMES.items(), strict=True):
        for i, (label, errors) in enumerate(estimates.items()):
            interval = getattr(errors, name)
            place = np.arange(len(AXES)) + (i - 1.5) / 5
            below, above = np.maximum([interval.value - interval.low, interval.high - interval.value], 0)
            axes.errorbar(
                interval.value, place, xerr=[below, above], linestyle="none", markersize=4, elinewidth=1,
                marker=MARKERS[i], color=PALETTE[i], label=label,
            )  # fmt: skip
        axes.set(title=title, ylim=(len(AXES) - 0.4, -0.6), xlabel=UNITS[kind.unit])
        axes.set_yticks(range(len(AXES)), AXES)
        if name != "mean":
            axes.set_xlim(0, None)
        light_grid(axes)
    legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], 4)
    return figure
