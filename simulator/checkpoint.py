"""Checkpoints: whatever is finished is one immutable file with a checksum, so an interrupted run resumes.

A file is written under a name of its own, synced to the disk and renamed. Several processes may work in one folder, on
several machines that share its file system: whoever writes a block writes the same bytes, and a rename replaces them whole.
"""

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from simulator.checked_yaml import parse_yaml
from simulator.files import reserve, whole_file, writer
from simulator.spec import ConfigError

_SUFFIX = ".block"
_MARK = "study.yaml"
_MOST_CHANGES, _LONGEST = 5, 60
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
        mark = self._folder / _MARK
        if not mark.exists():
            self._write(mark, study.encode())
        elif (earlier := mark.read_text(encoding="utf-8")) != study:
            raise ConfigError(
                f"{self._folder.parent}: holds unfinished courses of a different study ({changed_settings(earlier, study)}); "
                "add --fresh to discard them, or choose another folder with --out"
            )

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
        """Remove every block; called when the results that contain them are on disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, path: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(content)

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
    """What identifies the numbers of a study: the simulator's version and the resolved configuration."""
    return f"# simulator {version}\n{config}"


def changed_settings(earlier: str, now: str) -> str:
    """What differs between two studies, each as `study_text`, in words."""
    old, new = _settings(earlier), _settings(now)
    keys = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]

    def shown_in(settings: dict[str, str], key: str) -> str:
        text = settings.get(key, "(nothing)")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."

    shown = [f"{key}: {shown_in(old, key)} -> {shown_in(new, key)}" for key in keys[:_MOST_CHANGES]]
    more = len(keys) - _MOST_CHANGES
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _settings(study: str) -> dict[str, str]:
    """Every value of a study by its dotted key, and the version."""
    found = {"version": study.partition("\n")[0].removeprefix("# simulator ")}

    def collect(value: Any, key: str) -> None:
        if isinstance(value, dict):
            for inner, some in value.items():
                collect(some, f"{key}.{inner}" if key else inner)
        elif value is not None:
            found[key] = str(value)

    collect(parse_yaml(study, "study")[0], "")
    return found
