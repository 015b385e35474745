"""Thousands of study files, breathing records, goal files and archives with mistakes: an answer or a message, never a crash."""

import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
import yaml
from fuzz import archives, studies
from fuzz.harness import Outcome, assert_sound, attempt, tally
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="children are forked and measured as Linux does"),
    pytest.mark.usefixtures("everything_imported_and_compiled"),
]

SEEDS = st.integers(0, 2**32)
CHECKS = dict.fromkeys((HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large))


@pytest.fixture(scope="module")
def everything_imported_and_compiled(tmp_path_factory):
    """So that no child has to."""
    folder = tmp_path_factory.mktemp("usual")
    for plan in ("penumbra", "conformal-arc"):
        study = yaml.safe_load(studies.usual_study()) | {"plan": {"model": plan}}
        (folder / f"{plan}.yaml").write_text(yaml.safe_dump(study))
        studies.check_study(folder / f"{plan}.yaml")
        studies.run_small(folder / f"{plan}.yaml", folder / plan)


def examples(n):
    """So many examples, the same every time; failing ones are not made smaller, their file is shown."""
    return settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=list(CHECKS))


def tried(make, seed, name, *functions) -> Outcome:
    """The outcome of each function on a file made from a seed, as long as they are done."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(make(Random(seed)))
        note(f"seed {seed}\n{file.read_bytes()[:4000]!r}")
        for function in functions:
            outcome = attempt(function, file)
            assert_sound(outcome)
    return outcome


def study_attempt(seed: int, is_run: bool) -> tuple[str, Outcome]:
    """A study file of a seed, and the outcome of its check and, if wanted, of its run."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "study.yaml"
        file.write_bytes(studies.mutated_study(Random(seed)))
        tried = f"seed {seed}\n{file.read_bytes().decode(errors='replace')}"
        return tried, attempt(studies.check_and_run, file, Path(folder) / "out", is_run)


def goals_study(file: Path) -> str:
    """Check a study that takes its goals from a file."""
    study = file.with_name("study.yaml")
    study.write_text(
        yaml.safe_dump(
            {
                "name": "s",
                "case": {"phantom": "sphere", "radius_mm": 8},
                "prescription": {"dose_gy": 48, "fractions": 4},
                "plan": {"model": "penumbra"},
                "strategies": {"margins_mm": 3, "motion": "none", "guidance": "none"},
                "goals": [file.name],
            }
        )
    )
    return studies.check_study(study)


def record_study(file: Path) -> str:
    """Check a study whose target breathes as a file says."""
    study = file.with_name("study.yaml")
    study.write_text(
        yaml.safe_dump(
            {
                "name": "s",
                "case": {"phantom": "sphere", "radius_mm": 8},
                "prescription": {"dose_gy": 48, "fractions": 4},
                "plan": {"model": "penumbra"},
                "uncertainty": {"respiration": {"amplitude_mm": [0, 0, 8], "trace": file.name}},
                "strategies": {"margins_mm": 3, "motion": "none", "guidance": "none"},
                "goals": ["GTV D98% >= 95%"],
            }
        )
    )
    return studies.check_study(study)


@examples(300)
@given(SEEDS)
def test_study_files(seed):
    tried, outcome = study_attempt(seed, Random(seed).random() < 0.1)
    note(tried)
    assert_sound(outcome)


@examples(10)
@given(SEEDS)
def test_records_goal_files_and_archives(seed):
    tried(studies.mutated_record, seed, "a.csv", record_study)
    tried(studies.mutated_record, seed, "a.csv", archives.inspect_file)
    tried(studies.mutated_goal_file, seed, "goals.yaml", goals_study)
    tried(archives.mutated_archive, seed, "a.npz", archives.inspect_file)
    tried(archives.mutated_archive, seed, "a.npz", archives.load_case)
    tried(archives.mutated_nrrd, seed, "a.nrrd", archives.load_volume)


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_study_files(part):
    ends = tally(f"study files {part}", (study_attempt(seed, True) for seed in range(500 * part, 500 * part + 500)))
    assert ends["ran"] >= 50


@pytest.mark.fuzz
@examples(200)
@given(SEEDS)
def test_hundreds_of_records_goal_files_and_archives(seed):
    test_records_goal_files_and_archives.hypothesis.inner_test(seed + 2**33)
