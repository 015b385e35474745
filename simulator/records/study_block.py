"""Errors as a block of a study file, with their intervals as comments; where they go depends on what was measured."""

from collections.abc import Iterable

import numpy as np

from simulator.records.classical import Errors, Interval

_WHERE = {
    "before": """# Shifts before any correction, matched on bone: the setup error of the whole patient. If the match was on the
# target, they hold the target's shift against bone too: the difference to a match on bone belongs to `baseline`.""",
    "residual": """# What was left after correction: the error of the match, with that of the second image. `match_mm` is drawn
# anew in each fraction: Σ of the residual, which stays with a patient, is added in quadrature.""",
    "during": """# Motion between image and beam, of the target. If the whole patient was measured, put it into `drift` instead:
# divided by the minutes between the images it is mean_mm_per_min and sd_mm_per_min.""",
}


def study_block(measured: str, shifts: Errors, turns: Errors | None, made_of: str, mean_note: str = "") -> str:
    """YAML for a study, medians of the posterior rounded to 0.01.

    Parameters
    ----------
    measured : before, residual or during.
    made_of : patients and images, in words.
    mean_note : whose mean is given, where there are several.
    """
    lines = [_WHERE[measured], f"# From {made_of}; medians, with 95 % credible intervals of LR, AP, SI."]
    total = np.hypot(shifts.systematic.value, shifts.random.value)
    if measured == "before":
        values = [
            ("systematic_mm", shifts.systematic, ""),
            ("random_mm", shifts.random, ""),
            ("mean_mm", shifts.mean, mean_note),
        ]
        if turns:
            values += [
                ("systematic_deg", turns.systematic, ""),
                ("random_deg", turns.random, ""),
                ("mean_deg", turns.mean, mean_note),
            ]
        lines += ["uncertainty:", "  setup:", *(_line(4, *value) for value in values)]
    elif measured == "residual":
        said = f"  # Σ {_ranges(shifts.systematic)}; σ {_ranges(shifts.random)}"
        lines += [
            "strategies:",
            "  guidance:",
            f"    - {{kind: online-target, match_mm: {_three(total)}}}{said}",
        ]
        lines.append(f"# not used: mean {_three(shifts.mean.value)} mm ({_ranges(shifts.mean)}); look for its cause")
    else:
        said = f"  # Σ {_ranges(shifts.systematic)}; σ {_ranges(shifts.random)}, in quadrature"
        lines += ["uncertainty:", "  baseline:", _line(4, "after_imaging_mean_mm", shifts.mean, mean_note)]
        lines.append(f"    after_imaging_sd_mm: {_three(total)}{said}")
    return "\n".join(lines) + "\n"


def _line(indent: int, key: str, interval: Interval, note: str) -> str:
    return f"{' ' * indent}{key}: {_three(interval.value)}  # {_ranges(interval)}{note}"


def _three(values: Iterable[float]) -> str:
    return "[" + ", ".join(f"{v + 0.0:.2f}" for v in np.round(list(values), 2)) + "]"


def _ranges(interval: Interval) -> str:
    return ", ".join(
        f"{low + 0.0:.2f} to {high + 0.0:.2f}" for low, high in np.round([interval.low, interval.high], 2).T
    )
