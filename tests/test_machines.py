"""Machines that forbid what others allow: locks on files, a folder that can be written to."""

import sys
import tempfile

import pytest
from test_folders import STUDY, simulator

from simulator.commands import cli
from simulator.execution.study import run_study
from simulator.results.file import open_results
from simulator.study_file.schema import StudyConfig


@pytest.mark.skipif(sys.platform == "win32", reason="other locks")
def test_results_need_no_locks(tmp_path):
    """As on a network disk that grants none: another holds this one."""
    import fcntl

    run_study(StudyConfig.model_validate(STUDY), tmp_path / "r")
    with (tmp_path / "r" / "results.nc").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with open_results(tmp_path / "r") as results:
            assert results.attrs["n_courses"] == STUDY["courses"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no files, of nobody")
@pytest.mark.parametrize("n_places", [1, 0])
def test_a_defect_is_told_where_no_log_can_be_written(n_places, tmp_path, monkeypatch):
    def broken(**_):
        raise RuntimeError("broken")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path) if n_places else "/proc")
    done = simulator("check", cwd="/proc")
    assert (done.returncode, "a defect of the simulator" in done.stderr) == (1, True)
    assert len(list(tmp_path.glob("simulator-error-*.log"))) == n_places
    assert ("Traceback" in done.stderr) == (n_places == 0)
