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
# divided by the minutes between the images, M is mean_mm_per_min, and Σ and σ in quadrature are sd_mm_per_min.""",
}
_DOUBT = (
    "    # {key}: {{posterior: posterior.nc}}  # carries the intervals into every answer; path from the study's folder"
)


def study_block(measured: str, shifts: Errors, turns: Errors | None, made_of: str, mean_note: str = "") -> str:
    """YAML for a study, medians of the posterior rounded to 0.01.

    Parameters
    ----------
    measured : before, residual or during.
    made_of : patients and images, in words.
    mean_note : whose mean is given, where there are several.
    """
    lines = [_WHERE[measured], f"# From {made_of}; medians, with 95 % credible intervals of LR, AP, SI."]
    if measured == "before":
        lines += [
            "uncertainty:",
            "  setup:",
            *_entries(shifts, ("systematic_mm", "random_mm", "mean_mm"), mean_note),
        ]
        if turns:
            lines += _entries(turns, ("systematic_deg", "random_deg", "mean_deg"), mean_note)
        lines.append(_DOUBT.format(key="known"))
    elif measured == "during":
        keys = ("after_imaging_systematic_mm", "after_imaging_sd_mm", "after_imaging_mean_mm")
        lines += ["uncertainty:", "  baseline:", *_entries(shifts, keys, mean_note)]
        lines.append(_DOUBT.format(key="after_imaging_known"))
    else:
        total = np.hypot(shifts.systematic.value, shifts.random.value)
        said = f"  # Σ {_ranges(shifts.systematic)}; σ {_ranges(shifts.random)}"
        lines += ["strategies:", "  guidance:", f"    - {{kind: online-target, match_mm: {_three(total)}}}{said}"]
        lines.append(f"# not used: mean {_three(shifts.mean.value)} mm ({_ranges(shifts.mean)}); look for its cause")
    return "\n".join(lines) + "\n"


def _entries(errors: Errors, keys: tuple[str, str, str], mean_note: str) -> list[str]:
    """Lines of Σ, σ and M under their keys in a source of error."""
    of_keys = ((errors.systematic, ""), (errors.random, ""), (errors.mean, mean_note))
    return [
        f"    {key}: {_three(interval.value)}  # {_ranges(interval)}{note}"
        for key, (interval, note) in zip(keys, of_keys, strict=True)
    ]


def _three(values: Iterable[float]) -> str:
    return "[" + ", ".join(f"{v + 0.0:.2f}" for v in np.round(list(values), 2)) + "]"


def _ranges(interval: Interval) -> str:
    return ", ".join(
        f"{low + 0.0:.2f} to {high + 0.0:.2f}" for low, high in np.round([interval.low, interval.high], 2).T
    )
