"""A patient's breathing: paths of structures through the phases of a 4DCT."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from simulator.case.motion import StructurePath
from simulator.ground.conventions import AXES
from simulator.plots.style import LINES_PER_PANEL, PALETTE, legend_below, light_grid, panels, styled

TOWARD = {"LR": "right (-) to left (+)", "AP": "anterior (-) to posterior (+)", "SI": "inferior (-) to superior (+)"}
_LOOPS = (("AP", "SI"), ("LR", "SI"))
_ROOM, _LEAST_CHANGE = 0.08, 5.0


@styled
def paths_of_phases(paths: Sequence[StructurePath], percent: np.ndarray) -> Figure:
    """Displacement by phase and axis; below, the loops that show hysteresis, and volumes. The target comes first."""
    shown = list(zip(paths, PALETTE, strict=False))[:LINES_PER_PANEL]
    figure, grid = panels(2, 3, 3.5, 2.9)
    after_inhale = np.append(percent - percent[0], 100) % 100
    after_inhale[-1] = 100
    lowest, highest = (f([f(path.path_mm) for path, _ in shown]) for f in (np.min, np.max))
    room = max(_ROOM * (highest - lowest), 0.1)
    for axis, (name, top) in enumerate(zip(AXES, grid[0], strict=True)):
        for path, colour in shown:
            closed = np.append(path.path_mm[:, axis], path.path_mm[0, axis])
            top.plot(after_inhale, closed, ".-", color=colour, label=path.name, markersize=5)
        top.set(
            title=name,
            xlabel="cycle from inhale, %",
            ylabel=f"{TOWARD[name]}, mm",
            ylim=(lowest - room, highest + room),
        )
        light_grid(top)
    for (across, along), below in zip(_LOOPS, grid[1], strict=False):
        for path, colour in shown:
            x, y = (np.append(path.path_mm[:, AXES.index(a)], path.path_mm[0, AXES.index(a)]) for a in (across, along))
            below.plot(x, y, ".-", color=colour, markersize=4, lw=1)
            below.plot(x[:1], y[:1], "o", color=colour, markersize=7, mfc="white")
        below.set(
            title=f"{along} against {across}, ○ inhale", xlabel=f"{TOWARD[across]}, mm", ylabel=f"{TOWARD[along]}, mm"
        )
        below.set_aspect("equal", "datalim")
        light_grid(below)
    volume = grid[1, 2]
    for path, colour in shown:
        change = 100 * (path.volume_cc / path.volume_cc.mean() - 1)
        volume.plot(after_inhale, np.append(change, change[0]), ".-", color=colour, markersize=5)
    widest = max(_LEAST_CHANGE, *(100 * np.abs(path.volume_cc / path.volume_cc.mean() - 1).max() for path, _ in shown))
    volume.set(
        title="Volume", xlabel="cycle from inhale, %", ylabel="off its mean, %", ylim=(-1.1 * widest, 1.1 * widest)
    )
    light_grid(volume)
    legend_below(figure, grid[0, 0].get_legend_handles_labels()[0], 6)
    return figure
