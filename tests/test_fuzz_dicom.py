"""Flawed DICOM folders: every one is read or refused in words, and what `check` calls valid runs."""

import shutil
import sys

import pytest
from fuzz.dicom import try_out, write_base, write_flawed
from fuzz.harness import attempt, tally

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked and measured as Linux does")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = write_base(tmp_path_factory.mktemp("sound") / "base")
    assert try_out(folder) == "ran"
    return folder


def try_seeds(base, tmp_path, seeds):
    """Try out one folder for each seed, every tenth to its results; how many came to which end."""

    def attempts():
        for seed in seeds:
            flaws = write_flawed(base, tmp_path / str(seed), seed)
            yield f"seed {seed} ({'; '.join(flaws)})", attempt(try_out, tmp_path / str(seed), seed % 10 == 0)
            shutil.rmtree(tmp_path / str(seed))

    return tally(f"folders {seeds}", attempts())


@pytest.mark.parametrize("first", [0, 30])
def test_some_flawed_folders(base, tmp_path, first):
    ends = try_seeds(base, tmp_path, range(first, first + 30))
    assert sum(ends.values()) == 30
    assert sum(n for end, n in ends.items() if end.endswith("ran")) >= 2
    assert sum(n for end, n in ends.items() if end.endswith("check")) >= 8


@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(40))
def test_a_thousand_flawed_folders(base, tmp_path, block):
    try_seeds(base, tmp_path, range(1000 + 25 * block, 1025 + 25 * block))
