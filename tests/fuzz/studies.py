"""Study files, breathing records and files of goals with mistakes in them; what `check` and `run` make of a study."""

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import yaml

from simulator.commands.overview import needs_of, study_tables
from simulator.execution.points import notes_of, prepare_points
from simulator.execution.study import run_study
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import SimulatorError, Spec
from simulator.study_file.loading import load_study

_MOST_RUNS = 12
_WIDE = 2.0
_SECTIONS = {"session": 0.4, "decision": 0.4, "biology": 0.4, "maps": 0.3, "sweep": 0.1}

_MOTIONS = [
    "none",
    {"kind": "gating", "window_percent": 40, "latency_s": 0.2},
    {"kind": "breath-hold", "depth": 1, "hold_s": 15, "creep_sd_mm": 1},
    {"kind": "tracking", "latency_s": 0.2, "reimaging_interval_s": 30},
    {"kind": "compression", "ratio": [1, 0.7, 0.6]},
    "mid-ventilation",
]
_GUIDANCE = [
    "none",
    {"kind": "nal", "measured_fractions": 2},
    {"kind": "enal", "then_every": 2},
    {"kind": "online-bone", "couch": "6D", "action_level_mm": 2},
    {"kind": "online-target", "reimage_every_min": 2},
]
_STUDY: dict[str, Any] = {
    "name": "study",
    "case": {"phantom": "sphere", "radius_mm": 8},
    "prescription": {"dose_gy": 48, "fractions": 4, "isodose_percent": 80},
    "plan": {"model": "penumbra", "normalisation": "isodose", "penumbra_sd_mm": 3.2},
    "uncertainty": {
        "setup": {"systematic_mm": [1, 1.5, 2], "random_mm": 1.5, "systematic_deg": 0.5, "correlation": [0.1, 0, 0]},
        "drift": {"sd_mm_per_min": 0.1, "brownian_mm_per_sqrt_min": 0.2},
        "baseline": {"systematic_mm": 1, "random_mm": 1, "after_imaging_sd_mm": [0, 1, 1]},
        "respiration": {"amplitude_mm": [1, 2, 6], "period_s": 4, "course_cv": 0.3, "n": 2, "lag_deg": [0, 10, 0]},
        "registration": {"systematic_mm": 0.5},
        "delineation": {"sd_mm": 0.8, "correlation_deg": 45},
        "isocentre": {"systematic_mm": 0.4},
    },
    "session": {"image_to_beam_s": 120, "dose_rate_gy_per_min": 6},
    "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["online-target"]},
    "goals": ["GTV D98% >= 95%", "GTV V95% >= 98%", "External D5cc <= 50 Gy", "GTV EQD2(3):D50% >= 60 Gy"],
    "decision": {"probability": 0.9, "target_goals": ["GTV D98% >= 95%"]},
    "biology": {"tcp": {"GTV": {"alpha_per_gy": 0.3, "alpha_beta_gy": 10, "clonogens_per_cc": 1e7}}},
    "courses": 40,
    "seed": 7,
    "sampling": "pseudo-random",
    "numerics": {"instants": 6, "max_points": 1000, "block_courses": 20, "target_lattice_mm": 1.5, "oar_lattice_mm": 2},
    "maps": {"percentiles": [5, 95], "courses": 20},
    "sweep": {"uncertainty.setup.random_mm": [1, 2]},
}
_SIZES = (0, -1, 1, 2, 5, 20, 50, 100, 1000, 0.95, 0.5, 1e-6, 1e-300, 1e6, 1e12, 1e300, 10**30, -0.0, 2.5)
_ODDITIES = (
    None, True, False, "", " ", "x", "1:59", "012", "1e3", "2 mm", "50,5", "nan", "GTV", "External", "Heart", "none", "itv",
    "van-herk", "stroom", "auto", "sobol", "penumbra", "conformal-arc", "GTV D98% >= 95%", "GTV D98% <= 90%", "GTV V95%",
    "GTV Dmax <= 9500%", "Heart D1cc <= 5 Gy", "a/b", "..", "/", "~", "é", "x" * 300, float("nan"), float("inf"),
    [], {}, [1, 2], [1, 2, 3], [[1, 2, 3]], [0, 0, 0], {"kind": "itv"}, {"recipe": "fixed", "margin_mm": 4}, {"x": 1},
    {"start": 1, "stop": 3, "step": 1}, {"start": 0, "stop": 1, "step": 1e-7}, {"together": {"seed": [1, 2]}},
)  # fmt: skip
_SNIPPETS = (
    "\t",
    "*x",
    "&a ",
    "!!set ",
    "{",
    "]",
    ": ",
    "- ",
    "#",
    "'",
    '"',
    "\n  ",
    "|",
    "%",
    "\x00",
    "\u2028",
    "1_0",
    "<<: ",
)


