"""DICOM folders with flaws, each by its seed: elements lost, emptied or overwritten, files cut, garbled, doubled or lost."""

import random
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_factory import write_phantom_dicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

import simulator
from simulator.case.inventory import inventory
from simulator.execution.points import prepare_points
from simulator.execution.problems import problem_of
from simulator.ground.parallel import SerialExecutor
from simulator.ground.spec import SimulatorError
from simulator.problem.problem import Problem
from simulator.simulation.courses import course_draws, deliver_courses
from simulator.simulation.plans import make_plan
from simulator.simulation.work import prepare_work
from simulator.study_file.loading import load_study
from simulator.study_file.schema import StudyConfig
from simulator.study_file.starter import starter_study

_TEXTS = [
    *(
        b"",
        b" ",
        b"0",
        b"-1",
        b"1,5",
        b"nan",
        b"inf",
        b"-inf",
        b"1e308",
        b"1e9\\1e9\\1e9",
        b"-1e9",
        b"99999999999999999999",
    ),
    *(b"abc", b"1\\2", b"1\\2\\3\\4\\5\\6\\7", b"\\", b"0\\0", b"0.5", b"1e-30", b"3.7", b"\xff\xfe\x80", b"\0\0\0\0"),
    *(b"None", b"GTV", b"TARGET", b"CLOSED_PLANAR", b"POINT", b"OPEN_PLANAR", b"RTPLAN", b"PLAN", b"BEAM", b"FRACTION"),
    *(b"RELATIVE", b"'\"*&!%@#: {}[]", b"a\nb", b"\x1b[31m"),
]
_WHOLES = [0, 1, 2, 7, 8, 32, 64, 255, 4096, 32768, 65535]
_FRAMES = [b"1", b"0", b"-5", b"17", b"18", b"16", b"1000000000", b"5.5"]


def write_base(folder: Path) -> Path:
    """The sound folder that all others are made from."""
    return write_phantom_dicom(folder, ct_z=range(-30, 31, 15), doses=[{"shape": (17, 29, 21)}])


def write_flawed(base: Path, folder: Path, seed: int) -> list[str]:
    """Copy the sound folder with one to three flaws; what was done, in words."""
    rng = random.Random(seed)
    shutil.copytree(base, folder)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        files = sorted(p for p in folder.iterdir() if p.stat().st_size)
        important = [p for p in files if not p.name.startswith("ct")]
        path = rng.choice(important if important and rng.random() < 0.8 else files)
        flaw = rng.choices([_lose, _overwrite, _scale, _cut, _garble, _double, _remove], [5, 8, 4, 3, 3, 2, 1])[0]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done.append(f"{path.name}: {flaw(path, rng)}")
        except Exception as error:
            done.append(f"{path.name}: not done ({type(error).__name__})")
    return done


def _elements(data: Dataset) -> Iterator[tuple[Dataset, DataElement]]:
    """Every element of a data set and of the items of its sequences; of long sequences, some items."""
    for element in data:
        yield data, element
        if element.VR == "SQ":
            for item in (element.value or [])[:3]:
                yield from _elements(item)


def _chosen(path: Path, rng: random.Random, *vrs: str) -> tuple[Dataset, Dataset, DataElement]:
    data = pydicom.dcmread(path, force=True)
    parent, element = rng.choice([(p, e) for p, e in _elements(data) if not vrs or e.VR in vrs])
    return data, parent, element


def _lose(path: Path, rng: random.Random) -> str:
    data, parent, element = _chosen(path, rng)
    del parent[element.tag]
    data.save_as(path)
    return f"{element.keyword} lost"


def _overwrite(path: Path, rng: random.Random) -> str:
    data, parent, element = _chosen(path, rng, "DS", "IS", "US", "UI", "CS", "LO", "SH", "PN")
    value = struct.pack("<H", rng.choice(_WHOLES)) if element.VR == "US" else rng.choice(_TEXTS)
    if element.keyword == "NumberOfFrames":
        value = rng.choice(_FRAMES)
    parent[element.tag] = DataElement(element.tag, "UN", value + b" " * (len(value) % 2), already_converted=True)
    data.save_as(path)
    return f"{element.keyword} = {value!r}"


