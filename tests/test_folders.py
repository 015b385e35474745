"""A user's files are never touched: only a new, an empty or a marked folder is written to, and only own files are removed."""

import csv
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from types import SimpleNamespace

import pytest
import yaml

from simulator.commands.cli import main
from simulator.execution.folder import is_run_folder
from simulator.execution.study import run_study
from simulator.ground.files import MARK, inert
from simulator.results.file import open_results
from simulator.results.summary import write_summary
from simulator.study_file.schema import StudyConfig

STUDY = {
    "name": "s",
    "case": {"phantom": "sphere", "radius_mm": 8},
    "prescription": {"dose_gy": 50, "fractions": 5, "isodose_percent": 80},
    "plan": {"model": "penumbra"},
    "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]},
    "goals": ["GTV D98% >= 95%"],
    "courses": 20,
    "numerics": {"max_points": 1000},
}
MINE = (
    "points/p.csv",
    "blocks/b.txt",
    "report.html",
    "summary.pdf",
    "summary.csv",
    "tasks.csv",
    "config.yaml",
    "comparison.csv",
    "n.txt",
)


def simulator(*arguments, cwd):
    """What a command prints and ends with, run in this process."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["simulator", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return SimpleNamespace(returncode=end.value.code or 0, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a study and its finished results."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "s.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    done = simulator("run", "s.yaml", "--out", "done", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def contents(folder):
    """Every file below a folder, with its content."""
    return {p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def foreign(folder):
    for name in MINE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    return folder


COMMANDS = {
    "run": ("run", "s.yaml", "--quiet", "--no-report", "--out"),
    "run --fresh": ("run", "s.yaml", "--quiet", "--no-report", "--fresh", "--out"),
    "compare": ("compare", "done", "done/results.nc", "--out"),
    "validate": ("validate", "--out"),
    "course": ("course", "done", "--strategy", "none, 3 mm, none", "--course", "3", "--out"),
}
OUTS = {
    "foreign": ("{}/foreign", "holds files that the simulator did not write"),
    "the folder of the command": (".", "the folder of the command itself"),
    "the folder above": ("..", "the folder of the command itself, or one above it"),
    "a file": ("s.yaml", "a file, and a folder is wanted"),
    "a dangling link": ("{}/dangling", "a link to something that is not there"),
    "below a file": ("s.yaml/inside", "cannot be"),
    "a name of no letters": ("{}/Gr\udcf6\udcdfe", "Gr\\udcf6\\udcdfe: its name is not Unicode"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", OUTS)
def test_a_foreign_place_is_refused_and_left_alone(command, out, place, tmp_path):
    foreign(tmp_path / "foreign")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path), contents(place)
    target, message = OUTS[out]
    done = simulator(*COMMANDS[command], target.format(tmp_path), cwd=place)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr or "Not a directory" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (contents(tmp_path), contents(place)) == before


def test_files_that_others_put_into_a_run_folder_stay(place, tmp_path):
    out = tmp_path / "out"
    assert simulator("run", "s.yaml", "--out", out, "--quiet", "--no-report", cwd=place).returncode == 0
    looked = simulator("course", out, "--strategy", "none, 3 mm, none", "--course", 3, cwd=place)
    assert looked.returncode == 0, looked.stderr
    (course,) = (out / "courses").iterdir()
    theirs = (
        "notes.txt",
        "points/p.csv",
        "points/00000/mine.txt",
        "blocks/b.txt",
        "comparison.csv",
        "courses/mine/errors.csv",
    )
    for name in theirs:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    done = simulator("run", "s.yaml", "--out", out, "--fresh", "--seed", 9, "--quiet", "--no-report", cwd=place)
    assert done.returncode == 0, done.stderr
    assert all((out / name).read_text() == "mine" for name in theirs)
    assert not course.exists(), "a course of the earlier results"
    with open_results(out) as results:
        assert results.attrs["seed"] == 9


@pytest.mark.parametrize("name", ["results.nc", "config.yaml", "summary.csv", "blocks"])
@pytest.mark.parametrize("options", [(), ("--fresh",)], ids=["", "--fresh"])
def test_a_folder_in_place_of_a_file_of_the_run_is_told(name, options, place, tmp_path):
    """A file in place of the folder of blocks, likewise."""
    out = tmp_path / "out"
    out.mkdir()
    (out / MARK).write_text("")
    (out / name).write_text("mine") if name == "blocks" else (out / name).mkdir()
    done = simulator("run", "s.yaml", "--out", out, "--quiet", "--no-report", *options, cwd=place)
    assert (done.returncode, f"{name}" in done.stderr) == (2, True)
    assert "move away what stands there, or name another place" in done.stderr
    assert (out / name).exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--set", "goals=['Liver Dmean <= 5 Gy']"),
        ("--set", "case={dicom: nowhere}"),
        ("--set", "case.radius_mm=-1"),
        ("--cluster", "nowhere.yaml"),
        ("--scheduler", "nonsense"),
        ("--backend", "carrier-pigeon"),
    ],
)
def test_fresh_discards_nothing_for_a_study_that_is_not_possible(options, place):
    before = contents(place / "done")
    done = simulator("run", "s.yaml", "--out", "done", "--fresh", "--quiet", *options, cwd=place)
    assert done.returncode == 2, done.stderr
    assert contents(place / "done") == before


@pytest.mark.parametrize("name", ["..", ".", "../other", ".hidden", "a/b", "a\\b", ""])
def test_a_name_that_leads_elsewhere_is_refused(name, place):
    done = simulator("run", "s.yaml", "--set", f"name={name!r}", "--quiet", cwd=place)
    assert done.returncode == 2
    assert "name: letters, digits" in done.stderr
    assert not (place / "results").exists()


@pytest.mark.parametrize("command", ["init", "export"])
@pytest.mark.parametrize("there", ["a file", "a dangling link"])
def test_an_existing_file_is_never_overwritten(command, there, place, tmp_path):
    path = tmp_path / "mine"
    path.write_text("mine") if there == "a file" else path.symlink_to(tmp_path / "nowhere")
    options = {"init": ("init",), "export": ("export", "done", "--strategy", "none, 3 mm, none", "--map", "nominal")}
    before = contents(tmp_path)
    done = simulator(*options[command], "--out", path, cwd=place)
    assert (done.returncode, "exists already" in done.stderr) == (2, True)
    assert contents(tmp_path) == before


def test_a_report_replaces_only_a_page_of_a_run(place, tmp_path):
    alone = tmp_path / "mail"
    alone.mkdir()
    (alone / "results.nc").write_bytes((place / "done" / "results.nc").read_bytes())
    assert simulator("report", alone, cwd=place).returncode == 0
    (alone / "report.html").write_text("mine")
    done = simulator("report", alone, cwd=place)
    assert (done.returncode, "exists already" in done.stderr) == (2, True)
    assert (alone / "report.html").read_text() == "mine"
    assert simulator("report", ".", cwd=place / "done").returncode == 0


def test_a_folder_of_an_earlier_version_is_known_by_its_results_or_blocks(tmp_path):
    config = StudyConfig.model_validate(STUDY)
    run_study(config, tmp_path / "old")
    (tmp_path / "old" / MARK).unlink()
    assert is_run_folder(tmp_path / "old")
    run_study(config.model_copy(update={"seed": 2}), tmp_path / "old", fresh=True)
    assert (tmp_path / "old" / MARK).exists()
    (tmp_path / "old" / MARK).unlink()
    (tmp_path / "old" / "config.yaml").write_text("mine")
    assert not is_run_folder(tmp_path / "old")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="rights do not bind this user")
def test_a_folder_without_the_right_to_write_is_one_message(place, tmp_path):
    tmp_path.chmod(0o500)
    done = simulator("run", "s.yaml", "--out", tmp_path / "out", "--quiet", cwd=place)
    tmp_path.chmod(0o700)
    assert (done.returncode, "cannot be written to" in done.stderr) == (2, True)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text, place, tmp_path):
    assert inert(text) == f"'{text}"
    results = open_results(place / "done").load()
    for name in ("goals", "metrics"):
        results[name] = results[name].to_dataset().assign_coords(strategy=[text])
    write_summary(results, tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["strategy"] == f"'{text}"


@pytest.mark.parametrize("number", ["-0.5", "+3", "-1e-05", "95", -0.5, 3, "Dmax", ""])
def test_numbers_and_plain_text_stay(number):
    assert inert(number) == number


@pytest.mark.parametrize("words", [("init",), ("schema",), ("examples", "sphere_truth"), ("examples", "shift_log")])
def test_a_file_in_a_folder_that_is_not_there_makes_it(words, place, tmp_path):
    wanted = tmp_path / "new" / "folder" / "file"
    done = simulator(*words, "--out", wanted, cwd=place)
    assert (done.returncode, wanted.is_file()) == (0, True)
