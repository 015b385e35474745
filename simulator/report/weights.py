"""What the weights of a study would choose, and what would change that: break-evens in sentences and as a table."""

from typing import Any

import numpy as np
import xarray as xr

from simulator.plots.style import readable
from simulator.report.text import significant

_ANY = "any"


def weight_sentences(results: xr.DataTree) -> list[str]:
    """Which strategy the study's weights choose, and which weight would change the choice; nothing without weights."""
    if "weights" not in results.children:
        return []
    found = results["weights"].to_dataset()
    names, first = found["strategy"].values, str(found["first"].item())
    chosen = int(np.argmin(found["loss_difference"].values))
    if names[chosen] == first:
        turns = _turns_from_first(found)
        verb = "The choice would change"
        sentence = f"By the weights of the study, too, “{first}” is the choice."
    else:
        turns = [(k, "less" if more else "more", chosen, first) for k, more in _turns_of(found, chosen)]
        verb = f"“{first}” would lose less than it"
        told = "" if found["loss_difference_high"].values[chosen] < 0 else " (the courses cannot tell them apart)"
        sentence = f"By the weights of the study “{names[chosen]}” would be chosen, not “{first}”, the first by the rule{told}."
    if not turns:
        return [f"{sentence} No single weight would change that."]
    texts = [
        (f"to “{to}” " if names[chosen] == first else "")
        + f"if {found['counts'].values[k]} counted {word} than {_turn(found, i, k)}"
        for k, word, i, to in turns
    ]
    return [f"{sentence} {verb} {', or '.join(texts)}."]


def _turns_of(found: xr.Dataset, i: int) -> list[tuple[int, bool]]:
    """Harms whose weight decides between a strategy and the first, and whether more of it is for the strategy."""
    at = list(found["strategy"].values).index(found["first"].item())
    gain = found["expected"].values[at] - found["expected"].values[i]
    return [(int(k), bool(gain[k] > 0)) for k in np.flatnonzero(np.isfinite(found["break_even"].values[i]))]


def _turns_from_first(found: xr.Dataset) -> list[tuple[int, str, int, str]]:
    """For each harm and direction the break-even that comes first as its weight moves: the strategy and its name."""
    nearest: dict[tuple[int, str], int] = {}
    turn = found["break_even"].values
    for i in range(found.sizes["strategy"]):
        for k, more in _turns_of(found, i):
            key = (k, "more" if more else "less")
            best = nearest.get(key, i)
            nearer = turn[i, k] < turn[best, k] if more else turn[i, k] > turn[best, k]
            nearest[key] = i if nearer else best
    return [(k, word, i, str(found["strategy"].values[i])) for (k, word), i in sorted(nearest.items())]


def _turn(found: xr.Dataset, i: int, k: int) -> str:
    """A break-even with its interval and the weight of the study."""
    at, interval = _with_interval(found, i, k)
    shown = "the courses exclude no weight" if interval == _ANY else f"95 % interval {interval}"
    return f"{at} ({shown}; {found['weight'].values[k]:g} in the study)"


def _with_interval(found: xr.Dataset, i: int, k: int) -> tuple[str, str]:
    at, low, high = (float(found[f"break_even{end}"].values[i, k]) for end in ("", "_low", "_high"))
    start, end = (significant(bound) if bound else "0" for bound in (low, min(high, 1e9)))
    bounded = f"{start} to {end}" if np.isfinite(high) else f"{start} or more" if low else _ANY
    return significant(at), bounded


def weights_table(results: xr.DataTree) -> dict[str, Any] | None:
    """Expected harms and break-evens of every strategy, in the order of the rule; None without weights."""
    if "weights" not in results.children:
        return None
    found = results["weights"].to_dataset()
    rows = []
    for i in np.argsort(results["decision"].to_dataset()["rank"].values):
        more = dict(_turns_of(found, i))
        cells = []
        for k, expected in enumerate(found["expected"].values[i]):
            at, interval = _with_interval(found, i, k) if k in more else ("", "")
            text = f"{'above' if more[k] else 'below'} {at}" if k in more else "–"
            cells.append({"expected": significant(expected), "text": text, "interval": interval})
        low, high = (float(found[f"loss_difference{end}"].values[i]) for end in ("_low", "_high"))
        loses = "more" if low > 0 else "less" if high < 0 else "not told apart"
        name = str(found["strategy"].values[i])
        rows.append({"strategy": name, "cells": cells, "loses": "–" if name == found["first"].item() else loses})
    harms = [
        {"counts": readable(str(text)), "weight": f"{weight:g}"}
        for text, weight in zip(found["counts"].values, found["weight"].values, strict=True)
    ]
    return {"harms": harms, "rows": rows, "first": str(found["first"].item())}