def usual_study() -> bytes:
    """A study that has everything, without a mistake."""
    return yaml.safe_dump(_STUDY, sort_keys=False).encode()


def mutated_study(random: Random) -> bytes:
    """A study file with some mistakes; a third of them in its text."""
    study = _plausible_study(random)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        _mutate(study, random)
    return _as_text(study, random)


def mutated_goal_file(random: Random) -> bytes:
    """A file of goals with some mistakes."""
    row = {"goal": "GTV D98% >= 95%", "level": "mandatory", "source": "our own", "checked": True}
    library = {"name": "own", "site": "any", "fractions": 4, "goals": [row, row | {"goal": "External D1cc <= 40 Gy"}]}
    for _ in range(random.choice((0, 1, 1))):
        _mutate(library, random)
    return _as_text(library, random)


def mutated_record(random: Random) -> bytes:
    """A breathing record as an instrument, or a spreadsheet of some country, might spoil it."""
    n = random.choice((0, 1, 5, 100, 600, 600, 600))
    comma, separator = random.choice((".", ".", ",")), random.choice((",", ",", ",", ";", ";", ";", "\t", " "))
    step = random.choice((0.1, 0.1, 0.1, 0.1, 0.1, 100, 1e-9, 0))
    size = random.choice(((5,) * 8) + (0, 1e9))
    rows = [[f"{k * step:.2f}", f"{size * (k % 40) / 40:.3f}"] for k in range(n)]
    for _ in range(random.choice((0, 0, 0, 1))):
        if rows:
            row = random.choice(rows)
            row[random.randrange(len(row))] = random.choice(("", "nan", "inf", "x", "1e999", "-", "1,5", '"3', "00:01"))
    head = random.choice((["time_s", "displacement_mm"],) * 12 + (["t", "x"], [], ["displacement_mm", "time_s"]))
    text = "\n".join(separator.join(cells) for cells in [head, *rows])
    text = text.replace(".", comma)
    return _garbled(text, random) if random.random() < 0.25 else text.encode()


def check_and_run(path: Path, out: Path, is_run: bool) -> str:
    """Check a study and, if wanted, run it where it is valid and small; says how far it came."""
    size = check_study(path)
    if size == "large" or not is_run:
        return f"valid, {size}"
    try:
        run_small(path, out)
    except SimulatorError as error:
        raise AssertionError(f"valid for check, but refused by run: {error}") from error
    return "ran"


def check_study(path: Path) -> str:
    """What `simulator check` does; says whether a run is small enough to try."""
    study = load_study(path)
    points = prepare_points(study, path.parent, SerialExecutor(), fresh=True, ask=needs_of)
    study_tables(study, points)
    notes_of(points.values())
    return "small" if len(points) * len(study.candidates()) <= _MOST_RUNS else "large"


def run_small(path: Path, out: Path) -> None:
    """What `simulator run --courses 20` does, without a report."""
    is_sobol = load_study(path).sampling == "sobol"
    run_study(load_study(path, {"courses": 32 if is_sobol else 20, "precision": None}), out, workers=1)


