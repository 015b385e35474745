"""The shipped studies, run here and compared with their filed results: does this installation give the same numbers?"""

import csv
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from simulator.commands.commissioning import Groups, Numbers
from simulator.execution.study import run
from simulator.results.summary import write_summary
from simulator.study_file.loading import load_study
from simulator.study_file.shipped import example, reference

_ONE_MARGIN = {"courses": 50, "strategies.margins_mm": [5]}
_EACH_MOTION = {**_ONE_MARGIN, "strategies.guidance": ["online-target"]}
# What is changed in each study so that all of them take minutes; seeds, errors and models of plans are those of the study.
REFERENCE: dict[str, dict[str, Any]] = {
    "sphere_truth": {"courses": 500},
    "sphere_axes": {"courses": 200},
    "after_two_fractions": {"courses": 50},
    "pelvic_node": _ONE_MARGIN,
    "abdominal_node": _ONE_MARGIN,
    "mediastinal_node": _ONE_MARGIN,
    "mediastinal_beside_heart": _ONE_MARGIN,
    "mediastinal_three_nodes": _ONE_MARGIN,
    "pelvic_two_nodes": _ONE_MARGIN,
    "pelvic_strategies": _EACH_MOTION,
    "abdominal_strategies": _EACH_MOTION,
    "mediastinal_strategies": _EACH_MOTION,
    "mediastinal_interplay": {"courses": 50, "sweep": {"simulate.interplay": [False, True]}},
    "setup_sweep": {"courses": 50, "strategies.margins_mm": [8]},
}
_WITHOUT_PLANS = ("sphere_truth", "sphere_axes")
COMPARED = {"probability": "", "nominal": "goal's unit", "median": "goal's unit"}
_THREE_DECIMALS = 0.0005


def write_reference(name: str, path: Path) -> None:
    """Run a shipped study as its filed results were made, and write its summary."""
    write_summary(run(load_study(example(name), REFERENCE[name])), path)


def reference_groups(*, quick: bool = False) -> Groups:
    """A group of checks for each study, or for those alone that need no plan."""
    return {f"Study {name}": partial(differences, name) for name in (_WITHOUT_PLANS if quick else REFERENCE)}


def differences(name: str) -> Numbers:
    """The largest difference of each compared column from the filed results; NaN where rows are not the same."""
    with TemporaryDirectory() as folder:
        found_file = Path(folder) / "summary.csv"
        write_reference(name, found_file)
        found, filed = _rows(found_file), _rows(reference(name))
    for column, unit in COMPARED.items():
        pairs = [(found[key][column], filed[key][column]) for key in filed if key in found]
        largest = max((abs(float(a) - float(b)) for a, b in pairs), default=np.nan)
        yield (
            f"{column} of {len(filed)} strategies and goals, largest difference",
            0.0,
            largest if found.keys() == filed.keys() else np.nan,
            _THREE_DECIMALS,
            unit,
            f"results/reference/{name}.csv",
        )


def _rows(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Rows of a summary by point of a sweep, strategy and goal."""
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        columns = list(table.fieldnames or ())
        keys = columns[: columns.index("goal") + 1]
        return {tuple(row[key] for key in keys): row for row in table}
