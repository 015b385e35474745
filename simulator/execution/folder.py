"""The folder of a run: whose it is, what it holds, and what may be removed."""

import copy
import json
from contextlib import suppress
from pathlib import Path

import xarray as xr

from simulator.execution.checkpoint import (
    BLOCKS,
    CONFIG,
    RESULTS,
    BlockStore,
    changes_between,
    identity_text,
)
from simulator.ground.files import MARK, is_marked, write_whole
from simulator.ground.spec import ConfigError
from simulator.results.file import open_results, stored_study
from simulator.study_file.loading import dump_study, map_paths
from simulator.study_file.schema import StudyConfig

COURSES, COURSE_FILES = "courses", ("errors.csv", "metrics.csv", "dvhs.csv", "course.nc", "dose.dcm")


def write_config(config: StudyConfig, folder: Path) -> None:
    write_whole(folder / CONFIG, dump_study(config))


def has_results(folder: Path) -> bool:
    return (folder / RESULTS).is_file()


def point_folders(config: StudyConfig, out: Path) -> list[Path]:
    """Run folder of each point of the sweep; `out` itself without one."""
    return [out / "points" / f"{i:05d}" for i in range(config.n_points)] if config.sweep else [out]


def holds(folder: Path, identity: str) -> bool:
    """Whether a folder holds finished results of the study with this identity; `ConfigError` if they are of another."""
    if not has_results(folder):
        return False
    with open_results(folder) as results:
        about = results.attrs
        earlier = identity_text(about["simulator_version"], about["config"], inputs_of(results))
    changed = changes_between(earlier, identity)
    if changed:
        raise ConfigError(
            f"{folder}: holds the results of a different study ({changed}); "
            "add --fresh to replace them, choose another folder with --out, or give the study another name"
        )
    return True


def inputs_of(results: xr.DataTree) -> dict[str, str]:
    """The files that a study was made of; none are known where an earlier version did not keep them."""
    return dict(json.loads(results.attrs.get("inputs", "{}")))


def names_files(config: StudyConfig) -> bool:
    """Whether a study, or a point of its sweep, is made of files."""
    plain = [point.model_dump(mode="json") for point in config.points()]
    without = copy.deepcopy(plain)
    for raw in without:
        map_paths(raw, lambda path: "")
    return plain != without


def is_run_folder(folder: Path) -> bool:
    """Whether a run made this folder: it is marked, or holds results, blocks or points of the study in its config.yaml."""
    if is_marked(folder):
        return True
    try:
        config = (folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    owner = BlockStore(folder / BLOCKS).owner() or ""
    is_of_it = config in (stored_study(folder / RESULTS), owner.partition("\n")[2])
    return is_of_it or is_run_folder(folder / "points" / "00000")


def discard_earlier(out: Path) -> None:
    """Remove the results and the unfinished courses of an earlier run, and nothing else."""
    for folder in (out, *(out / "points").glob("[0-9]" * 5)):
        for name in (RESULTS, "summary.csv", "report.html", "summary.pdf", CONFIG, "tasks.csv"):
            (folder / name).unlink(missing_ok=True)
        BlockStore(folder / BLOCKS).discard()
        for course in (folder / COURSES).glob("*"):
            if is_marked(course):
                _remove(course, *COURSE_FILES, MARK)
        _remove(folder / COURSES)
        if folder != out:
            _remove(folder, MARK)
    _remove(out / "points")


def _remove(folder: Path, *names: str) -> None:
    """Remove some files of a folder, and the folder itself where nothing else is in it."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
