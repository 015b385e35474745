"""Checkpoints: each finished block of courses is one immutable file, so an interrupted run resumes."""

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np

from simulator.spec import ConfigError


class BlockStore:
    """Finished blocks of one study in a folder.

    Parameters
    ----------
    folder : created when missing.
    fingerprint : text that identifies the numbers (resolved study, version); a folder of another study is refused.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / "fingerprint.txt"
        if not mark.exists():
            _write_atomically(mark, fingerprint.encode())
        elif mark.read_text(encoding="utf-8") != fingerprint:
            raise ConfigError(
                f"{folder.parent}: holds unfinished courses of a different study (the configuration, the seed or the "
                "version changed); add --fresh to discard them, or choose another folder with --out"
            )

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """A finished block, or None when it is missing or damaged."""
        path = self._folder / f"{key}.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (FileNotFoundError, zipfile.BadZipFile, EOFError, ValueError, OSError):
            return None

    def save(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Store a finished block."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        _write_atomically(self._folder / f"{key}.npz", buffer.getvalue())

    def scratch(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A float32 array that lives on disk, for what grows with the number of courses."""
        return np.lib.format.open_memmap(self._folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)

    def discard(self) -> None:
        """Remove every block; called when the results that contain them are on disk."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