def _scale(path: Path, rng: random.Random) -> str:
    """Multiply one number of an element, or all of them."""
    data, parent, element = _chosen(path, rng, "DS")
    factor = rng.choice([-1, 0, 1e-3, 0.5, 1.01, 2, 10, 100, 1e4, 1e9])
    numbers = [float(v) for v in (element.value if element.VM > 1 else [element.value])]
    at = range(len(numbers)) if rng.random() < 0.5 else [rng.randrange(len(numbers))]
    text = "\\".join(f"{n * factor if i in at else n:.8g}" for i, n in enumerate(numbers)).encode()
    parent[element.tag] = DataElement(element.tag, "UN", text + b" " * (len(text) % 2), already_converted=True)
    data.save_as(path)
    return f"{element.keyword} times {factor:g}"


def _cut(path: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    n = rng.randrange(len(content))
    path.write_bytes(content[:n])
    return f"cut to {n} of {len(content)} bytes"


def _garble(path: Path, rng: random.Random) -> str:
    """Overwrite, insert or delete bytes, mostly in the header."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(min(len(content), rng.choice((200, 800, 3000, len(content)))))
        how = rng.randrange(3)
        if how == 0:
            content[at] = rng.randrange(256)
        elif how == 1:
            content[at:at] = rng.randbytes(rng.choice((1, 2, 4)))
        else:
            del content[at : at + rng.choice((1, 2, 4))]
    path.write_bytes(bytes(content))
    return "bytes garbled"


def _double(path: Path, rng: random.Random) -> str:
    """A second file of the kind, with another UID, and perhaps another frame or plan."""
    data = pydicom.dcmread(path, force=True)
    data.SOPInstanceUID = f"1.2.3.{rng.randrange(10**6)}"
    for keyword in ("FrameOfReferenceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        if rng.random() < 0.3:
            setattr(data, keyword, "1.2.3.4")
    data.save_as(path.with_name(f"second_{rng.randrange(10**6)}.dcm"))
    return "doubled"


def _remove(path: Path, rng: random.Random) -> str:
    path.unlink()
    return "removed"


def study_on(folder: Path) -> StudyConfig:
    """A small study on the folder's own dose."""
    return StudyConfig.model_validate(
        {
            "name": "flawed",
            "case": {"dicom": str(folder), "target": "GTV"},
            "prescription": {"dose_gy": 50, "fractions": 5},
            "plan": {"model": "rtdose", "doses": [{"margin_mm": 0, "dose": "PLAN"}]},
            "uncertainty": {"setup": {"systematic_mm": 1, "random_mm": 1, "systematic_deg": 0.5}},
            "strategies": {"margins_mm": [0], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 30%"],
            "courses": 20,
            "numerics": {"max_points": 1500},
        }
    )


def try_out(folder: Path, with_results: bool = True) -> str:
    """`inspect`, `init`, `check` and, where that says valid, `run` on a folder: which of them refused it.

    Parameters
    ----------
    with_results : False simulates the courses alone, which is several times as quick.
    """
    study = study_on(folder)
    steps = {"inspect": lambda: _inspect(folder), "init": lambda: _init(folder), "check": lambda: _prepared(study)}
    refused = [name for name, step in steps.items() if _is_refused(step)]
    if "check" not in refused:
        simulator.run(study) if with_results else _simulate(study)
        refused.append("ran")
    return " ".join(refused)


def _prepared(study: StudyConfig) -> Problem:
    (point,) = prepare_points(study, Path(study.name), SerialExecutor(), fresh=True).values()
    return problem_of(point.config)


def _simulate(study: StudyConfig) -> None:
    problem = _prepared(study)
    (strategy,) = problem.strategies
    draws = course_draws(problem, 0, study.courses)
    delivery = deliver_courses(problem, strategy, draws)
    plan = make_plan(problem, problem.requests[0])
    work = prepare_work(problem, strategy, plan, [delivery], SerialExecutor())
    work.nominal()
    assert np.isfinite(work.block(draws, delivery)["values"]).all()


def _is_refused(step: Callable[[], Any]) -> bool:
    try:
        step()
    except SimulatorError as error:
        if not str(error).strip():
            raise AssertionError("refused without a word") from error
        return True
    return False


def _inspect(folder: Path) -> None:
    for _, columns, rows in inventory(folder).sections():
        assert all(len(row) == len(columns) for row in rows)


def _init(folder: Path) -> None:
    text = starter_study("pelvic", folder)
    path = folder.with_suffix(".yaml")
    path.write_text(text, encoding="utf-8")
    load_study(path)
