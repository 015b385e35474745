"""Breathing records: the signal with its breaths, and how breaths vary."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from simulator.plots.style import PALETTE, legend_below, light_grid, panels, styled
from simulator.records.breathing import BreathingRecord
from simulator.records.breaths import Breaths

_SHOWN_S = 60.0


@styled
def breathing_records(records: Sequence[BreathingRecord], breaths: Sequence[Breaths]) -> Figure:
    """A minute of the first record with the inhales found; amplitude, period and baseline of every breath, by record."""
    figure, grid = panels(2, 2, 4.8, 2.9)
    first, found = records[0], breaths[0]
    begin = float(first.time_s[0])
    for piece in first.pieces():
        time_s, depth = first.time_s[piece] - begin, first.depth_mm[piece]
        early = time_s <= _SHOWN_S
        grid[0, 0].plot(time_s[early], depth[early], color=PALETTE[0], lw=1, label="record 1")
    inhales = found.start_s[found.start_s - begin <= _SHOWN_S]
    (marks,) = grid[0, 0].plot(
        inhales - begin,
        np.interp(inhales, first.time_s, first.depth_mm),
        "v",
        color=PALETTE[1],
        ms=5,
        label="inhale of a breath",
    )
    handles = [grid[0, 0].lines[0], marks]
    if first.beam_on is not None:
        early = first.time_s - begin <= _SHOWN_S
        low, high = first.depth_mm.min(), first.depth_mm.max()
        handles.append(
            grid[0, 0].fill_between(
                (first.time_s - begin)[early],
                low,
                high,
                where=first.beam_on[early],
                color=PALETTE[2],
                alpha=0.2,
                lw=0,
                label="beam on",
            )
        )
    grid[0, 0].set(title="Signal", xlabel="time, s", ylabel="depth (greater is inhale), mm", xlim=(0, None))
    values = (
        (grid[0, 1], "Amplitude", "mm", [b.amplitude_mm for b in breaths]),
        (grid[1, 0], "Period", "s", [b.period_s for b in breaths]),
        (grid[1, 1], "Baseline (exhale)", "mm", [b.baseline_mm for b in breaths]),
    )
    for axes, title, unit, of_records in values:
        for i, own in enumerate(of_records):
            place = i + 1 + 0.6 * (np.arange(len(own)) / max(len(own) - 1, 1) - 0.5)
            (dots,) = axes.plot(place, own, ".", color=PALETTE[3], ms=4, label="breath, in the order of time")
            (mean,) = axes.plot([i + 0.7, i + 1.3], [own.mean()] * 2, color=PALETTE[0], label="mean of a record")
        axes.set(title=title, xlabel="record", ylabel=unit, xlim=(0.5, len(breaths) + 0.5))
        axes.set_xticks(np.unique(np.linspace(1, len(breaths), min(len(breaths), 10)).round().astype(int)))
        if unit == "s" or title == "Amplitude":
            axes.set_ylim(0, None)
        light_grid(axes)
    legend_below(figure, [*handles, dots, mean], 5)
    return figure
