"""Checkpoints: whatever is finished is one immutable file with a checksum, so an interrupted run resumes.

A file is written under a name of its own, synced to the disk and renamed. Several processes may work in one folder, on
several machines that share its file system: whoever writes a block writes the same bytes, and a rename replaces them whole.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from simulator.ground.files import reserve, write_whole, writer
from simulator.ground.spec import ConfigError
from simulator.study_file.checked_yaml import parse_yaml, to_yaml
from simulator.study_file.loading import map_paths

CONFIG, BLOCKS, RESULTS = "config.yaml", "blocks", "results.nc"
_SUFFIX = ".block"
_MARK, _INPUTS = "study.yaml", "inputs"
_MOST_CHANGES, _LONGEST = 5, 60
_OWN_SUFFIXES = (_SUFFIX, ".npy", ".partial")
_PLACES, _SHAPE = ".places", ".shape"


class BlockStore:
    """Finished blocks of one study in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self, study: str) -> None:
        """Say whose blocks these are, by text with a line for each setting.

        Raises
        ------
        ConfigError : the folder holds blocks of another study; the message says what changed.
        """
        earlier = self.owner()
        if earlier is None:
            self._write(self._folder / _MARK, study.encode())
        elif changed := changes_between(earlier, study):
            raise ConfigError(
                f"{self._folder.parent}: holds unfinished courses of a different study ({changed}); "
                "add --fresh to discard them, or choose another folder with --out"
            )

    def owner(self) -> str | None:
        """Whose blocks these are; None if nobody has claimed the folder."""
        try:
            return (self._folder / _MARK).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def has(self, key: str) -> bool:
        """Whether a finished, undamaged block is there."""
        return self._payload(key) is not None

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """A finished block, or None when it is missing or damaged."""
        payload = self._payload(key)
        if payload is None:
            return None
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            return _unpacked(dict(arrays))

    def save(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Store a finished block."""
        buffer = io.BytesIO()
        np.savez(buffer, **_packed(arrays))  # type: ignore[arg-type]
        payload = buffer.getvalue()
        self._write(self._folder / f"{key}{_SUFFIX}", _checksum(payload) + payload)

    def names(self) -> list[str]:
        """Names of the blocks, damaged ones among them; none while there is no folder."""
        return [path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}")]

    def scratch(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A float32 array that lives on disk, for what grows with the number of courses."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.{writer()}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        reserve(path)
        return array

    def discard(self) -> None:
        """Remove every block; called when the results that contain them are on disk. Files of others stay."""
        for path in self._folder.glob("*"):
            if path.name == _MARK or path.suffix in _OWN_SUFFIXES:
                with suppress(OSError):
                    path.unlink()
        with suppress(OSError):
            self._folder.rmdir()

    def _write(self, path: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)

    def _payload(self, key: str) -> bytes | None:
        try:
            content = (self._folder / f"{key}{_SUFFIX}").read_bytes()
        except OSError:
            return None
        n = hashlib.sha256().digest_size
        return content[n:] if content[:n] == _checksum(content[n:]) else None


def _packed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Counts that are mostly zero as the others, their places and the shape: as small as compressed, but quick."""
    packed = {}
    for key, array in arrays.items():
        packed[key] = array
        if array.dtype.kind in "biu" and 3 * np.count_nonzero(array) < array.size:
            at = np.flatnonzero(array)
            packed |= {key: array.reshape(-1)[at], key + _PLACES: at.astype(np.uint32)}
            packed[key + _SHAPE] = np.array(array.shape)
    return packed


def _unpacked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `_packed` packed."""
    whole = {}
    for key in (k for k in arrays if not k.endswith((_PLACES, _SHAPE))):
        whole[key] = arrays[key]
        if key + _SHAPE in arrays:
            whole[key] = np.zeros(arrays[key + _SHAPE], arrays[key].dtype)
            whole[key].reshape(-1)[arrays[key + _PLACES]] = arrays[key]
    return whole


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()


def study_text(version: str, config: str) -> str:
    """A study as text: the simulator's version and the resolved configuration."""
    return f"# simulator {version}\n{config}"


def identity_text(version: str, config: str, inputs: Mapping[str, str]) -> str:
    """What identifies the numbers of a study: version, configuration and the content of its files, wherever they lie."""
    raw, _ = parse_yaml(config, "study")
    map_paths(raw, lambda path: Path(path).suffix)
    return study_text(version, to_yaml(raw)) + (to_yaml({_INPUTS: dict(inputs)}) if inputs else "")


def merged_inputs(of_points: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Inputs of a sweep from those of its points; one that differs from an earlier point's carries its point's number."""
    merged: dict[str, str] = {}
    for i, inputs in enumerate(of_points):
        merged |= {
            name if merged.get(name, what) == what else f"point {i:05d}, {name}": what for name, what in inputs.items()
        }
    return merged


def changes_between(earlier: str, now: str) -> str:
    """What differs between two studies, each as `study_text` or `identity_text`, in words; empty if nothing does."""
    if earlier == now:
        return ""
    try:
        old, new = _settings(earlier), _settings(now)
    except ConfigError:
        return "its record is damaged"
    files = _changed_files(old.pop(_INPUTS, {}), new.pop(_INPUTS, {}))
    keys = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]

    def shown_in(settings: dict[str, Any], key: str) -> str:
        text = settings.get(key, "(nothing)")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."

    changes = files + [f"{key}: {shown_in(old, key)} -> {shown_in(new, key)}" for key in keys]
    more = len(changes) - _MOST_CHANGES
    return "; ".join(changes[:_MOST_CHANGES]) + (f"; and {more} more" if more > 0 else "")


def _changed_files(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Files whose content is another, in words; the name of a file does not matter."""
    gone, come = Counter(old.values()) - Counter(new.values()), Counter(new.values()) - Counter(old.values())
    lost = [name for name, what in old.items() if what in gone]
    found = [name for name, what in new.items() if what in come]
    return [
        *(f"{name} has changed" for name in found if name in lost),
        *(f"{name} was not there" for name in found if name not in lost),
        *(f"{name} is not there any more" for name in lost if name not in found),
    ]


def _settings(study: str) -> dict[str, Any]:
    """Every value of a study by its dotted key, the version, and the inputs as they are."""
    found: dict[str, Any] = {"version": study.partition("\n")[0].removeprefix("# simulator ")}

    def collect(value: Any, key: str) -> None:
        if isinstance(value, dict):
            for inner, some in value.items():
                collect(some, f"{key}.{inner}" if key else inner)
        elif value is not None:
            found[key] = str(value)

    raw = parse_yaml(study, "study")[0]
    inputs = raw.pop(_INPUTS, {}) if isinstance(raw, dict) else None
    if not isinstance(inputs, dict):
        raise ConfigError("no study")
    found[_INPUTS] = {str(name): str(what) for name, what in inputs.items()}
    collect(raw, "")
    return found
