"""results.nc: damaged, truncated and edited files are refused by every command, and none hurts the process."""

import io
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
import yaml
from test_folders import STUDY, simulator

from simulator.execution.study import run_study
from simulator.ground.spec import SimulatorError
from simulator.results.file import content_digest, open_results
from simulator.results.layout import SCHEMA_VERSION
from simulator.study_file.schema import StudyConfig

COMMANDS = {
    "run": ("run", "s.yaml", "--quiet", "--out", "r"),
    "report": ("report", "r"),
    "compare": ("compare", "r", "other"),
    "export": ("export", "r", "--strategy", "none, 3 mm, none", "--out", "d.dcm"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two finished runs."""
    base = tmp_path_factory.mktemp("finished")
    for name, seed in (("r", 1), ("other", 2)):
        run_study(StudyConfig.model_validate(STUDY | {"seed": seed}), base / name)
    return base


def copied(folders, tmp_path, change=lambda content: content):
    """A study and its results, with the content of results.nc changed."""
    for name in ("r", "other"):
        shutil.copytree(folders / name, tmp_path / name)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY | {"seed": 1}), encoding="utf-8")
    file = tmp_path / "r" / "results.nc"
    file.write_bytes(change(file.read_bytes()))
    return file


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "text": lambda content: b"these are not results\n" * 100,
    "only its header": lambda content: content[:4096] + bytes(len(content) - 4096),
    "another HDF5 file": lambda content: _other_hdf5(),
}


def _other_hdf5():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a"] = np.arange(3)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("command", "damage"), [*((command, "half") for command in COMMANDS), *(("report", damage) for damage in DAMAGE)]
)
def test_damaged_results_are_refused_by_every_command(command, damage, folders, tmp_path):
    file = copied(folders, tmp_path, DAMAGE[damage])
    content = file.read_bytes()
    done = simulator(*COMMANDS[command], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "results.nc: damaged, changed or not written by this version" in done.stderr
    assert "Traceback" not in done.stderr
    assert file.read_bytes() == content
    if command == "run":
        assert simulator(*COMMANDS["run"], "--fresh", "--no-report", cwd=tmp_path).returncode == 0


def _edit(path, where, change):
    with h5py.File(path, "r+") as file:
        change(file, where)


def _one_more(file, where):
    values = file[where][()]
    file[where][...] = np.nextafter(values, np.inf) if values.dtype.kind == "f" else values + 1


def _first_text(file, where):
    values = file[where][()]
    values.flat[0] = b"something else"
    file[where][...] = values


EDITS = {
    "a metric of one course": ("metrics/value", _one_more),
    "a probability": ("goals/probability", _one_more),
    "a limit": ("goals/limit", _one_more),
    "a goal's unit": ("goals/unit", _first_text),
    "a dose map": ("dose/mean", _one_more),
    "a coordinate": ("dose/x", _one_more),
    "the decision": ("decision", lambda file, where: file[where].attrs.__setitem__("recommended", "none, 0 mm, none")),
    "the configuration": ("/", lambda file, where: file.attrs.__setitem__("config", "name: other")),
    "the seed": ("/", lambda file, where: file.attrs.__setitem__("seed", 7)),
    "a unit": ("metrics/value", lambda file, where: file[where].attrs.__setitem__("units", "cGy")),
    "an attribute more": ("/", lambda file, where: file.attrs.__setitem__("approved_by", "nobody")),
    "the digest": ("/", lambda file, where: file.attrs.__delitem__("content_digest")),
    "a variable more": ("/", lambda file, where: file.create_dataset("metrics/own", data=1.0)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_results_are_refused(edit, folders, tmp_path):
    file = copied(folders, tmp_path)
    _edit(file, *EDITS[edit])
    with pytest.raises(SimulatorError, match=r"results\.nc: damaged, changed or not written by this version"):
        open_results(file)


def test_results_changed_and_saved_again_are_refused(folders, tmp_path):
    with open_results(folders / "r") as results:
        changed = results.load().copy()
    changed["goals"] = changed["goals"].to_dataset().assign(limit=changed["goals/limit"] + 1)
    changed.to_netcdf(tmp_path / "results.nc", engine="h5netcdf")
    with pytest.raises(SimulatorError, match="damaged, changed"):
        open_results(tmp_path)


def test_results_of_an_earlier_version_open_without_a_digest_but_not_with_other_numbers(folders, tmp_path):
    file = copied(folders, tmp_path)

    def age(stored, where):
        stored.attrs["simulator_version"] = "0.0.9"
        del stored.attrs["content_digest"]

    _edit(file, "/", age)
    open_results(file).close()
    _edit(file, "metrics/value", _one_more)
    with pytest.raises(SimulatorError, match="its numbers are not those that were written"):
        open_results(file)


def test_every_attribute_of_the_file_is_explained(folders):
    page = (Path(__file__).parents[1] / "docs" / "reference" / "results_file.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", page.split("## Attributes of the file")[1].split("## Dimensions")[0]))
    with open_results(folders / "r") as results:
        assert set(results.attrs) - explained == set()


def test_results_of_a_newer_layout_are_refused_and_of_a_later_minor_one_opened(folders, tmp_path):
    file = copied(folders, tmp_path)

    def state(version):
        def change(stored, where):
            stored.attrs["schema_version"] = version
            stored.attrs["content_digest"] = content_digest(stored)

        _edit(file, "/", change)

    with open_results(file) as results:
        assert results.attrs["schema_version"] == SCHEMA_VERSION
    own = int(SCHEMA_VERSION.split(".")[0])
    state(f"{own}.99")
    open_results(file).close()
    state(f"{own + 1}.0")
    with pytest.raises(SimulatorError) as refused:
        open_results(file)
    assert str(refused.value) == (
        f"{file}: the layout of these results is version {own + 1}.0, and this simulator reads versions up to {own}.x; "
        "open them with a newer simulator"
    )


def test_the_digest_does_not_depend_on_how_the_file_is_packed(folders):
    with h5py.File(folders / "r" / "results.nc") as file:
        assert content_digest(file) == file.attrs["content_digest"]
    tree = xr.open_datatree(folders / "r" / "results.nc", engine="h5netcdf")
    assert tree.attrs["result_hash"] == open_results(folders / "r").attrs["result_hash"]


def mutated(content, rng):
    """The content of a file with some of it flipped, lost, doubled or replaced."""
    data = bytearray(content)
    at = rng.randrange(len(data))
    n = rng.choice([1, 4, 64, 4096])
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.choice([1, 1, 2, 8, 64])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at : at + n]
    elif kind == 3:
        data[at : at + n] = bytes(rng.randrange(256) for _ in range(len(data[at : at + n])))
    elif kind == 4:
        data[at:at] = data[max(0, at - n) : at]
    else:
        data[at : at + n] = b"\xff" * len(data[at : at + n])
    return bytes(data)


FUZZ = """
import sys
from pathlib import Path
from simulator.results.file import open_results
from simulator.ground.spec import SimulatorError
for path in sorted(Path(sys.argv[1]).glob("*.nc")):
    try:
        open_results(path).close()
        print(path.name, "opened")
    except SimulatorError as error:
        print(path.name, "refused", len(str(error).splitlines()))
"""


def _limited():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def fuzzed(n, folders, tmp_path, seed):
    """Open so many mutations of results.nc in one process of limited memory; how many were refused."""
    rng = random.Random(seed)
    content = (folders / "r" / "results.nc").read_bytes()
    for i in range(n):
        (tmp_path / f"{i:05d}.nc").write_bytes(mutated(content, rng))
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60 + 2 * n,
        preexec_fn=_limited,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == n
    assert all(line.endswith(("refused 1", "opened")) for line in lines)
    return sum("refused" in line for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of memory")
def test_a_few_mutated_results(folders, tmp_path):
    assert fuzzed(12, folders, tmp_path, seed=1) >= 9


@pytest.mark.fuzz
@pytest.mark.skipif(sys.platform == "win32", reason="no limit of memory")
def test_many_mutated_results(folders, tmp_path):
    assert fuzzed(2000, folders, tmp_path, seed=2) >= 1500


def test_a_few_mutated_folders(folders, tmp_path):
    check_folders(4, folders, tmp_path, seed=3)


@pytest.mark.fuzz
def test_two_hundred_mutated_folders(folders, tmp_path):
    check_folders(200, folders, tmp_path, seed=4)


def check_folders(n, folders, tmp_path, seed):
    """Mutate one to three files of a results folder and give it to every command: an answer or a message, nothing lost."""
    rng = random.Random(seed)
    for i in range(n):
        place = tmp_path / str(i)
        place.mkdir()
        copied(folders, place)
        names = sorted(p for p in (place / "r").iterdir())
        for path in rng.sample(names, rng.randint(1, 3)):
            if rng.random() < 0.2:
                path.unlink()
            else:
                path.write_bytes(mutated(path.read_bytes(), rng))
        command = rng.choice(list(COMMANDS))
        done = simulator(*COMMANDS[command], cwd=place)
        assert done.returncode in (0, 2), (i, command, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
        if done.returncode == 0 and command != "run":
            open_results(place / "r").close()


def test_results_print_as_a_few_lines_and_their_groups_as_xarray_shows_them(folders):
    with open_results(folders / "r") as results:
        lines = repr(results).splitlines()
        assert lines[0] == "Results"
        assert 4 <= len(lines) <= 7
        assert lines[1] == f"  study: {STUDY['name']}, target GTV"
        assert f"simulated: {STUDY['courses']} courses of each strategy" in lines[2]
        assert lines[-1].startswith("  groups: metrics, goals")
        assert str(results) == repr(results) == repr(results.copy())
        assert results._repr_html_().count("<tr>") == len(lines) - 1
        assert repr(results["metrics"]).startswith("<xarray.DataTree")
        first = float(results["metrics/value"][0, 0, 0])
    with xr.open_datatree(folders / "r" / "results.nc", engine="h5netcdf") as tree:
        assert tree.equals(xr.DataTree.from_dict(open_results(folders / "r").load().to_dict()))
        assert float(tree["metrics/value"][0, 0, 0]) == first
