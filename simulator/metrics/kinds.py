"""All kinds of metric, and how a metric is read."""

import re
from collections.abc import Container
from dataclasses import replace
from typing import Literal

from simulator.ground.spec import ConfigError
from simulator.metrics.biology import BiologicalDose
from simulator.metrics.dose_summaries import GeneralisedMeanDose, MaximumDose, MeanDose, MinimumDose
from simulator.metrics.dvh_points import (
    ColdVolumeAtGy,
    DoseAtCc,
    DoseAtPercent,
    DoseOutsideColdCc,
    VolumeAtGy,
    VolumeAtPercent,
)
from simulator.metrics.metric import NUMBER, Metric
from simulator.metrics.responses import ComplicationProbability, TumourControlProbability

KINDS: tuple[type[Metric], ...] = (
    DoseAtPercent,
    DoseAtCc,
    DoseOutsideColdCc,
    MeanDose,
    MinimumDose,
    MaximumDose,
    VolumeAtGy,
    VolumeAtPercent,
    ColdVolumeAtGy,
    GeneralisedMeanDose,
    TumourControlProbability,
    ComplicationProbability,
)
_BIOLOGICAL = re.compile(rf"(?P<quantity>BED|EQD2)\((?P<alpha_beta>{NUMBER})\):(?P<metric>\S+)")


def kind_of(text: str) -> type[Metric] | None:
    """The kind of metric that a text such as "D98%" means; None for no metric, and for one of a biological dose."""
    return next((kind for kind in KINDS if kind.match(text)), None)


def metrics_of_responses(structure: str, sections: Container[str]) -> list[Metric]:
    """The probabilities of a structure's responses, by section of `biology`."""
    return [parse_metric(structure, kind.example) for kind in KINDS if kind.response in sections]


def parse_metric(structure: str, text: str, unit: str = "") -> Metric:
    """Read a metric such as "D98%" of a structure; `unit` is that of its limit, which chooses percent or cc for volumes.

    Raises
    ------
    ConfigError : unknown metric, or one outside its range.
    """
    if text.startswith(("BED", "EQD2")):
        return _parse_biological(structure, text, unit)
    for kind in KINDS:
        if metric := kind.read(structure, text, unit):
            return metric
    completed = [text + of_what for of_what in ("cc", "Gy", "%") if kind_of(text + of_what)]
    if len(completed) > 1:
        raise ConfigError(f"{structure} {text}: say of what, {' or '.join(completed)}")
    raise ConfigError(
        f"{structure} {text}: unknown metric {text!r}; known are {', '.join(kind.example for kind in KINDS)}, "
        "and those of a dose with EQD2(3): or BED(10): before them"
    )


def _parse_biological(structure: str, text: str, unit: str) -> Metric:
    """A metric of BED or EQD2, such as "EQD2(2):D0.035cc"."""
    match = _BIOLOGICAL.fullmatch(text)
    if not match or float(match["alpha_beta"]) <= 0:
        raise ConfigError(
            f"{structure} {text}: a metric of BED or EQD2 has its α/β in Gy, larger than 0, in brackets and a colon, "
            "as in EQD2(2):D0.035cc or BED(10):D98%"
        )
    metric = parse_metric(structure, match["metric"], unit)
    if metric.is_biological:
        raise ConfigError(f"{structure} {text}: {match['metric']} is no metric of a dose; leave the prefix out")
    if metric.is_of_prescription or (metric.unit == "Gy" and unit == "%"):
        raise ConfigError(
            f"{structure} {text}: percent of what? The prescription is a physical dose; give the {match['quantity']} in Gy"
        )
    quantity: Literal["BED", "EQD2"] = match["quantity"]  # type: ignore[assignment]
    return replace(metric, dose=BiologicalDose(quantity, float(match["alpha_beta"])))
