"""Versions side by side: a checkout of the simulator that is measured in processes of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEFORE = "39013ad"  # the version before studies of a hundred strategies were made faster


class NoCheckoutError(RuntimeError):
    """Neither a folder with the simulator nor a commit of this repository."""


@dataclass(frozen=True)
class Side:
    """One version: its folder, and what its compiled kernels are kept in."""

    name: str
    root: Path
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of processes that import this version's packages, and keep its compiled kernels apart."""
        return os.environ | {"PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(self.cache)}

    def result_of(self, work: str, n_workers: int) -> dict[str, float]:
        """What `one_turn.py` says of some work with this version."""
        command = [sys.executable, "-P", str(Path(__file__).with_name("one_turn.py")), work, str(n_workers)]
        said = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        found = json.loads(said)
        if Path(found.pop("simulator")) != self.root / "simulator":
            raise NoCheckoutError(f"{self.name}: another simulator than that of {self.root} was imported")
        return found


@contextmanager
def side(version: str | Path) -> Iterator[Side]:
    """A version by its folder, or by its commit, which is checked out among temporary files meanwhile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cache, root = Path(folder) / "cache", Path(version).resolve()
        if (root / "simulator" / "__init__.py").exists():
            yield Side(str(version), root, cache)
            return
        root = Path(folder).resolve() / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        made = subprocess.run(
            [*git, "add", "--detach", str(root), str(version)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise NoCheckoutError(
                f"{version}: neither a folder with the simulator nor a commit that is here; fetch it, or name another "
                f"({made.stderr.strip().splitlines()[-1]})"
            )
        try:
            yield Side(str(version), root, cache)
        finally:
            subprocess.run([*git, "remove", "--force", str(root)], check=False)
