"""W4: the whole process of the first study, with and without compiled kernels."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.checkouts import ROOT

STUDY = ROOT / "configs" / "mediastinal_node.yaml"


def whole_process() -> dict[str, float]:
    """W4: seconds of `simulator run` on the shipped study with an empty and with a filled cache of compiled kernels."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(Path(folder) / "cache")}
        seconds = {}
        for state in ("cold", "warm"):
            out = Path(folder) / state
            command = [sys.executable, "-m", "simulator", "run", str(STUDY), "--out", str(out), "--quiet"]
            begin = time.perf_counter()
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
            seconds[f"{state}_s"] = time.perf_counter() - begin
            shutil.rmtree(out)
    return seconds
