"""Kernels compiled by a second process while the first reads the case and plans: `python -m simulator.execution.warm_up`."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STUDY = {
    "name": "warm-up",
    "case": {"phantom": "sphere", "radius_mm": 8, "grid_mm": 2},
    "prescription": {"dose_gy": 50, "fractions": 2, "isodose_percent": 80},
    "plan": {"model": "penumbra", "normalisation": "isodose", "gridded": True},
    "uncertainty": {
        "setup": {"systematic_mm": 1, "random_mm": 1},
        "respiration": {"amplitude_mm": [1, 1, 4]},
        "delineation": {"sd_mm": 1, "correlation_deg": 60},
    },
    "strategies": {"margins_mm": [0, 8], "motion": ["none"], "guidance": ["none"]},
    "goals": ["GTV D98% >= 95%", "GTV D1cc >= 40 Gy", "GTV V40Gy >= 90 %", "GTV Dmean >= 40 Gy"],
    "courses": 8,
    "numerics": {"max_points": 1000, "instants": 4},
}


def main() -> None:
    """Simulate a tiny study, for the sake of what is compiled meanwhile."""
    import simulator
    from simulator.study_file.schema import StudyConfig

    simulator.run(StudyConfig.model_validate(STUDY), workers=1)


@contextmanager
def kernels_compiled_ahead(n_workers: int | None, say: Callable[[str], None]) -> Iterator[None]:
    """Meanwhile compile the kernels of the courses on another processor, unless they are in numba's cache."""
    from simulator.kernels.tiles import accumulate_tiles

    kept = Path(accumulate_tiles.stats.cache_path)
    if any(kept.glob("*accumulate_tiles*.nbc")):
        yield
        return
    is_lasting = not kept.is_relative_to(tempfile.gettempdir())
    where = "" if is_lasting else f"; they are kept in {kept}, for want of a lasting folder that can be written to"
    say(f"first run here: kernels are compiled, which takes about half a minute{where}")
    if (n_workers or os.cpu_count()) == 1:
        yield
        return
    command = [sys.executable, "-m", "simulator.execution.warm_up"]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
