"""A clinic's record of shifts, patient by patient, and what it says of Σ and σ."""

import numpy as np
from matplotlib.figure import Figure

from simulator.conventions import AXES
from simulator.plots.style import PALETTE, legend_below, panels, styled
from simulator.records.classical import Errors
from simulator.records.posterior import Posterior
from simulator.records.record import ShiftRecord

_TOWARD = {"LR": "right (-) to left (+)", "AP": "anterior (-) to posterior (+)", "SI": "inferior (-) to superior (+)"}
_BINS, _LEVEL = 60, 99.0


@styled
def record_of_shifts(record: ShiftRecord, classical: Errors, posterior: Posterior) -> Figure:
    """Per axis: every image by patient with the population's mean and Σ; below, the posterior of Σ and σ."""
    figure, grid = panels(2, len(AXES), 3.5, 2.9)
    for axis, name in enumerate(AXES):
        top, below = grid[:, axis]
        number = record.patient + 1
        top.plot(number, record.shift_mm[:, axis], ".", color=PALETTE[3], markersize=4, label="image")
        means = [record.shift_mm[record.patient == p, axis].mean() for p in np.unique(record.patient)]
        top.plot(np.unique(number), means, "_", color=PALETTE[0], markersize=8, mew=2, label="mean of a patient")
        errors = posterior.errors
        centre, spread = errors.mean.value[axis], errors.systematic.value[axis]
        top.axhspan(centre - spread, centre + spread, color=PALETTE[0], alpha=0.12, lw=0, label="M +/- Σ")
        top.axhline(centre, color=PALETTE[0], lw=0.8)
        top.set(title=name, xlabel="patient", ylabel=f"{_TOWARD[name]}, mm")
        draws = (posterior.draws.systematic, posterior.draws.random)
        spreads = [np.sqrt(covariance[..., axis, axis]).ravel() for covariance in draws]
        farthest = max(np.percentile(values, _LEVEL) for values in spreads)
        for values, label, colour, plain in zip(
            spreads, ("Σ", "σ"), PALETTE, (classical.systematic, classical.random), strict=False
        ):
            below.hist(
                values,
                _BINS,
                range=(0, farthest),
                density=True,
                histtype="stepfilled",
                color=colour,
                alpha=0.35,
                label=label,
            )
            below.axvline(plain.value[axis], color=colour, ls="--", label=f"{label}, classical")
        below.set(xlabel="one SD, mm", ylabel="posterior density, 1/mm", xlim=(0, farthest), ylim=(0, None))
    handles = [*grid[0, 0].get_legend_handles_labels()[0], *grid[1, 0].get_legend_handles_labels()[0]]
    legend_below(figure, handles, 7)
    return figure