def _plausible_study(random: Random) -> dict[str, Any]:
    """A study that is mostly valid: some sections, some kinds, numbers near their usual values."""
    study = copy.deepcopy(_STUDY)
    for key, share in _SECTIONS.items():
        if random.random() > share:
            del study[key]
    study["goals"] = [goal for goal in study["goals"] if goal.startswith("GTV D98%") or random.random() < 0.4]
    for source in list(study["uncertainty"]):
        if random.random() < 0.5:
            del study["uncertainty"][source]
    study["strategies"]["guidance"] = copy.deepcopy(random.sample(_GUIDANCE, random.choice((1, 1, 1, 2))))
    if random.random() < 0.25:
        study["plan"] = {"model": "conformal-arc", "arcs": [{"start_deg": -90, "stop_deg": 90, "spacing_deg": 45}]}
        study["strategies"]["motion"] = copy.deepcopy(random.sample([*_MOTIONS, "itv"], random.choice((1, 1, 2))))
    elif "respiration" in study["uncertainty"]:
        study["strategies"]["motion"] = [copy.deepcopy(random.choice(["none", "mid-ventilation", _MOTIONS[3]]))]
    for place, key in _leaves({name: part for name, part in study.items() if name not in ("case", "numerics")}):
        if isinstance(place[key], float | int) and not isinstance(place[key], bool) and random.random() < 0.1:
            place[key] = type(place[key])(place[key] * random.uniform(1 / _WIDE, _WIDE))
    return study


def _mutate(study: dict[str, Any], random: Random) -> None:
    """One mistake somewhere in a tree: most often a number that is larger or smaller than usual."""
    places = _leaves(study)
    numbers = [(place, key) for place, key in places if type(place[key]) in (int, float)]
    if numbers and random.random() < 0.6:
        place, key = random.choice(numbers)
        usual = place[key]
        scaled = [type(usual)(usual * factor) for factor in (0, 0.2, 0.5, 3, 5, 10, 30)]
        place[key] = random.choice(_SIZES if random.random() < 0.3 else scaled)
        return
    if not places:
        return
    place, key = random.choice(places)
    value = copy.deepcopy(random.choice(_ODDITIES) if random.random() < 0.5 else random.choice(_SIZES))
    kind = random.randrange(6)
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, list):
        place.append(value)
    elif kind == 2 and isinstance(place, dict):
        place[random.choice(_known_keys())] = value
    elif kind == 3 and isinstance(place[key], list | dict) and place[key]:
        inner = random.choice(list(place[key])) if isinstance(place[key], dict) else random.randrange(len(place[key]))
        place[key][inner] = value
    else:
        place[key] = value


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    """Every container with a key or an index of it."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [(tree, key) for key, _ in items] + [leaf for _, value in items for leaf in _leaves(value)]


def _known_keys() -> list[str]:
    specs, keys = [Spec], set[str]()
    for spec in specs:
        specs += spec.__subclasses__()
        keys |= set(spec.model_fields)
    return sorted(keys)


def _as_text(tree: dict[str, Any], random: Random) -> bytes:
    text = yaml.safe_dump(tree, sort_keys=False) if random.random() < 0.8 else json.dumps(tree, indent=1)
    return _garbled(text, random) if random.random() < 0.25 else text.encode()


def _garbled(text: str, random: Random) -> bytes:
    """A text as an editor, a disk or a hand might spoil it."""
    at = random.randrange(len(text) + 1)
    kind = random.randrange(8)
    if kind == 0:
        text = text[:at]
    elif kind == 1:
        text = text[:at] + random.choice(_SNIPPETS) + text[at:]
    elif kind == 2:
        lines = text.split("\n")
        lines.insert(random.randrange(len(lines)), random.choice(lines))
        text = "\n".join(lines)
    elif kind == 3:
        return (text + "\n# Größe\n").encode(random.choice(("latin-1", "utf-16", "utf-32", "utf-8-sig", "cp037")))
    elif kind == 4:
        content = bytearray(text.encode())
        if content:
            content[at % len(content)] = random.randrange(256)
        return bytes(content)
    elif kind == 5:
        text = text.replace("\n", "\r\n")
    return text.encode()
