"""Flawed DICOM folders: every one is read or refused in words, and what `check` calls valid runs."""

import sys
from collections import Counter

import pytest
from fuzz.dicom import try_out, write_base, write_flawed
from fuzz.harness import assert_sound, attempt

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked and measured as Linux does")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = write_base(tmp_path_factory.mktemp("sound") / "base")
    assert try_out(folder) == "ran"
    return folder


def try_seeds(base, tmp_path, seeds):
    """Try out one folder for each seed; how many came to which end."""
    ends: Counter[str] = Counter()
    failures = []
    for seed in seeds:
        flaws = write_flawed(base, tmp_path / str(seed), seed)
        outcome = attempt(try_out, tmp_path / str(seed))
        try:
            assert_sound(outcome)
            ends[outcome.message] += 1
        except AssertionError as error:
            failures.append(f"seed {seed} ({'; '.join(flaws)}): {error}")
    print(dict(ends))
    assert not failures, "\n".join(failures)
    return ends


def test_sixty_flawed_folders(base, tmp_path):
    ends = try_seeds(base, tmp_path, range(60))
    assert sum(ends.values()) == 60
    assert sum(n for end, n in ends.items() if end.endswith("ran")) >= 10
    assert sum(n for end, n in ends.items() if end.endswith("check")) >= 20


@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(20))
def test_a_thousand_flawed_folders(base, tmp_path, block):
    try_seeds(base, tmp_path, range(1000 + 50 * block, 1050 + 50 * block))
