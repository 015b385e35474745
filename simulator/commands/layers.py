"""Which layers of the simulator each row of the commissioning suite covers, and which no row covers."""

from collections.abc import Iterable

# Group: beginning of a row's name: layers. The longest beginning that fits counts.
_ROWS: dict[str, dict[str, str]] = {
    "Planned dose": {"": "cells of structures, plan (penumbra), metrics"},
    "6 MV, Monte Carlo": {"": "beam model"},
    "Synthesised plan": {"": "beam model, plan (conformal arc), plan quality"},
    "Near-maximum doses of organs": {"": "cells of structures, accumulation, metrics"},
    "Known errors": {"D98%": "accumulation, metrics", "place": "guidance"},
    "Sampled errors": {
        "variance": "sampling",
        "variance of the mean of fractions 4 to 8": "sampling, guidance",
        "mean of Lujan": "breathing",
        "variance of Lujan": "breathing",
    },
    "Population of courses": {
        "P(": "sampling, accumulation, metrics, goals",
        "mean": "sampling, accumulation, metrics",
        "margin": "sampling, accumulation, metrics, margin for a probability",
    },
    "Recipes and intervals": {"van Herk": "margin recipes", "": "intervals"},
    "Radiobiology": {"": "metrics, radiobiology"},
    "Reproducibility": {"": "workers and blocks"},
}
_FILED = "whole study, as filed"
_WITHOUT_ROW = (
    "DICOM and NIfTI import, and the DICOM round trip",
    "inverse arcs",
    "rotations",
    "drift",
    "organ motion",
    "errors of delineation, registration and isocentre",
    "motion management",
    "guidance with errors of its own",
    "quasi-random and rare-event sampling",
    "several targets",
    "NTCP",
    "verdict and recommendation",
)


def covered(group: str, name: str) -> str:
    """Layers that a row goes through and that would show in its number, by comma."""
    if group.startswith("Study "):
        return _FILED
    fits = [start for start in _ROWS.get(group, {}) if name.startswith(start)]
    return _ROWS[group][max(fits, key=len)] if fits else ""


def uncovered(rows: Iterable[str]) -> str:
    """The sentence which layers none of these rows covers, given what each covers."""
    rows = list(rows)
    if _FILED in rows:
        return "These rows ask whether numbers are the same as elsewhere, not whether they are right."
    seen = {layer for row in rows for layer in _split(row)}
    every = dict.fromkeys(layer for some in _ROWS.values() for row in some.values() for layer in _split(row))
    return f"No row covers: {'; '.join([*(layer for layer in every if layer not in seen), *_WITHOUT_ROW])}."


def _split(layers: str) -> list[str]:
    return layers.split(", ") if layers else []
