"""Case files and dose volumes with flaws in them; what `inspect` and a study make of them."""

import io
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from simulator.case.archive import load_archive, read_nrrd
from simulator.case.inventory import inventory
from simulator.case.structures import sample_structure

_VALUES = (0, -1, np.nan, np.inf, 1e9, 1e300, 1e-300, 7)


def mutated_archive(random: Random) -> bytes:
    """A case file of one of three layouts with some flaws."""
    arrays = random.choice((_labels, _openkbp, _contours))()
    for _ in range(random.choice((0, 1, 1, 2))):
        key = random.choice(list(arrays))
        arrays[key] = _flawed(arrays[key], random)
        if random.random() < 0.1:
            del arrays[key]
    stored = io.BytesIO()
    random.choice((np.savez, np.savez_compressed))(stored, **{k: v for k, v in arrays.items() if v is not None})
    return _damaged(stored.getvalue(), random)


def mutated_nrrd(random: Random) -> bytes:
    """A dose volume in NRRD with some flaws."""
    head = {
        "type": "float", "dimension": "3", "space": "left-posterior-superior", "sizes": "4 5 6",
        "space directions": "(2,0,0) (0,2,0) (0,0,2)", "endian": "little", "encoding": "raw", "space origin": "(1,2,3)",
    }  # fmt: skip
    for _ in range(random.choice((0, 1, 2))):
        key = random.choice(list(head))
        head[key] = random.choice(
            ("", "0", "-1", "nan", "4 5", "9999999 9999999 9", "(0,0,0)", "gzip", "double", "none")
        )
        if random.random() < 0.2:
            del head[key]
    text = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in head.items()) + "\n"
    values = (
        np.full(120, random.choice((20.0, 20.0, *_VALUES)), "<f4")
        if random.random() < 0.5
        else np.arange(120, dtype="<f4")
    )
    return _damaged(text.encode() + values.tobytes(), random)


def inspect_file(path: Path) -> None:
    """What `simulator inspect` does."""
    inventory(path).sections()


def load_case(path: Path) -> None:
    """What a study does with a case file before it simulates."""
    case = load_archive(path, target="GTV")
    for structure in case.structures.values():
        sample_structure(structure, max_points=1000)


def load_volume(path: Path) -> None:
    """What a case does with its dose volume."""
    read_nrrd(path)


def _labels() -> dict[str, Any]:
    labels = np.zeros((12, 16, 14), np.uint8)
    labels[4:8, 6:11, 5:9] = 1
    labels[2:10, 2:5, 3:10] = 2
    return {
        "ct_hu": np.where(labels > 0, 40, -1000).astype(np.int16), "labels": labels, "label_ids": np.array([1, 2]),
        "label_names": np.array(["GTV", "Heart"]), "ct_origin_xyz_mm": np.array([-10.0, -20, -30]),
        "ct_spacing_xyz_mm": np.array([2.0, 2, 3]), "dose_gy": np.full(labels.shape, 40.0),
    }  # fmt: skip


def _openkbp() -> dict[str, Any]:
    mask = np.zeros((8, 10, 12), bool)
    mask[2:6, 3:8, 4:9] = True
    return {
        "ct": np.full(mask.shape, 1024), "dose": np.full(mask.shape, 30.0), "voxel_mm": np.array([3.9, 3.9, 2.5]),
        "names": np.array(["GTV", "Heart"]), "masks": np.packbits(np.stack([mask, ~mask]).reshape(2, -1), axis=1),
    }  # fmt: skip


def _contours() -> dict[str, Any]:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    heights = np.arange(-9, 10, 3.0)
    own = [np.stack([9 * np.cos(angle), 9 * np.sin(angle), np.full(24, z)], 1) for z in heights]
    return {
        "names": np.array(["GTV", "Heart"]), "points": np.concatenate([*own, *(c + np.array([30, 0, 0]) for c in own)]),
        "offsets": np.arange(2 * len(own) + 1) * 24, "roi": np.repeat([0, 1], len(own)),
    }  # fmt: skip


def _flawed(values: np.ndarray, random: Random) -> np.ndarray | None:
    kind = random.randrange(8)
    if kind == 0:
        return values[:-1]
    if kind == 1:
        return values[..., :1]
    if kind == 2 or values.dtype.kind == "U":
        return np.array(
            random.choice((["GTV", "GTV"], ["", " "], ["a\x1b[31m", "b"], ["gtv", "GTV"], [1, 2], ["GTV"], 3))
        )
    if kind == 3:
        return values.astype(random.choice((complex, bool, np.float32, "S4", np.int64)))
    changed = values.astype(float)
    if kind == 4 and changed.size:
        changed[...] = random.choice(_VALUES)
    elif changed.size:
        changed.flat[random.randrange(changed.size)] = random.choice(_VALUES)
    return changed


def _damaged(content: bytes, random: Random) -> bytes:
    """Bytes as a disk or a network might spoil them."""
    kind, at = random.randrange(6), random.randrange(len(content))
    if kind == 0:
        return content[:at]
    if kind == 1:
        changed = bytearray(content)
        changed[at] = random.randrange(256)
        return bytes(changed)
    return content
