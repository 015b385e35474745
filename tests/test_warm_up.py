"""The kernels of the courses are compiled ahead, with the types that real studies call them with."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, tempfile
from pathlib import Path
import simulator
from simulator.execution import warm_up
from simulator.kernels import cells, dvh, edges, points, splines, tiles, visits

def compiled():
    rooms = (cells, dvh, edges, points, splines, tiles, visits)
    return {(m.__name__, k): v.signatures for m in rooms for k, v in vars(m).items() if hasattr(v, "signatures")}

warm_up.main()
ahead = compiled()
from simulator.study_file.loading import load_study
study = load_study(Path(sys.argv[1]))
simulator.run(study, courses=4, workers=1)
for name, signatures in compiled().items():
    if signatures != ahead[name]:
        print(*name, len(signatures), len(ahead[name]))
print("compared", len(ahead))
"""


@pytest.mark.nightly
def test_a_study_needs_no_further_course_kernels():
    config = Path(__file__).parents[1] / "configs" / "mediastinal_node.yaml"
    found = subprocess.run([sys.executable, "-c", SCRIPT, str(config)], capture_output=True, text=True, check=True)
    first, *others = reversed(found.stdout.splitlines())
    assert first.startswith("compared")
    assert others == []
